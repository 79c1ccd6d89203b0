// Package egress says what the kernel tells nobody: whether payload that was sent
// by reference is copied on its way out of an interface all the same.
//
// Notifications of zero-copy sends tell of copies for packet sockets and local
// delivery (skb_orphan_frags_rx). They do not tell of those in validate_xmit_skb:
// a device without scatter-gather gets every packet in one piece, and one that
// computes no checksum of TCP has it computed over a copy, as shared pages could
// change meanwhile (skb_segment, skb_checksum_help; Linux 3.9 to 7.3). TCP's own
// sockets do not show it either, for they count on software (sk_setup_caps). Nor
// do they tell in all cases of what IPsec and actions of traffic control do. What a
// driver makes one piece of by itself (skb_linearize), because a packet has more
// pieces than its NIC takes, only counters of that driver show.
package egress

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"zcbench/internal/genl/ethtool"
)

// Verdict is what a way out does to payload.
type Verdict int

const (
	// Clear is a way that is seen to its end and copies nothing unreported.
	Clear Verdict = iota
	// Copies is a way that copies all payload and reports none of it.
	Copies
	// Hidden is a way that goes on where this host or namespace does not see.
	Hidden
)

// Way is a way out, comparable. Why says, where it is not Clear, what does it
// and what to do, to follow a colon.
type Way struct {
	Verdict Verdict
	Why     string
}

// deepest is how many devices may be stacked, as in the kernel (MAX_NEST_DEV).
const deepest = 8

// Interface judges the way out of an interface, wherever it leads, in the
// network namespace of the calling thread.
func Interface(name string) (Way, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return Way{}, fmt.Errorf("interface %s: %w", name, err)
	}
	w, err := judge(link.Attrs().Index, netip.Addr{}, nil)
	if err == nil && w.Verdict == Clear {
		w = mayEncrypt(link.Attrs().Index, name)
	}
	return w, err
}

// Delivery is what the kernel does, and tells, with payload that was sent by
// reference where InMemory is so. Pages of files (sendfile) are left alone.
const Delivery = "on its way to a socket of this machine, as over veth and loopback, the kernel copies what was sent by reference; a NIC " +
	"does not"

// InMemory says that an interface carries packets to this machine itself, in
// whichever network namespace: there is no NIC in it, and no wire.
func InMemory(name string) bool {
	link, err := netlink.LinkByName(name)
	return err == nil && IsInMemory(link)
}

// IsInMemory is InMemory of an interface that was looked up already.
func IsInMemory(link netlink.Link) bool {
	return link.Type() == "veth" || link.Type() == "netkit" || link.Attrs().Flags&net.FlagLoopback != 0
}

// Socket judges the way that the payload of a connected TCP socket takes, in the
// network namespace of the calling thread, which is the socket's. Interface is
// where it begins.
func Socket(fd int) (iface string, w Way, err error) {
	local, to, err := ends(fd)
	if err != nil {
		return "", Way{}, err
	}
	index, hop, err := route(fd, local, to)
	if err != nil {
		return "", Way{}, fmt.Errorf("find the route to %s: %w", to.Addr(), err)
	}
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", Way{}, fmt.Errorf("interface %d of the route to %s: %w", index, to.Addr(), err)
	}
	if w, err = judge(index, to.Addr(), hop); err == nil && w.Verdict == Clear {
		w = encrypts(fd, link, local.Addr().AsSlice(), to.Addr().AsSlice())
	}
	return link.Attrs().Name, w, err
}

// Path is what a connection's packets pass on this host.
type Path struct {
	Local, Peer netip.Addr
	Devices     []string // the interface of its route, and all that are below it
}

