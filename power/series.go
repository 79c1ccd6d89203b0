package power

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// point is one value, watts or a counter's joules, at a time in seconds.
type point struct{ t, v float64 }

func (p point) compare(q point) int { return cmp.Compare(p.v, q.v) }

// series are values in order of time.
type series struct {
	points   []point
	interval float64 // seconds from one value of the meter to its next
	counter  bool
	// Of a counter: quantum is what it counts in, joules, where that is more than
	// next to nothing; late is how long after a change of it a reading shows that,
	// in seconds.
	quantum, late float64
}

// inOrder sorts by time and keeps the first of several at the same time.
func inOrder(points []point) []point {
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.t, b.t) })
	return slices.CompactFunc(points, func(a, b point) bool { return a.t == b.t })
}

// series finds how often the meter has a new value: what it says of itself, or
// what it shows. One that is asked may repeat itself until it has one.
func (t *Trace) series(points []point) series {
	s := series{points: points, interval: median(spacing(points))}
	if !t.Info.Pushed {
		changed := slices.CompactFunc(slices.Clone(points), func(a, b point) bool { return a.v == b.v })
		s.interval = max(s.interval, t.Info.Interval.Seconds())
		if len(changed) > few {
			// Neither the first nor the last value was seen for its whole time.
			s.interval = max(s.interval, median(spacing(changed)[1:]))
		}
	}
	return s
}

func spacing(points []point) []float64 {
	var all []float64
	for i := 1; i < len(points); i++ {
		all = append(all, points[i].t-points[i-1].t)
	}
	return all
}

// median is 0 of nothing. It sorts v.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// patience is how far from the window's edges the first and the last value may
// be, inside it, in seconds.
func (s series) patience(length float64) float64 { return max(1.5*s.interval, length/100) }

func (s series) covers(length float64) bool {
	n := len(s.points)
	return n > 0 && s.points[0].t <= s.patience(length) && s.points[n-1].t >= length-s.patience(length)
}

// doubt bounds how far a counter's joules may be off for what it does not show:
// how much of the step that reaches over each edge of the window lies in it.
// Between two changes the counter tells the energy exactly, so the whole steps
// have no part in that.
func (s series) doubt(length float64) float64 {
	n := len(s.points)
	if n < 2 {
		return math.Inf(1)
	}
	slopes := s.slopes()
	low, high := slices.MinFunc(slopes, point.compare).v, slices.MaxFunc(slopes, point.compare).v
	mean := s.joules(0, length) / length
	// Within a step nothing is known of the power but that it is as steady as
	// from one step to another. Of few steps not even that.
	varies := math.Inf(1)
	if len(slopes) >= few-1 && mean > 0 {
		varies = (high - low) / mean
	}
	total := s.late*mean + s.quantum
	for _, t := range []float64{0, length} {
		i, _ := slices.BinarySearchFunc(s.points, t, func(p point, t float64) int { return cmp.Compare(p.t, t) })
		i = min(max(i, 1), n-1)
		a, b := s.points[i-1], s.points[i]
		step := b.v - a.v
		in := step * (t - a.t) / (b.t - a.t)
		// What is guessed is the nearer part of the step, or what lies beyond the
		// last one.
		part := math.Abs(min(in, step-in))
		if part > 0 {
			total += min(max(part, step-part), part*varies)
		}
	}
	return total
}

// within counts the values in the window.
func (s series) within(length float64) int { return len(s.between(0, length).points) }

func (s series) between(from, to float64) series {
	first, _ := slices.BinarySearchFunc(s.points, from, func(p point, t float64) int { return cmp.Compare(p.t, t) })
	last := len(s.points)
	for last > first && s.points[last-1].t > to {
		last--
	}
	s.points = s.points[first:last]
	return s
}

func (s series) span() float64 {
	if len(s.points) == 0 {
		return 0
	}
	return s.points[len(s.points)-1].t - s.points[0].t
}

// at is a counter's value at a time: on the line between its neighbours, or,
// beyond the ends, on the line that the nearest two make.
func (s series) at(t float64) float64 {
	i, _ := slices.BinarySearchFunc(s.points, t, func(p point, t float64) int { return cmp.Compare(p.t, t) })
	i = min(max(i, 1), len(s.points)-1)
	a, b := s.points[i-1], s.points[i]
	return a.v + (b.v-a.v)*(t-a.t)/(b.t-a.t)
}

// slopes gives a counter as watts, each in the middle of its interval.
func (s series) slopes() []point {
	var all []point
	for i := 1; i < len(s.points); i++ {
		a, b := s.points[i-1], s.points[i]
		all = append(all, point{(a.t + b.t) / 2, (b.v - a.v) / (b.t - a.t)})
	}
	return all
}

