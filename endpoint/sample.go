package endpoint

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sampler reads the counters at the edges of the window and between them. All
// its memory is there before the window opens.
type sampler struct {
	r       *run
	layout  Layout
	cpu     cpuClock
	open    int64 // CLOCK_MONOTONIC, ns
	live    func(Sample)
	samples []Sample
	first   edge
	last    edge
	seen    observation
	sight   *sight
	alarm   *alarm
	sockets taken // when the window closed
	unread  error // why they could not be looked at
	cost    int64 // CPU time that this thread had used when the window opened, ns
}

// observation is what an Observer saw of the window.
type observation struct {
	counters map[string]float64
	warnings []string
}

// edge is what is read only where the window opens and closes.
type edge struct {
	syscalls [MaxSyscalls]uint64
	extra    [MaxExtra]uint64
	own      map[string]float64
}

// Intervals are at least this long; more would measure the sampler.
const minInterval = 100 * time.Millisecond

func newSampler(r *run, cpu cpuClock, open int64, live func(Sample)) *sampler {
	n := 2
	if r.p.Interval > 0 && r.p.Time > 0 {
		n += int(r.p.Time / r.p.Interval)
	}
	r.meters.expect(n)
	return &sampler{r: r, layout: r.engine.Layout(), cpu: cpu, open: open, live: live, samples: make([]Sample, 0, n)}
}

// run returns when the window has closed, or the streams ended before, or
// the run was aborted.
func (s *sampler) run(done *outcome) (err error) {
	if s.alarm, err = newAlarm(s.r.ctx, done.ch); err != nil {
		return err
	}
	defer s.alarm.close()
	p := &s.r.p
	if len(s.samples) == 0 {
		if !s.until(s.open, done) {
			return s.r.ctx.Err()
		}
		if err := s.begin(); err != nil {
			return err
		}
	}
	s.cost = threadTime()
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
			s.r.meters.end()
			s.last.own["sampler_cpu_seconds"] = float64(threadTime()-s.cost) / 1e9
			s.sockets, s.unread = readBack(s.r.conns)
			for _, o := range s.r.recordings {
				if err := o.End(); err != nil {
					return err
				}
			}
			if err := s.r.ctx.Err(); err != nil {
				return err
			}
			return s.observe()
		}
	}
}

// begin opens the window.
func (s *sampler) begin() error {
	if err := s.sight.check(); err != nil {
		return fmt.Errorf("%s: %w", s.r.p.Role, err)
	}
	for _, o := range s.r.recordings {
		if err := o.Begin(); err != nil {
			return err
		}
	}
	s.first = s.edge()
	if err := s.take(); err != nil {
		return err
	}
	if o, ok := s.r.session.(Observer); ok {
		return o.Begin()
	}
	return nil
}

// observe closes the window of a session that has observations of its own.
func (s *sampler) observe() (err error) {
	if o, ok := s.r.session.(Observer); ok {
		s.seen.counters, s.seen.warnings, err = o.End()
	}
	return err
}

// until waits for a time; false means that the streams ended or the run was
// aborted before. Recordings have to be drained meanwhile.
func (s *sampler) until(at int64, done *outcome) bool {
	for {
		select {
		case <-done.ch:
			return false
		case <-s.r.ctx.Done():
			s.r.shutdown()
			done.wait(context.Background(), drainWait)
			return false
		default:
		}
		if len(s.samples) > 0 {
			for _, o := range s.r.recordings {
				o.Poll()
			}
		}
		now := Monotonic()
		if now >= at {
			return true
		}
		wait := at - now
		if len(s.r.recordings) > 0 && len(s.samples) > 0 {
			const step = int64(50 * time.Millisecond)
			wait = min(wait, step)
		}
		s.alarm.wait(wait)
	}
}

// punctual gives this thread the right to run as soon as its sleep is over:
// where every CPU is busy a sample would else be late by a scheduler's slice
// or several. Users without the right (CAP_SYS_NICE) have late samples; each
// carries its own time, so rates stay right.
func punctual() {
	runtime.LockOSThread() // never unlocked: the priority ends with the thread
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

// threadTime is the CPU time of this thread in ns, which a sampler's is what
// its measuring costs (clock_getres(2), CLOCK_THREAD_CPUTIME_ID).
func threadTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0 // cannot fail on Linux
	}
	return ts.Nano()
}

func (s *sampler) take() error {
	if err := s.r.stat.Read(); err != nil {
		return err
	}
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
	if len(s.samples) == 0 && s.sight != nil {
		v.Verify = s.sight.seen
	}
	if len(s.samples) == 0 {
		s.r.meters.begin()
	} else {
		s.r.meters.take()
	}
	s.samples = append(s.samples, v)
	if s.live != nil {
		s.live(v)
	}
	return nil
}

func isMax(name string) bool { return strings.HasSuffix(name, "_max") }

func (s *sampler) edge() edge {
	e := edge{own: ownCounters()}
	for _, c := range s.r.counters {
		for i := range c.Syscalls {
			e.syscalls[i] += c.Syscalls[i].Load()
		}
		for i, name := range s.layout.Extra {
			v := c.Extra[i].Load()
			if isMax(name) {
				e.extra[i] = max(e.extra[i], v)
			} else {
				e.extra[i] += v
			}
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
	res.Opened, res.Samples = s.open, s.samples
	for _, c := range s.r.counters {
		res.Total += c.ZeroCopied.Load() + c.Copied.Load()
	}
	a, b := res.edges()
	if copied := b.Copied - a.Copied; s.layout.ZeroCopy && copied > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s: %.1f%% of the payload of %s was copied by a CPU", s.r.p.Role, 100*float64(copied)/float64(b.bytes()-a.bytes()), s.r.engine.Name()))
	}
	res.Syscalls = map[string]uint64{}
	for i, name := range s.layout.Syscalls {
		res.Syscalls[name] = s.last.syscalls[i] - s.first.syscalls[i]
	}
	res.Counters = map[string]float64{}
	for i, name := range s.layout.Extra {
		res.Counters[name] = float64(s.last.extra[i])
		if !isMax(name) {
			res.Counters[name] -= float64(s.first.extra[i])
		}
	}
	maps.Copy(res.Counters, s.seen.counters)
	res.Warnings = append(res.Warnings, s.seen.warnings...)
	for name, v := range s.last.own {
		res.Counters[name] = v - s.first.own[name]
	}
	s.r.meters.report(s.r.p.Role, &res)
	for _, o := range s.r.recordings {
		notes, err := o.Report(&res)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.r.p.Role, err)
		}
		for _, n := range notes {
			res.Warnings = append(res.Warnings, fmt.Sprintf("%s: %s", s.r.p.Role, n))
		}
	}
	if seen := res.Samples[0].Verify; seen != nil {
		for _, w := range seen.Warnings() {
			res.Warnings = append(res.Warnings, fmt.Sprintf("%s: %s", s.r.p.Role, w))
		}
	} else if s.r.p.Verify {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s: nothing was verified: the run had no warm-up (--omit)", s.r.p.Role))
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
