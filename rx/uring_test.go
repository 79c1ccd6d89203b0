package rx_test

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
func params(flows, length int, options map[string]string) endpoint.Params {
	return endpoint.Params{
		Flows: flows, Length: length, Validate: true, Options: options,
		Pattern: endpoint.Pattern{Seed: 3, Period: length * (1 + 70000/length)},
	}
}

// validated transfers for a moment and checks that all arrived and was counted
// once.
func validated(t *testing.T, send, receive endpoint.Engine, p endpoint.Params) testutil.Outcome {
	t.Helper()
	out := transfer(t, send, receive, p)
	for i := range out.RX {
		r, s := testutil.Bytes(out.RX[i]), testutil.Bytes(out.TX[i])
		if r == 0 || r != s || r != out.Checked[i] {
			t.Errorf("flow %d: %d bytes sent, %d received, %d of them right", i, s, r, out.Checked[i])
		}
	}
	return out
}

// transfer transfers for a moment, and for longer where a busy machine gave some
// flow no turn.
func transfer(t *testing.T, send, receive endpoint.Engine, p endpoint.Params) testutil.Outcome {
	t.Helper()
	for d := 30 * time.Millisecond; ; d *= 4 {
		out := testutil.Transfer(t, send, receive, p, d)
		idle := testutil.Sum(out.RX, func(c *endpoint.Counters) uint64 {
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

// with runs an engine with options that the peer does not share.
type with struct {
	endpoint.Engine
	options map[string]string
}

func (w with) Open(p endpoint.Params) (endpoint.Session, error) {
	p.Options = w.options
	return w.Engine.Open(p)
}

func TestUringReceivesWhatWasSent(t *testing.T) {
	tier.Long(t)
	possible(t, rx.Uring())
	for _, send := range []endpoint.Engine{tx.Baseline(), tx.Uring(), tx.SendZC()} {
		for _, flows := range []int{1, 4} {
			for _, length := range []int{1, 999, 4096, 1 << 17, 1<<20 + 1} {
				t.Run(fmt.Sprintf("%s-%d-%d", send.Name(), flows, length), func(t *testing.T) {
					possible(t, send)
					out := validated(t, send, rx.Uring(), params(flows, length, nil))
					for i, c := range out.RX {
						if c.ZeroCopied.Load() != 0 || c.Syscalls[0].Load() == 0 {
							t.Errorf("flow %d: %d bytes zero-copied in %d calls", i, c.ZeroCopied.Load(), c.Syscalls[0].Load())
						}
					}
				})
			}
		}
	}
}

// TestUringLongBuffers: where eight buffers of the length would be too much,
// there are fewer.
func TestUringLongBuffers(t *testing.T) {
	possible(t, rx.Uring())
	validated(t, tx.Baseline(), rx.Uring(), params(1, 24<<20, nil))
}

// TestUringOptions: few buffers run out and the receive is armed again; waiting
// for many completions at once neither hangs nor loses.
func TestUringOptions(t *testing.T) {
	possible(t, rx.Uring())
	for _, o := range []map[string]string{
		{"buffers": "1"},
		{"buffers": "3"},
		{"buffers": "512"},
		{"wait-nr": "1"},
		{"busy-poll": "50"},
		{"wait-nr": "8", "min-wait-us": "1"},
		{"wait-nr": "4096", "min-wait-us": "5000", "buffers": "2"},
	} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			out := validated(t, tx.Uring(), with{rx.Uring(), o}, params(1, 9000, nil))
			if o["buffers"] == "1" && (extra(rx.Uring(), out.RX[0], "rearms") == 0) {
				t.Error("one buffer never ran out")
			}
		})
	}
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

func TestUringRefuses(t *testing.T) {
	possible(t, rx.Uring())
	for _, c := range []struct {
		p   endpoint.Params
		say string
	}{
		{params(1, 1000, map[string]string{"bufers": "3"}), "bufers"},
		{params(1, 1000, map[string]string{"buffers": "0"}), "buffers"},
		{params(1, 1000, map[string]string{"wait-nr": "x"}), "wait-nr"},
	} {
		_, err := rx.Uring().Open(c.p)
		if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%v: %v, want a usage error about %s", c.p.Options, err, c.say)
		}
	}
}

func TestUringAborts(t *testing.T) { aborts(t, rx.Uring()) }

// aborts shuts idle connections down under a receiver: it returns at once and
// leaves no descriptor.
func aborts(t *testing.T, e endpoint.Engine) {
	t.Helper()
	possible(t, e)
	const flows = 3
	before := openFiles(t)
	for round := range 3 {
		s, err := e.Open(params(flows, 4096, nil))
		if err != nil {
			t.Fatal(err)
		}
		var far, near []int
		for range flows {
			a, b := tcpPair(t)
			far, near = append(far, a), append(near, b)
		}
		ended := make(chan error, flows)
		for i := range s.Workers() {
			go func() {
				runtime.LockOSThread()
				w, err := s.Worker(i)
				if err != nil {
					t.Error(err)
					ended <- nil
					return
				}
				var conns []endpoint.Conn
				for k := i; k < flows; k += s.Workers() {
					conns = append(conns, endpoint.Conn{FD: near[k], Index: k, Counters: &endpoint.Counters{}, Consume: func([]byte) {}})
				}
				err = w.Run(conns, &endpoint.Stop{})
				ended <- errors.Join(err, w.Close())
			}()
		}
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		for _, fd := range near {
			if round == 2 { // by the peer, with a reset
				_ = unix.SetsockoptLinger(far[0], unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
				unix.Close(far[0])
				far = far[1:]
				continue
			}
			_ = unix.Shutdown(fd, unix.SHUT_RDWR)
		}
		for range s.Workers() {
			select {
			case err := <-ended:
				if round == 2 && !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("after a reset: %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the receiver goes on after its connections were shut down")
			}
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %v to end", d)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, fd := range append(far, near...) {
			unix.Close(fd)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
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

func TestUringDoesNotAllocate(t *testing.T) {
	possible(t, rx.Uring())
	doesNotAllocate(t, tx.Baseline(), rx.Uring(), params(1, 4096, nil))
}

// doesNotAllocate compares the allocations of two transfers of which one is
// longer by thousands of calls.
func doesNotAllocate(t *testing.T, send, receive endpoint.Engine, p endpoint.Params) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	run := func(d time.Duration) (allocations, calls uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out := testutil.Transfer(t, send, receive, p, d)
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs, out.RX[0].Syscalls[0].Load() + out.TX[0].Syscalls[0].Load()
	}
	run(10 * time.Millisecond)
	short, few := run(10 * time.Millisecond)
	var long, many uint64
	for d := 200 * time.Millisecond; many < few+500 && d < 10*time.Second; d *= 3 {
		long, many = run(d)
	}
	if many < few+500 {
		t.Fatalf("no more than %d calls in seconds", many)
	}
	if long > short+(many-few)/10 {
		t.Errorf("%d allocations in %d calls, %d in %d", short, few, long, many)
	}
}
