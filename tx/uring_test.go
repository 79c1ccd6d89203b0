package tx_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/tier"
	"zcbench/internal/uring"
	"zcbench/rx"
	"zcbench/tx"
)

// possible skips a test of an engine that this host cannot run.
func possible(t testing.TB, e endpoint.Engine) {
	t.Helper()
	if v := e.Probe(""); v.Answer != feature.Yes {
		t.Skipf("%s: %s (%s)", e.Name(), v.Reason, v.Fix)
	}
}

// params are those of a validated transfer of pieces of length bytes.
func params(flows, length int) endpoint.Params {
	return endpoint.Params{
		Flows: flows, Length: length, Validate: true,
		Pattern: endpoint.Pattern{Seed: 3, Period: length * (1 + 70000/length)},
	}
}

// with runs an engine with options that the peer does not share.
type with struct {
	endpoint.Engine
	options map[string]string
}

func (w with) Open(p endpoint.Params) (endpoint.Session, error) {
	p.Options = w.options
	return w.Engine.Open(p)
}

// extra finds a counter by its name.
func extra(e endpoint.Engine, c *endpoint.Counters, name string) uint64 {
	for i, n := range e.Layout().Extra {
		if n == name {
			return c.Extra[i].Load()
		}
	}
	panic(e.Name() + " has no counter " + name)
}

// transfer transfers for a moment, and for longer where a busy machine gave some
// flow no turn.
func transfer(t *testing.T, send, receive endpoint.Engine, p endpoint.Params) testutil.Outcome {
	t.Helper()
	for d := 30 * time.Millisecond; ; d *= 4 {
		out := testutil.Transfer(t, send, receive, p, d)
		idle := testutil.Sum(out.TX, func(c *endpoint.Counters) uint64 {
			if testutil.Bytes(c) == 0 {
				return 1
			}
			return 0
		})
		if idle == 0 || d > time.Second {
			return out
		}
	}
}

// ringOptions are those under which the senders on a ring must keep order.
var ringOptions = []map[string]string{nil, {"batch": "1"}, {"batch": "3"}, {"batch": "64"}}

// sends transfers with all of a sender's options and checks that every byte
// arrived in its place and was counted once.
func sends(t *testing.T, e endpoint.Engine, options []map[string]string, check func(*testing.T, *endpoint.Counters)) {
	t.Helper()
	possible(t, e)
	for _, o := range options {
		for _, flows := range []int{1, 4} {
			for _, length := range []int{1, 999, 4096, 1 << 17, 1<<20 + 1} {
				t.Run(fmt.Sprintf("%v-%d-%d", o, flows, length), func(t *testing.T) {
					out := transfer(t, with{e, o}, rx.Baseline(), params(flows, length))
					for i := range out.TX {
						r, s := testutil.Bytes(out.RX[i]), testutil.Bytes(out.TX[i])
						if s == 0 || r != s || r != out.Checked[i] {
							t.Errorf("flow %d: %d bytes sent, %d received, %d of them right", i, s, r, out.Checked[i])
						}
						check(t, out.TX[i])
					}
				})
			}
		}
	}
}

func TestUringSendsInOrder(t *testing.T) {
	tier.Long(t)
	sends(t, tx.Uring(), ringOptions, func(t *testing.T, c *endpoint.Counters) {
		if c.ZeroCopied.Load() != 0 {
			t.Errorf("%d bytes zero-copied by copying", c.ZeroCopied.Load())
		}
	})
}

// TestSendZCSendsInOrder: and over loopback the kernel copies all of it on
// delivery, which each notification must say.
func TestSendZCSendsInOrder(t *testing.T) {
	tier.Long(t)
	options := append([]map[string]string{
		{"outstanding": "1"}, {"outstanding": "8", "batch": "4"}, {"huge": "off"},
	}, ringOptions...)
	if v := uring.ProbeMessage(); v.Answer == feature.Yes {
		options = append(options, map[string]string{"call": "sendmsg"}, map[string]string{"call": "sendmsg", "batch": "3", "outstanding": "2"})
	} else {
		t.Logf("not with call=sendmsg: %s (%s)", v.Reason, v.Fix)
	}
	sends(t, tx.SendZC(), options, func(t *testing.T, c *endpoint.Counters) {
		e := tx.SendZC()
		if c.ZeroCopied.Load() != 0 {
			t.Errorf("%d bytes zero-copied over loopback", c.ZeroCopied.Load())
		}
		notifs, copied := extra(e, c, "notifs"), extra(e, c, "notifs_copied")
		if notifs == 0 || notifs != copied || extra(e, c, "cqes") != 2*notifs {
			t.Errorf("%d completions, %d notifications, %d of them of copies", extra(e, c, "cqes"), notifs, copied)
		}
	})
}

