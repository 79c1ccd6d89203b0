package rx_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/tier"
	"zcbench/rx"
	"zcbench/tx"
)

func senders() []endpoint.Engine {
	return []endpoint.Engine{tx.Baseline(), tx.Sendfile(), tx.MsgZC()}
}

func receivers() []endpoint.Engine {
	return []endpoint.Engine{rx.Baseline(), rx.MMap(), rx.Trunc()}
}

// Every byte that any sender sends reaches any receiver, in order and counted
// once.
func TestPairs(t *testing.T) {
	tier.Long(t)
	for _, s := range senders() {
		for _, r := range receivers() {
			for _, length := range []int{1, 1000, 4096, 128 << 10, 1<<20 + 1} {
				for _, flows := range []int{1, 4} {
					t.Run(fmt.Sprintf("%s-%s/%d/%d", s.Name(), r.Name(), length, flows), func(t *testing.T) {
						needs(t, s, r)
						validate := !r.Layout().Discards
						// A short period would hide a shift by whole pieces.
						period := length * max(1, 100_000/length)
						p := endpoint.Params{
							Flows: flows, Length: length, Validate: validate,
							Pattern: endpoint.Pattern{Seed: 9, Period: period},
						}
						out := testutil.Transfer(t, s, r, p, 20*time.Millisecond)
						if testutil.Sum(out.RX, testutil.Bytes) == 0 {
							// A busy machine may not let anything run that soon.
							out = testutil.Transfer(t, s, r, p, 2*time.Second)
						}
						if testutil.Sum(out.RX, testutil.Bytes) == 0 {
							t.Error("nothing received")
						}
						for i := range flows {
							sent, got := testutil.Bytes(out.TX[i]), testutil.Bytes(out.RX[i])
							if sent != got {
								t.Errorf("flow %d: %d bytes sent, %d received", i, sent, got)
							}
							if validate && out.Checked[i] != got {
								t.Errorf("flow %d: %d bytes of %d checked", i, out.Checked[i], got)
							}
						}
					})
				}
			}
		}
	}
}

// Each end tells copied from zero-copied by what its CPU did.
func TestAccounting(t *testing.T) {
	type share struct{ sent, received float64 } // zero-copied, of 1
	for _, c := range []struct {
		tx, rx endpoint.Engine
		want   share
	}{
		{tx.Baseline(), rx.Baseline(), share{0, 0}},
		{tx.Baseline(), rx.Trunc(), share{0, 1}},
		{tx.Sendfile(), rx.Baseline(), share{1, 0}},
		{tx.MsgZC(), rx.Baseline(), share{0, 0}}, // loopback: copied on delivery
	} {
		t.Run(c.tx.Name()+"-"+c.rx.Name(), func(t *testing.T) {
			needs(t, c.tx, c.rx)
			out := testutil.Transfer(t, c.tx, c.rx, endpoint.Params{Flows: 1, Length: 64 << 10}, 50*time.Millisecond)
			got := share{ratio(out.TX[0]), ratio(out.RX[0])}
			if got != c.want {
				t.Errorf("zero-copied of sent and received: %+v, want %+v", got, c.want)
			}
		})
	}
}

func ratio(c *endpoint.Counters) float64 {
	return float64(c.ZeroCopied.Load()) / float64(testutil.Bytes(c))
}

// Loopback delivers MSG_ZEROCOPY payload in whole pages but for the end of
// each segment, so most of it must be mapped.
func TestMMapMaps(t *testing.T) {
	needs(t, rx.MMap(), tx.MsgZC())
	for _, hint := range []string{"on", "off"} {
		for _, size := range []string{"64K", "4M"} { // of the map: zapped often and seldom
			t.Run("hint "+hint+", map "+size, func(t *testing.T) {
				out := testutil.Transfer(t, optioned{tx.MsgZC(), nil}, optioned{rx.MMap(), map[string]string{
					"copybuf": "0", "tlb-clean-hint": hint, "chunk": "64K", "map": size,
				}}, endpoint.Params{Flows: 1, Length: 128 << 10, Validate: true}, 200*time.Millisecond)
				c := out.RX[0]
				if r := ratio(c); r < 0.5 {
					t.Errorf("%.0f%% of %d bytes mapped", r*100, testutil.Bytes(c))
				}
				extra := rx.MMap().Layout().Extra
				for i, name := range extra {
					if name == "skip_hint_bytes" && c.Extra[i].Load() > c.Copied.Load() {
						t.Errorf("%d bytes read for hints, %d copied", c.Extra[i].Load(), c.Copied.Load())
					}
				}
			})
		}
	}
}

