package power

import "cmp"

// bursts are values that came several at once, with pauses in between: so does
// what a program prints whose output is buffered. When each was measured is lost.
type bursts struct {
	every float64 // seconds from one burst to the next; 0: there are none
	size  int     // values in one
}

// evened is which share of the mean distance two values of one burst are apart at
// most.
const evened = 0.5

// spread gives the values of bursts the times that they would have had, had they
// come evenly since the burst before. Other values stay as they are. Points are in
// order of time.
func spread(points []point) ([]point, bursts) {
	n := len(points)
	if n < few {
		return points, bursts{}
	}
	mean := (points[n-1].t - points[0].t) / float64(n-1)
	begins := []int{0}
	within := 0.0
	for i := 1; i < n; i++ {
		if gap := points[i].t - points[i-1].t; gap > evened*mean {
			begins = append(begins, i)
		} else {
			within += gap
		}
	}
	// As random as times may be, values do not come by twos on average, and hardly
	// any time passes within a burst.
	if len(begins) < 2 || n < 2*len(begins) || within > 0.1*mean*float64(n) {
		return points, bursts{}
	}
	var pauses, sizes []float64
	for i, b := range begins[1:] {
		pauses = append(pauses, points[b].t-points[begins[i]].t)
		sizes = append(sizes, float64(b-begins[i]))
	}
	b := bursts{median(pauses), int(median(sizes))}
	if b.every < minPace.Seconds() || b.size < 2 {
		return points, bursts{} // as well as any meter is read
	}
	even := make([]point, 0, n)
	before := points[0].t - b.every
	for i, first := range begins {
		end := n
		if i+1 < len(begins) {
			end = begins[i+1]
		}
		// The first and the last may have been cut off, at either end.
		at, step := points[first].t, (points[first].t-before)/float64(cmp.Or(end-first, 1))
		switch {
		case i == 0:
			step = b.every / float64(max(end-first, b.size))
		case end == n && end-first < b.size:
			step = (at - before) / float64(b.size)
			at = before + step*float64(end-first)
		}
		for j := first; j < end; j++ {
			even = append(even, point{at - step*float64(end-1-j), points[j].v})
		}
		before = points[first].t
	}
	return even, b
}