func TestRingSendersRefuse(t *testing.T) {
	for _, e := range []endpoint.Engine{tx.Uring(), tx.SendZC()} {
		possible(t, e)
		for _, o := range []map[string]string{{"bach": "3"}, {"batch": "0"}, {"batch": "257"}, {"batch": "-1"}} {
			p := params(1, 1000)
			p.Options = o
			if _, err := e.Open(p); fault.Of(err) != fault.Usage {
				t.Errorf("%s %v: %v, want a usage error", e.Name(), o, err)
			}
		}
	}
}

// TestSendZCNeedsHugePages: asked for by name, they are no wish.
func TestSendZCNeedsHugePages(t *testing.T) {
	e := tx.SendZC()
	possible(t, e)
	p := params(1, 4096)
	p.Pattern.Period = 1 << 40 // more than any machine keeps in reserve
	p.Options = map[string]string{"huge": "on"}
	s, err := e.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := s.Worker(0); fault.Of(err) != fault.Failed || !strings.Contains(err.Error(), "nr_hugepages") {
		t.Errorf("%v, want an error that says what is missing", err)
	}
}

// tcpPair is two connected loopback sockets.
func tcpPair(t *testing.T) (client, server int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	defer unix.Close(l)
	must(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(unix.Listen(l, 1))
	at, err := unix.Getsockname(l)
	must(err)
	client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Connect(client, at))
	server, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC)
	must(err)
	return client, server
}

// worker runs worker 0 of a session on a thread of its own and closes it.
func worker(t *testing.T, s endpoint.Session, c endpoint.Conn, stop *endpoint.Stop) chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		w, err := s.Worker(0)
		if err != nil {
			t.Error(err)
			ended <- err
			return
		}
		err = w.Run([]endpoint.Conn{c}, stop)
		ended <- errors.Join(err, w.Close())
	}()
	return ended
}

// TestRingSendersAbort: against a peer that reads nothing, a shutdown ends
// them at once, before and after they were asked to stop, though the kernel
// still holds what was not read. All of that comes out right afterwards, when
// the sender's memory and ring are gone, and no descriptor stays.
func TestRingSendersAbort(t *testing.T) {
	for _, e := range []endpoint.Engine{tx.Uring(), tx.SendZC()} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s-stopped-%v", e.Name(), stopped), func(t *testing.T) {
				possible(t, e)
				before := openFiles(t)
				p := params(1, 10000)
				s, err := e.Open(p)
				if err != nil {
					t.Fatal(err)
				}
				near, far := tcpPair(t)
				var stop endpoint.Stop
				var n endpoint.Counters
				ended := worker(t, s, endpoint.Conn{FD: near, Counters: &n}, &stop)
				time.Sleep(100 * time.Millisecond) // until the buffers are full
				if stopped {
					stop.Request()
					time.Sleep(20 * time.Millisecond)
				}
				start := time.Now()
				if err := unix.Shutdown(near, unix.SHUT_RDWR); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-ended:
					// A copying sender that was stopped may have been about to
					// end well.
					if err == nil && (!stopped || e.Name() == "sendzc") {
						t.Error("no error after the connection was shut down")
					}
				case <-time.After(5 * time.Second):
					t.Fatal("the sender goes on after its connection was shut down")
				}
				if d := time.Since(start); d > time.Second {
					t.Errorf("it took %v to end", d)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				unix.Close(near)
				check := endpoint.NewChecker(p.Pattern, 0)
				buf := make([]byte, 1<<16)
				for {
					k, err := unix.Read(far, buf)
					if err == unix.EINTR {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if k == 0 {
						break
					}
					check.Consume(buf[:k])
				}
				unix.Close(far)
				got, err := check.Result()
				if err != nil {
					t.Error(err)
				}
				if got < testutil.Bytes(&n) || got == 0 {
					t.Errorf("%d bytes counted as sent, %d arrived", testutil.Bytes(&n), got)
				}
				// The kernel gives a ring's files back in its own time.
				for range 100 {
					if openFiles(t) <= before {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				t.Errorf("%d descriptors before, %d after", before, openFiles(t))
			})
		}
	}
}

