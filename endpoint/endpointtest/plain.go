package endpointtest

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/feature"
)

// Plain is the simplest engine, for tests of everything around engines: write
// and read on one thread for each flow, and faults on demand.
type Plain struct {
	Role      endpoint.Role
	OpenErr   error
	WorkerErr error
	RunErr    error         // after the first byte
	Corrupt   bool          // flips a byte now and then
	Skew      uint64        // bytes counted too many
	Opened    *atomic.Int64 // sessions open
	Known     []endpoint.Option
	Begin     func(fd int, p *endpoint.Params) // before a flow's first byte
}

func (e Plain) Name() string { return "plain" }
func (e Plain) Layout() endpoint.Layout {
	return endpoint.Layout{Syscalls: []string{"read", "write"}, Extra: []string{"calls"}}
}
func (e Plain) Options() []endpoint.Option   { return e.Known }
func (e Plain) Probe(string) feature.Verdict { return feature.Possible() }

func (e Plain) Memory(p endpoint.Params) (int64, error) {
	return endpoint.Bytes(p.Flows, p.Pattern.Period), nil
}

func (e Plain) Open(p endpoint.Params) (endpoint.Session, error) {
	if e.OpenErr != nil {
		return nil, e.OpenErr
	}
	if e.Opened != nil {
		e.Opened.Add(1)
	}
	return &plainSession{e, p}, nil
}

type plainSession struct {
	Plain
	p endpoint.Params
}

func (s *plainSession) Workers() int { return s.p.Flows }
func (s *plainSession) Close() error {
	if s.Opened != nil {
		s.Opened.Add(-1)
	}
	return nil
}

func (s *plainSession) Worker(i int) (endpoint.Worker, error) {
	if s.WorkerErr != nil {
		return nil, s.WorkerErr
	}
	w := &plainWorker{plainSession: s, buf: make([]byte, s.p.Pattern.Period)}
	s.p.Pattern.Fill(w.buf, i)
	return w, nil
}

type plainWorker struct {
	*plainSession
	buf []byte
}

func (w *plainWorker) Close() error { return nil }

func (w *plainWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	if w.Begin != nil {
		w.Begin(c.FD, &w.p)
	}
	c.Counters.Copied.Add(w.Skew)
	off := 0
	for n := 0; w.Role == endpoint.RX || !stop.Requested(); n++ {
		var err error
		var k int
		if w.Role == endpoint.TX {
			k, err = unix.Write(c.FD, w.buf[off:min(off+w.p.Length, len(w.buf))])
			off = (off + max(k, 0)) % len(w.buf)
			c.Counters.Syscalls[1].Add(1)
		} else {
			k, err = unix.Read(c.FD, w.buf[:w.p.Length])
			c.Counters.Syscalls[0].Add(1)
			if k > 0 {
				if w.Corrupt && n == 5 {
					w.buf[k/2] ^= 1
				}
				c.Consume(w.buf[:k])
			}
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if k == 0 {
			return nil
		}
		c.Counters.Copied.Add(uint64(k))
		if w.RunErr != nil {
			return w.RunErr
		}
	}
	return nil
}
