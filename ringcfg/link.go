package ringcfg

import (
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink"
)

// linkSettings are in the order they are written: the kernel lets a general
// size change the one for IPv4 too.
var linkSettings = []struct {
	name string
	get  func(*netlink.LinkAttrs) int
	set  func(*netlink.Handle, netlink.Link, int) error
}{
	{"link.mtu", func(a *netlink.LinkAttrs) int { return a.MTU }, (*netlink.Handle).LinkSetMTU},
	{"link.gso-max-segs", func(a *netlink.LinkAttrs) int { return int(a.GSOMaxSegs) }, (*netlink.Handle).LinkSetGSOMaxSegs},
	{"link.gso-max-size", func(a *netlink.LinkAttrs) int { return int(a.GSOMaxSize) }, (*netlink.Handle).LinkSetGSOMaxSize},
	{"link.gro-max-size", func(a *netlink.LinkAttrs) int { return int(a.GROMaxSize) }, (*netlink.Handle).LinkSetGROMaxSize},
	{"link.gso-ipv4-max-size", func(a *netlink.LinkAttrs) int { return int(a.GSOIPv4MaxSize) }, (*netlink.Handle).LinkSetGSOIPv4MaxSize},
	{"link.gro-ipv4-max-size", func(a *netlink.LinkAttrs) int { return int(a.GROIPv4MaxSize) }, (*netlink.Handle).LinkSetGROIPv4MaxSize},
	{"link.tx-queue-len", func(a *netlink.LinkAttrs) int { return a.TxQLen }, (*netlink.Handle).LinkSetTxQLen},
}

func readLink(h *host, to Settings) error {
	l, err := h.link.LinkByIndex(h.index)
	if err != nil {
		return fmt.Errorf("%s: %w", h.iface, err)
	}
	for _, s := range linkSettings {
		// 0 is a size that this kernel does not have, but a queue of none.
		if v := s.get(l.Attrs()); v > 0 || s.name == "link.tx-queue-len" {
			to[s.name] = strconv.Itoa(v)
		}
	}
	return nil
}

func writeLink(h *host, set Settings) error {
	l, err := h.link.LinkByIndex(h.index)
	if err != nil {
		return fmt.Errorf("%s: %w", h.iface, err)
	}
	for _, s := range linkSettings {
		value, ok := set[s.name]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return usage("%s: %q is not a number", s.name, value)
		}
		if err := s.set(h.link, l, n); err != nil {
			return fmt.Errorf("set %s of %s to %d: %w", s.name, h.iface, n, err)
		}
	}
	return nil
}