// Follow finds the path of a connected TCP socket, as Socket does.
func Follow(fd int) (p Path, err error) {
	local, to, err := ends(fd)
	if err != nil {
		return p, err
	}
	p.Local, p.Peer = local.Addr(), to.Addr()
	first, _, err := route(fd, local, to)
	if err != nil {
		return p, fmt.Errorf("find the route to %s: %w", p.Peer, err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return p, fmt.Errorf("list interfaces: %w", err)
	}
	passed := map[int]bool{first: true}
	for range deepest {
		for _, v := range links {
			a := v.Attrs()
			if passed[a.Index] && a.ParentIndex != 0 && a.NetNsID < 0 && v.Type() != "veth" {
				passed[a.ParentIndex] = true
			}
			// Of a bridge's ports those to containers are others' affair.
			passed[a.Index] = passed[a.Index] || passed[a.MasterIndex] && v.Type() != "veth"
		}
	}
	for _, v := range links {
		if passed[v.Attrs().Index] {
			p.Devices = append(p.Devices, v.Attrs().Name)
		}
	}
	if len(p.Devices) == 0 {
		return p, fmt.Errorf("interface %d of the route to %s is out of sight", first, p.Peer)
	}
	return p, nil
}

func judge(index int, to netip.Addr, hop net.IP) (Way, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return Way{}, fmt.Errorf("list interfaces: %w", err)
	}
	c, err := ethtool.Dial()
	if err != nil {
		return Way{}, err
	}
	defer c.Close()
	l := look{
		to: to, hop: hop, links: map[int]netlink.Link{}, filters: filters,
		features: func(name string) (map[string]ethtool.Feature, error) { return c.Features(name) },
	}
	for _, v := range links {
		l.links[v.Attrs().Index] = v
	}
	return l.at(index, 0)
}

// look is what a way is judged by.
type look struct {
	to       netip.Addr // not valid: anywhere
	hop      net.IP     // the next, nil where it is not known
	links    map[int]netlink.Link
	features func(iface string) (map[string]ethtool.Feature, error)
	filters  func(netlink.Link) ([]filter, error)
}

func (l *look) at(index, depth int) (Way, error) {
	link := l.links[index]
	if link == nil || depth > deepest {
		return Way{Hidden, fmt.Sprintf("interface %d is out of sight", index)}, nil
	}
	a := link.Attrs()
	f, err := l.features(a.Name)
	if err != nil {
		return Way{}, fmt.Errorf("offloads of %s: %w", a.Name, err)
	}
	if w := Offloads(a.Name, f, l.to); w.Verdict != Clear {
		return w, nil
	}
	tc, err := l.filters(link)
	if err != nil {
		return Way{}, err
	}
	if w := classify(a.Name, tc); w.Verdict != Clear {
		return w, nil
	}
	if a.Flags&net.FlagLoopback != 0 {
		return Way{}, nil // delivery here is reported
	}
	switch link.Type() {
	case "device", "dummy": // hardware, and nothing
		return Way{}, nil
	case "tun", "tuntap":
		return Way{Copies, fmt.Sprintf("%s hands packets to a program, which reads a copy", a.Name)}, nil
	case "vlan", "macvlan", "ipvlan", "dsa":
		if a.ParentIndex == 0 || a.NetNsID >= 0 {
			return Way{Hidden, fmt.Sprintf("%s goes on in another network namespace", a.Name)}, nil
		}
		return l.at(a.ParentIndex, depth+1)
	case "bridge", "bond", "team":
		return l.below(link, depth)
	case "veth", "netkit":
		here, err := l.delivers(a)
		if err == nil && here {
			return Way{}, nil
		}
		return Way{Hidden, fmt.Sprintf("%s leads into another network namespace, and this end does not see how payload leaves that: run the "+
			"end there, or look at its interfaces (ethtool -k)", a.Name)}, nil
	}
	return Way{Hidden, fmt.Sprintf("%s (%s) sends payload on in packets of its own: run over the interface below it", a.Name, link.Type())},
		nil
}

