package summary

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/power"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Meter is one meter of a run and what it said.
type Meter struct {
	End   endpoint.Role
	Host  bool // it reads the host it runs on, where both ends are
	Trace power.Trace
	// Once Power has worked it out: what it measured, and whether that is part
	// of its end's sum.
	measured *results.Power
	counts   bool
}

// Window is a run's window on the driver's clock, and the load's time around
// it.
func Window(r *wire.Result, p *wire.Prepare, offset int64) power.Window {
	a, b := r.Edges()
	at := func(ns int64) time.Time { return wire.FromMonotonic(r.Opened - offset + ns) }
	return power.Window{From: at(a.At), To: at(b.At), Began: at(-int64(p.Omit)), Ended: at(b.At + int64(wire.Tail))}
}

// scopes, those that see most first. Where an end has meters of several, the
// watts are of the first; meters of one scope add up, as those of a host's two
// power supplies do, unless they see the same.
var scopes = []power.Scope{power.Wall, power.Other, power.Package, power.GPU}

// Power puts what meters of each end said of its window, and of the baseline where
// there is one, into a record.
func Power(rec *results.Record, all []*Meter, windows map[endpoint.Role]power.Window, base *power.Window) {
	for _, role := range []endpoint.Role{endpoint.RX, endpoint.TX, ""} {
		w, ok := windows[role]
		mine := slices.DeleteFunc(slices.Clone(all), func(m *Meter) bool { return m.End != role })
		if !ok || len(mine) == 0 {
			continue
		}
		slices.SortStableFunc(mine, func(a, b *Meter) int {
			return cmp.Compare(slices.Index(scopes, a.Trace.Info.Scope), slices.Index(scopes, b.Trace.Info.Scope))
		})
		powerOf(rec, role, mine, w, base)
	}
}

// powerOf puts what the meters of one end said, those that see most first, into a record;
// those of neither end are of both.
func powerOf(rec *results.Record, role endpoint.Role, mine []*Meter, w power.Window, base *power.Window) {
	who, bytes := string(role), rec.Bytes
	var end *results.End
	switch role {
	case endpoint.RX:
		end = rec.RX
	case endpoint.TX:
		end = rec.TX
	default:
		who = "both ends"
	}
	if end != nil {
		bytes = end.Bytes
	}
	widestOnes := slices.DeleteFunc(slices.Clone(mine), func(m *Meter) bool { return m.Trace.Info.Scope != mine[0].Trace.Info.Scope })
	counted, warnings := once(widestOnes, true)
	for _, warning := range warnings {
		rec.Warnings = append(rec.Warnings, who+", "+warning)
	}
	var figures, summed []results.Power
	var parts [][]*float64
	whole := true
	for _, m := range mine {
		p, warnings, err := m.figure(w, base)
		for _, warning := range warnings {
			rec.Warnings = append(rec.Warnings, who+", meter "+m.Trace.Info.Name+": "+warning)
		}
		m.counts = slices.Contains(counted, m)
		if err != nil {
			rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.PowerMissing, "%s, meter %s: its watts are missing: %v", who, m.Trace.Info.Name,
				err))
			whole = whole && !m.counts
			continue
		}
		if bytes > 0 {
			per := p.Joules / (float64(bytes) / 1e9)
			p.JoulesPerG = &per
		}
		figures = append(figures, p)
		m.measured = &p
		if m.counts {
			summed = append(summed, p)
		}
		if end != nil && m.counts {
			parts = append(parts, m.Trace.Parts(w, edgesOf(rec.Samples, role, w.From)))
		}
	}
	if len(mine) > 1 && end != nil {
		end.Meters = figures
	}
	if !whole {
		return
	}
	total := sumPower(summed)
	if end == nil {
		rec.Total.Power = total
		return
	}
	end.Power, end.Watts = total, &total.Watts
	i := 0
	for j := range rec.Samples {
		if s := &rec.Samples[j]; s.End == string(role) {
			s.Watts = sumPart(parts, i)
			i++
		}
	}
}

// figure is one meter over the window, and over the baseline where there is
// one.
func (m *Meter) figure(w power.Window, base *power.Window) (_ results.Power, warnings []string, _ error) {
	p, warnings, err := m.Trace.Over(w)
	if base == nil || err != nil {
		return p, warnings, err
	}
	idle, _, err := m.Trace.Over(*base)
	if err != nil {
		return p, append(warnings, caveat.Warn(caveat.PowerMissing, "its idle baseline is missing: %v", err)), nil
	}
	p.Baseline = &idle.Watts
	if p.Watts < idle.Watts*1.005 {
		warnings = append(warnings, caveat.Warn(caveat.PowerBlind, "it shows %.4g W under load and %.4g W idle before: it does not see the "+
			"load, or later than the run lasts", p.Watts, idle.Watts))
	}
	return p, warnings, nil
}

