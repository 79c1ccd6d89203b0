package ethtool

import (
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/internal/genl"
)

var (
	privFlagsGet = genl.Op{Cmd: unix.ETHTOOL_MSG_PRIVFLAGS_GET, Name: "privflags-get"}
	privFlagsSet = genl.Op{Cmd: unix.ETHTOOL_MSG_PRIVFLAGS_SET, Name: "privflags-set"}
)

// PrivFlags reads the switches that only the driver knows, by its names for them:
// "rx_striding_rq" …
func (c *Conn) PrivFlags(iface string) (map[string]bool, error) {
	b, err := c.c.Do(privFlagsGet, header(iface))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iface, err)
	}
	flags := map[string]bool{}
	for a := range genl.Attrs(b, &err) {
		if a.Type != unix.ETHTOOL_A_PRIVFLAGS_FLAGS {
			continue
		}
		set, listed := bitset(a)
		for _, name := range listed {
			flags[name] = false
		}
		for _, name := range set {
			flags[name] = true
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: privflags-get: %w", iface, err)
	}
	return flags, nil
}

// SetPrivFlags switches those that are named.
func (c *Conn) SetPrivFlags(iface string, want map[string]bool) error {
	req := header(iface)
	putBitset(req, unix.ETHTOOL_A_PRIVFLAGS_FLAGS, "flags", want)
	if _, err := c.c.Do(privFlagsSet, req); err != nil {
		return fmt.Errorf("%s: %w", iface, err)
	}
	return nil
}
