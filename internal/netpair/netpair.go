// Package netpair finds or makes the two network namespaces that a run on one
// machine needs: its own are anonymous, joined by a veth pair, and vanish with
// the last process inside.
package netpair

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/netif"
	"zcbench/internal/printable"
)

// End is one interface and the namespace it lives in. Interface is its name,
// also where it was found by an alternative one.
type End struct {
	Interface string
	Addr4     netip.Addr // invalid when there is none
	Addr6     netip.Addr
	ns        netns.NsHandle
}

// Do runs f on a thread inside the namespace, with that namespace's sysfs
// where f asks for it. The thread ends with f, so nothing leaks out; a process
// that f starts is born there.
func (e *End) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies here
		// Entering a namespace needs CAP_SYS_ADMIN even where one is in it.
		if here, err := netns.Get(); err == nil {
			defer here.Close()
			if here.Equal(e.ns) {
				done <- f()
				return
			}
		}
		if err := netns.Set(e.ns); err != nil {
			done <- fmt.Errorf("enter the network namespace of %s: %w", e.Interface, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// SetRPS lets the receive work of the interface's one queue run on cpus
// (kernel doc: networking/scaling.rst). It needs CAP_NET_ADMIN in the initial
// user namespace.
func (e *End) SetRPS(cpus []int) error {
	words := []uint32{0}
	for _, c := range cpus {
		for len(words) <= c/32 {
			words = append(words, 0)
		}
		words[c/32] |= 1 << (c % 32)
	}
	mask := ""
	for i := len(words) - 1; i >= 0; i-- {
		if mask != "" {
			mask += ","
		}
		mask += fmt.Sprintf("%08x", words[i])
	}
	return e.Do(func() error {
		// A sysfs shows the network namespace it was mounted in.
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("part the mount namespace: %w", err)
		}
		if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
			return fmt.Errorf("mount sysfs: %w", err)
		}
		path := "/sys/class/net/" + e.Interface + "/queues/rx-0/rps_cpus"
		if err := os.WriteFile(path, []byte(mask), 0); err != nil {
			return fmt.Errorf("set receive packet steering of %s to CPUs %v: %w", e.Interface, cpus, err)
		}
		return nil
	})
}

// Pair is a sending and a receiving end.
type Pair struct {
	TX, RX End
}

// Close lets go of the namespaces; those that New made vanish when no process
// is left in them.
func (p *Pair) Close() error {
	return errors.Join(p.TX.ns.Close(), p.RX.ns.Close())
}

// Addresses of a made pair: RFC 2544 and RFC 5180 set these ranges aside for
// benchmarks.
const (
	txAddr4, rxAddr4 = "198.18.0.1", "198.18.0.2"
	txAddr6, rxAddr6 = "2001:2::1", "2001:2::2"
)

