package egress

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What encryption does to payload that was sent by reference the kernel does not
// tell: it goes out of pages of its own, or in one piece (xfrm_output).

// policies are the rules by which this namespace encrypts or wraps what it sends,
// which only its administrator may see.
func policies() (all []netlink.XfrmPolicy, err error) {
	every, err := netlink.XfrmPolicyList(netlink.FAMILY_ALL)
	for _, p := range every {
		if p.Dir == netlink.XFRM_DIR_OUT && p.Action == netlink.XFRM_POLICY_ALLOW && len(p.Tmpls) > 0 {
			all = append(all, p)
		}
	}
	return all, err
}

// mayEncrypt judges all that leaves by an interface.
func mayEncrypt(index int, name string) Way {
	all, err := policies()
	if err != nil {
		return Way{} // nobody says that there are any
	}
	for _, p := range all {
		if p.Ifindex == 0 || p.Ifindex == index {
			return Way{Hidden, fmt.Sprintf("policies of IPsec may apply to what leaves by %s (ip xfrm policy), as from %s to %s, and what "+
				"encryption does to payload the kernel does not tell", name, p.Src, p.Dst)}
		}
	}
	return Way{}
}

// mostMTU is more than no packet over IPv4 has, whatever the device takes.
const mostMTU = 65535

// encrypts judges the packets of a connection. What wraps them makes them smaller
// than the device's: where they are not, nothing does.
func encrypts(fd int, link netlink.Link, local, peer net.IP) Way {
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if sa, err := unix.Getsockname(fd); err == nil {
		if _, v6 := sa.(*unix.SockaddrInet6); v6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
		}
	}
	mtu, err := unix.GetsockoptInt(fd, level, option)
	if err != nil || mtu >= min(link.Attrs().MTU, mostMTU) {
		return Way{}
	}
	all, err := policies()
	switch {
	case errors.Is(err, unix.EPERM):
		return Way{Hidden, fmt.Sprintf("packets to %s have %d bytes at most and %s takes %d, so the path is narrower or IPsec wraps them, "+
			"which only root may see: run as root", peer, mtu, link.Attrs().Name, link.Attrs().MTU)}
	case err != nil:
		return Way{} // this kernel has no IPsec
	}
	for _, p := range all {
		if covers(p.Src, local) && covers(p.Dst, peer) && (p.Ifindex == 0 || p.Ifindex == link.Attrs().Index) {
			return Way{Hidden, fmt.Sprintf("a policy of IPsec applies to it, from %s to %s (ip xfrm policy), and what encryption does to payload "+
				"the kernel does not tell", p.Src, p.Dst)}
		}
	}
	return Way{}
}

// covers reports whether an end of a policy is of an address; none is of all.
func covers(n *net.IPNet, a net.IP) bool {
	if n == nil {
		return true
	}
	ones, bits := n.Mask.Size()
	if ones == 0 && bits > 0 {
		return true
	}
	return n.Contains(a)
}