// Offloads judges what one device alone does to payload for an address, by what it
// has on.
func Offloads(name string, f map[string]ethtool.Feature, to netip.Addr) Way {
	if !f["tx-scatter-gather"].Active {
		return Way{Copies, fmt.Sprintf("%s has no scatter-gather, so the kernel makes one piece of every packet and says nothing of it (%s)",
			name, turnOn(name, "sg", f["tx-scatter-gather"]))}
	}
	sums := f["tx-checksum-ip-generic"].Active
	if v4, v6 := f["tx-checksum-ipv4"].Active, f["tx-checksum-ipv6"].Active; !to.IsValid() {
		sums = sums || v4 || v6
	} else if to.Unmap().Is4() {
		sums = sums || v4
	} else {
		sums = sums || v6
	}
	if !sums {
		return Way{Copies, fmt.Sprintf("%s computes no checksums, so the kernel does, over a copy that it says nothing of (%s)", name,
			turnOn(name, "tx", f["tx-checksum-ip-generic"], f["tx-checksum-ipv4"], f["tx-checksum-ipv6"]))}
	}
	return Way{}
}

// turnOn is what to do for one of some features, which their driver may not let be
// changed.
func turnOn(name, group string, features ...ethtool.Feature) string {
	if slices.ContainsFunc(features, func(f ethtool.Feature) bool { return !f.Fixed }) {
		return fmt.Sprintf("ethtool -K %s %s on", name, group)
	}
	return "its driver cannot; send over another interface"
}

// below judges the ports of a device: that which carries the payload where it is
// known, else all.
func (l *look) below(link netlink.Link, depth int) (Way, error) {
	a := link.Attrs()
	var ports []int
	for i, v := range l.links {
		if v.Attrs().MasterIndex == a.Index {
			ports = append(ports, i)
		}
	}
	slices.Sort(ports)
	if p := l.port(link); p > 0 {
		ports = []int{p}
	}
	var ways []Way
	for _, p := range ports {
		w, err := l.at(p, depth+1)
		if err != nil {
			return Way{}, err
		}
		ways = append(ways, w)
	}
	if len(ways) == 0 {
		return Way{Hidden, fmt.Sprintf("%s has no ports", a.Name)}, nil
	}
	worst := slices.MaxFunc(ways, func(v, w Way) int { return cmp.Compare(v.Verdict, w.Verdict) })
	best := slices.MinFunc(ways, func(v, w Way) int { return cmp.Compare(v.Verdict, w.Verdict) })
	if worst.Verdict == Copies && best.Verdict != Copies {
		return Way{Hidden, fmt.Sprintf("which port of %s carries the payload is not known, and %s", a.Name, worst.Why)}, nil
	}
	return worst, nil
}

// port is the port that a bridge or bond sends to the next hop by, 0 where that
// is not known.
func (l *look) port(link netlink.Link) int {
	if b, ok := link.(*netlink.Bond); ok && b.Mode == netlink.BOND_MODE_ACTIVE_BACKUP {
		return max(0, b.ActiveSlave)
	}
	if link.Type() != "bridge" || l.hop == nil {
		return 0
	}
	index := link.Attrs().Index
	family := unix.AF_INET6
	if l.hop.To4() != nil {
		family = unix.AF_INET
	}
	neighbors, err := netlink.NeighList(index, family)
	if err != nil {
		return 0
	}
	i := slices.IndexFunc(neighbors, func(n netlink.Neigh) bool { return n.IP.Equal(l.hop) && len(n.HardwareAddr) > 0 })
	if i < 0 {
		return 0
	}
	table, err := netlink.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return 0
	}
	for _, n := range table {
		if n.MasterIndex == index && n.HardwareAddr.String() == neighbors[i].HardwareAddr.String() {
			return n.LinkIndex
		}
	}
	return 0
}

