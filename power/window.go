package power

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Window is the time that a mean is wanted for. The load lasts from Began to
// Ended, which is longer; both are zero where there is none.
type Window struct {
	From, To     time.Time
	Began, Ended time.Time
}

// enough is how many changes of an energy counter within the window make it the
// better source where the meter tells watts too.
const enough = 10

// few is below what a mean should be made of.
const few = 4

// coarse is which share of a figure its steps may be, before that is told.
const coarse = 0.05

// ErrCoarse is a meter that counts in steps too large for the window: the figure
// that comes with it is within its Bound.
var ErrCoarse = errors.New("its steps are too coarse for this window")

// Over gives the mean power over a window, and what its reader must know. An
// error says why there is no figure.
func (t *Trace) Over(w Window) (_ results.Power, warnings []string, _ error) {
	p := results.Power{Meter: t.Info.Name, Scope: string(t.Info.Scope), Resolution: t.Info.Resolution, Source: t.Info.Source}
	c := t.clean(w.From)
	warnings = c.warnings(t)
	length := w.To.Sub(w.From).Seconds()
	s, loaded := t.choose(&c, w)
	p.Energy, p.Samples, p.Interval = s.counter, s.within(length), s.interval
	if err := s.missing(t, w); err != nil {
		return p, warnings, err
	}
	flat := s
	if s.counter {
		flat = t.series(s.slopes())
	}
	p.Joules = loaded.joules(0, length)
	p.Watts = p.Joules / length
	if v := flat.between(0, length).points; len(v) > 0 {
		low := slices.MinFunc(v, point.compare).v
		high := slices.MaxFunc(v, point.compare).v
		p.Min, p.Max = &low, &high
	}
	stepped := p.Resolution
	if p.Resolution == 0 && !p.Energy {
		p.Resolution, stepped = s.resolution()
	}
	add := func(code caveat.Code, format string, args ...any) {
		warnings = append(warnings, caveat.Warn(code, format, args...))
	}
	switch {
	case p.Energy:
		p.Bound = loaded.doubt(length) / length
		if p.Bound > coarse*p.Watts && p.Watts > 0 {
			return p, warnings, fmt.Errorf("%w: its energy counter counts in steps of %.4g J, which makes %.4g W uncertain by %.2g W: measure for "+
				"longer, or give a finer meter", ErrCoarse, loaded.largest(), p.Watts, p.Bound)
		}
	case stepped > 0:
		p.Bound = stepped // whether it rounds or cuts off is not known
		if p.Bound > coarse*p.Watts && p.Watts > 0 {
			add(caveat.PowerCoarse, "its watts come in steps of %.3g W, by so much may %.4g W be off", stepped, p.Watts)
		}
	}
	if p.Samples < few || p.Interval > length {
		add(caveat.PowerSlow, "the meter gave %s within the %.1f s window (one each %.1f s): measure for longer", printable.Count(p.Samples,
			"value"), length, p.Interval)
	}
	if from, to := s.gap(length); to-from > max(5*p.Interval, length/10) {
		add(caveat.PowerGap, "there is no reading from %.1f to %.1f s of the window", from, to)
	}
	if len(c.watts) > few && !p.Energy && !t.Info.Pushed && s.constant() {
		add(caveat.PowerCoarse, "each of %d readings is %g W: the meter may be coarse, or slower than the run", len(c.watts), c.watts[0].v)
	}
	if c.bursts.every > length/100 {
		add(caveat.PowerLate, "its values come about %d at once, every %.2g s, as from a program whose output is buffered: when each was "+
			"measured is not known, and they were taken as spread evenly over the time between; have it print each at once (stdbuf -oL COMMAND)",
			c.bursts.size, c.bursts.every)
	}
	if p.Watts <= 0 {
		add(caveat.PowerBlind, "the meter shows %g W: it does not see this load", p.Watts)
	}
	if !w.Began.IsZero() {
		if text := flat.between(0, length).step(w.Began.Sub(w.From).Seconds(), w.Ended.Sub(w.From).Seconds()); text != "" {
			add(caveat.PowerLate, "%s", text)
		}
	}
	if t.Info.Cost > costly {
		add(caveat.PowerCost, "reading it takes %.1f%% of a CPU (%s): on the host that it measures this is in its watts", t.Info.Cost*100,
			t.Info.Source)
	}
	return p, warnings, nil
}

// costly is which share of a CPU the reading of a meter may take, before that is
// told.
const costly = 0.02

