package experiment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Runner carries out a plan.
type Runner struct {
	Plan    *Plan
	Sites   map[string]Site // open, by name of pair
	Dir     string          // of the output
	Choice  Choice
	Resume  bool
	Version string
	// Stop ends the runner after the runs that are on.
	Stop context.Context
	// Show is told what happens; it is not called twice at the same time.
	Show func(Event)

	grace time.Duration   // 0: what any run may need
	again []time.Duration // nil: reopen
}

// Event is something that a user wants to see. One field beside Run is set.
type Event struct {
	Run   *Run
	Begin bool         // of the run
	Live  *wire.Sample // of Role
	Role  endpoint.Role
	End   *results.Record // the run is stored
	Note  string          // about the experiment, or the run

	Progress Progress
}

// Progress counts what is done.
type Progress struct {
	Total, Done int           // runs
	Left        time.Duration // estimate of what is to come
	Overhead    time.Duration // mean of what runs took beside warm-up and window; 0: none has run
}

// runGrace is what a run may take beyond warm-up and window before it is ended:
// preparing both ends takes up to 20 s each, and putting settings back as long.
const runGrace = 2 * time.Minute

// reopen is how long to wait before each new attempt to reach the hosts: one
// that is busy, or a network that hiccups, shall not end an experiment.
var reopen = []time.Duration{2 * time.Second, 10 * time.Second}

// stuck is how long a run that was ended may take to go.
const stuck = 30 * time.Second

// errWatchdog ends a run that takes too long.
var errWatchdog = errors.New("ended by the watchdog")

// Run measures what is not measured yet, and returns when all is done, when
// Stop ends, or at once when ctx does: the runs that were on then leave no
// record. It fails when a run failed.
func (r *Runner) Run(ctx context.Context) (Progress, error) {
	out, err := openOutput(r.Dir, r.Plan, r.Choice, r.Version, r.Resume)
	if err != nil {
		return Progress{}, err
	}
	defer out.close()
	s := &state{Runner: r, out: out, tunesCPU: r.Plan.tunesCPU()}
	for _, line := range out.torn {
		s.show(Event{Note: fmt.Sprintf("%s %v; that run is measured again", out.store, line)})
	}
	queues := r.Plan.queues()
	todo := make([][]Run, len(queues))
	for _, run := range r.Plan.Runs() {
		if len(run.Cell.Missing) > 0 && run.Repeat > 0 {
			continue // one record says why it is skipped
		}
		s.total++
		if out.done[run.Cell.key()][run.Repeat] {
			s.done++
			continue
		}
		i := slices.IndexFunc(queues, func(q []string) bool { return slices.Contains(q, run.Cell.Pair.Name) })
		todo[i] = append(todo[i], run)
	}
	for _, q := range todo {
		s.left = append(s.left, queued{runs: q})
		for _, run := range q {
			s.left[len(s.left)-1].add(run, 1)
		}
	}
	if s.done > 0 {
		s.show(Event{Note: fmt.Sprintf("%d of %s done already", s.done, printable.Count(s.total, "run"))})
	}
	if s.done == s.total {
		return s.progress(), nil
	}
	if err := s.hook(ctx, "before", r.Plan.Spec.Hooks.Before, nil); err != nil {
		return s.progress(), err
	}
	// What cannot be stored ends all, after the runs that are on.
	stop, end := context.WithCancelCause(r.Stop)
	defer end(nil)
	errs := make([]error, len(queues))
	var wg sync.WaitGroup
	for i := range queues {
		wg.Go(func() {
			var fatal error
			errs[i], fatal = s.queue(ctx, stop, i)
			if fatal != nil {
				errs[i] = errors.Join(fatal, errs[i])
				end(fatal)
			}
		})
	}
	wg.Wait()
	err = errors.Join(errs...)
	// Also when it was interrupted: it may put something back.
	err = errors.Join(err, s.hook(context.WithoutCancel(ctx), "after", r.Plan.Spec.Hooks.After, nil))
	if cause := cmpCause(ctx, r.Stop); cause != nil && s.done < s.total {
		return s.progress(), cause
	}
	if err == nil && s.failed > 0 {
		err = fault.Errorf(fault.Failed, "%d of %s failed; the records say why", s.failed, printable.Count(s.total, "run"))
	}
	return s.progress(), err
}