// New makes two namespaces joined by a veth pair. It needs CAP_SYS_ADMIN and
// CAP_NET_ADMIN, which root of an unprivileged user namespace has.
func New() (_ *Pair, err error) {
	p := &Pair{
		TX: End{Interface: "zctx0", Addr4: netip.MustParseAddr(txAddr4), Addr6: netip.MustParseAddr(txAddr6), ns: netns.None()},
		RX: End{Interface: "zcrx0", Addr4: netip.MustParseAddr(rxAddr4), Addr6: netip.MustParseAddr(rxAddr6), ns: netns.None()},
	}
	defer func() {
		if err != nil {
			if p.TX.ns.IsOpen() {
				p.TX.ns.Close()
			}
			if p.RX.ns.IsOpen() {
				p.RX.ns.Close()
			}
		}
	}()
	if p.TX.ns, err = anonymous(); err != nil {
		return nil, err
	}
	if p.RX.ns, err = anonymous(); err != nil {
		return nil, err
	}
	err = p.TX.Do(func() error {
		la := netlink.NewLinkAttrs()
		la.Name = p.TX.Interface
		err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: p.RX.Interface, PeerNamespace: netlink.NsFd(p.RX.ns)})
		if err != nil {
			return fmt.Errorf("make a veth pair: %w (module veth must be loaded or built in)", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, e := range []*End{&p.TX, &p.RX} {
		if err := e.Do(e.up); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func anonymous() (netns.NsHandle, error) {
	h := netns.None()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var err error
		if h, err = netns.New(); err != nil {
			err = fmt.Errorf("make a network namespace: %w", err)
		}
		done <- err
	}()
	return h, <-done
}

func (e *End) up() error {
	for _, name := range []string{"lo", e.Interface} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if name == e.Interface {
			for _, a := range []string{e.Addr4.String() + "/24", e.Addr6.String() + "/64"} {
				addr, err := netlink.ParseAddr(a)
				if err != nil {
					return fmt.Errorf("address %s: %w", a, err)
				}
				addr.Flags = unix.IFA_F_NODAD // usable at once
				if err := netlink.AddrAdd(l, addr); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EACCES) {
					return fmt.Errorf("add %s to %s: %w", a, name, err)
				} else if err != nil {
					e.Addr6 = netip.Addr{} // IPv6 is off on this host
				}
			}
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	return nil
}

// Find gives the pair of two existing interfaces that are wired back to back,
// each looked up in this namespace and then in the named ones.
func Find(tx, rx string) (_ *Pair, err error) {
	p := &Pair{TX: End{Interface: tx, ns: netns.None()}, RX: End{Interface: rx, ns: netns.None()}}
	if err := p.TX.find(); err != nil {
		return nil, err
	}
	if err := p.RX.find(); err != nil {
		p.TX.ns.Close()
		return nil, err
	}
	if p.TX.ns.Equal(p.RX.ns) {
		err := fmt.Errorf("%s and %s are in one network namespace: their traffic would cross the loopback device, not the link; move one: ip "+
			"netns add peer && ip link set %s netns peer", tx, rx, rx)
		p.Close()
		return nil, err
	}
	return p, nil
}

// namedDir is where iproute2 keeps named namespaces (ip-netns(8)).
const namedDir = "/run/netns"

// Locate looks an interface up in this namespace and then in the named ones.
func Locate(name string) (*End, error) {
	e := &End{Interface: name, ns: netns.None()}
	if err := e.locate(); err != nil {
		return nil, err
	}
	return e, nil
}

// Close lets go of the namespace.
func (e *End) Close() error { return e.ns.Close() }

// find is locate for an interface that is to carry traffic.
func (e *End) find() error {
	if err := e.locate(); err != nil {
		return err
	}
	if !e.Addr4.IsValid() && !e.Addr6.IsValid() {
		e.ns.Close()
		return fmt.Errorf("interface %s has no address; give it one: ip addr add 198.18.0.1/24 dev %s", e.Interface, printable.Word(e.Interface))
	}
	return nil
}

func (e *End) locate() error {
	here, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open this network namespace: %w", err)
	}
	var unseen error // that keeps from looking, and does not say that there is none
	look := func(err error) (found bool) {
		if fault.Exhausted(err) {
			unseen = err
		}
		return err == nil
	}
	candidates := []netns.NsHandle{here}
	named, _ := filepath.Glob(filepath.Join(namedDir, "*")) // only a bad pattern fails
	for _, path := range named {
		if h, err := netns.GetFromPath(path); look(err) {
			candidates = append(candidates, h)
		}
	}
	found := false
	for _, h := range candidates {
		if !found {
			e.ns = h
			if found = look(e.Do(e.look)); found {
				continue
			}
		}
		h.Close()
	}
	if !found {
		e.ns = netns.None()
		if unseen != nil {
			return fault.Errorf(fault.Failed, "look for interface %s: %w", e.Interface, unseen)
		}
		return fmt.Errorf("interface %s is neither in this network namespace nor in a named one (ip -all netns exec ip link)", e.Interface)
	}
	return nil
}

func (e *End) look() error {
	name, err := netif.Name(e.Interface)
	if err != nil {
		return err
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	e.Interface = name
	addrs, err := i.Addrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok || ip.IsLinkLocalUnicast() {
			continue
		}
		if ip = ip.Unmap(); ip.Is4() && !e.Addr4.IsValid() {
			e.Addr4 = ip
		} else if ip.Is6() && !e.Addr6.IsValid() {
			e.Addr6 = ip
		}
	}
	return nil
}