// choose gives the series that tells most of a window, and that of it which is
// of the load.
func (t *Trace) choose(c *cleaned, w Window) (s, loaded series) {
	length := w.To.Sub(w.From).Seconds()
	s, energy := t.series(c.watts), t.series(c.energy)
	energy.counter, energy.quantum, energy.late = true, c.quantum, c.late
	during := func(s series) series {
		if w.Began.IsZero() {
			return s
		}
		// A value from before or after the load says nothing of the load, though
		// it may lie nearer to the window's edge.
		loaded := s.between(w.Began.Sub(w.From).Seconds(), w.Ended.Sub(w.From).Seconds())
		if loaded.span() < length/2 {
			return s
		}
		return loaded
	}
	fine := energy.within(length) >= enough && during(energy).doubt(length) <= coarse*during(energy).joules(0, length) || !s.covers(length)
	if len(c.watts) == 0 || len(c.energy) > 1 && energy.covers(length) && fine {
		s = energy
	}
	return s, during(s)
}

// Parts gives the mean watts of the parts of a window that Over has a figure
// for, from each edge to the next; nil where the meter is slower than that.
func (t *Trace) Parts(w Window, edges []time.Time) []*float64 {
	c := t.clean(w.From)
	s, loaded := t.choose(&c, w)
	var parts []*float64
	for i := 1; i < len(edges); i++ {
		from, to := edges[i-1].Sub(w.From).Seconds(), edges[i].Sub(w.From).Seconds()
		if to <= from || s.interval > 1.5*(to-from) {
			parts = append(parts, nil)
			continue
		}
		mean := loaded.joules(from, to) / (to - from)
		parts = append(parts, &mean)
	}
	return parts
}

// missing says why there can be no figure: the meter said nothing, or not of
// this time, or it died.
func (s series) missing(t *Trace, w Window) error {
	length := w.To.Sub(w.From).Seconds()
	cause := func(format string, args ...any) error {
		err := fmt.Errorf(format, args...)
		if t.Err != nil {
			err = fmt.Errorf("%w (%w)", err, t.Err)
		}
		return err
	}
	n := len(s.points)
	if n == 0 {
		return cause("it gave no reading")
	}
	if s.counter && n < 2 {
		return cause("its energy counter did not change often enough: measure for longer, or give a finer meter")
	}
	if s.covers(length) {
		// Most of the window without a value; of a short one that is a hiccup.
		if from, to := s.gap(length); !s.counter && to-from > max(length/2, 1.5*s.interval, maxPace.Seconds()) {
			return cause("there is no reading from %.1f to %.1f s of the %.1f s window", from, to, length)
		}
		return nil
	}
	first, last := s.points[0].t, s.points[n-1].t
	switch {
	case last < 0:
		return cause("its latest reading is %.1f s older than the window: it stopped, is slower than the run, or its clock is behind", -last)
	case first > length:
		return cause("its first reading is %.1f s younger than the window: its clock is ahead", first-length)
	case first > s.patience(length):
		return cause("its first reading is of %.1f s into the window", first)
	}
	return cause("it said nothing new after %.1f s of the %.1f s window", last, length)
}

// cleaned is a trace that arithmetic can be done on.
type cleaned struct {
	watts  []point
	energy []point // the counter, unwrapped, only where it changed
	absurd int
	sample float64 // one of the absurd values
	warned []string
	bursts bursts
	// Of the counter, as series has them.
	quantum, late float64
}

// implausible is above what any host or meter of one draws, in watts.
const implausible = 1e6

// sentinel reports a number that means "no value": the highest of an integer
// type, in one of the units that meters count in, or none at all. Of 16 bits
// only those that no host draws: 327.67 W may be a reading.
func sentinel(v float64) bool {
	if !number(v) {
		return true
	}
	of := func(top, unit float64) bool { return math.Abs(v-top*unit) <= 1e-9*top*unit }
	for _, top := range []float64{math.MaxUint32, math.MaxInt32, 1 << 31, math.MaxInt64, math.MaxUint64} {
		for _, unit := range []float64{1e-6, 1e-3, 1e-2, 1e-1, 1, 1e3} {
			if of(top, unit) {
				return true
			}
		}
	}
	for _, top := range []float64{math.MaxUint16, math.MaxInt16, 1 << 15} {
		if of(top, 1) || of(top, 0.1) {
			return true
		}
	}
	return false
}

func number(v float64) bool { return v >= 0 && !math.IsInf(v, 1) }

