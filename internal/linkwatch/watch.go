// Package linkwatch tells what is changed of interfaces while somebody measures, also
// where it is put back before he looks. The kernel says so by itself: rtnetlink
// does, and the group "monitor" of the ethtool family. Where nothing happens that
// costs nothing but a look whether anything came.
package linkwatch

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zcbench/internal/genl/ethtool"
)

// Watch hears of changes. It serves one goroutine at a time.
type Watch struct {
	routes, ethtool int // sockets; -1: none
	monitor         ethtool.Monitor
	links           map[int]*link
	addresses       []netip.Addr
	came            []message
	lost            bool
	buf             []byte
}

// link is what was last known of an interface.
type link struct {
	name  string
	state []field
	on    map[string]ethtool.Feature // offloads
}

// message is one that came, unread.
type message struct {
	at      int64
	ethtool bool
	syscall.NetlinkMessage
}

// Change is one of an interface.
type Change struct {
	At        int64 // as Look was told
	Interface string
	What      string // such as "mtu 1500 → 9000"
	Removed   bool   // deleted, or moved to another network namespace
	// Features are the offloads from then on, where these were changed.
	Features map[string]ethtool.Feature
}

// most is how many messages are kept; a host that changes more often is told to
// have changed.
const most = 1 << 10

// On begins to watch interfaces, by their names in the network namespace of the
// calling thread, and those of their addresses that matter.
func On(interfaces []string, addresses []netip.Addr) (_ *Watch, err error) {
	w := &Watch{routes: -1, ethtool: -1, links: map[int]*link{}, addresses: addresses, buf: make([]byte, 1<<16)}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	c, err := ethtool.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if w.monitor, err = c.Monitor(interfaces[0]); err != nil {
		return nil, err
	}
	if w.ethtool, err = join(unix.NETLINK_GENERIC, w.monitor.Group); err != nil {
		return nil, fmt.Errorf("hear of changes made by ethtool: %w", err)
	}
	if w.routes, err = join(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_TC, unix.RTNLGRP_IPV4_IFADDR,
		unix.RTNLGRP_IPV6_IFADDR); err != nil {
		return nil, fmt.Errorf("hear of changed interfaces: %w", err)
	}
	for _, name := range interfaces {
		v, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		f, err := c.Features(name)
		if err != nil {
			return nil, fmt.Errorf("offloads of %s: %w", name, err)
		}
		w.links[v.Attrs().Index] = &link{name: v.Attrs().Name, state: fields(v.Attrs()), on: f}
	}
	return w, nil
}

// join opens a socket that hears of groups and never blocks.
func join(protocol int, groups ...uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g))
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close ends it.
func (w *Watch) Close() {
	for _, fd := range []int{w.routes, w.ethtool} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Look notes what has come until now.
func (w *Watch) Look(now int64) {
	for _, fd := range []int{w.routes, w.ethtool} {
		for {
			n, _, err := unix.Recvfrom(fd, w.buf, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if errors.Is(err, unix.ENOBUFS) {
				w.lost = true
				continue
			}
			if err != nil {
				break // there is no more
			}
			w.note(now, fd == w.ethtool, w.buf[:n])
		}
	}
}

func (w *Watch) note(now int64, byEthtool bool, b []byte) {
	all, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		w.lost = true
		return
	}
	for _, m := range all {
		if !byEthtool && w.links[indexOf(m.Data)] == nil {
			continue
		}
		if len(w.came) == most {
			w.lost = true
			return
		}
		m.Data = slices.Clone(m.Data)
		w.came = append(w.came, message{now, byEthtool, m})
	}
}

// Changes are those that were noted from a time on, in order, and what was removed
// before. Lost says that there were more, which nobody knows.
func (w *Watch) Changes(from int64) (all []Change, lost bool, err error) {
	for _, m := range w.came {
		var c []Change
		if m.ethtool {
			c, err = w.offloads(m)
		} else {
			c, err = w.route(m)
		}
		if err != nil {
			return nil, false, err
		}
		for i := range c {
			if c[i].At = m.at; m.at >= from || c[i].Removed {
				all = append(all, c[i])
			}
		}
	}
	w.came = nil
	return all, w.lost, nil
}

// offloads reads what ethtool changed.
func (w *Watch) offloads(m message) ([]Change, error) {
	if m.Header.Type != w.monitor.Family {
		return nil, nil
	}
	n, err := w.monitor.Parse(m.Data)
	l := w.links[n.Index]
	if err != nil || n.What == "" || l == nil {
		return nil, err
	}
	c := Change{Interface: l.name, What: n.What, Features: n.Features}
	if n.Features != nil {
		if c.What = different(l.on, n.Features); c.What == "" {
			return nil, nil
		}
		l.on = n.Features
	}
	return []Change{c}, nil
}
