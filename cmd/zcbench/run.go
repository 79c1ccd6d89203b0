package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/analysis"
	"zcbench/endpoint"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/reports"
	"zcbench/results"
)

// runMatrix carries out an experiment.
func runMatrix(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "run", "run SPEC [-o DIR] [flags]\n\n"+specHelp())
	var choice experiment.Choice
	choiceFlags(f, &choice)
	f.StringVar(&choice.Shard, "shard", "", "run part I of N of the cells, as in 1/8, with a directory of its own")
	dir := f.StringP("output", "o", "", "directory for "+experiment.StoreFile+" (default SPEC's name and -results)")
	resume := f.Bool("resume", false, "continue what was begun in the directory")
	f.BoolVar(&choice.SkipMissing, "skip-missing", false, "run what these hosts can; the other cells are recorded as skipped")
	asJSON := f.BoolP("json", "J", false, "print each record as a line of JSON, instead of the table at the end")
	if err := parse(f, args); err != nil {
		return err
	}
	spec, err := loadSpec(ctx, f.Args(), "run")
	if err != nil {
		return err
	}
	if *dir == "" {
		*dir = defaultOutput(spec)
	}
	if *resume {
		was, _, err := experiment.ReadState(*dir)
		if err != nil {
			return err
		}
		choice = choice.Over(was.Choice)
	}
	if err := choose(f, spec, choice); err != nil {
		return err
	}
	if err := becomeRoot(ctx, c); err != nil {
		return err
	}
	recoverSettings(ctx, c)
	open, plan, err := openPlan(ctx, c, spec)
	if err != nil {
		return err
	}
	defer open.Close()
	if err := choice.Apply(plan); err != nil {
		return err
	}
	if err := open.CheckMeters(ctx, plan); err != nil {
		return err
	}
	if missing := plan.Missing(); len(missing) > 0 && !choice.SkipMissing && !spec.SkipMissing {
		fmt.Fprintln(c.stderr, "zcbench run: these hosts lack what some cells need; nothing was run:")
		showMissing(c.stderr, missing)
		fmt.Fprintln(c.stderr, "Put that right, leave the cells out (--only, or exclude in the spec), or record them as skipped "+
			"(--skip-missing).")
		return errReported{fault.Errorf(fault.Unsupported, "missing prerequisites")}
	}
	return carryOut(ctx, c, experiment.Runner{Plan: plan, Sites: open, Dir: *dir, Choice: choice, Resume: *resume}, *asJSON)
}

// carryOut runs a plan, shows how it goes, and prints what came of it.
func carryOut(ctx context.Context, c *cli, r experiment.Runner, asJSON bool) error {
	show := newMatrixScreen(c, r.Plan, asJSON)
	hard, cancel := interrupts(ctx, show.note)
	defer cancel()
	r.Version, r.Stop, r.Show = version, ctx, show.event
	progress, err := r.Run(hard)
	show.clear()
	if progress.Total > 0 && !asJSON {
		err = errors.Join(err, table(c.stdout, filepath.Join(r.Dir, experiment.StoreFile)))
	}
	if progress.Overhead > 0 {
		fmt.Fprintf(c.stderr, "a run took %.2f s beside its warm-up and window\n", progress.Overhead.Seconds())
	}
	if progress.Done < progress.Total {
		fmt.Fprintf(c.stderr, "zcbench: %d of %s done; --resume continues with the others\n", progress.Done, printable.Count(progress.Total,
			"run"))
	}
	return err
}

// table shows what a store holds.
func table(w io.Writer, store string) error {
	all, _, err := results.Load(store)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := reports.Table(w, analysis.FirstLook(all)); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	fmt.Fprintf(w, "\nrecords: %s\n", store)
	return nil
}

// interrupts gives the context that ends runs in the middle. A first Ctrl-C
// ends ctx, after which the runs that are on may finish; a second one, and any
// other signal, ends the runs too.
func interrupts(ctx context.Context, note func(string)) (context.Context, func()) {
	hard, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case <-over:
				return
			case s := <-signals:
				switch {
				case s == os.Interrupt && first.IsZero():
					first = time.Now()
					note("interrupted: the runs that are on finish first; Ctrl-C again drops them")
				case s == os.Interrupt && time.Since(first) < doubled:
				default:
					cancel(fault.Errorf(fault.Interrupted, "ended by signal: %s", s))
				}
			}
		}
	}()
	return hard, func() {
		signal.Stop(signals)
		close(over)
		cancel(nil)
	}
}

// doubled is within what one Ctrl-C may come twice: from the terminal, and from
// the parent that made the user namespace.
const doubled = 200 * time.Millisecond

// matrixScreen shows an experiment as it goes: a line for each run that is
// over, and on a terminal below them one for each that is on.
type matrixScreen struct {
	mu       sync.Mutex
	out      io.Writer
	json     io.Writer // nil: none
	terminal *os.File  // nil: it is none
	repeats  int
	on       []*running
	drawn    int // lines on the terminal below the cursor's home
}

