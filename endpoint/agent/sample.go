package agent

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/agent/crossed"
	"zcbench/endpoint/agent/others"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/alarm"
	"zcbench/internal/cpuclock"
	"zcbench/internal/fault"
	"zcbench/results"
	"zcbench/results/caveat"
)

// sampler reads the counters at the edges of the window and between them. All
// its memory is there before the window opens.
type sampler struct {
	r      *run
	layout endpoint.Layout
	cpu    cpuClock
	busy   []cpuBusy
	open   int64 // CLOCK_MONOTONIC, ns
	live   func(wire.Sample)
	timeline
	flows   *crossed.Flows
	whole   bool // what came before the window counts too
	late    lateness
	early   bool // the streams ended before the window was over
	closed  bool // the window was open once, and is not any more
	first   edge
	last    edge
	seen    observation
	before  waysOut
	after   waysOut
	copier  string // what has payload copied, if any is
	astray  string // the interface that the payload goes by, where it is not the run's
	changes *changes
	sight   *sight
	others  *others.Watch
	alarm   *alarm.Alarm
	sockets taken    // when the window closed
	unread  error    // why they could not be looked at
	cost    int64    // CPU time that this thread had used when the window opened, ns
	reading [2]int64 // how long it took to read the clock of CPU time where the window opened and closed, ns
}

// observation is what an Observer saw of the window.
type observation struct {
	counters map[string]float64
	warnings []string
}

// edge is what is read only where the window opens and closes.
type edge struct {
	syscalls [endpoint.MaxSyscalls]uint64
	extra    [endpoint.MaxExtra]uint64
	own      map[string]float64
}

const (
	// rateAhead is how long before the window the flows are looked at, so that the
	// rate is known as it opens.
	rateAhead = int64(250 * time.Millisecond)
	// napMost bounds a sleep in the window: the process cannot be stopped for longer
	// than that and what it may be late unseen, which is lateMuch, or half of a
	// shorter interval: what lasts for an interval is told. Only a process that is
	// stopped, or shut out of its CPUs, is late by so much: a busy host's scheduler
	// takes some tens of ms.
	napMost  = int64(wire.MinInterval / 2)
	lateMuch = int64(200 * time.Millisecond)
)

func newSampler(r *run, cpu cpuClock, open int64, live func(wire.Sample)) (*sampler, error) {
	n := 1
	if r.p.Interval > 0 && r.p.Time > 0 {
		n += int(r.p.Time / r.p.Interval)
	}
	line := newTimeline(n, r.beside.Width())
	r.beside.Expect(min(n, line.most))
	flows, err := crossed.Follow(r.p.Role, r.conns, r.counters, open, lateMuch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.p.Role, err)
	}
	var busy []cpuBusy
	for _, n := range r.site().CPUs {
		if _, ok := cpu.of(n); ok {
			busy = append(busy, cpuBusy{cpu: n})
		}
	}
	return &sampler{
		busy: busy, others: others.Open(&r.p, r.site().CPUs, r.workerCPUs()),
		r: r, layout: r.engine.Layout(), cpu: cpu, open: open, live: live,
		timeline: line, flows: flows,
		late: lateness{much: late(&r.p)}, changes: watchChanges(r.conns, open),
	}, nil
}

// late is by how much a sampler may be late before that is told.
func late(p *wire.Prepare) int64 {
	if p.Interval > 0 {
		return min(lateMuch, int64(p.Interval)/2)
	}
	return lateMuch
}

