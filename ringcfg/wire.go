package ringcfg

import (
	"strconv"
	"strings"

	"zcbench/internal/genl/ethtool"
)

// pause.rx, pause.tx and pause.autoneg are flow control, eee.enabled and
// eee.tx-lpi-enabled energy-efficient Ethernet, all on or off; eee.tx-lpi-timer is in
// µs.

func readPause(h *host, to Settings) error { return readSwitches("pause.", h.iface, h.eth.Pause, to) }
func writePause(h *host, set Settings) error {
	return writeSwitches(h.iface, h.eth.SetPause, set)
}
func readEEE(h *host, to Settings) error   { return readSwitches("eee.", h.iface, h.eth.EEE, to) }
func writeEEE(h *host, set Settings) error { return writeSwitches(h.iface, h.eth.SetEEE, set) }

const lpiTimer = "eee.tx-lpi-timer"

func readSwitches(prefix, iface string, read func(string) (ethtool.Values, error), to Settings) error {
	v, err := read(iface)
	if err != nil {
		return err
	}
	for name, n := range v {
		to[prefix+name] = onOff(n != 0)
		if prefix+name == lpiTimer {
			to[lpiTimer] = strconv.FormatUint(n, 10)
		}
	}
	return nil
}

func writeSwitches(iface string, write func(string, ethtool.Values) error, set Settings) error {
	v := ethtool.Values{}
	for name, value := range set {
		_, key, _ := strings.Cut(name, ".")
		if name == lpiTimer {
			n, err := number(name, value)
			if err != nil {
				return err
			}
			v[key] = n
		} else if v[key] = 0; value == "on" {
			v[key] = 1
		}
	}
	return write(iface, v)
}
