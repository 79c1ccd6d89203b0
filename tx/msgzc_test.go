package tx

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/egress"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/testutil"
)

// Completions are accounted for by number, in any order, across the wrap of
// the kernel's 32 bits.
func TestMsgZCComplete(t *testing.T) {
	type done struct {
		lo, hi uint32
		copied bool
	}
	for name, c := range map[string]struct {
		first      uint32 // number of the first of 10 sends of 1, 2, … 10 bytes
		done       []done
		zc, copied uint64
		flying     int
		bad        bool // the last of done
		unknown    uint64
	}{
		"one":           {0, []done{{0, 0, false}}, 1, 0, 9, false, 0},
		"range":         {0, []done{{0, 9, true}}, 0, 55, 0, false, 0},
		"out of order":  {0, []done{{5, 9, false}, {0, 4, true}}, 6, 49, 0, false, 34},
		"copying began": {0, []done{{0, 2, false}, {3, 5, false}, {6, 9, true}}, 10, 45, 0, false, 11},
		"copying ended": {0, []done{{0, 2, true}, {3, 5, true}, {6, 9, false}}, 34, 21, 0, false, 11},
		"one by one":    {0, []done{{0, 0, false}, {1, 1, true}, {2, 2, false}, {3, 9, false}}, 53, 2, 0, false, 0},
		"wrap":          {0xfffffffb, []done{{0xfffffffb, 4, false}}, 55, 0, 0, false, 0},
		"wrap in parts": {0xfffffffb, []done{{0xfffffffb, 0xffffffff, true}, {0, 4, false}}, 40, 15, 0, false, 14},
		"twice":         {0, []done{{0, 1, false}, {1, 1, false}}, 3, 0, 8, true, 0},
		"never sent":    {0, []done{{10, 10, false}}, 0, 0, 10, true, 0},
		"backwards":     {0, []done{{3, 2, false}}, 0, 0, 10, true, 0},
		"too many":      {0, []done{{0, 10, false}}, 0, 0, 10, true, 0},
	} {
		w := newFlight()
		w.id = c.first
		for i := range 10 {
			w.lengths[w.id%zcWindow] = uint32(i + 1)
			w.id++
			w.flying++
		}
		var n endpoint.Counters
		var err error
		for i, d := range c.done {
			if err != nil {
				t.Errorf("%s: completion %d: %v", name, i-1, err)
			}
			_, err = w.complete(&n, d.lo, d.hi, d.copied)
		}
		w.settle(&n)
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
		if n.ZeroCopied.Load() != c.zc || n.Copied.Load() != c.copied || n.Unknown.Load() != c.unknown || w.flying != c.flying {
			t.Errorf("%s: %d zero-copied, %d copied, %d of them unknown, %d in flight, want %d, %d, %d, %d",
				name, n.ZeroCopied.Load(), n.Copied.Load(), n.Unknown.Load(), w.flying, c.zc, c.copied, c.unknown, c.flying)
		}
	}
}

// open makes a msgzc worker of its own session.
func openMsgZC(t *testing.T, length int) *msgzcWorker {
	t.Helper()
	if v := MsgZC().Probe(""); v.Answer != feature.Yes {
		t.Skipf("%s (to change it: %s)", v.Reason, v.Fix)
	}
	s, err := MsgZC().Open(endpoint.Params{Flows: 1, Length: length, Pattern: endpoint.Pattern{Period: length}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Worker(0)
	if err != nil {
		t.Fatal(err)
	}
	return w.(*msgzcWorker)
}

// What the peer never acknowledged is still the kernel's when the run is
// aborted: the memory stays, and Close says so.
func TestMsgZCLeavesMemoryInFlight(t *testing.T) {
	w := openMsgZC(t, 256<<10)
	rx, tx := testutil.Connect(t, 1)
	defer unix.Close(rx[0])
	defer unix.Close(tx[0])
	var stop endpoint.Stop
	var n endpoint.Counters
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- w.Run([]endpoint.Conn{{FD: tx[0], Counters: &n}}, &stop)
	}()
	time.Sleep(100 * time.Millisecond) // nobody reads: it blocks
	stop.Request()
	unix.Shutdown(tx[0], unix.SHUT_RDWR)
	select {
	case <-done:
	case <-time.After(time.Second):
		t.Fatal("the worker did not end")
	}
	err := w.Close()
	if !errors.Is(err, unix.ECANCELED) || !strings.Contains(err.Error(), "262144 bytes") {
		t.Errorf("close: %v", err)
	}
	var sum byte
	for _, b := range w.region.mem {
		sum ^= b // faults if it was unmapped
	}
	_ = sum
}

// inNamespace runs f on a thread with a network namespace of its own, where
// lo is up.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	skip := ""
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			skip = fmt.Sprintf("a network namespace needs root: %v", err)
			return
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			t.Error(err)
			return
		}
		lo.SetUint16(unix.IFF_UP)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
	if skip != "" {
		t.Skip(skip)
	}
}