// cmpCause is why the first of some contexts ended, nil when none did.
func cmpCause(all ...context.Context) error {
	for _, ctx := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// state is a runner at work.
type state struct {
	*Runner
	out      *output
	tunesCPU bool

	mu     sync.Mutex
	total  int
	done   int
	failed int
	left   []queued
	extra  time.Duration
	ran    int // runs that extra is the sum of
}

// queued are the runs that a queue still has, how many of them will run, and
// how long their warm-ups and windows are.
type queued struct {
	runs  []Run
	count int
	time  time.Duration
}

func (q *queued) add(run Run, n int) {
	if len(run.Cell.Missing) == 0 {
		q.count += n
		q.time += time.Duration(n) * run.Cell.Trial.expected()
	}
}

func (s *state) show(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Show != nil {
		e.Progress = s.progress()
		s.Show(e)
	}
}

// progress estimates with what runs took beside warm-up and window so far.
func (s *state) progress() Progress {
	p := Progress{Total: s.total, Done: s.done}
	each := overhead
	if s.ran > 0 {
		each = s.extra / time.Duration(s.ran)
		p.Overhead = each
	}
	for _, q := range s.left {
		p.Left = max(p.Left, q.time+time.Duration(q.count)*(each+s.Plan.Spec.Cooldown))
	}
	return p
}

// queue works off the runs of pairs that share hosts. It tells which pairs it
// had to give up, and what must end the other queues too.
func (s *state) queue(ctx, stop context.Context, i int) (gone, fatal error) {
	var away []string // pairs whose hosts cannot be had
	var errs []error
	for len(s.left[i].runs) > 0 {
		if stop.Err() != nil || ctx.Err() != nil {
			break
		}
		run := &s.left[i].runs[0]
		pair := run.Cell.Pair.Name
		if slices.Contains(away, pair) {
			s.pop(i)
			continue
		}
		s.show(Event{Run: run, Begin: true})
		begun := time.Now()
		rec, err := s.one(ctx, run)
		if ctx.Err() != nil {
			break // dropped
		}
		if err != nil {
			if pair != "" {
				err = fmt.Errorf("pair %s: %w", pair, err)
			}
			errs = append(errs, fmt.Errorf("%w; what is left can be run with --resume", err))
			away = append(away, pair)
			s.pop(i)
			continue
		}
		if err := s.store(rec); err != nil {
			return errors.Join(errs...), err
		}
		s.pop(i)
		s.count(run, rec, time.Since(begun))
		s.show(Event{Run: run, End: rec})
		if rec.Status == results.Skipped || len(s.left[i].runs) == 0 {
			continue
		}
		select {
		case <-time.After(s.Plan.Spec.Cooldown):
		case <-stop.Done():
		case <-ctx.Done():
		}
	}
	return errors.Join(errs...), nil
}

func (s *state) pop(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.left[i]
	q.add(q.runs[0], -1)
	q.runs = q.runs[1:]
}

func (s *state) count(run *Run, rec *results.Record, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	switch rec.Status {
	case results.Failed:
		s.failed++
	case results.OK:
		s.extra += max(took-run.Cell.Trial.expected(), 0)
		s.ran++
	}
}

func (s *state) store(rec *results.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.append(*rec)
}

// one makes the record of a run. An error is one that the pair's other runs
// would meet too.
func (s *state) one(ctx context.Context, run *Run) (*results.Record, error) {
	c := run.Cell
	t := c.Trial
	trial := driver.Run{
		RXWant: t.RX, TXWant: t.TX, Cell: c.ID, Repeat: run.Repeat, Settings: t.Settings, Command: t.Command,
		Live: func(role endpoint.Role, v wire.Sample) { s.show(Event{Run: run, Role: role, Live: &v}) },
	}
	if len(c.Missing) > 0 {
		trial.Refused = fault.Errorf(fault.Unsupported, "%s", strings.Join(c.Missing, "; "))
		rec, _ := driver.Drive(ctx, trial) // it is what was refused
		return s.sign(run, &rec), nil
	}
	limit := t.expected() + cmp.Or(s.grace, runGrace)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fault.Errorf(fault.Failed, "%w: it takes over %s", errWatchdog, limit))
	defer cancel()
	type result struct {
		rec results.Record
		err error
	}
	done := make(chan result, 1)
	go func() {
		rec, err := s.measure(ctx, run, trial)
		done <- result{rec, err}
	}()
	var got result
	select {
	case got = <-done:
	case <-ctx.Done():
		select {
		case got = <-done:
		case <-time.After(stuck):
			// What it left is not known, so nothing more is measured there.
			return nil, fault.Errorf(fault.Unreachable, "cell %s does not end, %s after it should have: %w", c, stuck, context.Cause(ctx))
		}
	}
	if got.err != nil {
		return nil, got.err
	}
	return s.sign(run, &got.rec), nil
}