// delivers reports whether the other end of a veth or netkit is in a namespace
// that has the address: then payload goes no further. Only its administrator may
// ask that of another namespace.
func (l *look) delivers(a *netlink.LinkAttrs) (bool, error) {
	if !l.to.IsValid() {
		return false, nil
	}
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return false, err
	}
	defer s.Close()
	// Else the kernel would ignore the namespace and answer for this one.
	if err := unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		return false, err
	}
	family := unix.AF_INET6
	if l.to.Unmap().Is4() {
		family = unix.AF_INET
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}
	req.AddData(nl.NewIfAddrmsg(family))
	if a.NetNsID >= 0 {
		req.AddData(nl.NewRtAttr(unix.IFA_TARGET_NETNSID, nl.Uint32Attr(uint32(a.NetNsID))))
	}
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfAddrmsg:])
		if err != nil {
			return false, err
		}
		for _, v := range attrs {
			if t := v.Attr.Type; t != unix.IFA_ADDRESS && t != unix.IFA_LOCAL {
				continue
			}
			if have, ok := netip.AddrFromSlice(v.Value); ok && have.Unmap() == l.to.Unmap().WithZone("") {
				return true, nil
			}
		}
	}
	return false, nil
}

// ends are a connection's addresses.
func ends(fd int) (local, peer netip.AddrPort, err error) {
	for _, e := range []struct {
		get func(int) (unix.Sockaddr, error)
		to  *netip.AddrPort
	}{{unix.Getsockname, &local}, {unix.Getpeername, &peer}} {
		sa, err := e.get(fd)
		if err != nil {
			return local, peer, fmt.Errorf("addresses of a connection: %w", err)
		}
		switch v := sa.(type) {
		case *unix.SockaddrInet4:
			*e.to = netip.AddrPortFrom(netip.AddrFrom4(v.Addr), uint16(v.Port))
		case *unix.SockaddrInet6:
			*e.to = netip.AddrPortFrom(netip.AddrFrom16(v.Addr).Unmap(), uint16(v.Port))
		default:
			return local, peer, fmt.Errorf("a connection of neither IPv4 nor IPv6")
		}
	}
	return local, peer, nil
}

// route asks the kernel by which interface, and which next hop, a socket's
// packets go: the ports count too where rules or several paths look at them.
func route(fd int, local, to netip.AddrPort) (index int, hop net.IP, err error) {
	oif, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	if err != nil {
		oif = 0 // Linux 5.0
	}
	mark, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK)
	if err != nil {
		mark = 0
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_REQUEST)
	m := &nl.RtMsg{}
	m.Family = unix.AF_INET6
	if to.Addr().Is4() {
		m.Family = unix.AF_INET
	}
	m.Dst_len, m.Src_len = uint8(to.Addr().BitLen()), uint8(local.Addr().BitLen())
	req.AddData(m)
	u32 := func(kind int, v uint32) {
		if v != 0 {
			req.AddData(nl.NewRtAttr(kind, nl.Uint32Attr(v)))
		}
	}
	port := func(kind int, v uint16) { req.AddData(nl.NewRtAttr(kind, []byte{byte(v >> 8), byte(v)})) }
	req.AddData(nl.NewRtAttr(unix.RTA_DST, to.Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.RTA_SRC, local.Addr().AsSlice()))
	u32(unix.RTA_OIF, uint32(oif))
	u32(unix.RTA_MARK, uint32(mark))
	req.AddData(nl.NewRtAttr(unix.RTA_IP_PROTO, []byte{unix.IPPROTO_TCP}))
	port(unix.RTA_SPORT, local.Port())
	port(unix.RTA_DPORT, to.Port())
	messages, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return 0, nil, err
	}
	hop = to.Addr().AsSlice()
	for _, b := range messages {
		attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtMsg:])
		if err != nil {
			return 0, nil, err
		}
		for _, v := range attrs {
			switch v.Attr.Type {
			case unix.RTA_OIF:
				index = int(nl.NativeEndian().Uint32(v.Value))
			case unix.RTA_GATEWAY:
				hop = v.Value
			}
		}
	}
	if index == 0 {
		return 0, nil, fmt.Errorf("the kernel names no interface")
	}
	return index, hop, nil
}
