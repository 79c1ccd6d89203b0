package endpoint

import (
	"context"
	"fmt"
	"math"
	"time"
)

// sampler reads the counters at the edges of the window and between them. All
// its memory is there before the window opens.
type sampler struct {
	r       *run
	cpu     cpuClock
	open    int64 // CLOCK_MONOTONIC, ns
	live    func(Sample)
	samples []Sample
	first   edge
	last    edge
}

// edge is what is read only where the window opens and closes.
type edge struct {
	syscalls [MaxSyscalls]uint64
	extra    [MaxExtra]uint64
	tcp      tcpTotals
	tcpOK    bool
	host     map[string]float64
}

// Intervals are at least this long; more would measure the sampler.
const minInterval = 100 * time.Millisecond

func newSampler(r *run, cpu cpuClock, open int64, live func(Sample)) *sampler {
	n := 2
	if r.p.Interval > 0 && r.p.Time > 0 {
		n += int(r.p.Time / r.p.Interval)
	}
	return &sampler{r: r, cpu: cpu, open: open, live: live, samples: make([]Sample, 0, n)}
}

// run returns when the window has closed, or the streams ended before, or
// the run was aborted.
func (s *sampler) run(done *outcome) error {
	p := &s.r.p
	if len(s.samples) == 0 {
		if !s.until(s.open, done) {
			return s.r.ctx.Err()
		}
		if err := s.begin(); err != nil {
			return err
		}
	}
	end := s.open + int64(p.Time)
	for next := s.open; ; {
		at := end
		if p.Interval > 0 {
			if next += int64(p.Interval); p.Time == 0 || next < end-int64(minInterval)/2 {
				at = next
			}
		}
		if p.Time == 0 && p.Interval == 0 {
			at = math.MaxInt64 // until the streams end
		}
		whole := s.until(at, done)
		if err := s.take(); err != nil {
			return err
		}
		if !whole || p.Time > 0 && at == end {
			s.last = s.edge()
			return s.r.ctx.Err()
		}
	}
}

// begin opens the window.
func (s *sampler) begin() error {
	s.first = s.edge()
	return s.take()
}

// until waits for a time; false means that the streams ended or the run was
// aborted before.
func (s *sampler) until(at int64, done *outcome) bool {
	t := time.NewTimer(time.Duration(at - Monotonic()))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done.ch:
	case <-s.r.ctx.Done():
		s.r.shutdown()
		done.wait(context.Background(), drainWait)
	}
	return false
}

func (s *sampler) take() error {
	cpu, err := s.cpu.read()
	if err != nil {
		return err
	}
	v := Sample{Busy: cpu.busy, Iowait: cpu.iowait, Idle: cpu.idle}
	for _, c := range s.r.counters {
		v.ZeroCopied += c.ZeroCopied.Load()
		v.Copied += c.Copied.Load()
	}
	v.At = Monotonic() - s.open
	s.samples = append(s.samples, v)
	if s.live != nil {
		s.live(v)
	}
	return nil
}

func (s *sampler) edge() edge {
	e := edge{host: hostCounters()}
	e.tcp, e.tcpOK = readTCP(s.r.conns)
	for _, c := range s.r.counters {
		for i := range c.Syscalls {
			e.syscalls[i] += c.Syscalls[i].Load()
		}
		for i := range c.Extra {
			e.extra[i] += c.Extra[i].Load()
		}
	}
	return e
}

// finish turns readings into a Result, after the last byte is in.
func (s *sampler) finish(early bool) (*Result, error) {
	var res Result
	if len(s.samples) < 2 {
		return nil, Errorf(Failed, "%s: the stream ended before the window opened: nothing was measured", s.r.p.Role)
	}
	res.Samples = s.samples
	for _, c := range s.r.counters {
		res.Total += c.ZeroCopied.Load() + c.Copied.Load()
	}
	layout := s.r.engine.Layout()
	res.Syscalls = map[string]uint64{}
	for i, name := range layout.Syscalls {
		res.Syscalls[name] = s.last.syscalls[i] - s.first.syscalls[i]
	}
	res.Counters = map[string]float64{}
	for i, name := range layout.Extra {
		res.Counters[name] = float64(s.last.extra[i] - s.first.extra[i])
	}
	for name, v := range s.last.host {
		res.Counters[name] = v - s.first.host[name]
	}
	if s.first.tcpOK && s.last.tcpOK {
		for name, v := range s.last.tcp.window(s.first.tcp) {
			res.Counters[name] = v
		}
	}
	if early {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s: the stream ended after %.3f s, before the window was over", s.r.p.Role, float64(s.samples[len(s.samples)-1].At)/1e9))
	}
	if len(s.r.checkers) > 0 {
		var n uint64
		for i, c := range s.r.checkers {
			ok, err := c.Result()
			if err != nil {
				return nil, fmt.Errorf("validation of flow %d: %w", i+1, err)
			}
			n += ok
		}
		res.Checked = &n
	}
	return &res, nil
}
