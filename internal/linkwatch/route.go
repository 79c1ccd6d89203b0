package linkwatch

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"zcbench/internal/genl/ethtool"
)

// indexOf is the interface that a message of rtnetlink is about: of links,
// addresses and traffic control it has one place.
func indexOf(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(b[4:])))
}

// field is one setting of an interface.
type field struct{ name, value string }

// fields are what a run takes for constant.
func fields(a *netlink.LinkAttrs) []field {
	number := func(n any) string { return fmt.Sprint(n) }
	xdp := "off"
	if a.Xdp != nil && a.Xdp.Attached {
		xdp = "on"
	}
	state := "down"
	switch {
	case a.RawFlags&unix.IFF_UP == 0:
	case a.RawFlags&unix.IFF_RUNNING == 0:
		state = "without carrier"
	default:
		state = "up"
	}
	return []field{
		{"name", a.Name}, {"state", state}, {"mtu", number(a.MTU)}, {"hardware address", a.HardwareAddr.String()},
		{"master", number(a.MasterIndex)}, {"txqueuelen", number(a.TxQLen)}, {"xdp", xdp},
		{"gso_max_size", number(a.GSOMaxSize)}, {"gso_max_segs", number(a.GSOMaxSegs)}, {"gro_max_size", number(a.GROMaxSize)},
		{"gso_ipv4_max_size", number(a.GSOIPv4MaxSize)}, {"gro_ipv4_max_size", number(a.GROIPv4MaxSize)},
	}
}

// route reads what rtnetlink told.
func (w *Watch) route(m message) (all []Change, err error) {
	index := indexOf(m.Data)
	l := w.links[index]
	add := func(format string, args ...any) {
		all = append(all, Change{Interface: l.name, What: fmt.Sprintf(format, args...)})
	}
	switch m.Header.Type {
	case unix.RTM_NEWLINK:
		header := unix.NlMsghdr(m.Header)
		v, err := netlink.LinkDeserialize(&header, m.Data)
		if err != nil {
			return nil, fmt.Errorf("what the kernel tells of %s: %w", l.name, err)
		}
		if m.Data[0] != unix.AF_UNSPEC || v.Attrs().MTU == 0 {
			return nil, nil // of a bridge's port, or of a radio
		}
		now := fields(v.Attrs())
		for i, f := range now {
			if was := l.state[i]; was != f {
				add("%s %s → %s", f.name, was.value, f.value)
			}
		}
		l.state = now
	case unix.RTM_DELLINK:
		if m.Data[0] == unix.AF_UNSPEC {
			add("it was deleted, or moved to another network namespace,")
			all[0].Removed = true
		}
	case unix.RTM_DELADDR, unix.RTM_NEWADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg {
			return nil, nil
		}
		attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfAddrmsg:])
		if err != nil {
			return nil, fmt.Errorf("what the kernel tells of an address of %s: %w", l.name, err)
		}
		// One of which a router renews the lifetime is told as new again.
		a := addressOf(attrs)
		if had := slices.Contains(w.addresses, a); had && m.Header.Type == unix.RTM_DELADDR {
			add("address %s was removed", a)
		}
	case unix.RTM_NEWQDISC, unix.RTM_DELQDISC, unix.RTM_NEWTCLASS, unix.RTM_DELTCLASS, unix.RTM_NEWTFILTER, unix.RTM_DELTFILTER:
		if len(m.Data) < nl.SizeofTcMsg {
			return nil, nil
		}
		attrs, err := nl.ParseRouteAttr(m.Data[nl.SizeofTcMsg:])
		if err != nil {
			return nil, fmt.Errorf("what the kernel tells of traffic control of %s: %w", l.name, err)
		}
		kind := ""
		for _, a := range attrs {
			if a.Attr.Type == nl.TCA_KIND {
				kind = " " + strings.TrimRight(string(a.Value), "\x00")
			}
		}
		what := map[uint16]string{
			unix.RTM_NEWQDISC: "qdisc%s was added or changed", unix.RTM_DELQDISC: "qdisc%s was removed",
			unix.RTM_NEWTCLASS: "class%s of a qdisc was added or changed", unix.RTM_DELTCLASS: "class%s of a qdisc was removed",
			unix.RTM_NEWTFILTER: "filter%s of tc was added or changed", unix.RTM_DELTFILTER: "filter%s of tc was removed",
		}
		add(what[m.Header.Type], kind)
	}
	return all, nil
}

// addressOf is the interface's own, of a message about one.
func addressOf(attrs []syscall.NetlinkRouteAttr) (own netip.Addr) {
	for _, a := range attrs {
		if t := a.Attr.Type; t == unix.IFA_LOCAL || t == unix.IFA_ADDRESS && !own.IsValid() {
			own, _ = netip.AddrFromSlice(a.Value)
		}
	}
	return own
}

// different names the offloads that differ, "" where none does.
func different(was, is map[string]ethtool.Feature) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(is)) {
		switch now := is[name].Active; {
		case now == was[name].Active:
		case now:
			all = append(all, name+" on")
		default:
			all = append(all, name+" off")
		}
	}
	return strings.Join(all, ", ")
}
