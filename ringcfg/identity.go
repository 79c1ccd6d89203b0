package ringcfg

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space names a network namespace. The kernel gives an inode again once its
// namespace is gone, a cookie never.
type space struct {
	Inode  uint64 `json:"inode"`
	Cookie uint64 `json:"cookie,omitempty"` // 0 before Linux 5.14
}

func spaceOf(ns netns.NsHandle) (s space, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns), &st); err != nil {
		return s, fmt.Errorf("name a network namespace: %w", err)
	}
	s.Inode = st.Ino
	return s, within(ns, func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("name a network namespace: %w", err)
		}
		defer unix.Close(fd)
		if s.Cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); errors.Is(err, unix.ENOPROTOOPT) {
			return nil
		}
		return err
	})
}

// identity tells an interface from others while the machine runs, also after
// it got another name, another address or another network namespace.
type identity struct {
	Index     int    `json:"index"`
	Kind      string `json:"kind"` // veth, device
	MAC       string `json:"mac,omitempty"`
	Permanent string `json:"permanent,omitempty"` // address of the hardware
	Bus       string `json:"bus,omitempty"`       // where the hardware is: pci/0000:01:00.0
	Link      int    `json:"link,omitempty"`      // index of its peer, or of what it is stacked on
	Peer      space  `json:"peer,omitzero"`       // namespace of Link, where that is another one that can be seen
}

// identityOf describes a link, but for the namespace of its peer.
func identityOf(l netlink.Link) identity {
	a := l.Attrs()
	id := identity{Index: a.Index, Kind: l.Type(), MAC: a.HardwareAddr.String(), Permanent: a.PermHWAddr.String(), Link: a.ParentIndex}
	if a.ParentDev != "" {
		id.Bus = a.ParentDevBus + "/" + a.ParentDev
	}
	return id
}

// peerSpace finds the namespace of a link's peer, where that is another one
// that can be seen. h is a handle of the link's own.
func peerSpace(h *netlink.Handle, l netlink.Link) (peer space) {
	id := l.Attrs().NetNsID
	if id < 0 {
		return peer
	}
	eachSpace(func(ns netns.NsHandle) (stop bool) {
		if n, err := h.GetNetNsIdByFd(int(ns)); err != nil || n != id {
			return false
		}
		if s, err := spaceOf(ns); err == nil {
			peer = s
		}
		ns.Close()
		return true
	})
	return peer
}

// whole is the identity of the host's interface with the namespace of its peer.
func (h *host) whole() identity {
	id := h.identity
	if id.Link == 0 {
		return id
	}
	if d, err := h.device(); err == nil {
		id.Peer = peerSpace(h.link, d.Link)
	}
	return id
}

// is says whether two descriptions are of one interface. An index is not given
// twice within a namespace, but in each anew.
func (id identity) is(o identity, sameSpace bool) bool {
	switch {
	case id.Kind != o.Kind || id.Bus != o.Bus || id.Permanent != o.Permanent:
		return false
	case id.Bus != "" && id.Permanent != "":
		return true
	case sameSpace:
		return id.Index == o.Index
	case id.Link != 0 && id.Link == o.Link && id.Peer != (space{}) && id.Peer == o.Peer:
		return true // a peer has one peer
	case id.Bus != "":
		return id.Index == o.Index
	}
	return id.MAC != "" && id.MAC == o.MAC && id.Link == o.Link
}

// findSpace looks a network namespace up.
func findSpace(want space) (found netns.NsHandle, ok bool) {
	eachSpace(func(ns netns.NsHandle) bool {
		var st unix.Stat_t
		if unix.Fstat(int(ns), &st) != nil || st.Ino != want.Inode {
			return false
		}
		if s, err := spaceOf(ns); err != nil || s != want {
			return false
		}
		found, ok = ns, true
		return true
	})
	return found, ok
}

// findInterface looks for the interface of a transaction in all network
// namespaces that can be seen, first in the one where it was.
func findInterface(tx *transaction) (found netns.NsHandle, name string, ok bool) {
	look := func(ns netns.NsHandle) bool {
		s, err := spaceOf(ns)
		if err != nil {
			return false
		}
		h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		if err != nil {
			return false
		}
		defer h.Close()
		links, err := h.LinkList()
		if err != nil {
			return false
		}
		sameSpace := s == tx.Namespace
		for _, l := range links {
			id := identityOf(l)
			if tx.Identity.Peer != (space{}) && tx.Identity.Link == id.Link && tx.Identity.Kind == id.Kind {
				id.Peer = peerSpace(h, l)
			}
			if tx.Identity.is(id, sameSpace) && (s.Cookie != 0 || tx.Identity.MAC == id.MAC) {
				found, name, ok = ns, l.Attrs().Name, true
				return true
			}
		}
		return false
	}
	if ns, seen := findSpace(tx.Namespace); seen {
		if look(ns) {
			return found, name, ok
		}
		ns.Close()
	}
	eachSpace(look)
	return found, name, ok
}

// findLike looks in all network namespaces for an interface that may be the one of
// a change, which cannot be told for sure any more: of the same kind and index, and
// with all settings that were made.
func findLike(c *change) (name string, ok bool) {
	eachSpace(func(ns netns.NsHandle) bool {
		h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		if err != nil {
			return false
		}
		defer h.Close()
		l, err := h.LinkByIndex(c.tx.Identity.Index)
		if err != nil || l.Type() != c.tx.Identity.Kind {
			return false
		}
		own, err := netns.GetFromPath(fmt.Sprintf("/proc/thread-self/fd/%d", ns))
		if err != nil {
			return false
		}
		at, err := openHost(own, l.Attrs().Name)
		if err != nil {
			return false
		}
		defer at.close()
		now, err := at.snapshot(device)
		if err != nil {
			return false
		}
		for name, v := range c.Set {
			if now[name] != v || v == c.Before[name] {
				return false
			}
		}
		name, ok = fmt.Sprintf("%s of the network namespace %d", at.iface, at.space.Inode), true
		ns.Close()
		return true
	})
	return name, ok
}

// eachSpace opens each network namespace that this process can see once: this
// thread's, those that are mounted somewhere, those that processes are in, and
// those that only open files hold. f that returns true keeps the handle, and
// is called no more.
func eachSpace(f func(netns.NsHandle) (stop bool)) {
	seen := map[uint64]bool{}
	try := func(path string) bool {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || seen[st.Ino] {
			return false
		}
		ns, err := netns.GetFromPath(path)
		if err != nil {
			return false
		}
		var is unix.Stat_t
		if unix.Fstat(int(ns), &is) != nil || is.Ino != st.Ino {
			ns.Close()
			return false
		}
		seen[st.Ino] = true
		if f(ns) {
			return true
		}
		ns.Close()
		return false
	}
	for _, pattern := range []string{"/proc/thread-self/ns/net", "/proc/1/ns/net", "/proc/[0-9]*/ns/net"} {
		for _, path := range glob(pattern) {
			if try(path) {
				return
			}
		}
	}
	for _, path := range mounted() {
		if try(path) {
			return
		}
	}
	for _, path := range glob("/proc/[0-9]*/fd/*") {
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, "net:[") && try(path) {
			return
		}
	}
}

// mounted lists where network namespaces are mounted, as ip netns does.
func mounted() []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var paths []string
	for line := range strings.Lines(string(b)) {
		// ID, parent, device, root, mount point, … (proc_pid_mountinfo(5))
		if words := strings.Fields(line); len(words) > 4 && strings.HasPrefix(words[3], "net:[") {
			paths = append(paths, strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(words[4]))
		}
	}
	return paths
}