// run returns when the window has closed, or the streams ended before, or
// the run was aborted.
func (s *sampler) run(done *outcome) (err error) {
	if s.alarm, err = alarm.New(s.r.ctx, done.ch); err != nil {
		return err
	}
	defer s.alarm.Close()
	p := &s.r.p
	s.before = s.r.waysOut()
	if len(s.samples) == 0 {
		if s.until(s.open-rateAhead, done) {
			_, _, _ = s.look() // so that the rate is known
		}
		s.late = lateness{much: s.late.much}
		if p.Omit >= others.Ahead && s.until(s.open-int64(others.Ahead), done) {
			s.others.Before()
		}
		if !s.until(s.open, done) {
			s.early = true
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
			for next += int64(p.Interval); next < wire.Monotonic()+int64(p.Interval)/2; {
				next += int64(p.Interval) // missed
			}
			if p.Time == 0 || next < end-int64(wire.MinInterval)/2 {
				at = next
			}
		}
		if p.Time == 0 && p.Interval == 0 {
			at = math.MaxInt64 // until the streams end
		}
		whole := s.until(at, done)
		if whole && p.Time > 0 && at < end && summary.TooShort(wire.Sample{At: wire.Monotonic()}, wire.Sample{At: end}) {
			at, whole = end, s.until(end, done) // it is late, and the rest is not worth an interval
		}
		if err := s.take(); err != nil {
			return err
		}
		s.early = !whole
		if !whole || p.Time > 0 && at == end {
			s.closed = true
			s.others.Closes(s.r.stat)
			s.last = s.edge()
			s.r.beside.End()
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
			err := s.observe()
			s.others.After()
			return err
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
	s.changes.look()
	if err := s.take(); err != nil {
		return err
	}
	s.others.Opens(s.r.stat)
	if o, ok := s.r.session.(endpoint.Observer); ok {
		return o.Begin()
	}
	return nil
}

// observe closes the window of a session that has observations of its own.
func (s *sampler) observe() (err error) {
	s.after, s.copier, s.astray = s.r.waysOut(), s.r.copier(), s.r.astray()
	s.r.way = s.r.rate()
	if o, ok := s.r.session.(endpoint.Observer); ok {
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
			return wire.Monotonic() >= at // it may have been over before, unseen
		case <-s.r.ctx.Done():
			s.r.shutdown()
			done.wait(context.Background(), wire.DrainWait/4)
			return false
		default:
		}
		if len(s.samples) > 0 {
			for _, o := range s.r.recordings {
				o.Poll()
			}
		}
		now := wire.Monotonic()
		if now >= at {
			return true
		}
		wait := at - now
		if len(s.samples) > 0 {
			next := s.open + s.flows.Next()
			if now >= next {
				_, _, _ = s.look() // what fails fails again in the next sample, which says so
				continue
			}
			wait = min(wait, next-now, napMost)
		}
		if len(s.r.recordings) > 0 && len(s.samples) > 0 {
			const step = int64(50 * time.Millisecond)
			wait = min(wait, step)
		}
		s.alarm.Wait(wait)
		s.late.note(now, wait, wire.Monotonic())
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
	began := wire.Monotonic()
	cpu, err := s.cpu.read()
	if err != nil {
		return err
	}
	v := wire.Sample{Busy: cpu.busy, Second: cpu.second, Ticks: cpu.ticks, Iowait: cpu.iowait, Idle: cpu.idle}
	for i := range s.busy {
		now, _ := s.cpu.of(s.busy[i].cpu)
		if s.busy[i].last = now; len(s.samples) == 0 {
			s.busy[i].first = now
		}
	}
	var n uint64
	if len(s.samples) == 0 {
		n, v.At, err = s.flows.Begin(s.whole)
	} else {
		n, v.At, err = s.look()
	}
	if err != nil {
		return err
	}
	s.reading[1] = wire.Monotonic() - began
	if len(s.samples) == 0 {
		s.reading[0] = s.reading[1]
	}
	v.ZeroCopied = min(n, s.flows.ZeroCopied())
	v.Copied = n - v.ZeroCopied
	if len(s.samples) == 0 && s.sight != nil {
		v.Verify = s.sight.seen
	}
	if len(s.samples) == 0 {
		s.r.beside.Begin()
		s.start(v, n)
	} else {
		s.interval(v, n)
	}
	if s.live != nil {
		s.live(v)
	}
	return nil
}

// interval ends one, for the meters too.
func (s *sampler) interval(v wire.Sample, crossed uint64) {
	if s.full() {
		s.halve()
		s.r.beside.Halve()
	}
	s.r.beside.Take(s.joins(v.At))
	s.add(v, crossed)
}

// look sees how far the flows have come.
func (s *sampler) look() (crossed uint64, at int64, err error) {
	s.changes.look()
	return s.flows.Look()
}

// lateness is by how much the sampler ran late. The process was stopped then for
// by at least, somewhere between two times, the longest time of all.
type lateness struct {
	by, from, to int64
	much         int64 // from which on it counts
	times        int   // how often it was as late as that
	sum          int64 // by how much all of them together
	awake        int64 // when it last woke up; 0: it has not slept
}

// note sees a sleep, and what passed since the one before.
func (l *lateness) note(asleep, wait, awake int64) {
	if l.awake != 0 {
		l.add(asleep-l.awake, l.awake, asleep)
	}
	l.add(awake-asleep-wait, asleep, awake)
	l.awake = awake
}

func (l *lateness) add(by, from, to int64) {
	if by > l.by {
		l.by, l.from, l.to = by, from, to
	}
	if by > l.much {
		l.times++
		l.sum += by
	}
}

func (s *sampler) edge() edge {
	e := edge{own: ownCounters()}
	if v := s.r.link.Cost(); v > 0 {
		e.own["heartbeat_cpu_seconds"] = v
	}
	for _, c := range s.r.counters {
		for i := range c.Syscalls {
			e.syscalls[i] += c.Syscalls[i].Load()
		}
		for i, name := range s.layout.Extra {
			v := c.Extra[i].Load()
			if endpoint.IsMax(name) {
				e.extra[i] = max(e.extra[i], v)
			} else {
				e.extra[i] += v
			}
		}
	}
	return e
}

// finish turns readings into a Result, after the last byte is in, or was cut
// off.
func (s *sampler) finish(cut bool) (*wire.Result, error) {
	var res wire.Result
	if len(s.samples) < 2 {
		return nil, fault.Errorf(fault.Failed, "%s: the stream ended before the window opened: nothing was measured", s.r.p.Role)
	}
	res.Opened, res.Samples = s.open, s.samples
	if err := s.count(&res, cut); err != nil {
		return nil, err
	}
	res.Warnings = append(res.Warnings, s.timing()...)
	res.Syscalls = map[string]uint64{}
	for i, name := range s.layout.Syscalls {
		res.Syscalls[name] = s.last.syscalls[i] - s.first.syscalls[i]
	}
	res.Counters = map[string]float64{}
	for i, name := range s.layout.Extra {
		res.Counters[name] = float64(s.last.extra[i])
		if !endpoint.IsMax(name) {
			res.Counters[name] -= float64(s.first.extra[i])
		}
	}
	maps.Copy(res.Counters, s.seen.counters)
	res.Warnings = append(res.Warnings, s.seen.warnings...)
	for name, v := range s.last.own {
		res.Counters[name] = v - s.first.own[name]
	}
	s.clock(&res)
	if s.r.clock != nil {
		s.r.clock.report(s.r.p.Role, &res)
	}
	s.r.beside.Report(s.r.p.Role, &res, s.busyCPU)
	s.others.Report(&res)
	for _, o := range s.r.recordings {
		notes, warnings, err := o.Report(&res)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.r.p.Role, err)
		}
		for _, note := range notes {
			res.Notes = append(res.Notes, string(s.r.p.Role)+": "+note)
		}
		for _, warning := range warnings {
			res.Warnings = append(res.Warnings, string(s.r.p.Role)+": "+warning)
		}
	}
	if s.layout.Discards {
		res.Notes = append(res.Notes, caveat.Warn(caveat.PayloadDropped, "%s: %s has the kernel drop the payload: no program gets it, which is "+
			"why nothing is copied", s.r.p.Role, s.r.engine.Name()))
	}
	if seen := res.Samples[0].Verify; seen != nil {
		for _, warning := range seen.Warnings() {
			res.Warnings = append(res.Warnings, string(s.r.p.Role)+": "+warning)
		}
	} else if s.r.p.Verify {
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.VerifyMissing, "%s: nothing was verified: the run had no warm-up (--omit)",
			s.r.p.Role))
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

