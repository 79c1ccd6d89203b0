package ringcfg

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/genl/ethtool"
)

// Rings, channels and coalescing are numbers by the kernel's names. Limits
// (…-max) are not settings.

// splits are the values of ring.tcp-data-split.
var splits = map[uint64]string{
	abi.ETHTOOL_TCP_DATA_SPLIT_UNKNOWN:  "auto",
	abi.ETHTOOL_TCP_DATA_SPLIT_DISABLED: "off",
	abi.ETHTOOL_TCP_DATA_SPLIT_ENABLED:  "on",
}

// Header split is what a driver does, which it may do unasked, and not what was
// configured, by which the kernel lets memory be bound to queues. So it is written
// also where it reads as wanted. A driver that leaves it to the kernel shows nothing
// until it is configured; and one that has no threshold has none above 0.
const (
	headerSplit = "ring.tcp-data-split"
	threshold   = "ring.hds-thresh"
)

// untold says that a value may read as it does without being configured.
func untold(name, value string) bool { return name == headerSplit && value == "on" }

// unset is a split that was not configured and that read so: it is put back by
// taking the configuration away, and where the driver then does not do so by itself,
// as the value.
func unset(reading string) string { return "auto (" + reading + ")" }

func readRings(h *host, to Settings) error {
	v, err := h.eth.Rings(h.iface)
	if err != nil {
		return err
	}
	if _, told := v["tcp-data-split"]; !told {
		if err := h.eth.SplitsHeaders(h.iface); err == nil || errors.Is(err, unix.EPERM) {
			to[headerSplit] = splits[abi.ETHTOOL_TCP_DATA_SPLIT_UNKNOWN]
		}
	}
	delete(h.fixed, threshold)
	if _, told := v["hds-thresh"]; !told && (to[headerSplit] != "" || v["tcp-data-split"] != 0) {
		h.fixed[threshold] = "0"
	}
	for name, n := range v {
		switch {
		case strings.HasSuffix(name, "-max"):
		case name == "tcp-data-split":
			to[headerSplit] = splits[n]
		default:
			to["ring."+name] = strconv.FormatUint(n, 10)
		}
	}
	return nil
}

func writeRings(h *host, set Settings) error {
	h.splitChanged = false
	v := ethtool.Values{}
	for name, value := range set {
		if name == headerSplit {
			continue
		}
		n, err := number(name, value)
		if err != nil {
			return err
		}
		v[strings.TrimPrefix(name, "ring.")] = n
	}
	if value, ok := set[headerSplit]; ok {
		reading, back := strings.CutPrefix(value, "auto (")
		var err error
		if back {
			err = h.unsetSplit(strings.TrimSuffix(reading, ")"))
		} else {
			err = h.writeSplit(value)
		}
		if err != nil || len(v) == 0 {
			return err
		}
	}
	return h.eth.SetRings(h.iface, v)
}

// writeSplit configures header split, by itself, so that what the kernel tells of a
// change is of this one.
func (h *host) writeSplit(value string) error {
	for n, text := range splits {
		if text == value {
			changed, err := h.eth.ConfigureRings(h.iface, ethtool.Values{"tcp-data-split": n})
			h.splitChanged = changed
			return err
		}
	}
	return usage("%s: %q is not on, off or auto", headerSplit, value)
}

// unsetSplit takes the configuration of header split away and sees to it that it
// reads as it did. A driver that then leaves it as it is is told, and once more that
// nothing is configured; one that may not be told needs not.
func (h *host) unsetSplit(reading string) error {
	for _, values := range [][]string{{"auto"}, {reading, "auto"}, {reading}} {
		for _, value := range values {
			if err := h.writeSplit(value); err != nil {
				return err
			}
		}
		now := Settings{}
		if err := readRings(h, now); err != nil || now[headerSplit] == reading {
			return err
		}
	}
	return nil
}

