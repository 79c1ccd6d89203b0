// Package testutil runs engines against each other inside a test, on real
// sockets and by the same thread rules as the agent, without its control
// protocol.
package testutil

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"zcbench/endpoint"
)

// Outcome is what a transfer moved.
type Outcome struct {
	RX, TX []*endpoint.Counters // one for each flow
	// Checked is the bytes of each flow found equal to the pattern; nil when
	// the run did not validate.
	Checked []uint64
}

// Sum adds one figure over flows.
func Sum(cs []*endpoint.Counters, f func(*endpoint.Counters) uint64) uint64 {
	var n uint64
	for _, c := range cs {
		n += f(c)
	}
	return n
}

// Bytes is the payload that c counted.
func Bytes(c *endpoint.Counters) uint64 { return c.ZeroCopied.Load() + c.Copied.Load() }

// Transfer sends from tx to rx over p.Flows loopback connections for d, ends
// the streams, and waits until the receiver has seen them whole. It fails the
// test when an engine fails, when validation does, or when it takes longer
// than d and 30 s.
func Transfer(t testing.TB, tx, rx endpoint.Engine, p endpoint.Params, d time.Duration) Outcome {
	t.Helper()
	if p.Pattern.Period == 0 {
		p.Pattern = endpoint.Pattern{Seed: 42, Period: p.Length}
	}
	rs := open(t, rx, p)
	ts := open(t, tx, p)
	rxFDs, txFDs := Connect(t, p.Flows)
	out := Outcome{}
	var checkers []*endpoint.Checker
	rxConns, txConns := make([]endpoint.Conn, p.Flows), make([]endpoint.Conn, p.Flows)
	for i := range p.Flows {
		rc, tc := &endpoint.Counters{}, &endpoint.Counters{}
		out.RX, out.TX = append(out.RX, rc), append(out.TX, tc)
		consume := func([]byte) {}
		if p.Validate {
			c := endpoint.NewChecker(p.Pattern, i)
			checkers = append(checkers, c)
			consume = c.Consume
		}
		rxConns[i] = endpoint.Conn{FD: rxFDs[i], Index: i, Counters: rc, Consume: consume}
		txConns[i] = endpoint.Conn{FD: txFDs[i], Index: i, Counters: tc, Consume: func([]byte) {}}
	}
	var stop endpoint.Stop
	rxDone := start(rs, rxConns, &stop, nil)
	txDone := start(ts, txConns, &stop, func(c endpoint.Conn) { syscall.Shutdown(c.FD, syscall.SHUT_WR) })
	go func() {
		// A busy machine may be slow to begin: the time counts from when
		// every sender has done something.
		for begun := time.Now(); slices.ContainsFunc(out.TX, idle) && time.Since(begun) < 10*time.Second; {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(d)
		stop.Request()
	}()
	deadline := time.After(d + 30*time.Second)
	for _, end := range []struct {
		name string
		done chan error
	}{{tx.Name() + " sender", txDone}, {rx.Name() + " receiver", rxDone}} {
		select {
		case err := <-end.done:
			if err != nil {
				t.Errorf("%s: %v", end.name, err)
			}
		case <-deadline:
			for _, fd := range append(rxFDs, txFDs...) {
				syscall.Shutdown(fd, syscall.SHUT_RDWR)
			}
			t.Fatalf("%s did not end", end.name)
		}
	}
	for _, fd := range append(rxFDs, txFDs...) {
		syscall.Close(fd)
	}
	for i, c := range checkers {
		n, err := c.Result()
		if err != nil {
			t.Errorf("flow %d: %v", i, err)
		}
		out.Checked = append(out.Checked, n)
	}
	return out
}

// idle is a connection whose sender has made no call yet.
func idle(c *endpoint.Counters) bool {
	for i := range c.Syscalls {
		if c.Syscalls[i].Load() > 0 {
			return false
		}
	}
	for i := range c.Extra {
		if c.Extra[i].Load() > 0 {
			return false
		}
	}
	return Bytes(c) == 0
}

func open(t testing.TB, e endpoint.Engine, p endpoint.Params) endpoint.Session {
	t.Helper()
	s, err := e.Open(p)
	if err != nil {
		t.Fatalf("open %s: %v", e.Name(), err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close %s: %v", e.Name(), err)
		}
	})
	return s
}

// start runs a session's workers, each on a locked thread that dies with it.
func start(s endpoint.Session, conns []endpoint.Conn, stop *endpoint.Stop, after func(endpoint.Conn)) chan error {
	n := s.Workers()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			runtime.LockOSThread()
			var mine []endpoint.Conn
			for k := i; k < len(conns); k += n {
				mine = append(mine, conns[k])
			}
			w, err := s.Worker(i)
			if err != nil {
				errs[i] = fmt.Errorf("worker %d: %w", i, err)
				return
			}
			errs[i] = w.Run(mine, stop)
			if after != nil {
				for _, c := range mine {
					after(c)
				}
			}
			errs[i] = errors.Join(errs[i], w.Close())
		})
	}
	done := make(chan error, 1)
	go func() { wg.Wait(); done <- errors.Join(errs...) }()
	return done
}

// Connect makes n blocking loopback connections outside the netpoller. The
// caller closes them.
func Connect(t testing.TB, n int) (rx, tx []int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range n {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		tx, rx = append(tx, blocking(t, c)), append(rx, blocking(t, s))
	}
	return rx, tx
}

func blocking(t testing.TB, c net.Conn) int {
	t.Helper()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return fd
}