// clock says by which clock CPU time was found, and what is known of it.
func (s *sampler) clock(res *wire.Result) {
	r := s.r
	if r.p.Scope == wire.ScopeThread {
		res.CPUMethod = "threads"
		return
	}
	c := r.calibration
	res.CPUMethod, res.CPUSecond = c.Method, c.Second
	res.CPUScoped = len(s.busy)
	a, b := res.Edges()
	window := float64(b.At - a.At)
	// Each CPU that did anything may be off by as much.
	off := 0.0
	for _, n := range s.busy {
		off += min(c.Error, 100*(n.last-n.first)/(window/1e9))
	}
	res.CPUError = max(c.Error, off)
	// When in a reading it was taken is not known, of any CPU.
	res.CPUError += 100 * float64(len(s.busy)) * float64(s.reading[0]+s.reading[1]) / window
	if c.Method == cpuclock.Idle || c.Method == cpuclock.Ticks {
		res.CPUError += 100 * summary.Rounding(len(s.busy)) / (window / 1e9)
	}
	// One kind of work makes a clock wrong that was right in its calibration: where
	// an interrupt comes within a softirq without a task, the idle clock of Linux 6.18
	// counts the rest of that softirq as idle.
	if a.Second != nil && b.Second != nil {
		res.CPUError = max(res.CPUError, 100*math.Abs((*b.Second-*a.Second)-(b.Busy-a.Busy))/(window/1e9))
	}
	const much = 5 // percent of a CPU
	switch {
	case cpuclock.Tasks(c.Method):
		// What runs while there is no task is in no task's time: that may be
		// all the rest.
		rest := 100*float64(len(s.busy)) - (b.Busy-a.Busy)/(window/1e9)*100
		res.CPUError = max(res.CPUError, rest)
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.ClockBlind, "%s: CPU time is that of tasks: softirqs that ran while there was "+
			"none are in no figure that this user may read on this kernel, and may add up to %.0f%%; run as root, or give the program CAP_BPF and "+
			"CAP_PERFMON (setcap cap_bpf,cap_perfmon+ep)",
			r.p.Role, res.CPUError))
	case c.Noisy:
		known := fmt.Sprintf("known within %.1f%% of a CPU", c.Error)
		if c.Error == 0 {
			res.CPUError, known = 0, "uncalibrated, and may be far off for short bursts"
		}
		if 0 < c.Error && c.Error <= much || !summary.Apart(b.Busy-a.Busy, *b.Ticks-*a.Ticks, window/1e9, len(s.busy)) {
			break // it does not matter
		}
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.ClockUncalibrated, "%s: other programs kept this host too busy to find out "+
			"which of the kernel's figures of CPU time is right: this is %q, %s; begin on a quiet host (a run later than in a minute tries again)",
			r.p.Role, c.Method, known))
	case c.Error > much:
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.ClockCoarse, "%s: none of this kernel's figures of CPU time is right for short "+
			"bursts: the best, %q, was off by %.1f%% of a CPU", r.p.Role, c.Method, c.Error))
	}
}