// optioned is an engine with options of its own, where both ends share
// Params.
type optioned struct {
	endpoint.Engine
	options map[string]string
}

func (e optioned) Open(p endpoint.Params) (endpoint.Session, error) {
	p.Options = e.options
	return e.Engine.Open(p)
}

// One system call moves one piece.
func TestBaselineSyscalls(t *testing.T) {
	for _, length := range []int{1000, 128 << 10} {
		out := testutil.Transfer(t, tx.Baseline(), rx.Baseline(), endpoint.Params{Flows: 1, Length: length}, 100*time.Millisecond)
		pieces := testutil.Bytes(out.RX[0])/uint64(length) + 1
		// One more sees the end of the stream; a signal may cut a few short.
		for name, n := range map[string]uint64{"recvfrom": out.RX[0].Syscalls[0].Load(), "sendto": out.TX[0].Syscalls[0].Load()} {
			if n > pieces+1+pieces/100 {
				t.Errorf("length %d: %d %s for %d pieces", length, n, name, pieces)
			}
		}
	}
}

// A loop that allocates would measure the collector.
func TestNoAllocation(t *testing.T) {
	for _, c := range []struct{ tx, rx endpoint.Engine }{
		{tx.Baseline(), rx.Baseline()},
		{tx.Baseline(), rx.Trunc()},
		{tx.Sendfile(), rx.MMap()},
		{tx.MsgZC(), rx.MMap()},
		{tx.Null(), rx.Null()},
	} {
		t.Run(c.tx.Name()+"-"+c.rx.Name(), func(t *testing.T) {
			needs(t, c.tx, c.rx)
			noGC(t)
			rfd, sfd := pair(t)
			p := endpoint.Params{Length: 4096}
			r, s := start(t, c.rx, p, rfd, nil), start(t, c.tx, p, sfd, nil)
			time.Sleep(50 * time.Millisecond) // past the start, which may allocate
			var before, after runtime.MemStats
			calls := work(&s.counters)
			runtime.ReadMemStats(&before)
			time.Sleep(200 * time.Millisecond)
			runtime.ReadMemStats(&after)
			calls = work(&s.counters) - calls
			s.stop.Request()
			if err := s.wait(t, 5*time.Second); err != nil {
				t.Error(err)
			}
			unix.Shutdown(sfd, unix.SHUT_WR)
			if err := r.wait(t, 5*time.Second); err != nil {
				t.Error(err)
			}
			// The runtime's own: a timer, a thread.
			if n := after.Mallocs - before.Mallocs; n > 20 || calls < 200 {
				t.Errorf("%d allocations in %d iterations", n, calls)
			}
		})
	}
}

// work counts a sender's iterations.
func work(c *endpoint.Counters) uint64 { return c.Syscalls[0].Load() + c.Extra[0].Load() }

// Shut down at any moment, both ends return at once, whatever they wait for.
func TestAbort(t *testing.T) {
	for _, r := range append(receivers(), rx.Null()) {
		t.Run("receiver "+r.Name()+" without data", func(t *testing.T) {
			needs(t, r)
			rfd, _ := pair(t)
			f := start(t, r, endpoint.Params{Length: 64 << 10}, rfd, nil)
			time.Sleep(20 * time.Millisecond)
			unix.Shutdown(rfd, unix.SHUT_RDWR)
			f.wait(t, time.Second)
			if err := <-f.closed; err != nil {
				t.Error(err)
			}
		})
		t.Run("receiver "+r.Name()+" under load", func(t *testing.T) {
			needs(t, r)
			if r.Layout().NoPayload {
				t.Skip("takes no load")
			}
			rfd, sfd := pair(t)
			p := endpoint.Params{Length: 64 << 10}
			f, s := start(t, r, p, rfd, nil), start(t, tx.Baseline(), p, sfd, nil)
			f.reach(t, 1<<20)
			unix.Shutdown(rfd, unix.SHUT_RDWR)
			f.wait(t, time.Second)
			unix.Shutdown(sfd, unix.SHUT_RDWR)
			s.wait(t, time.Second)
		})
	}
	for _, s := range senders() {
		t.Run("sender "+s.Name()+" against a full window", func(t *testing.T) {
			needs(t, s)
			_, sfd := pair(t)
			f := start(t, s, endpoint.Params{Length: 64 << 10}, sfd, nil)
			time.Sleep(100 * time.Millisecond) // nobody reads: it blocks
			f.stop.Request()
			unix.Shutdown(sfd, unix.SHUT_RDWR)
			f.wait(t, time.Second)
		})
	}
}

