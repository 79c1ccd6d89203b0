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
	rxCrew, txCrew := launch(rs, here), launch(ts, here)
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
	rxDone := rxCrew.start(rxConns, &stop, nil)
	txDone := txCrew.start(txConns, &stop, func(c endpoint.Conn) { syscall.Shutdown(c.FD, syscall.SHUT_WR) })
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

// crew is a session's workers, each on a locked thread that dies with it.
type crew struct {
	n      int
	opened chan error
	conns  []chan []endpoint.Conn
	stop   *endpoint.Stop
	after  func(endpoint.Conn)
	cut    func() // ends the transfer at the first error; may be nil
	done   chan error
}

// launch makes a session's workers, as the agent does before there is any
// connection. enter runs a function on a thread of its own, in the namespace
// that the session belongs to.
func launch(s endpoint.Session, enter func(func() error) error) *crew {
	c := &crew{n: s.Workers()}
	// As the agent does, for both ends at once.
	if n := 2*c.n + 2; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
	c.opened, c.done = make(chan error, c.n), make(chan error, c.n)
	for i := range c.n {
		conns := make(chan []endpoint.Conn, 1)
		c.conns = append(c.conns, conns)
		go func() {
			c.done <- enter(func() error {
				w, err := s.Worker(i)
				c.opened <- err
				if err != nil {
					return fmt.Errorf("worker %d: %w", i, err)
				}
				mine, ok := <-conns
				if !ok {
					return w.Close()
				}
				err = w.Run(mine, c.stop)
				if c.after != nil {
					for _, conn := range mine {
						c.after(conn)
					}
				}
				return errors.Join(err, w.Close())
			})
		}()
	}
	for range c.n {
		if <-c.opened != nil {
			break // its words come with done
		}
	}
	return c
}

// start hands the connections out; the channel gives the outcome of all.
func (c *crew) start(conns []endpoint.Conn, stop *endpoint.Stop, after func(endpoint.Conn)) chan error {
	c.stop, c.after = stop, after
	for i, to := range c.conns {
		var mine []endpoint.Conn
		for k := i; k < len(conns); k += c.n {
			mine = append(mine, conns[k])
		}
		to <- mine
	}
	all := make(chan error, 1)
	go func() {
		var errs []error
		for range c.n {
			err := <-c.done
			if err != nil && errs == nil && c.cut != nil {
				c.cut()
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
		all <- errors.Join(errs...)
	}()
	return all
}

// here is a thread of this process's own namespace.
func here(f func() error) error {
	runtime.LockOSThread()
	return f()
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