// cpuBusy is what one CPU was busy where the window opened and closed, seconds.
type cpuBusy struct {
	cpu         int
	first, last float64
}

// busyCPU is how busy a CPU was over the window, in percent; nil: not known.
func (s *sampler) busyCPU(cpu int) *float64 {
	a, b := s.samples[0], s.samples[len(s.samples)-1]
	for _, c := range s.busy {
		if c.cpu == cpu {
			if v := summary.Percent(a, b, c.first, c.last); v != nil {
				*v = results.Round(*v)
				return v
			}
		}
	}
	return nil
}

// count says how much crossed in the window and what of it was copied.
func (s *sampler) count(res *wire.Result, cut bool) error {
	if err := s.flows.Count(res, s.crossed, s.r.engine, cut); err != nil {
		return err
	}
	role := s.r.p.Role
	a, b := res.Edges()
	cutOff := uint64(0)
	if low := max(res.Total, a.Bytes()); s.layout.ZeroCopy && b.Bytes() > low {
		cutOff = b.Bytes() - low
	}
	warning, doubted := s.changes.tell(role)
	if warning != "" {
		res.Warnings = append(res.Warnings, warning)
	}
	s.copies(res, cutOff, doubted)
	if s.astray != "" {
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.WrongInterface, "%s: the data connections go by %s, and the counters, settings "+
			"and facts of this end are those of %s: leave --iface out, or name %s", role, s.astray, s.r.p.Interface, s.astray))
	}
	res.Warnings = append(res.Warnings, s.flows.Warnings(res, s.r.p.Length)...)
	return nil
}

// timing compares when samples were taken with when they should have been.
func (s *sampler) timing() (warnings []string) {
	p, first, last := &s.r.p, s.samples[0].At, s.samples[len(s.samples)-1].At
	if s.early && p.Time == 0 {
		return nil // that was to be the end of it
	}
	if s.early {
		return []string{caveat.Warn(caveat.WindowShort, "%s: the stream ended after %.3f s, before the window was over", p.Role,
			float64(last)/1e9)}
	}
	if length := last - first; p.Time > 0 && distance(length, int64(p.Time)) > summary.Tolerance(p.Time) {
		code := caveat.WindowShort
		if length > int64(p.Time) {
			code = caveat.WindowLong
		}
		warnings = append(warnings, caveat.Warn(code, "%s: the window was %.3f s long where %.3f s were asked for: it opened %.3f s and closed "+
			"%.3f s late, for this process did not run then (it was stopped, or had no CPU)",
			p.Role, float64(length)/1e9, p.Time.Seconds(), float64(first)/1e9, float64(last-int64(p.Time))/1e9))
	}
	if l := s.late; l.times > 0 {
		idle, more := "took nothing of what arrived", ""
		if p.Role == endpoint.TX {
			idle = "sent nothing but what the kernel had"
		}
		if l.times > 1 {
			more = fmt.Sprintf(", the longest of %d such times, %.2f s together", l.times, float64(l.sum)/1e9)
		}
		warnings = append(warnings, caveat.Warn(caveat.SamplerLate, "%s: this process did not run for %.2f to %.2f s, somewhere from %.2f to "+
			"%.2f s into the window%s (it was stopped, or had no CPU): its engine %s then, and it sampled late; the figures hold for what is left "+
			"of the window, and a flow that stood still meanwhile may not have been seen",
			p.Role, float64(l.by)/1e9, float64(l.to-l.from)/1e9, float64(l.from-s.open)/1e9, float64(l.to-s.open)/1e9, more, idle))
	}
	return warnings
}

func distance(a, b int64) int64 { return max(a-b, b-a) }
