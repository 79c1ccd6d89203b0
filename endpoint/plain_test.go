package endpoint

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"zcbench/internal/feature"
)

// plain is the simplest engine, for tests of everything around engines: write
// and read on one thread for each flow, and faults on demand.
type plain struct {
	role      Role
	openErr   error
	workerErr error
	runErr    error         // after the first byte
	corrupt   bool          // flips a byte now and then
	skew      uint64        // bytes counted too many
	opened    *atomic.Int64 // sessions open
	options   []Option
	begin     func(fd int, p *Params) // before a flow's first byte
}

func (e plain) Name() string { return "plain" }
func (e plain) Layout() Layout {
	return Layout{Syscalls: []string{"read", "write"}, Extra: []string{"calls"}}
}
func (e plain) Options() []Option            { return e.options }
func (e plain) Probe(string) feature.Verdict { return feature.Possible() }

func (e plain) Memory(p Params) (int64, error) { return Bytes(p.Flows, p.Pattern.Period), nil }

func (e plain) Open(p Params) (Session, error) {
	if e.openErr != nil {
		return nil, e.openErr
	}
	if e.opened != nil {
		e.opened.Add(1)
	}
	return &plainSession{e, p}, nil
}

type plainSession struct {
	plain
	p Params
}

func (s *plainSession) Workers() int { return s.p.Flows }
func (s *plainSession) Close() error {
	if s.opened != nil {
		s.opened.Add(-1)
	}
	return nil
}

func (s *plainSession) Worker(i int) (Worker, error) {
	if s.workerErr != nil {
		return nil, s.workerErr
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

func (w *plainWorker) Run(conns []Conn, stop *Stop) error {
	c := conns[0]
	if w.begin != nil {
		w.begin(c.FD, &w.p)
	}
	c.Counters.Copied.Add(w.skew)
	off := 0
	for n := 0; w.role == RX || !stop.Requested(); n++ {
		var err error
		var k int
		if w.role == TX {
			k, err = unix.Write(c.FD, w.buf[off:min(off+w.p.Length, len(w.buf))])
			off = (off + max(k, 0)) % len(w.buf)
			c.Counters.Syscalls[1].Add(1)
		} else {
			k, err = unix.Read(c.FD, w.buf[:w.p.Length])
			c.Counters.Syscalls[0].Add(1)
			if k > 0 {
				if w.corrupt && n == 5 {
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
		if w.runErr != nil {
			return w.runErr
		}
	}
	return nil
}