// measure runs once, with the hooks around it.
func (s *state) measure(ctx context.Context, run *Run, trial driver.Run) (results.Record, error) {
	err := s.hook(ctx, "before-run", s.Plan.Spec.Hooks.BeforeRun, run)
	if err == nil {
		var ends Ends
		ends, err = s.open(ctx, run)
		if err != nil && !ofCell(err) {
			return results.Record{}, err
		}
		if err == nil {
			defer ends.Close()
			trial.RX, trial.TX, trial.LiveRX, trial.LiveTX = ends.RX, ends.TX, ends.LiveRX, ends.LiveTX
			trial.Power, trial.Baseline, trial.Unattended = ends.Power, run.Cell.Trial.Baseline, true
			if len(run.Cell.Trial.Meters) != len(ends.Power) {
				err = fault.Errorf(fault.Unsupported, "nothing reads meters for this pair: leave out meter")
			}
		}
	}
	trial.Refused = err
	rec, _ := driver.Drive(ctx, trial) // the record has the error
	if cause := context.Cause(ctx); errors.Is(cause, errWatchdog) && rec.Status != results.OK {
		rec.Status, rec.Reason = results.Failed, cause.Error()
	}
	if err := s.hook(context.WithoutCancel(ctx), "after-run", s.Plan.Spec.Hooks.AfterRun, run); err != nil {
		rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.HookFailed, "%v", err))
	}
	return rec, nil
}

// ofCell says that an error is about one cell, not about the hosts of the pair,
// which all other cells would meet.
func ofCell(err error) bool {
	kind := fault.Of(err)
	return kind == fault.Usage || kind == fault.Unsupported
}

// open reaches for the hosts, several times if need be.
func (s *state) open(ctx context.Context, run *Run) (ends Ends, err error) {
	waits := s.again
	if waits == nil {
		waits = reopen
	}
	for i := 0; ; i++ {
		ends, err = s.Sites[run.Cell.Pair.Name].Open(ctx, run.Cell.Trial)
		if err == nil || ofCell(err) || i == len(waits) {
			return ends, err
		}
		s.show(Event{Run: run, Note: fmt.Sprintf("%v; trying again in %s", err, waits[i])})
		select {
		case <-time.After(waits[i]):
		case <-ctx.Done():
			return ends, err
		}
	}
}

// sign says in a record where it belongs.
func (s *state) sign(run *Run, rec *results.Record) *results.Record {
	rec.Experiment, rec.Pair, rec.Dropped = s.Plan.Spec.Name, run.Cell.Pair.Name, run.Dropped
	rec.ShuffleSeed = s.Plan.Spec.Seed
	rec.Axes = map[string]string{}
	for _, l := range run.Cell.Axes {
		rec.Axes[l.Axis] = l.Value
	}
	if rec.Status == results.OK {
		s.mu.Lock()
		defer s.mu.Unlock()
		rec.Warnings = append(rec.Warnings, s.out.drift(rec, s.tunesCPU)...)
	}
	return rec
}

// tunesCPU says whether any cell changes settings of the CPUs.
func (p *Plan) tunesCPU() bool {
	return slices.ContainsFunc(p.Cells, func(c Cell) bool {
		for _, e := range []*wire.Prepare{&c.Trial.RX, &c.Trial.TX} {
			for _, m := range []map[string]string{e.Settings, e.Optional} {
				for name := range m {
					if strings.HasPrefix(name, "cpu.") {
						return true
					}
				}
			}
		}
		return false
	})
}

// hookWait bounds a hook of a whole experiment; one of a run has the run's own
// limit, or this after it.
const hookWait = 10 * time.Minute

// hook runs a command of the user's. It learns what it is about from its
// environment.
func (s *state) hook(ctx context.Context, name, command string, run *Run) error {
	if command == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hookWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), "ZCBENCH_EXPERIMENT="+s.Plan.Spec.Name, "ZCBENCH_OUTPUT="+s.Dir)
	if run != nil {
		cmd.Env = append(cmd.Env, "ZCBENCH_PAIR="+run.Cell.Pair.Name, "ZCBENCH_CELL="+run.Cell.ID, fmt.Sprintf("ZCBENCH_REPEAT=%d", run.Repeat))
		for _, l := range run.Cell.Axes {
			name := strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
					return r
				}
				return '_'
			}, strings.ToUpper(l.Axis))
			cmd.Env = append(cmd.Env, "ZCBENCH_AXIS_"+name+"="+l.Value)
		}
	}
	// A group of its own: Ctrl-C is ours to handle, and its children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(out)); text != "" {
		s.show(Event{Run: run, Note: name + ": " + text})
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fault.Errorf(fault.Failed, "hook %s (%s): %w", name, command, err)
	}
	return nil
}