// connected makes a loopback connection in the thread's namespace.
func connected(t *testing.T) (rx, tx int) {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(l, 1); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	if tx, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(tx, at); err != nil {
		t.Fatal(err)
	}
	if rx, _, err = unix.Accept(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(rx); unix.Close(tx) })
	return rx, tx
}

// With room for few notifications the sender waits for completions; with room
// for none it names the setting. Neither spins.
func TestMsgZCOptmem(t *testing.T) {
	const knob = "/proc/sys/net/core/optmem_max"
	for name, c := range map[string]struct {
		optmem string
		sends  bool
	}{
		"few":  {"2048", true},
		"none": {"1", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := openMsgZC(t, 64<<10)
			skip := ""
			inNamespace(t, func() {
				// The knob is the namespace's own since Linux 6.8; before, a
				// test must not touch it.
				if _, err := os.Stat(knob); err != nil {
					skip = fmt.Sprintf("net.core.optmem_max cannot be set in a network namespace: %v", err)
					return
				}
				if err := os.WriteFile(knob, []byte(c.optmem), 0o644); err != nil {
					skip = err.Error()
					return
				}
				rx, tx := connected(t)
				var stop endpoint.Stop
				var n endpoint.Counters
				done := make(chan error, 1)
				go func() {
					runtime.LockOSThread()
					done <- w.Run([]endpoint.Conn{{FD: tx, Counters: &n}}, &stop)
				}()
				if !c.sends {
					err := <-done
					if fault.Of(err) != fault.Failed || !strings.Contains(err.Error(), "net.core.optmem_max") {
						t.Errorf("got %v", err)
					}
					if err := w.Close(); err != nil {
						t.Error(err)
					}
					return
				}
				time.Sleep(300 * time.Millisecond) // nobody reads: notifications run out
				if k := n.Extra[zcENOBUFS].Load(); k == 0 || k > 20 {
					t.Errorf("%d ENOBUFS in 300 ms", k)
				}
				stop.Request()
				got := make(chan uint64)
				go func() {
					var sum uint64
					buf := make([]byte, 1<<20)
					for k, err := unix.Read(rx, buf); k > 0 && err == nil; k, err = unix.Read(rx, buf) {
						sum += uint64(k)
					}
					got <- sum
				}()
				if err := <-done; err != nil {
					t.Error(err)
				}
				unix.Shutdown(tx, unix.SHUT_WR)
				if sum := <-got; sum != testutil.Bytes(&n) || sum == 0 {
					t.Errorf("%d bytes arrived, %d counted", sum, testutil.Bytes(&n))
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
			if skip != "" {
				t.Skip(skip)
			}
		})
	}
}

// TestEnded: what a connection that is gone says was not copied may never have
// left, and comes first (sends 8 to 15 of a cut-off run); what was copied was.
func TestEnded(t *testing.T) {
	var n endpoint.Counters
	f := newFlight()
	for range 16 {
		f.launch(10)
	}
	f.ended = true
	for _, d := range []struct {
		lo, hi uint32
		copied bool
	}{{8, 15, false}, {0, 7, true}} {
		if _, err := f.complete(&n, d.lo, d.hi, d.copied); err != nil {
			t.Fatal(err)
		}
	}
	f.settle(&n)
	if n.ZeroCopied.Load() != 0 || n.Copied.Load() != 160 || n.Unknown.Load() != 80 {
		t.Errorf("%d zero-copied, %d copied, of which %d unknown", n.ZeroCopied.Load(), n.Copied.Load(), n.Unknown.Load())
	}
	_, senders := testutil.Connect(t, 1)
	if hungUp(senders[0]) {
		t.Error("hung up while it is open")
	}
	if err := unix.Shutdown(senders[0], unix.SHUT_RDWR); err != nil || !hungUp(senders[0]) {
		t.Errorf("open after its shutdown (%v)", err)
	}
}

// What probe says of local delivery is one sentence, with an interface or without.
func TestProbeSaysOneThingOfDelivery(t *testing.T) {
	for _, e := range []endpoint.Engine{MsgZC(), SendZC()} {
		without, with := e.Probe(""), e.Probe("lo")
		if without.Answer != feature.Yes {
			t.Logf("%s: %v", e.Name(), without)
			continue
		}
		if without.Reason != egress.Delivery || with.Reason != egress.Delivery || e.Layout().Copied != egress.Delivery {
			t.Errorf("%s: %q and on lo %q", e.Name(), without.Reason, with.Reason)
		}
	}
	if v := Sendfile().Probe(""); v.Answer == feature.Yes && v.Reason != "" {
		t.Errorf("sendfile, whose pages are left alone: %q", v.Reason)
	}
}
