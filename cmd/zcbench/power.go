package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/power"
	"zcbench/results"
)

// runPower shows meters outside of a run.
func runPower(ctx context.Context, c *cli, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "list":
			return powerList(ctx, c, args[1:])
		case "read":
			return powerRead(ctx, c, args[1:])
		case "-h", "--help":
			fmt.Fprint(c.stdout, `usage: zcbench power list|read [flags]

  list  the meters this host has, and all kinds there are
  read  watts of one meter as they come, then their mean

zcbench power ACTION --help shows its flags.
`)
			return nil
		}
	}
	return fault.Errorf(fault.Usage, "power wants one of: list read")
}

func powerList(_ context.Context, c *cli, args []string) error {
	f := newFlags(c, "power list", "power list [--json]")
	asJSON := f.BoolP("json", "J", false, "print JSON")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "power list takes no argument, got %q", f.Arg(0))
	}
	stock := power.List()
	if *asJSON {
		return printJSON(c.stdout, map[string]any{"schema": "zcbench-power/1", "kinds": stock})
	}
	fmt.Fprint(c.stdout, "On this host:\n")
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	for _, s := range stock {
		for _, m := range s.Found {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", m.Meter, scopeText(string(m.Scope)), m.About)
		}
		if s.Lacks != "" {
			fmt.Fprintf(w, "  %s:\tno\t%s\n", s.Name, s.Lacks)
		}
	}
	fmt.Fprint(w, "\nAll kinds, for --meter KIND:ADDRESS:\n")
	for _, s := range stock {
		fmt.Fprintf(w, "  %s:%s\n%s", s.Name, s.Address, folded(s.About, "      "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(c.stdout, `
KIND+3s:ADDRESS takes a meter for one whose values are 3 s older than they look,
KIND-2s:ADDRESS for one whose own clock is 2 s behind. KIND:ADDRESS@HOST is read
on HOST, through ssh.
`)
	return err
}

// folded breaks text between words into lines of up to 100 characters.
func folded(text, indent string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > 100 && line != indent {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	return b.String() + strings.TrimRight(line, " ") + "\n"
}

func scopeText(scope string) string {
	switch power.Scope(scope) {
	case power.Wall:
		return "the wall"
	case power.Package:
		return "the CPU packages, not the wall"
	case power.GPU:
		return "the GPU, not the wall"
	}
	return "what it is on"
}

func powerRead(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "power read", "power read --meter KIND:ADDRESS [-t SECONDS] [--json]")
	length, interval := ask.Seconds(10*time.Second), ask.Seconds(time.Second)
	spec := f.String("meter", "", "the meter, KIND:ADDRESS (zcbench power list)")
	f.VarP(&length, "time", "t", "how long")
	f.VarP(&interval, "interval", "i", "time between lines")
	asJSON := f.BoolP("json", "J", false, "print JSON: every reading, then the mean; with -i the mean of each interval too")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 || *spec == "" || length <= 0 || interval <= 0 {
		return fault.Errorf(fault.Usage, "power read wants --meter KIND:ADDRESS, --time and --interval above zero, and no argument")
	}
	meter, err := power.Open(ctx, *spec)
	if err != nil {
		return err
	}
	r := power.Record(meter)
	defer r.Close()
	var from, to time.Time
	var p results.Power
	var warnings []string
	trace, err := awaitReading(ctx, r)
	if err == nil {
		from = time.Now()
		to = from.Add(time.Duration(length))
		if !*asJSON {
			showWatts(ctx, c.stdout, r, from, to, time.Duration(interval))
		} else {
			wait(ctx, to)
		}
		if ctx.Err() != nil {
			to = time.Now()
		}
		trace = r.Trace(ctx, to)
		p, warnings, err = trace.Over(power.Window{From: from, To: to})
	}
	if err != nil {
		for _, w := range warnings {
			fmt.Fprintln(c.stderr, "zcbench power read:", printable.Line(w))
		}
		return fmt.Errorf("%s: %w", r.Info().Name, err)
	}
	if *asJSON {
		v := jsonReadings(&trace, p, warnings)
		if f.Changed("interval") {
			v["intervals"] = means(&trace, from, to, time.Duration(interval))
		}
		err = printJSON(c.stdout, v)
	} else {
		err = summarizeWatts(c.stdout, p, warnings, to.Sub(from))
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// awaitReading waits for the first reading that is of now.
func awaitReading(ctx context.Context, r *power.Recorder) (power.Trace, error) {
	t := r.Trace(ctx, time.Now())
	if cause := context.Cause(ctx); cause != nil {
		return t, cause
	}
	if len(t.Readings) == 0 {
		_, _, err := t.Over(power.Window{From: time.Now(), To: time.Now().Add(time.Second)})
		return t, err
	}
	return t, nil
}

func wait(ctx context.Context, until time.Time) {
	select {
	case <-time.After(time.Until(until)):
	case <-ctx.Done():
	}
}

// showWatts prints the mean of each interval as it ends.
func showWatts(ctx context.Context, out io.Writer, r *power.Recorder, from, to time.Time, interval time.Duration) {
	said := ""
	for a := from; a.Before(to) && ctx.Err() == nil; {
		b := a.Add(interval)
		if b.After(to) {
			b = to
		}
		if wait(ctx, b); ctx.Err() != nil {
			return
		}
		t := r.Trace(ctx, time.Time{})
		p, _, err := t.Over(power.Window{From: a, To: b})
		why := "no new value"
		if t.Err != nil {
			why += ": " + t.Err.Error()
		}
		switch {
		case err == nil:
			fmt.Fprintf(out, "%s  %10.2f W\n", b.Format("15:04:05.0"), p.Watts)
		case errors.Is(err, power.ErrCoarse):
			fmt.Fprintf(out, "%s  %10.2f W ± %.2f\n", b.Format("15:04:05.0"), p.Watts, p.Bound)
		case why != said:
			said = why
			fmt.Fprintf(out, "%s  %10s    %s\n", b.Format("15:04:05.0"), "–", why)
		default:
			fmt.Fprintf(out, "%s  %10s\n", b.Format("15:04:05.0"), "–")
		}
		a = b
	}
}

func summarizeWatts(out io.Writer, p results.Power, warnings []string, length time.Duration) error {
	var b strings.Builder
	source := "sampled watts"
	if p.Energy {
		source = "its energy counter"
	}
	fmt.Fprintf(&b, "\n%s sees: %s\n", p.Meter, scopeText(p.Scope))
	if p.Source != "" {
		fmt.Fprintf(&b, "by %s\n", p.Source)
	}
	fmt.Fprintf(&b, "mean %.2f W", p.Watts)
	if p.Bound > 0 {
		fmt.Fprintf(&b, " ± %.2g", p.Bound)
	}
	if p.Min != nil && p.Max != nil {
		fmt.Fprintf(&b, ", min %.2f, max %.2f", *p.Min, *p.Max)
	}
	fmt.Fprintf(&b, " over %.1f s, %.1f J, by %s\n", length.Seconds(), p.Joules, source)
	fmt.Fprintf(&b, "%s, one each %.3g s", printable.Count(p.Samples, "value"), p.Interval)
	if p.Resolution > 0 {
		fmt.Fprintf(&b, ", in steps of %.3g W", p.Resolution)
	}
	b.WriteByte('\n')
	for _, w := range warnings {
		b.WriteString("Warning: " + w + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// reading is one of power read --json; what the meter does not tell is absent.
type reading struct {
	Time   string   `json:"time"`
	Watts  *float64 `json:"watts,omitempty"`
	Joules *float64 `json:"joules,omitempty"`
}

// means are the mean watts of each interval, at its end; null where the meter
// gave no new value.
func means(t *power.Trace, from, to time.Time, interval time.Duration) []map[string]any {
	all := []map[string]any{}
	for a := from; a.Before(to); a = a.Add(interval) {
		b := a.Add(interval)
		if b.After(to) {
			b = to
		}
		one := map[string]any{"time": b.Format(time.RFC3339Nano), "watts": nil}
		if p, _, err := t.Over(power.Window{From: a, To: b}); err == nil {
			one["watts"] = p.Watts
		}
		all = append(all, one)
	}
	return all
}

func jsonReadings(t *power.Trace, p results.Power, warnings []string) map[string]any {
	all := []reading{}
	for _, r := range t.Readings {
		all = append(all, reading{r.At.Format(time.RFC3339Nano), r.Watts, r.Joules})
	}
	if warnings == nil {
		warnings = []string{}
	}
	return map[string]any{"schema": "zcbench-power/1", "power": p, "readings": all, "failed_reads": t.Lost, "warnings": warnings}
}