// TestRingSendersLeaveNothing: twenty runs whose peer goes away in the middle,
// with all it has not read, and as many that are shut down, leave neither a
// descriptor nor pinned memory nor a ring.
func TestRingSendersLeaveNothing(t *testing.T) {
	message := with{tx.SendZC(), map[string]string{"call": "sendmsg"}}
	for name, e := range map[string]endpoint.Engine{"uring": tx.Uring(), "sendzc": tx.SendZC(), "sendmsg": message} {
		t.Run(name, func(t *testing.T) {
			possible(t, e)
			if v := uring.ProbeMessage(); name == "sendmsg" && v.Answer != feature.Yes {
				t.Skipf("%s (%s)", v.Reason, v.Fix)
			}
			round := func(k int) {
				s, err := e.Open(params(1, 1<<17))
				if err != nil {
					t.Fatal(err)
				}
				near, far := tcpPair(t)
				ended := worker(t, s, endpoint.Conn{FD: near, Counters: &endpoint.Counters{}}, &endpoint.Stop{})
				time.Sleep(10 * time.Millisecond)
				if k%2 == 0 {
					unix.Close(far)
				} else {
					unix.Shutdown(near, unix.SHUT_RDWR)
					defer unix.Close(far)
				}
				select {
				case err := <-ended:
					if err == nil {
						t.Error("no error from a run that was cut off")
					}
				case <-time.After(10 * time.Second):
					t.Fatal("the sender goes on without its connection")
				}
				unix.Close(near)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			round(0) // what the runtime takes for threads and timers
			files, pinned, mapped := openFiles(t), status(t, "VmPin"), mappings(t)
			for k := range 40 {
				round(k)
			}
			// The kernel takes rings down in its own time.
			for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				f, p, m := openFiles(t), status(t, "VmPin"), mappings(t)
				if f <= files && p <= pinned && m <= mapped {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("before and after: %d and %d descriptors, %d and %d KiB pinned, %d and %d mappings of rings", files, f, pinned, p, mapped, m)
				}
			}
		})
	}
}

// status is a line of /proc/self/status, in KiB.
func status(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), name+":")
	if !ok {
		t.Fatalf("no %s in /proc/self/status", name)
	}
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// mappings counts those of rings. (Payload is next to what the runtime maps; the
// pinned part of it shows in VmPin.)
func mappings(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "io_uring")
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestRingSendersSeeAReset: the error says so.
func TestRingSendersSeeAReset(t *testing.T) {
	for _, e := range []endpoint.Engine{tx.Uring(), tx.SendZC()} {
		possible(t, e)
		s, err := e.Open(params(1, 10000))
		if err != nil {
			t.Fatal(err)
		}
		near, far := tcpPair(t)
		ended := worker(t, s, endpoint.Conn{FD: near, Counters: &endpoint.Counters{}}, &endpoint.Stop{})
		time.Sleep(50 * time.Millisecond)
		unix.Close(far)
		select {
		case err := <-ended:
			if !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) || !strings.Contains(err.Error(), "flow 1") {
				t.Errorf("%s: %v, want a reset of flow 1", e.Name(), err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s goes on after a reset", e.Name())
		}
		unix.Close(near)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRingSendersDoNotAllocate(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, e := range []endpoint.Engine{tx.Uring(), tx.SendZC()} {
		possible(t, e)
		run := func(d time.Duration) (allocations, calls uint64) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out := testutil.Transfer(t, e, rx.Baseline(), params(1, 4096), d)
			runtime.ReadMemStats(&after)
			return after.Mallocs - before.Mallocs, out.TX[0].Syscalls[0].Load()
		}
		run(10 * time.Millisecond)
		short, few := run(10 * time.Millisecond)
		var long, many uint64
		for d := 200 * time.Millisecond; many < few+500 && d < 10*time.Second; d *= 3 {
			long, many = run(d)
		}
		if many < few+500 {
			t.Fatalf("%s: no more than %d calls in seconds", e.Name(), many)
		}
		if long > short+(many-few)/10 {
			t.Errorf("%s: %d allocations in %d calls, %d in %d", e.Name(), short, few, long, many)
		}
	}
}
