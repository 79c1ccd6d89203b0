package ask

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
	"zcbench/internal/printable"
)

func bad(format string, args ...any) error { return fault.Errorf(fault.Usage, format, args...) }

// Check finds what can never work, before anything is touched, and puts what was
// left to us in its place: the engines of a mode, the interface's own name.
func (k *Known) Check(r *Run) error {
	if err := r.checkNumbers(); err != nil {
		return err
	}
	for _, f := range Fields() {
		if f.check == nil {
			continue
		}
		if err := f.check(r); err != nil {
			return err
		}
	}
	if err := k.checkCounters(r.Counters); err != nil {
		return err
	}
	if r.Interface != "" {
		name, err := netif.Name(r.Interface)
		if err != nil {
			return bad("--iface: %w", err)
		}
		r.Interface = name
	}
	if err := k.giveOptions(r); err != nil {
		return err
	}
	return k.CheckOptions(r)
}

// checkValue finds what is amiss with one value of a field, whatever else is said.
func (k *Known) checkValue(f *Field, value string) error {
	r := New()
	if err := f.set(r, []string{value}); err != nil {
		return err
	}
	if f.pairs() || f.Name == "tune-profile" {
		_, err := r.want()
		return err
	}
	r.own = nil // which engine they are for is known in the cell
	return k.Check(r)
}

// set gives a field its values.
func (f *Field) set(r *Run, values []string) error {
	v := f.Value(r)
	for _, text := range values {
		if err := v.Set(text); err != nil {
			return fault.Wrap(fault.Usage, Mistake(f.Name, v.Type(), text, err))
		}
	}
	return nil
}

// Idle finds what would do nothing without something else.
func (r *Run) Idle() error {
	if r.Baseline > 0 && len(r.Meters) == 0 {
		return bad("--baseline-power: there is no meter to read: give --meter")
	}
	return nil
}

// Complete checks a run whose both ends are ours, and fills in what was left to us.
func (k *Known) Complete(r *Run) error {
	if err := k.Check(r); err != nil {
		return err
	}
	if err := r.Idle(); err != nil {
		return err
	}
	if err := r.Timed(); err != nil {
		return err
	}
	if err := k.GiveMemory(r, endpoint.RX, endpoint.TX); err != nil {
		return err
	}
	r.Default("baseline", "baseline")
	return k.CheckOptions(r)
}

// Default names the engines of which nothing was said.
func (r *Run) Default(rx, tx string) {
	if r.RX == "" {
		r.RX = rx
	}
	if r.TX == "" {
		r.TX = tx
	}
}

// Timed refuses a run that would never end.
func (r *Run) Timed() error {
	if r.Time == 0 {
		return bad("--time must be above zero")
	}
	return nil
}

func (r *Run) checkMode() error {
	if r.Mode == "" {
		return nil
	}
	m, ok := modes[r.Mode]
	switch {
	case !ok:
		return bad("unknown mode %q; there are: baseline msgzc devmem iouring", r.Mode)
	case r.RX != "" || r.TX != "":
		return bad("--mode names both engines; give it or --rx and --tx")
	}
	r.RX, r.TX = m.rx, m.tx
	return nil
}

// checkNumbers holds numbers to what an agent takes.
func (r *Run) checkNumbers() error {
	rx, tx := r.Prepare(endpoint.RX), r.Prepare(endpoint.TX)
	rx.Interval = time.Duration(r.Interval)                             // also one that is longer than the run
	if err := rx.CheckNumbers(); err != nil || rx.Raw && rx.Time == 0 { // which only a receiver can be
		return err
	}
	return tx.CheckNumbers()
}

func (r *Run) checkBaseline() error {
	if r.Baseline < 0 || time.Duration(r.Baseline) > wire.MaxTime {
		return bad("--baseline-power is %s; it must be from 0 to %s", &r.Baseline, wire.MaxTime)
	}
	return nil
}

func (r *Run) checkPort() error {
	if r.Port < 1 || r.Port+r.Flows > math.MaxUint16 {
		return bad("--port %d: it and %s after it must be from 1 to 65535", r.Port, printable.Count(r.Flows, "data port"))
	}
	return nil
}

func (r *Run) checkFamily() error {
	if r.v4 && r.v6 {
		return bad("-4 and -6 exclude each other")
	}
	return nil
}

func (r *Run) checkJSON() error {
	if r.JSON && r.Stream {
		return bad("--json and --json-stream exclude each other")
	}
	return nil
}

func (r *Run) checkToken() error {
	if r.Raw && r.TokenFile != "" {
		return bad("--raw has no control connection that a token could protect")
	}
	return nil
}

// checkCounters finds names that there are not.
func (k *Known) checkCounters(asked []string) error {
	for _, name := range asked {
		switch {
		case name == instrument.AllCounters || name == instrument.NoCounters:
			if len(asked) > 1 {
				return bad("--counters %s stands alone", name)
			}
		case !slices.Contains(k.Counters, name):
			return bad("--counters: no %q; there are: all none %s", name, strings.Join(k.Counters, " "))
		}
	}
	return nil
}

// CheckOptions finds options that the engines named do not have.
func (k *Known) CheckOptions(r *Run) error {
	for _, role := range []endpoint.Role{endpoint.RX, endpoint.TX} {
		name, options := r.end(role)
		if *name == "" { // nobody knows yet
			continue
		}
		e, err := k.engine(role, *name)
		if err != nil {
			return err
		}
		if _, err := endpoint.ParseOptions(e.Options(), *options); err != nil {
			_, what := k.engines(role)
			return fmt.Errorf("the %s engine %s: %w", what, *name, err)
		}
	}
	return nil
}

// giveOptions turns the fields that are options into options of the receive engine;
// options given by name take precedence. The engine then says whether its options
// are right.
func (k *Known) giveOptions(r *Run) error {
	if len(r.own) == 0 {
		return nil
	}
	var given []string
	for _, f := range Fields() {
		if _, ok := r.own[f.option]; ok && f.option != "" {
			given = append(given, "--"+f.Name)
		}
	}
	flags := strings.Join(given, ", ")
	if r.RX == "" {
		return bad("%s: name the receive engine too, with --mode or --rx", flags)
	}
	e, err := k.engine(endpoint.RX, r.RX)
	if err != nil {
		return err
	}
	all := over(r.own, r.RXOptions)
	if _, err := endpoint.ParseOptions(e.Options(), all); err != nil {
		return fmt.Errorf("%s for the receive engine %s: %w", flags, e.Name(), err)
	}
	r.RXOptions = all
	return nil
}
