package driver

import (
	"context"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/power"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Metering is a meter that a trial wants.
type Metering struct {
	// End is whose watts it reads: RX, TX, or "" for a host that is both.
	End  endpoint.Role
	Spec string  // as power.Open takes
	By   *Client // whose process reads it
}

// meterings are the meters of a trial, reader by reader.
type meterings struct {
	readers []*reader
	shared  Sharing
	base    [2]int64 // from when to when the hosts were idle, on our clock
}

// reader is one agent that reads meters.
type reader struct {
	c      *Client
	offset int64
	unsure int64
	specs  []string
	ends   []endpoint.Role // of each meter, those of the agent's own user included
}

// openPower has all meters of a trial read from now on. What cannot be opened
// fails the trial: its user asked for it.
func (t *Run) openPower(ctx context.Context) (*meterings, error) {
	ms := &meterings{shared: t.shared}
	own, err := t.choose(ms)
	if err != nil || len(ms.readers) == 0 {
		return ms, err
	}
	t.busy(t.Baseline + time.Duration(len(ms.readers)+own+len(t.Power))*wire.PrepareWait)
	for _, r := range ms.readers {
		quiet := t.Baseline
		if r.c != t.RX && r.c != t.TX {
			quiet = t.quiet() // nobody prepares it for the run
		}
		var err error
		if r.offset, r.unsure, err = r.c.clockOffset(ctx); err != nil {
			return nil, err
		}
		infos, err := r.c.watch(ctx, wire.Watch{Specs: r.specs, Quiet: quiet, Lenient: t.Unattended})
		if err != nil {
			return nil, err
		}
		if len(infos) != len(r.ends) {
			return nil, r.c.unexpected("watch")
		}
	}
	if t.Baseline == 0 {
		return ms, nil
	}
	ms.base[0] = wire.Monotonic()
	select {
	case <-time.After(t.Baseline):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ms.base[1] = wire.Monotonic()
	return ms, nil
}

// choose finds out who reads which meter; own are those that the ends' users gave.
func (t *Run) choose(ms *meterings) (own int, err error) {
	of := func(c *Client) *reader {
		for _, r := range ms.readers {
			if r.c == c {
				return r
			}
		}
		ms.readers = append(ms.readers, &reader{c: c})
		return ms.readers[len(ms.readers)-1]
	}
	ends := []struct {
		c    *Client
		role endpoint.Role
	}{{t.RX, endpoint.RX}, {t.TX, endpoint.TX}}
	for _, e := range ends {
		if e.c != nil {
			own += e.c.Welcome.Power
		}
	}
	if own > 2*wire.MaxMeters || own+len(t.Power) == 0 {
		return own, nil
	}
	// The ends first, whether they have meters or not: they may forbid a baseline as long.
	for _, e := range ends {
		if e.c != nil {
			of(e.c)
		}
	}
	for _, m := range t.Power {
		if m.End == "" && t.RX != nil && t.TX != nil && t.shared != OneHost {
			return own, fault.Errorf(fault.Usage, "meter %s: the ends are two hosts: say which it reads, rx= or tx=", m.Spec)
		}
		r := of(m.By)
		r.specs, r.ends = append(r.specs, m.Spec), append(r.ends, m.End)
	}
	for _, e := range ends {
		if e.c != nil {
			r := of(e.c)
			for range e.c.Welcome.Power {
				r.ends = append(r.ends, e.role)
			}
		}
	}
	return own, nil
}

// CheckMeters opens meters and reads each once. An error is what a run with them
// would fail with.
func CheckMeters(ctx context.Context, all []Metering) error {
	t := Run{Power: all}
	ms, err := t.openPower(ctx)
	if err != nil {
		return err
	}
	for _, r := range ms.readers {
		if _, err := r.c.tell(ctx, 0, 0, r.offset, len(r.ends)); err != nil {
			return err
		}
	}
	return nil
}

// quiet is how long an agent that only reads meters is asked nothing: while the others
// open theirs, and until the run is over.
func (t *Run) quiet() time.Duration {
	long := t.Baseline + time.Duration(len(t.Power))*wire.PrepareWait
	for _, p := range []*wire.Prepare{&t.RXWant, &t.TXWant} {
		if p.Raw && p.Time == 0 {
			return 2 * wire.MaxTime
		}
		long = max(long, t.Baseline+p.Omit+p.Time)
	}
	return min(long+t.RXWant.Preparing()+t.TXWant.Preparing()+wire.EndingWait, 2*wire.MaxTime)
}

// read ends the reading and puts the figures into the record. What a meter
// lacks is a warning: a run is a run without it.
func (ms *meterings) read(ctx context.Context, rec *results.Record, rx, tx *end) {
	if len(ms.readers) == 0 {
		return
	}
	windows := map[endpoint.Role]power.Window{}
	for _, e := range []*end{tx, rx} {
		if e.Result != nil {
			windows[e.Role] = summary.Window(e.Result, e.Want, e.Offset)
			windows[""] = windows[e.Role] // the receiver's, as the record's own
		}
	}
	first, last := ms.base[0], int64(0)
	for _, w := range windows {
		if at := wire.ToMonotonic(w.From); first == 0 || at < first {
			first = at
		}
		last = max(last, wire.ToMonotonic(w.To))
	}
	var all []*summary.Meter
	for _, r := range ms.readers {
		if len(r.ends) == 0 {
			continue
		}
		said, err := r.c.tell(ctx, first, last, r.offset, len(r.ends))
		if err != nil {
			rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.PowerMissing, "power is missing: %v", err))
			said = make([]power.Trace, len(r.ends))
			for i := range said {
				said[i] = power.Trace{Info: power.Info{Name: "unknown"}, Err: err}
			}
		}
		for i, end := range r.ends {
			m := &summary.Meter{End: end, Trace: said[i]}
			if kind, err := power.Describe(said[i].Info.Name); err == nil {
				m.Host = kind.Local && !kind.AsUser
			}
			all = append(all, m)
		}
		if w := windows[""]; r.unsure > int64(w.To.Sub(w.From))/100 {
			rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.PowerClock, "%s: its clock is known within %s only, over 1%% of the window: so "+
				"are the edges of its watts", r.c.name, time.Duration(r.unsure)))
		}
	}
	if ms.shared == OneHost {
		for _, m := range all {
			if m.Host && m.End != "" {
				rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.PowerShared, "%s: %s reads the host that both ends share, not this end alone",
					m.End, m.Trace.Info.Name))
			}
		}
	}
	var base *power.Window
	if ms.base[1] != 0 {
		base = &power.Window{From: wire.FromMonotonic(ms.base[0]), To: wire.FromMonotonic(ms.base[1])}
	}
	summary.Power(rec, all, windows, base)
	summary.SeenByBoth(rec, all)
	rec.Derive()
}