// edgesOf are the times between the samples of an end, of which the first begins
// as the window does.
func edgesOf(samples []results.Sample, role endpoint.Role, from time.Time) []time.Time {
	var edges []time.Time
	var first float64
	for _, s := range samples {
		if s.End != string(role) {
			continue
		}
		if len(edges) == 0 {
			first, edges = s.Start, append(edges, from)
		}
		edges = append(edges, from.Add(time.Duration((s.Start+s.Seconds-first)*float64(time.Second))))
	}
	return edges
}

func sumPart(parts [][]*float64, i int) *float64 {
	total := 0.0
	for _, p := range parts {
		if i >= len(p) || p[i] == nil {
			return nil
		}
		total += *p[i]
	}
	return &total
}

// sumPower adds up the figures of one scope; extremes of several meters are at
// different times and have no sum.
func sumPower(figures []results.Power) *results.Power {
	total := figures[0]
	names := []string{total.Meter}
	for _, p := range figures[1:] {
		names = append(names, p.Meter)
		total.Watts += p.Watts
		total.Joules += p.Joules
		total.JoulesPerG = add(total.JoulesPerG, p.JoulesPerG)
		total.Baseline = add(total.Baseline, p.Baseline)
		total.Min, total.Max = nil, nil
		total.Samples = min(total.Samples, p.Samples)
		total.Interval = max(total.Interval, p.Interval)
		total.Resolution += p.Resolution
		total.Bound += p.Bound
		if p.Source != total.Source {
			total.Source = "" // each meter has its own
		}
		total.Energy = total.Energy && p.Energy
	}
	total.Meter = strings.Join(names, " + ")
	return &total
}

// once leaves out what another meter sees too: of meters that see the same the
// first given counts, of two the one that sees the other's part as well. A meter
// of a whole server has the others of its end in it, whatever they are.
func once(meters []*Meter, oneEnd bool) (counted []*Meter, warnings []string) {
	name := func(m *Meter) string { return m.Trace.Info.Name }
	out := func(m, in *Meter, why string) {
		warnings = append(warnings, caveat.Warn(caveat.PowerTwice, "meter %s: %s %s: it is not in the sum", name(m), why, name(in)))
	}
	unsure := map[*Meter]bool{}
	for _, m := range meters {
		var keep []*Meter
		drop := false
		var doubts []*Meter
		for _, k := range counted {
			if drop {
				keep = append(keep, k)
				continue
			}
			switch rel := k.Trace.Info.Relate(&m.Trace.Info); {
			case rel == power.Same:
				out(m, k, "it sees the same as")
				drop = true
			case rel == power.Wider:
				out(m, k, "what it sees is part of what is seen by")
				drop = true
			case rel == power.Narrower:
				out(k, m, "what it sees is part of what is seen by")
				continue
			case oneEnd && k.Trace.Info.Whole:
				out(m, k, "the whole server is seen by")
				drop = true
			case oneEnd && m.Trace.Info.Whole:
				out(m, k, "it sees the whole server, and so what is seen by")
				drop = true
			case rel == power.Unknown:
				doubts = append(doubts, k, m)
			}
			keep = append(keep, k)
		}
		counted = keep
		if !drop {
			counted = append(counted, m)
			for _, d := range doubts {
				unsure[d] = true
			}
		}
	}
	var names []string
	for _, m := range counted {
		if unsure[m] {
			names = append(names, name(m))
		}
	}
	if oneEnd && len(names) > 1 {
		warnings = append(warnings, caveat.Warn(caveat.PowerSum, "the watts of %s are summed, though nothing tells whether these meters see "+
			"different things: leave one out if they do not", strings.Join(names, " and ")))
	}
	return counted, warnings
}

// SeenByBoth keeps what meters of both ends see from being counted for each.
func SeenByBoth(rec *results.Record, all []*Meter) {
	if rec.Total.Power != nil || rec.RX == nil || rec.TX == nil || rec.RX.Power == nil || rec.TX.Power == nil {
		return
	}
	if a, b := rec.RX.Power.Scope, rec.TX.Power.Scope; a != b {
		rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.PowerSum, "the receiver's watts are of scope %s and the sender's of %s: they "+
			"have no total: give both ends meters of one kind", a, b))
		return
	}
	var both []*Meter
	for _, role := range []endpoint.Role{endpoint.RX, endpoint.TX} {
		p := rec.RX.Power
		if role == endpoint.TX {
			p = rec.TX.Power
		}
		for _, m := range all {
			if m.counts && m.End == role && m.measured != nil && m.measured.Scope == p.Scope {
				both = append(both, m)
			}
		}
	}
	counted, _ := once(both, false)
	if len(counted) == len(both) {
		return
	}
	var figures []results.Power
	var names []string
	for _, m := range counted {
		p := *m.measured
		if rec.Bytes > 0 {
			per := p.Joules / (float64(rec.Bytes) / 1e9)
			p.JoulesPerG = &per
		}
		figures = append(figures, p)
		names = append(names, p.Meter)
	}
	rec.Total.Power = sumPower(figures)
	rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.PowerTwice, "both ends are seen by %s: the total counts that once, and neither "+
		"end's watts are its own alone", strings.Join(names, " and ")))
}

func add(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	v := *a + *b
	return &v
}
