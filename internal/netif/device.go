package netif

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"zcbench/internal/answers"
)

// Device is an interface as the kernel describes it.
type Device struct {
	netlink.Link
	LeastMTU, MostMTU int // that its driver takes; MostMTU is MaxInt32 where it has no limit
	IPv6MTU           int // of IPv6 on it, 0 where it has no IPv6
}

// Index is the interface's number.
func (d Device) Index() int { return d.Attrs().Index }

// Look reads an interface of the calling thread's network namespace, by its name.
// Another than the kernel may answer.
func Look(from *answers.Source, name string) (Device, error) { return LookOver(from, nil, 0, name) }

// LookOver is Look over a socket of a namespace, and by number where that is not 0.
func LookOver(from *answers.Source, over *nl.SocketHandle, index int, name string) (Device, error) {
	reply, err := from.Ask("link", name, func() (reply answers.Reply, err error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index)
		req.AddData(msg)
		if index == 0 {
			req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
		}
		if over != nil {
			req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: over}
		}
		all, err := req.Execute(unix.NETLINK_ROUTE, 0)
		for _, b := range all {
			reply.Messages = append(reply.Messages, b)
		}
		return reply, err
	})
	if err != nil {
		return Device{}, fmt.Errorf("interface %s: %w", name, err)
	}
	if len(reply.Messages) != 1 || len(reply.Messages[0]) < unix.SizeofIfInfomsg {
		return Device{}, fmt.Errorf("interface %s: %d answers", name, len(reply.Messages))
	}
	return parse(name, reply.Messages[0])
}

func parse(name string, b []byte) (d Device, err error) {
	defer func() {
		if p := recover(); p != nil { // the library takes it for granted that a kernel wrote b
			d, err = Device{}, fmt.Errorf("interface %s: malformed answer: %v", name, p)
		}
	}()
	d = Device{MostMTU: math.MaxInt32}
	if d.Link, err = netlink.LinkDeserialize(nil, b); err != nil {
		return d, fmt.Errorf("interface %s: %w", name, err)
	}
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofIfInfomsg:]) // the library leaves the limits out
	if err != nil {
		return d, fmt.Errorf("interface %s: %w", name, err)
	}
	for _, a := range attrs {
		if len(a.Value) < 4 {
			continue
		}
		switch n := int(binary.NativeEndian.Uint32(a.Value)); a.Attr.Type {
		case unix.IFLA_MIN_MTU:
			d.LeastMTU = n
		case unix.IFLA_MAX_MTU:
			if n > 0 { // it has a limit
				d.MostMTU = n
			}
		case unix.IFLA_AF_SPEC:
			if d.IPv6MTU, err = ipv6MTU(a.Value); err != nil {
				return d, fmt.Errorf("interface %s: %w", name, err)
			}
		}
	}
	return d, nil
}

// ipv6MTU finds IPv6's own MTU (DEVCONF_MTU6 of linux/ipv6.h, the sysctl
// net.ipv6.conf.IFACE.mtu) in what address families say of an interface.
func ipv6MTU(families []byte) (int, error) {
	const mtu6 = 2 * 4 // the third of 32-bit numbers
	all, err := nl.ParseRouteAttr(families)
	if err != nil {
		return 0, err
	}
	for _, family := range all {
		if family.Attr.Type&^unix.NLA_F_NESTED != unix.AF_INET6 {
			continue
		}
		attrs, err := nl.ParseRouteAttr(family.Value)
		if err != nil {
			return 0, err
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.IFLA_INET6_CONF && len(a.Value) >= mtu6+4 {
				return int(binary.NativeEndian.Uint32(a.Value[mtu6:])), nil
			}
		}
	}
	return 0, nil
}