// A reset is an error on both ends, never an end of stream or a hang.
func TestReset(t *testing.T) {
	reset := func(fd int) {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
	}
	for _, r := range append(receivers(), rx.Null()) {
		t.Run("receiver "+r.Name(), func(t *testing.T) {
			needs(t, r)
			rfds, sfds := testutil.Connect(t, 1)
			defer unix.Close(rfds[0])
			f := start(t, r, endpoint.Params{Length: 64 << 10}, rfds[0], nil)
			time.Sleep(20 * time.Millisecond)
			reset(sfds[0])
			if err := f.wait(t, time.Second); err == nil {
				t.Error("no error")
			}
			if err := <-f.closed; err != nil {
				t.Error(err)
			}
		})
	}
	for _, s := range senders() {
		t.Run("sender "+s.Name(), func(t *testing.T) {
			needs(t, s)
			rfds, sfds := testutil.Connect(t, 1)
			defer unix.Close(sfds[0])
			f := start(t, s, endpoint.Params{Length: 64 << 10}, sfds[0], nil)
			time.Sleep(50 * time.Millisecond)
			reset(rfds[0])
			if err := f.wait(t, time.Second); err == nil {
				t.Error("no error")
			}
			// A reset frees the send queue: nothing is left in flight.
			if err := <-f.closed; err != nil {
				t.Error(err)
			}
		})
	}
}

// A sender told to stop while the peer reads slowly ends by itself once the
// peer has taken what was sent.
func TestStopUnderBackpressure(t *testing.T) {
	for _, s := range senders() {
		t.Run(s.Name(), func(t *testing.T) {
			needs(t, s)
			rfd, sfd := pair(t)
			f := start(t, s, endpoint.Params{Length: 64 << 10}, sfd, nil)
			time.Sleep(50 * time.Millisecond) // the window is full
			f.stop.Request()
			time.Sleep(20 * time.Millisecond)
			got := make(chan uint64, 1)
			go func() {
				var sum uint64
				buf := make([]byte, 1<<20)
				for {
					n, err := unix.Read(rfd, buf)
					if n <= 0 || err != nil {
						got <- sum
						return
					}
					sum += uint64(n)
				}
			}()
			if err := f.wait(t, 5*time.Second); err != nil {
				t.Error(err)
			}
			if err := <-f.closed; err != nil {
				t.Error(err)
			}
			unix.Shutdown(sfd, unix.SHUT_WR)
			if n := <-got; n != f.bytes() || n == 0 {
				t.Errorf("%d bytes arrived, %d counted", n, f.bytes())
			}
		})
	}
}

// The tool itself moves nothing and counts its turns.
func TestNull(t *testing.T) {
	out := testutil.Transfer(t, tx.Null(), rx.Null(), endpoint.Params{Flows: 2, Length: 1000}, 20*time.Millisecond)
	for i := range 2 {
		if n := testutil.Bytes(out.RX[i]) + testutil.Bytes(out.TX[i]); n != 0 {
			t.Errorf("flow %d: %d bytes", i, n)
		}
		if out.TX[i].Extra[0].Load() < 10 || out.RX[i].Extra[0].Load() == 0 {
			t.Errorf("flow %d: %d and %d iterations", i, out.TX[i].Extra[0].Load(), out.RX[i].Extra[0].Load())
		}
	}
}

