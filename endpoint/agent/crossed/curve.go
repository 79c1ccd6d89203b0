package crossed

import (
	"math/bits"

	"zcbench/endpoint"
)

// curve is how much of what an engine had counted was zero-copied, and of how
// much that is not known, point by point: what it counts at one moment tells of bytes that crossed at another,
// mostly before.
type curve []point

type point struct{ zero, unknown, all uint64 }

// copied is of how much it is known that it was copied.
func (p point) copied() uint64 { return p.all - p.zero - p.unknown }

// maxCurve bounds a curve; of a longer one every other point goes.
const maxCurve = 1 << 12

func newCurve() curve { return append(make(curve, 0, maxCurve), point{}) }

func (c curve) last() point { return c[len(c)-1] }

// add notes what the engines have counted now.
func (c *curve) add(counters []*endpoint.Counters) point {
	var p point
	for _, n := range counters {
		z := n.ZeroCopied.Load()
		p.zero += z
		p.all += z + n.Copied.Load()
		// What a worker adds to both meanwhile is here at least.
		p.unknown += n.Unknown.Load()
	}
	// And no more than leaves as copied what was known to be.
	p.unknown = min(p.unknown, p.all-p.zero-c.last().copied())
	if p.all == c.last().all {
		return p
	}
	if len(*c) == maxCurve {
		for i := 1; i < maxCurve/2; i++ {
			(*c)[i] = (*c)[2*i]
		}
		*c = (*c)[:maxCurve/2]
	}
	*c = append(*c, p)
	return p
}

// at is how many of the first n bytes were zero-copied, and of how many that is
// not known, at the rates between the two points around, and how far off the
// first may be. Of bytes that the engine never counted nothing is known; they do
// not count as zero-copied.
func (c curve) at(n uint64) (zero, unknown, doubt uint64) {
	low, high := 0, len(c)
	for low+1 < high { // c[low].all ≤ n < c[high].all
		if mid := (low + high) / 2; c[mid].all <= n {
			low = mid
		} else {
			high = mid
		}
	}
	a := c[low]
	if high == len(c) {
		return a.zero, a.unknown, 0
	}
	b := c[high]
	between := func(from, to uint64) uint64 {
		over, under := bits.Mul64(n-a.all, to-from)
		part, _ := bits.Div64(over, under, b.all-a.all)
		return from + part
	}
	zero, unknown = between(a.zero, b.zero), between(a.unknown, b.unknown)
	if a.copied() == b.copied() {
		unknown = n - zero - a.copied() // what was rounded off is no copy
	}
	// All of one kind may have come first.
	least := a.zero
	if rest := b.all - n; b.zero > rest {
		least = max(least, b.zero-rest)
	}
	most := min(b.zero, a.zero+n-a.all)
	return zero, unknown, max(zero-least, most-zero)
}