// clean drops what is no value, brings readings in order of time, and unwraps
// the counter. Times are in seconds from zero on.
func (t *Trace) clean(zero time.Time) cleaned {
	var c cleaned
	var counted []point
	for _, r := range t.Readings {
		at := r.At.Add(-t.Info.Latency).Sub(zero).Seconds()
		if r.Watts != nil {
			if sentinel(*r.Watts) || *r.Watts > implausible {
				c.absurd, c.sample = c.absurd+1, *r.Watts
			} else {
				c.watts = append(c.watts, point{at, *r.Watts})
			}
		}
		if r.Joules != nil {
			if !number(*r.Joules) {
				c.absurd, c.sample = c.absurd+1, *r.Joules
			} else {
				counted = append(counted, point{at, *r.Joules})
			}
		}
	}
	c.watts, counted = inOrder(c.watts), inOrder(counted)
	if t.Info.Pushed && !t.Info.Stamped {
		var b bursts
		c.watts, c.bursts = spread(c.watts)
		if counted, b = spread(counted); b.every > 0 {
			c.bursts = b
		}
	}
	c.unwrap(counted, t.Info.Range)
	c.resolve(counted, t.Info.Interval.Seconds())
	return c
}

// still is which share of readings shows a counter unchanged, where it changes
// less often than it is read.
const still = 0.1

// resolve finds how finely a counter tells the energy. Of one that is read more
// often than it changes the first value is of some time within a step, and goes.
func (c *cleaned) resolve(counted []point, interval float64) {
	if len(counted) < 2 {
		return
	}
	pace := median(spacing(counted))
	if float64(len(counted)-len(c.energy)) > still*float64(len(counted)) {
		c.late = pace
		if len(c.energy) > 1 {
			c.energy = c.energy[1:]
		}
		return
	}
	c.late = min(pace, interval)
	c.quantum = quantum(c.energy)
}

// quantum is what all changes of a counter are multiples of, 0 if that is next to
// nothing.
func quantum(points []point) float64 {
	least, most := math.Inf(1), 0.0
	for i := 1; i < len(points); i++ {
		step := points[i].v - points[i-1].v
		least, most = min(least, step), max(most, step)
	}
	noise, q := 1e-6*most, least
	for i := 1; i < len(points); i++ {
		for a := points[i].v - points[i-1].v; a > noise; {
			if a, q = math.Mod(q, a), a; a > q-noise {
				a = 0 // a whole multiple, but for a rounding
			}
		}
	}
	if q <= noise {
		return 0
	}
	return q
}

// unwrap makes a running total of a counter that wraps at top joules, 0 for one
// that does not.
func (c *cleaned) unwrap(counted []point, top float64) {
	var before point
	var total, longest float64
	for i, p := range counted {
		if i == 0 {
			c.energy, before = append(c.energy, point{p.t, 0}), p
			continue
		}
		step, seconds := p.v-before.v, p.t-before.t
		alone := step < 0 && i+1 < len(counted) && counted[i+1].v >= before.v
		if step < 0 && top > 0 {
			step += top
		}
		switch {
		case step == 0:
			continue // read again before it changed
		case alone, step/seconds > implausible:
			c.absurd, c.sample = c.absurd+1, p.v // its neighbours say otherwise
			continue
		case step < 0:
			c.warned = append(c.warned, caveat.Warn(caveat.PowerWrap, "its energy counter fell from %g to %g J, and it has no known wrap", before.v,
				p.v))
			c.energy, total, before = []point{{p.t, 0}}, 0, p
			continue
		}
		total += step
		c.energy = append(c.energy, point{p.t, total})
		longest = max(longest, seconds)
		before = p
	}
	// What it draws at other times tells how far it may have gone unseen.
	if n := len(c.energy); top > 0 && n > 2 {
		var rates []float64
		for _, p := range (series{points: c.energy}).slopes() {
			rates = append(rates, p.v)
		}
		if longest*median(rates) > top/2 {
			c.warned = append(c.warned, caveat.Warn(caveat.PowerWrap, "its energy counter wraps every %g J; in %.1f s without a reading it may "+
				"have done so more than once", top, longest))
		}
	}
}

// warnings are what holds for any window.
func (c *cleaned) warnings(t *Trace) (warnings []string) {
	if c.absurd > 0 {
		warnings = append(warnings, caveat.Warn(caveat.PowerLost, "%d of %s cannot be (such as %g) and were left out", c.absurd,
			printable.Count(len(t.Readings), "reading"), c.sample))
	}
	if t.Lost > 0 {
		warnings = append(warnings, caveat.Warn(caveat.PowerLost, "%d of %s failed, the latest with: %v", t.Lost,
			printable.Count(t.Lost+len(t.Readings), "read"), t.Err))
	}
	return append(warnings, c.warned...)
}
