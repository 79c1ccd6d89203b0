package endpoint

import (
	"math"
	"slices"
	"time"

	"zcbench/results"
)

// maxValues bounds what the samples of one end's window hold, and with that the
// messages and the line of the store that carry them: some 20 MB at most. Beyond,
// every two neighbours become one.
const maxValues = 500_000

// timeline is the samples of a window, in as many intervals as there is room for.
// They are readings of totals at the edges of intervals, so that two intervals
// become one where the edge between them goes.
type timeline struct {
	samples []Sample
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
	return timeline{samples: make([]Sample, 0, room), crossed: make([]uint64, 0, room), most: most, every: 1}
}

// start is the window's first edge.
func (t *timeline) start(v Sample, crossed uint64) {
	t.samples, t.crossed = append(t.samples, v), append(t.crossed, crossed)
}

// joins says that the next interval, which ends at a time in ns, is a part of the
// last one that is kept.
func (t *timeline) joins(at int64) bool {
	n := len(t.samples)
	return t.taken%t.every != 0 || n > 1 && TooShort(t.samples[n-1], Sample{At: at})
}

// TooShort says that so little time is between two samples that rates would tell of
// the reading of clocks, and of what a socket's buffers took at once. Where streams
// end by themselves, or are ended, they do so at any time after a sample.
func TooShort(a, b Sample) bool { return b.At-a.At < int64(minInterval)/2 }

// full says that there is no room for the next one until halve has been called.
func (t *timeline) full() bool { return t.taken%t.every == 0 && len(t.samples) > t.most }

// add ends an interval.
func (t *timeline) add(v Sample, crossed uint64) {
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

// merged is the note about a result whose samples are of longer intervals than
// were asked for; "" where they are not.
func (r *Result) merged(p *Prepare) (notes []string) {
	var lengths []int64
	for i := 1; i < len(r.Samples); i++ {
		lengths = append(lengths, r.Samples[i].At-r.Samples[i-1].At)
	}
	if len(lengths) < 3 || p.Interval <= 0 {
		return nil
	}
	slices.Sort(lengths)
	every := math.Round(float64(lengths[len(lengths)/2]) / float64(p.Interval))
	if every < 2 {
		return nil
	}
	return append(notes, results.Warn(results.SamplesMerged, "%s: a record has no room for all samples of so long a window: each of its %d is of %s, %.0f intervals of those that were asked for", p.Role, len(lengths), time.Duration(every)*p.Interval, every))
}
