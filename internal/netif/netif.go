// Package netif finds network interfaces as the kernel does, in the network
// namespace of the calling thread: by any of their names, by the way that
// packets take, and by address where only one interface has it.
package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	"zcbench/internal/abi"
)

// Name gives the name of an interface that is called by it or by an alternative
// one (ip link property add dev NAME altname OTHER). Files of sysfs, ioctls and
// records know the first only, so it is looked up once, where a name comes in.
func Name(name string) (string, error) {
	l, err := netlink.LinkByName(name)
	var none netlink.LinkNotFoundError
	switch {
	case errors.As(err, &none):
		return "", fmt.Errorf("there is no interface %s (%w); ip link lists them", name, err)
	case err != nil:
		return "", fmt.Errorf("interface %s: %w", name, err)
	}
	return l.Attrs().Name, nil
}

// Zoned gives an address or a host whose zone is an interface's alternative
// name with its name, and all else as it is.
func Zoned(host string) string {
	address, zone, ok := strings.Cut(host, "%")
	if !ok {
		return host
	}
	if name, err := Name(zone); err == nil {
		return address + "%" + name
	}
	return host
}

// To names the interface that packets to an address leave by, from a source
// address where there is one: the routing table decides, not who has the
// source address, which may be on a loopback or a bridge's port too.
func To(to, from netip.Addr) (string, error) {
	var o netlink.RouteGetOptions
	if zone := to.Zone(); zone != "" {
		index, err := zoneIndex(zone)
		if err != nil {
			return "", err
		}
		o.OifIndex = index
	}
	if from.IsValid() && !from.IsUnspecified() {
		o.SrcAddr = from.Unmap().AsSlice()
	}
	routes, err := netlink.RouteGetWithOptions(to.Unmap().AsSlice(), &o)
	if err != nil {
		return "", fmt.Errorf("find the route to %s: %w", to, err)
	}
	for _, r := range routes {
		if r.LinkIndex > 0 {
			return byIndex(r.LinkIndex)
		}
	}
	return "", fmt.Errorf("the route to %s has no interface", to)
}

// From names the interface that a TCP connection's peer is behind. For one that
// was accepted that is where its first packet arrived; for one that was made,
// where its packets leave.
func From(c net.Conn) (string, error) {
	for {
		under, ok := c.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			break
		}
		c = under.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return "", errors.New("not a TCP connection")
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("look at the connection: %w", err)
	}
	local, remote := t.LocalAddr().(*net.TCPAddr).AddrPort().Addr(), t.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	index := 0
	var failed error
	if err := raw.Control(func(fd uintptr) { index, failed = abi.IncomingInterface(int(fd), !local.Unmap().Is4()) }); err != nil {
		return "", fmt.Errorf("look at the connection: %w", err)
	}
	if failed == nil && index > 0 {
		return byIndex(index)
	}
	return To(remote, local)
}

// Down says why nothing passes the interface of an index that had a name, "" where
// the interface is there and has a carrier, or the kernel cannot be asked.
func Down(index int, name string) string {
	i, err := net.InterfaceByIndex(index)
	if _, unasked := errors.AsType[*os.SyscallError](err); unasked {
		return "" // no descriptor is left, or the like
	}
	switch {
	case err != nil:
		return fmt.Sprintf("interface %s is not here any more: it was deleted, or moved to another network namespace", name)
	case i.Flags&net.FlagUp == 0:
		return fmt.Sprintf("interface %s is down", i.Name)
	case i.Flags&net.FlagRunning == 0:
		return fmt.Sprintf("interface %s has no carrier", i.Name)
	}
	return ""
}

// Cut says why this host reaches another no more from an address of its own, "" where
// it has the address and a route, or the kernel cannot be asked.
func Cut(local, remote netip.Addr) string {
	local, remote = local.Unmap(), remote.Unmap()
	if !local.IsValid() || !remote.IsValid() || remote.IsLinkLocalUnicast() {
		return ""
	}
	all, err := net.InterfaceAddrs()
	mine := err != nil || local.IsLoopback()
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		mine = mine || err == nil && p.Addr().Unmap() == local
	}
	if !mine {
		return fmt.Sprintf("this host does not have the address %s any more", local)
	}
	_, err = To(remote, local)
	for _, e := range []syscall.Errno{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EACCES} {
		if errors.Is(err, e) {
			return fmt.Sprintf("this host has no route to %s any more (%v)", remote, e)
		}
	}
	return ""
}

// Holder names the one interface that has an address. Where several have it,
// as a bridge and its port may, nothing is guessed.
func Holder(a netip.Addr) (string, error) {
	if zone := a.Zone(); zone != "" {
		index, err := zoneIndex(zone)
		if err != nil {
			return "", err
		}
		return byIndex(index)
	}
	ifaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list the interfaces: %w", err)
	}
	var found []string
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			return "", fmt.Errorf("list the addresses of %s: %w", i.Name, err)
		}
		for _, v := range addrs {
			if p, err := netip.ParsePrefix(v.String()); err == nil && p.Addr().Unmap() == a.Unmap() {
				found = append(found, i.Name)
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no interface with address %s is there", a)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("several interfaces have the address %s: %s; say which one is meant", a, strings.Join(found, " "))
}

func byIndex(index int) (string, error) {
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return "", fmt.Errorf("interface %d: %w", index, err)
	}
	return i.Name, nil
}

// zoneIndex reads a zone, which is any name of an interface or its number.
func zoneIndex(zone string) (int, error) {
	l, err := netlink.LinkByName(zone)
	if err == nil {
		return l.Attrs().Index, nil
	}
	if n, e := strconv.ParseUint(zone, 10, 31); e == nil {
		return int(n), nil
	}
	return 0, fmt.Errorf("interface %s: %w", zone, err)
}

// Carries says whether packets to or from an address of this host pass an
// interface: it has the address, or is right below or above one that has, as a port
// of a bridge or a bond and the device of a VLAN are.
func Carries(name string, a netip.Addr) (bool, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return false, fmt.Errorf("interface %s: %w", name, err)
	}
	all, err := netlink.LinkList()
	if err != nil {
		return false, fmt.Errorf("list the interfaces: %w", err)
	}
	self := l.Attrs()
	for _, o := range all {
		at := o.Attrs()
		near := at.Index == self.Index || at.Index == self.MasterIndex || at.MasterIndex == self.Index
		// A veth pair's parent is its peer, a number of another namespace.
		near = near || o.Type() != "veth" && at.ParentIndex == self.Index || l.Type() != "veth" && self.ParentIndex == at.Index
		if !near {
			continue
		}
		addrs, err := netlink.AddrList(o, netlink.FAMILY_ALL)
		if err != nil {
			return false, fmt.Errorf("list the addresses of %s: %w", at.Name, err)
		}
		for _, has := range addrs {
			if ip, ok := netip.AddrFromSlice(has.IP); ok && ip.Unmap() == a.Unmap().WithZone("") {
				return true, nil
			}
		}
	}
	return false, nil
}