func TestNullRefusesPayload(t *testing.T) {
	rfd, sfd := pair(t)
	f := start(t, rx.Null(), endpoint.Params{Length: 1000}, rfd, nil)
	unix.Write(sfd, []byte("x"))
	if err := f.wait(t, time.Second); fault.Of(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		e        endpoint.Engine
		validate bool
		options  map[string]string
	}{
		"trunc cannot validate":     {e: rx.Trunc(), validate: true},
		"null cannot validate":      {e: rx.Null(), validate: true},
		"baseline has no options":   {e: rx.Baseline(), options: map[string]string{"chunk": "1"}},
		"trunc has no options":      {e: rx.Trunc(), options: map[string]string{"chunk": "1"}},
		"null has no options":       {e: rx.Null(), options: map[string]string{"chunk": "1"}},
		"part of a page":            {e: rx.MMap(), options: map[string]string{"chunk": "5000"}},
		"map less than chunk":       {e: rx.MMap(), options: map[string]string{"chunk": "1M", "map": "512K"}},
		"map not whole pages":       {e: rx.MMap(), options: map[string]string{"map": "3000001"}},
		"chunk too large":           {e: rx.MMap(), options: map[string]string{"chunk": "1G", "map": "1G"}},
		"copybuf too large":         {e: rx.MMap(), options: map[string]string{"copybuf": "2M"}},
		"hint neither on nor off":   {e: rx.MMap(), options: map[string]string{"tlb-clean-hint": "yes"}},
		"mmap unknown":              {e: rx.MMap(), options: map[string]string{"batch": "1"}},
		"msgzc batch of 0":          {e: tx.MsgZC(), options: map[string]string{"batch": "0"}},
		"msgzc unknown":             {e: tx.MsgZC(), options: map[string]string{"chunk": "1"}},
		"sendfile has no options":   {e: tx.Sendfile(), options: map[string]string{"chunk": "1"}},
		"tx null has no options":    {e: tx.Null(), options: map[string]string{"chunk": "1"}},
		"tx baseline has no option": {e: tx.Baseline(), options: map[string]string{"chunk": "1"}},
	} {
		_, err := c.e.Open(endpoint.Params{Flows: 1, Length: 1000, Validate: c.validate, Options: c.options,
			Pattern: endpoint.Pattern{Period: 1000}})
		if fault.Of(err) != fault.Usage || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What Open takes by default is what Options lists.
func TestEnginesDescribeThemselves(t *testing.T) {
	for _, e := range slices.Concat(senders(), receivers(), []endpoint.Engine{tx.Null(), rx.Null()}) {
		if err := e.Layout().Check(); err != nil {
			t.Errorf("%s: %v", e.Name(), err)
		}
		if _, err := endpoint.ParseOptions(e.Options(), nil); err != nil {
			t.Errorf("%s: %v", e.Name(), err)
		}
	}
}

// BenchmarkPairs moves b.N pieces of 128 KiB.
func BenchmarkPairs(b *testing.B) {
	for _, c := range []struct{ tx, rx endpoint.Engine }{
		{tx.Baseline(), rx.Baseline()},
		{tx.Baseline(), rx.Trunc()},
		{tx.Sendfile(), rx.Baseline()},
		{tx.MsgZC(), rx.Baseline()},
		{tx.MsgZC(), rx.MMap()},
	} {
		b.Run(c.tx.Name()+"-"+c.rx.Name(), func(b *testing.B) {
			needs(b, c.tx, c.rx)
			noGC(b)
			const length = 128 << 10
			rfd, sfd := pair(b)
			p := endpoint.Params{Length: length}
			r, s := start(b, c.rx, p, rfd, nil), start(b, c.tx, p, sfd, nil)
			r.reach(b, 16*length)
			b.SetBytes(length)
			b.ReportAllocs()
			b.ResetTimer()
			r.reach(b, r.bytes()+uint64(b.N)*length)
			b.StopTimer()
			s.stop.Request()
			if err := s.wait(b, 5*time.Second); err != nil {
				b.Error(err)
			}
			unix.Shutdown(sfd, unix.SHUT_WR)
			if err := r.wait(b, 5*time.Second); err != nil {
				b.Error(err)
			}
		})
	}
}
