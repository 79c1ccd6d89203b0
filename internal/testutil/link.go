package testutil

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

// Link is a pair of interfaces in two network namespaces, as the option --link
// takes it, and what its interfaces count: a witness that knows nothing of
// zcbench.
type Link struct {
	TX, RX string // the interfaces, of which one sends and one receives payload

	handles [2]*netlink.Handle // of TX and RX
	links   [2]netlink.Link
	mu      sync.Mutex
	seen    []counted
	removed atomic.Bool
}

// LinkRX is the address of RX.
const LinkRX = "10.79.0.2"

// counted is what the interfaces had counted at a time.
type counted struct {
	at       time.Time
	sent     float64 // payload bytes that left TX, those of TCP over IPv4 with timestamps
	received float64
}

// NewLink makes a veth pair that ends with the test. It carries at most rate bits a
// second from TX to RX; 0 is what the machine can do.
func NewLink(t testing.TB, rate uint64) *Link {
	t.Helper()
	tier.Root(t, "to make network namespaces")
	id := make([]byte, 4)
	if _, err := rand.Read(id); err != nil {
		t.Fatal(err)
	}
	name := hex.EncodeToString(id)
	l := &Link{TX: "zt" + name, RX: "zr" + name}
	spaces := [2]netns.NsHandle{space(t, l.TX), space(t, l.RX)}
	for i := range spaces {
		h, err := netlink.NewHandleAt(spaces[i])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		l.handles[i] = h
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.TX
	if err := l.handles[0].LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: l.RX, PeerNamespace: netlink.NsFd(spaces[1])}); err != nil {
		t.Skipf("needs a veth pair: %v", err)
	}
	for i, end := range []struct{ name, addr string }{{l.TX, "10.79.0.1/24"}, {l.RX, LinkRX + "/24"}} {
		link, err := l.handles[i].LinkByName(end.name)
		if err == nil {
			l.links[i] = link
			var a *netlink.Addr
			if a, err = netlink.ParseAddr(end.addr); err == nil {
				err = l.handles[i].AddrAdd(link, a)
			}
		}
		if err == nil {
			err = l.handles[i].LinkSetUp(link)
		}
		if err != nil {
			t.Fatalf("%s: %v", end.name, err)
		}
	}
	l.slow(t, rate)
	l.watch(t, 5*time.Millisecond)
	return l
}

// WatchPair is a Link of interfaces that are there, slowed down in the same way
// until the test ends.
func WatchPair(t testing.TB, p *netpair.Pair, rate uint64) *Link {
	t.Helper()
	l := &Link{TX: p.TX.Interface, RX: p.RX.Interface}
	for i, e := range []*netpair.End{&p.TX, &p.RX} {
		if err := e.Do(func() (err error) {
			if l.handles[i], err = netlink.NewHandle(); err != nil {
				return err
			}
			t.Cleanup(func() { _ = l.handles[i].Close() })
			l.links[i], err = l.handles[i].LinkByName(e.Interface)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if q := l.slow(t, rate); q != nil {
		t.Cleanup(func() {
			if err := l.handles[0].QdiscDel(q); err != nil {
				t.Error(err)
			}
		})
	}
	l.watch(t, 25*time.Millisecond) // the lab's machine is slow
	return l
}

// slow limits what TX sends, nil where it is not to be.
func (l *Link) slow(t testing.TB, rate uint64) netlink.Qdisc {
	t.Helper()
	if rate == 0 {
		return nil
	}
	// Room for a tenth of a second, and for what TCP hands over at once.
	burst := uint32(max(16<<10, rate/8/100))
	q := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.links[0].Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate / 8, Limit: burst + uint32(max(24<<10, rate/8/10)), Buffer: netlink.Xmittime(rate/8, burst),
	}
	if err := l.handles[0].QdiscAdd(q); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("needs the token bucket filter to slow a link down (module sch_tbf): %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return q
}

// watch counts until the test ends.
func (l *Link) watch(t testing.TB, every time.Duration) {
	l.count(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(every):
				l.count(t)
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
}

// space makes a named namespace, as ip netns add does.
func space(t testing.TB, name string) netns.NsHandle {
	t.Helper()
	made := make(chan error, 1)
	var ns netns.NsHandle
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is in it
		var err error
		ns, err = netns.NewNamed(name)
		made <- err
	}()
	if err := <-made; err != nil {
		t.Skipf("needs the right to make network namespaces: %v", err)
	}
	t.Cleanup(func() {
		ns.Close()
		if err := netns.DeleteNamed(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remove the network namespace %s: %v", name, err)
		}
	})
	return ns
}

// Up takes the receiving interface up or down.
func (l *Link) Up(t testing.TB, up bool) {
	t.Helper()
	set := l.handles[1].LinkSetDown
	if up {
		set = l.handles[1].LinkSetUp
	}
	if err := set(l.links[1]); err != nil {
		t.Fatal(err)
	}
}

// Remove takes the pair away.
func (l *Link) Remove(t testing.TB) {
	t.Helper()
	l.removed.Store(true)
	if err := l.handles[1].LinkDel(l.links[1]); err != nil {
		t.Fatal(err)
	}
}

// headers are those of Ethernet, IPv4 and TCP with timestamps.
const headers = 14 + 20 + 32

func (l *Link) count(t testing.TB) {
	c := counted{at: time.Now()}
	for i := range l.links {
		link, err := l.handles[i].LinkByIndex(l.links[i].Attrs().Index)
		if l.removed.Load() {
			return
		}
		if err != nil {
			t.Errorf("counters of the link: %v", err)
			return
		}
		if s := link.Attrs().Statistics; i == 0 {
			c.sent = float64(s.TxBytes) - headers*float64(s.TxPackets)
		} else {
			c.received = float64(s.RxBytes) - headers*float64(s.RxPackets)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, c)
}

// Crossed is how many payload bytes left and arrived between two times.
func (l *Link) Crossed(from, to time.Time) (sent, received float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := func(when time.Time) (c counted) {
		i, _ := slices.BinarySearchFunc(l.seen, when, func(c counted, t time.Time) int { return c.at.Compare(t) })
		if i == 0 || i == len(l.seen) {
			return l.seen[min(i, len(l.seen)-1)]
		}
		a, b := l.seen[i-1], l.seen[i]
		part := float64(when.Sub(a.at)) / float64(b.at.Sub(a.at))
		return counted{sent: a.sent + part*(b.sent-a.sent), received: a.received + part*(b.received-a.received)}
	}
	a, b := at(from), at(to)
	return b.sent - a.sent, b.received - a.received
}

// Deafen makes the process pid's connection by the TCP port local hear nothing
// any more, as if something on the way dropped it: a filter of the socket's does.
// It reports whether there is such a connection.
func Deafen(t testing.TB, pid, local int) bool {
	t.Helper()
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	defer unix.Close(p)
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, name := range names {
		n, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		fd, err := unix.PidfdGetfd(p, n, 0)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
			t.Skipf("needs the right to take a process's socket: %v", err)
		}
		if err != nil {
			continue
		}
		s := os.NewFile(uintptr(fd), name)
		here, err := unix.Getsockname(fd)
		_, connected := unix.Getpeername(fd)
		if err == nil && connected == nil && port(here) == local {
			drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
			err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
			s.Close()
			if err != nil {
				t.Fatalf("attach a filter: %v", err)
			}
			return true
		}
		s.Close()
	}
	return false
}

func port(a unix.Sockaddr) int {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	return 0
}
