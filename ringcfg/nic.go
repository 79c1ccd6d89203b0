package ringcfg

import (
	"fmt"
	"strconv"
	"strings"

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

func readRings(h *host, to Settings) error {
	v, err := h.eth.Rings(h.iface)
	if err != nil {
		return err
	}
	for name, n := range v {
		switch {
		case strings.HasSuffix(name, "-max"):
		case name == "tcp-data-split":
			to["ring."+name] = splits[n]
		default:
			to["ring."+name] = strconv.FormatUint(n, 10)
		}
	}
	return nil
}

func writeRings(h *host, set Settings) error {
	v := ethtool.Values{}
	for name, value := range set {
		key := strings.TrimPrefix(name, "ring.")
		if key != "tcp-data-split" {
			n, err := number(name, value)
			if err != nil {
				return err
			}
			v[key] = n
			continue
		}
		found := false
		for n, text := range splits {
			if text == value {
				v[key], found = n, true
			}
		}
		if !found {
			return fmt.Errorf("%s: %q is not on, off or auto", name, value)
		}
	}
	return h.eth.SetRings(h.iface, v)
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

// A feature that the driver does not let change is no setting. One that is
// wanted and yet off, because another stands in its way, has a value of its
// own: to bring it back it must be wanted again.
const wantedButOff = "off (wanted)"

func readFeatures(h *host, to Settings) error {
	all, err := h.eth.Features(h.iface)
	if err != nil {
		return err
	}
	for name, f := range all {
		switch {
		case f.Fixed:
		case f.Active:
			to["feature."+name] = "on"
		case f.Wanted:
			to["feature."+name] = wantedButOff
		default:
			to["feature."+name] = "off"
		}
	}
	return nil
}

func writeFeatures(h *host, set Settings) error {
	want := map[string]bool{}
	for name, value := range set {
		want[strings.TrimPrefix(name, "feature.")] = value != "off"
	}
	return h.eth.SetFeatures(h.iface, want)
}

func parseFeature(_ *host, _ Settings, name, value string) (string, error) {
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
