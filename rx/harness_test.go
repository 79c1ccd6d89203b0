package rx_test

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/feature"
	"zcbench/internal/testutil"
)

// flow is one worker of an engine, running on one end of a connection.
type flow struct {
	counters endpoint.Counters
	stop     endpoint.Stop
	done     chan error
	closed   chan error
}

// start opens e for one flow and runs it on fd. consume may be nil.
func start(t testing.TB, e endpoint.Engine, p endpoint.Params, fd int, consume func([]byte)) *flow {
	t.Helper()
	p.Flows = 1
	if p.Pattern.Period == 0 {
		p.Pattern = endpoint.Pattern{Seed: 42, Period: p.Length}
	}
	if consume == nil {
		consume = func([]byte) {}
	}
	s, err := e.Open(p)
	if err != nil {
		t.Fatalf("open %s: %v", e.Name(), err)
	}
	f := &flow{done: make(chan error, 1), closed: make(chan error, 1)}
	conns := []endpoint.Conn{{FD: fd, Counters: &f.counters, Consume: consume}}
	go func() {
		runtime.LockOSThread()
		w, err := s.Worker(0)
		if err != nil {
			f.done <- err
			f.closed <- s.Close()
			return
		}
		f.done <- w.Run(conns, &f.stop)
		if err := w.Close(); err != nil {
			f.closed <- err
			return
		}
		f.closed <- s.Close()
	}()
	return f
}

func (f *flow) bytes() uint64 { return testutil.Bytes(&f.counters) }

// wait gives the result of Run, which must come within d.
func (f *flow) wait(t testing.TB, d time.Duration) error {
	t.Helper()
	select {
	case err := <-f.done:
		return err
	case <-time.After(d):
		t.Fatalf("the worker did not end within %s", d)
		return nil
	}
}

// pair is a connection whose two ends the test closes.
func pair(t testing.TB) (rx, tx int) {
	t.Helper()
	r, s := testutil.Connect(t, 1)
	t.Cleanup(func() { unix.Close(r[0]); unix.Close(s[0]) })
	return r[0], s[0]
}

// needs skips a test of an engine that cannot work here.
func needs(t testing.TB, engines ...endpoint.Engine) {
	t.Helper()
	for _, e := range engines {
		if v := e.Probe(""); v.Answer != feature.Yes {
			t.Skipf("%s: %s (to change it: %s)", e.Name(), v.Reason, v.Fix)
		}
	}
}

// noGC keeps the collector out of what a test counts.
func noGC(t testing.TB) {
	runtime.GC()
	old := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(old) })
}

// reach waits until f has moved n bytes.
func (f *flow) reach(t testing.TB, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); f.bytes() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d bytes after 20 s", f.bytes(), n)
		}
	}
}