// running is a run that is on.
type running struct {
	run        *experiment.Run
	last       map[endpoint.Role]wire.Sample
	gbps       float64
	cpu        map[endpoint.Role]float64
	seen       bool
	begun      time.Time
	inProgress experiment.Progress
}

func newMatrixScreen(c *cli, p *experiment.Plan, asJSON bool) *matrixScreen {
	s := &matrixScreen{out: c.stderr, repeats: p.Spec.Repeats}
	if asJSON {
		s.json = c.stdout
	}
	if f, ok := c.stderr.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			s.terminal = f
		}
	}
	return s
}

func (s *matrixScreen) event(e experiment.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Note != "":
		s.line(e.Note)
	case e.Begin:
		s.on = append(s.on, &running{run: e.Run, last: map[endpoint.Role]wire.Sample{}, cpu: map[endpoint.Role]float64{}, begun: time.Now(),
			inProgress: e.Progress})
		s.draw()
	case e.Live != nil:
		for _, r := range s.on {
			if r.run == e.Run {
				r.live(e.Role, *e.Live)
			}
		}
		s.draw()
	case e.End != nil:
		s.over(e)
	}
}

func (r *running) live(role endpoint.Role, v wire.Sample) {
	if before, ok := r.last[role]; ok && !summary.TooShort(before, v) {
		i := summary.Interval(role, before, v)
		if role == endpoint.RX {
			r.gbps, r.seen = i.Gbps, true
		}
		if i.CPUPercent != nil {
			r.cpu[role] = *i.CPUPercent
		}
	}
	r.last[role] = v
}

// over shows a run that is stored.
func (s *matrixScreen) over(e experiment.Event) {
	for i, r := range s.on {
		if r.run == e.Run {
			s.on = append(s.on[:i:i], s.on[i+1:]...)
			break
		}
	}
	if s.json != nil {
		if b, err := json.Marshal(e.End); err == nil { // it has been stored, so it can be
			fmt.Fprintf(s.json, "%s\n", b)
		}
	}
	p := e.Progress
	text := fmt.Sprintf("[%d/%d] %s: %s", p.Done, p.Total, s.name(e.Run), outcome(e.End))
	if p.Done < p.Total {
		text += fmt.Sprintf(", about %s left", p.Left.Round(time.Second))
	}
	s.line(text)
}

func (s *matrixScreen) name(r *experiment.Run) string {
	if s.repeats == 1 {
		return r.Cell.String()
	}
	return fmt.Sprintf("%s, run %d of %d", r.Cell, r.Repeat+1, s.repeats)
}

// outcome is a record in a few words.
func outcome(r *results.Record) string {
	if r.Status != results.OK {
		reason, _, _ := strings.Cut(r.Reason, "\n")
		return string(r.Status) + ": " + reason
	}
	text := fmt.Sprintf("%.2f Gbit/s", r.Gbps)
	for _, e := range []struct {
		name string
		end  *results.End
	}{{"tx", r.TX}, {"rx", r.RX}} {
		if e.end == nil || e.end.CPUPercent == nil && e.end.Watts == nil {
			continue
		}
		text += ", " + e.name
		if e.end.CPUPercent != nil {
			text += fmt.Sprintf(" %.0f %% CPU", *e.end.CPUPercent)
		}
		if e.end.Watts != nil {
			text += fmt.Sprintf(" %.1f W", *e.end.Watts)
		}
	}
	if n := len(r.Warnings); n > 0 {
		text += ", " + printable.Count(n, "warning")
	}
	return text
}

func (s *matrixScreen) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line(text)
}

// line prints a line that stays.
func (s *matrixScreen) line(text string) {
	s.clear()
	fmt.Fprintln(s.out, printable.Line(text))
	s.draw()
}

// draw shows the runs that are on.
func (s *matrixScreen) draw() {
	if s.terminal == nil {
		return
	}
	s.clear()
	width := 80
	if ws, err := unix.IoctlGetWinsize(int(s.terminal.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
		width = int(ws.Col)
	}
	for _, r := range s.on {
		p := r.inProgress
		text := fmt.Sprintf("[%d/%d] %s", p.Done+1, p.Total, s.name(r.run))
		if r.seen {
			text += fmt.Sprintf(": %.2f Gbit/s, tx %.0f %%, rx %.0f %% CPU", r.gbps, r.cpu[endpoint.TX], r.cpu[endpoint.RX])
		}
		text += fmt.Sprintf(", about %s left", max(p.Left-time.Since(r.begun), 0).Round(time.Second))
		if line := []rune(text); len(line) >= width {
			text = string(line[:width-1])
		}
		fmt.Fprintln(s.out, printable.Line(text))
		s.drawn++
	}
}

// clear takes the runs that are on off the terminal.
func (s *matrixScreen) clear() {
	for ; s.drawn > 0; s.drawn-- {
		fmt.Fprint(s.out, "\x1b[A\r\x1b[K")
	}
}
