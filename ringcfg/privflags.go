package ringcfg

import "strings"

// priv.NAME (on or off) are switches that only the driver knows.

func readPrivFlags(h *host, to Settings) error {
	flags, err := h.eth.PrivFlags(h.iface)
	if err != nil {
		return err
	}
	for name, on := range flags {
		to["priv."+name] = onOff(on)
	}
	return nil
}

func writePrivFlags(h *host, set Settings) error {
	want := map[string]bool{}
	for name, value := range set {
		want[strings.TrimPrefix(name, "priv.")] = value == "on"
	}
	return h.eth.SetPrivFlags(h.iface, want)
}