func readChannels(h *host, to Settings) error {
	v, err := h.eth.Channels(h.iface)
	if err != nil {
		return err
	}
	for name, n := range v {
		if kind, ok := strings.CutSuffix(name, "-count"); ok {
			to["channels."+kind] = strconv.FormatUint(n, 10)
		}
	}
	return nil
}

func writeChannels(h *host, set Settings) error {
	v := ethtool.Values{}
	for name, value := range set {
		n, err := number(name, value)
		if err != nil {
			return err
		}
		v[strings.TrimPrefix(name, "channels.")+"-count"] = n
	}
	return h.eth.SetChannels(h.iface, v)
}

func readCoalesce(h *host, to Settings) error {
	v, err := h.eth.Coalesce(h.iface)
	if err != nil {
		return err
	}
	for name, n := range v {
		to["coalesce."+name] = strconv.FormatUint(n, 10)
	}
	return nil
}

func writeCoalesce(h *host, set Settings) error {
	v := ethtool.Values{}
	for name, value := range set {
		n, err := number(name, value)
		if err != nil {
			return err
		}
		v[strings.TrimPrefix(name, "coalesce.")] = n
	}
	return h.eth.SetCoalesce(h.iface, v)
}

func number(name, value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, usage("%s: %q is not a number", name, value)
	}
	return n, nil
}

// parseNumber refuses what a request has no room for: the kernel would be asked for
// another number.
func parseNumber(_ *host, _ Settings, name, value string) (string, error) {
	if name == headerSplit {
		if value != "on" && value != "off" && value != "auto" {
			return "", fmt.Errorf("%s: %q is not on, off or auto", name, value)
		}
		return value, nil
	}
	family, key, _ := strings.Cut(name, ".")
	return atMost(name, value, ethtool.Settable()[family][key])
}

// atMost is a whole number within a limit, as numbers are written.
func atMost(name, value string, most uint64) (string, error) {
	n, err := number(name, value)
	if err != nil {
		return "", err
	}
	if n > most {
		return "", fmt.Errorf("%s is at most %d, not %s", name, most, value)
	}
	return strconv.FormatUint(n, 10), nil
}

// parseCount takes what the kernel counts, in files that hold as much as an int.
func parseCount(_ *host, _ Settings, name, value string) (string, error) {
	return atMost(name, value, math.MaxInt32)
}

// A feature that the driver does not let change is no setting, and met where it is
// as wanted. One that is off though it is wanted, because another stands in its way,
// and one that a driver keeps on though it is not, have values of their own: the wish
// comes back only where it is written again.
const (
	wantedButOff = "off (wanted)"
	onUnwanted   = "on (not wanted)"
)

func readFeatures(h *host, to Settings) error {
	all, err := h.eth.Features(h.iface)
	if err != nil {
		return err
	}
	for name, f := range all {
		delete(h.fixed, "feature."+name)
		switch {
		case f.Fixed && f.Active:
			h.fixed["feature."+name] = "on"
		case f.Fixed:
			h.fixed["feature."+name] = "off"
		default:
			to["feature."+name] = featureValue(f)
		}
	}
	return nil
}

func featureValue(f ethtool.Feature) string {
	switch {
	case f.Active && f.Wanted:
		return "on"
	case f.Active:
		return onUnwanted
	case f.Wanted:
		return wantedButOff
	}
	return "off"
}

// wantsFeature says whether what reads as value is wanted.
func wantsFeature(value string) bool { return value == "on" || value == wantedButOff }

func writeFeatures(h *host, set Settings) error {
	want := map[string]bool{}
	for name, value := range set {
		want[strings.TrimPrefix(name, "feature.")] = wantsFeature(value)
	}
	return h.eth.SetFeatures(h.iface, want)
}

func parseSwitch(_ *host, _ Settings, name, value string) (string, error) {
	if name == lpiTimer {
		return parseNumber(nil, nil, name, value)
	}
	switch value {
	case "on", "off":
		return value, nil
	case "true", "1":
		return "on", nil
	case "false", "0":
		return "off", nil
	}
	return "", fmt.Errorf("%s: %q is not on or off", name, value)
}
