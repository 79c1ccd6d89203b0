package agent

import (
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
)

// maxValues bounds what the samples of one end's window hold, and with that the
// messages and the line of the store that carry them: some 20 MB at most. Beyond,
// every two neighbours become one.
const maxValues = 500_000

// timeline is the samples of a window, in as many intervals as there is room for.
// They are readings of totals at the edges of intervals, so that two intervals
// become one where the edge between them goes.
type timeline struct {
	samples []wire.Sample
	crossed []uint64 // bytes, at each of samples

	most  int // intervals that there is room for, an even number
	every int // intervals taken that one of these is made of
	taken int // intervals so far
}

// newTimeline makes room for intervals of some values each.
func newTimeline(intervals, values int) timeline {
	const sample = 8 // the values that every sample has
	most := max(64, maxValues/(sample+values)) &^ 1
	room := min(intervals, most) + 1
	return timeline{samples: make([]wire.Sample, 0, room), crossed: make([]uint64, 0, room), most: most, every: 1}
}

// start is the window's first edge.
func (t *timeline) start(v wire.Sample, crossed uint64) {
	t.samples, t.crossed = append(t.samples, v), append(t.crossed, crossed)
}

// joins says that the next interval, which ends at a time in ns, is a part of the
// last one that is kept.
func (t *timeline) joins(at int64) bool {
	n := len(t.samples)
	return t.taken%t.every != 0 || n > 1 && summary.TooShort(t.samples[n-1], wire.Sample{At: at})
}

// full says that there is no room for the next one until halve has been called.
func (t *timeline) full() bool { return t.taken%t.every == 0 && len(t.samples) > t.most }

// add ends an interval.
func (t *timeline) add(v wire.Sample, crossed uint64) {
	if t.joins(v.At) {
		t.samples, t.crossed = t.samples[:len(t.samples)-1], t.crossed[:len(t.crossed)-1]
	}
	t.samples, t.crossed = append(t.samples, v), append(t.crossed, crossed)
	t.taken++
}

// halve makes one of every two intervals.
func (t *timeline) halve() {
	n := 0
	for i := 0; i < len(t.samples); i += 2 {
		t.samples[n], t.crossed[n] = t.samples[i], t.crossed[i]
		n++
	}
	t.samples, t.crossed = t.samples[:n], t.crossed[:n]
	t.every *= 2
}