// joules is the energy from one time to another.
func (s series) joules(from, to float64) float64 {
	if s.counter {
		return s.at(to) - s.at(from)
	}
	// Straight lines between values, and the first and the last held beyond.
	inner := s.between(from, to).points
	sum, a := 0.0, point{from, s.hold(from)}
	for _, b := range append(inner[:len(inner):len(inner)], point{to, s.hold(to)}) {
		sum += (b.t - a.t) * (a.v + b.v) / 2
		a = b
	}
	return sum
}

// hold is the watts at a time.
func (s series) hold(t float64) float64 {
	first, last := s.points[0], s.points[len(s.points)-1]
	switch {
	case t <= first.t:
		return first.v
	case t >= last.t:
		return last.v
	}
	return s.at(t)
}

// gap is the longest time of the window without a value.
func (s series) gap(length float64) (from, to float64) {
	before := 0.0
	for _, p := range append(slices.Clone(s.points), point{t: length}) {
		t := min(max(p.t, 0), length)
		if t-before > to-from {
			from, to = before, t
		}
		before = t
	}
	return from, to
}

func (s series) constant() bool {
	return !slices.ContainsFunc(s.points, func(p point) bool { return p.v != s.points[0].v })
}

// levels is how many values a meter must have shown for their distances to tell
// its steps rather than those of the load.
const levels = 5

// resolution is the smallest difference between two values, and, where all others
// are multiples of it, the meter's step.
func (s series) resolution() (least, step float64) {
	var values []float64
	for _, p := range s.points {
		values = append(values, p.v)
	}
	slices.Sort(values)
	for i := 1; i < len(values); i++ {
		if d := values[i] - values[i-1]; d > 1e-6 && (least == 0 || d < least) {
			least = d
		}
	}
	values = slices.Compact(values)
	if least > 0 && len(values) >= levels {
		step = least
	}
	for i := 1; step > 0 && i < len(values); i++ {
		if of := (values[i] - values[i-1]) / least; math.Abs(of-math.Round(of)) > 1e-3*of {
			step = 0
		}
	}
	// As meters have it, without what a float64 adds.
	round := func(v float64) float64 { return math.Round(v*1e6) / 1e6 }
	return round(least), round(step)
}

// largest is the largest change of a counter from one point to the next, in joules.
func (s series) largest() float64 {
	most := 0.0
	for i := 1; i < len(s.points); i++ {
		most = max(most, s.points[i].v-s.points[i-1].v)
	}
	return most
}

// A step is told where two levels explain this much of how the values of a
// window vary, and where it moves the mean by this much.
const (
	twoLevels = 0.85
	matters   = 0.01
)

// step looks for a jump within the window. The load is there from before it
// until after it, so a meter that jumps is late, or its clock is wrong, or the
// load was not steady.
func (s series) step(began, ended float64) string {
	n := len(s.points)
	if n < 6 {
		return ""
	}
	var sum, squares float64
	for _, p := range s.points {
		sum += p.v
		squares += p.v * p.v
	}
	mean := sum / float64(n)
	all := squares - sum*mean
	best, split := 0.0, 0
	left := 0.0
	for i := 1; i < n; i++ {
		left += s.points[i-1].v
		if i < 2 || n-i < 2 {
			continue
		}
		a, b := left/float64(i), (sum-left)/float64(n-i)
		if explained := float64(i)*(a-mean)*(a-mean) + float64(n-i)*(b-mean)*(b-mean); explained > best {
			best, split = explained, i
		}
	}
	if split == 0 || best < twoLevels*all {
		return ""
	}
	level := func(part []point) float64 {
		v := 0.0
		for _, p := range part {
			v += p.v
		}
		return v / float64(len(part))
	}
	a, b := level(s.points[:split]), level(s.points[split:])
	t := (s.points[split-1].t + s.points[split].t) / 2
	if math.Abs(mean-max(a, b)) < matters*max(a, b) {
		return ""
	}
	if b > a {
		return fmt.Sprintf("its watts rise from %.4g to %.4g at %.1f s of the window, yet the load was on before it: the meter is about %.1f s "+
			"late or its clock ahead (KIND+%.1fs: corrects that), or the load was not steady", a, b, t, t-began, t-began)
	}
	return fmt.Sprintf("its watts fall from %.4g to %.4g at %.1f s of the window, yet the load went on after it: the meter's clock is about "+
		"%.1f s behind (KIND-%.1fs: corrects that), or the load was not steady", a, b, t, ended-t, ended-t)
}
