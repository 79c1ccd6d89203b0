package ringcfg

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netif"
)

// host is the machine, and the interface if there is one, seen from a network
// namespace.
type host struct {
	root     string // where /proc, /sys and /dev of the machine are; not empty in tests
	from     *answers.Source
	iface    string // empty: only what is not an interface's
	index    int
	driver   string
	ns       netns.NsHandle
	space    space
	identity identity         // of the interface
	wide     bool             // shared.NAME is read and written in the initial namespace too
	initial  netns.NsHandle   // the namespace of PID 1; closed when it is not to be had
	link     *netlink.Handle  // nil where a capture answers
	route    *nl.SocketHandle // likewise
	eth      *ethtool.Conn
	dev      *netdev.Conn // nil before Linux 6.3
	sys      string       // a sysfs that shows ns; empty when none does
	sysfd    *os.File     // holds sys where it is ours
	latency  *os.File     // holds the latency limit of cpu.dma-latency
	extra    []string     // sysctls to read beside those of the list
	// fixed are things of the interface that no one can change, as they were read
	// last: those who want them so have them.
	fixed Settings
	// splitChanged says whether the last write of header split configured it
	// otherwise than it was.
	splitChanged bool
}

// within runs f on a thread inside a network namespace. The thread ends with
// f, so nothing leaks out.
func within(ns netns.NsHandle, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies here
		// Entering a namespace needs CAP_SYS_ADMIN even where one is in it.
		if here, err := netns.Get(); err == nil {
			defer here.Close()
			if here.Equal(ns) {
				done <- f()
				return
			}
		}
		if err := netns.Set(ns); err != nil {
			if err = fmt.Errorf("enter a network namespace: %w", err); errors.Is(err, unix.EPERM) {
				err = fault.Wrap(fault.Unsupported, err)
			}
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// openHost looks at the machine from the namespace ns, which it takes over.
func openHost(ns netns.NsHandle, iface string) (*host, error) { return openHostFrom(nil, ns, iface) }

// openHostFrom is openHost where another than the kernel may answer what the
// interface is asked.
func openHostFrom(from *answers.Source, ns netns.NsHandle, iface string) (*host, error) {
	h := &host{from: from, iface: iface, ns: ns, initial: netns.None(), fixed: Settings{}}
	if initial, err := netns.GetFromPath("/proc/1/ns/net"); err == nil {
		h.initial = initial
	}
	var err error
	if h.space, err = spaceOf(ns); err == nil {
		err = within(ns, h.open)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *host) open() (err error) {
	if h.iface == "" {
		return nil
	}
	if h.iface, err = netif.Name(h.iface); err != nil {
		return err
	}
	if h.link, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	h.route = &nl.SocketHandle{Socket: sock}
	return h.dial()
}

// replay is a host of which there is but an interface, in a capture.
func replay(from *answers.Source, iface string) (*host, error) {
	h := &host{from: from, iface: iface, ns: netns.None(), initial: netns.None(), fixed: Settings{}}
	if err := h.dial(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// dial gets to those who answer for the interface.
func (h *host) dial() error {
	d, err := h.device()
	if err != nil {
		return err
	}
	h.index, h.identity = d.Index(), identityOf(d)
	if h.eth, err = ethtool.DialFrom(h.from); err != nil {
		return err
	}
	if h.dev, err = netdev.DialFrom(h.from); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if d, err := h.eth.Driver(h.iface); err == nil {
		h.driver = d.Name
	}
	reply, err := h.from.Ask("sysfs", h.iface, func() (answers.Reply, error) {
		h.openSysfs()
		return answers.Reply{Text: onOff(h.sys != "")}, nil
	})
	if h.from.Playing() && reply.Text == "on" {
		h.sys = "/sys"
	}
	return err
}

// device reads the interface, by its number once that is known.
func (h *host) device() (netif.Device, error) {
	return netif.LookOver(h.from, h.route, h.index, h.iface)
}

// openSysfs finds a sysfs that shows this namespace. /sys shows the one it was
// mounted in, so another is mounted, nowhere, where the right is there.
func (h *host) openSysfs() {
	dir := filepath.Join("/sys/class/net", h.iface)
	index, _ := readFile(filepath.Join(dir, "ifindex"))
	mac, _ := readFile(filepath.Join(dir, "address"))
	if index == fmt.Sprint(h.index) && mac == h.identity.MAC && (!h.initial.IsOpen() || h.ns.Equal(h.initial)) {
		h.sys = "/sys"
		return
	}
	fs, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return
	}
	h.sysfd = os.NewFile(uintptr(fd), "sysfs")
	h.sys = fmt.Sprintf("/proc/self/fd/%d", fd)
}

func (h *host) close() {
	h.holdLatency("") // closing an open file cannot fail here
	if h.link != nil {
		h.link.Close()
	}
	if h.route != nil {
		h.route.Close()
	}
	if h.eth != nil {
		h.eth.Close()
	}
	if h.dev != nil {
		h.dev.Close()
	}
	if h.sysfd != nil {
		h.sysfd.Close()
	}
	if h.initial.IsOpen() {
		h.initial.Close()
	}
	if h.ns.IsOpen() {
		h.ns.Close()
	}
}

// Settings are values by the canonical names of settings. A name that is
// absent, or whose value is empty, is a thing that does not exist, such as a
// flow rule.
type Settings map[string]string

// of names the interface that a setting is of, "" the host.
func (h *host) of(name string) string {
	if f, _, err := familyOf(name); err != nil || f.group != device {
		return ""
	}
	return h.iface
}

// names lists the settings in order of name.
func (s Settings) names() []string {
	names := make([]string, 0, len(s))
	for n := range s {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// differing lists the names whose values differ between two states.
func differing(a, b Settings) []string {
	var names []string
	for n, v := range a {
		if b[n] != v {
			names = append(names, n)
		}
	}
	for n, v := range b {
		if _, ok := a[n]; !ok && v != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// groups reads those groups that some settings belong to.
func (h *host) groups(of Settings) (Settings, error) {
	all, read := Settings{}, map[string]bool{}
	for _, name := range of.names() {
		f, _, err := familyOf(name)
		if err != nil || read[f.group] {
			continue
		}
		read[f.group] = true
		s, err := h.snapshot(f.group)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, s)
	}
	return all, nil
}

// all reads all families that there are: of a capture those of its interface.
func (h *host) all() (Settings, error) {
	if h.from.Playing() {
		return h.snapshot(device)
	}
	return h.snapshot("")
}

// snapshot reads all families of a group, or all of them for "".
func (h *host) snapshot(group string) (Settings, error) {
	s := Settings{}
	for _, f := range families {
		if group != "" && f.group != group || f.group == device && h.iface == "" {
			continue
		}
		if err := f.read(h, s); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, fmt.Errorf("read %s settings: %w", f.name, err)
		}
	}
	return s, nil
}
