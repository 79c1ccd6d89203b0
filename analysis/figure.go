package analysis

import (
	"fmt"
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"

	"zcbench/internal/digits"
	"zcbench/results"
)

// confidence is that of all intervals.
const confidence = 0.95

// fewRuns is the least number of runs whose interval can be trusted to be
// near 95%, and from which a median has one at all.
const fewRuns = 6

// Figure is a metric over the runs of a cell. ROI is averaged over runs, not
// made of averages: the square would weigh fast runs more.
type Figure struct {
	N              int
	Mean           float64
	Lo, Hi         float64 // 95% interval of the mean, by Student's t; NaN when n < 2
	SD             float64 // of the sample; NaN when n < 2
	Min, Max       float64
	Median         float64
	values         []float64 // in the order of the runs
	Share          bool      // of the payload, in percent
	atLeast        bool      // the mean may be more: of some payload nobody knows whether it was copied
	bimodal        bool
	lowMode, upper float64 // means of the two modes, when bimodal
}

// Over makes the figure of those runs that have the metric.
func (m Metric) Over(runs []*Run) Figure {
	nan := math.NaN()
	f := Figure{Lo: nan, Hi: nan, SD: nan, Min: math.Inf(1), Max: math.Inf(-1), Median: nan}
	for _, r := range runs {
		if v := m.Of(r.Record); v != nil {
			f.values = append(f.values, *v)
		}
	}
	f.Share, f.atLeast = m.Unit == unitShare, m.atLeast(runs)
	if f.N = len(f.values); f.N == 0 {
		return f
	}
	sorted := slices.Sorted(slices.Values(f.values))
	sample := stats.Sample{Xs: sorted, Sorted: true}
	f.Min, f.Max = sorted[0], sorted[f.N-1]
	f.Median = sample.Quantile(0.5)
	f.Mean = sample.Mean()
	if f.N > 1 {
		f.SD = sample.StdDev()
		_, f.Lo, f.Hi = sample.MeanCI(confidence)
	}
	f.lowMode, f.upper, f.bimodal = twoModes(sorted)
	return f
}

// modeLimit is the share of the variance within the best two modes (of two
// runs at least) below which a sample is called bimodal, by its size: 99% of
// samples of a normal distribution are above it. From simulation, which the
// test repeats; between sizes it is interpolated.
var modeLimit = []struct {
	n     int
	limit float64
}{{6, 0.032}, {7, 0.047}, {8, 0.064}, {10, 0.09}, {12, 0.113}, {20, 0.171}, {30, 0.206}, {100, 0.28}}

// modeGap is the least distance of two modes that matters, in shares of the
// mean.
const modeGap = 0.02

// twoModes splits a sorted sample in two where that explains most of its
// variance, and says whether the halves are modes of their own.
func twoModes(sorted []float64) (low, high float64, bimodal bool) {
	n := len(sorted)
	if n < fewRuns {
		return 0, 0, false
	}
	all := squares(sorted)
	best, at := all, 0
	for k := 2; k <= n-2; k++ {
		if s := squares(sorted[:k]) + squares(sorted[k:]); s < best {
			best, at = s, k
		}
	}
	if at == 0 || all == 0 {
		return 0, 0, false
	}
	limit := modeLimit[len(modeLimit)-1].limit
	for i, h := range modeLimit {
		if n <= h.n {
			limit = h.limit
			if i > 0 {
				p := modeLimit[i-1]
				limit = p.limit + (h.limit-p.limit)*float64(n-p.n)/float64(h.n-p.n)
			}
			break
		}
	}
	low, high = stats.Mean(sorted[:at]), stats.Mean(sorted[at:])
	return low, high, best/all < limit && high-low > modeGap*math.Abs(stats.Mean(sorted))
}

// squares is the sum of the squared deviations from the mean.
func squares(v []float64) float64 {
	m, s := stats.Mean(v), 0.0
	for _, x := range v {
		s += (x - m) * (x - m)
	}
	return s
}

// Text is the mean, or a dash where nothing was measured.
func (f Figure) Text(decimals int) string {
	bound := ""
	if f.atLeast {
		bound = "≥"
	}
	switch {
	case f.N == 0:
		return bound + "–"
	case f.Share:
		return bound + digits.Percent(f.Mean)
	}
	return bound + digits.Fixed(f.Mean, decimals)
}

// MedianRange is the interval of the median, in percent of it, as benchstat has it.
func (f Figure) MedianRange() string {
	sample := benchmath.NewSample(slices.Clone(f.values), &benchmath.DefaultThresholds)
	return benchmath.AssumeNothing.Summary(sample, confidence).PctRangeString()
}

// around is half the interval: of a share in points, and nothing where all runs
// agree, else in percent of the mean.
func (f Figure) around() string {
	if f.Share {
		return f.points()
	}
	return f.relative()
}

// points is half the interval of a share, in points; nothing where all runs
// agree.
func (f Figure) points() string {
	if f.N < 2 || f.SD == 0 {
		return ""
	}
	if half := f.Hi - f.Mean; half < 0.05 {
		return "±<0.1"
	}
	return "±" + digits.Fixed(f.Hi-f.Mean, 1)
}

// relative is half the interval in percent of the mean.
func (f Figure) relative() string {
	if f.N < 2 || f.Mean == 0 {
		return ""
	}
	p := 100 * (f.Hi - f.Mean) / math.Abs(f.Mean)
	switch {
	case p >= 999.5:
		return "±>999%"
	case p >= 9.95 || p == 0:
		return fmt.Sprintf("±%.0f%%", p)
	case p < 0.05:
		return "±<0.1%"
	}
	return fmt.Sprintf("±%.1f%%", p)
}

// Places is how many decimals the means of some figures take.
func Places(figures ...Figure) int {
	var tops []float64
	for _, f := range figures {
		if f.N > 0 {
			tops = append(tops, f.Max)
		}
	}
	return digits.Places(tops...)
}

// each gives the figures of all cells, cell by cell.
func each(cells []*Cell, metrics ...Metric) []Figure {
	var list []Figure
	for _, c := range cells {
		for _, m := range metrics {
			list = append(list, m.Over(c.Runs))
		}
	}
	return list
}

// derived checks a record's sums and ROI against what they follow from.
func derived(r *results.Record) bool {
	again := *r
	again.Derive()
	for _, p := range [][2]*float64{
		{r.Total.CPUPercent, again.Total.CPUPercent}, {r.Total.Watts, again.Total.Watts},
		{r.ROI.CPU.RX, again.ROI.CPU.RX}, {r.ROI.CPU.TX, again.ROI.CPU.TX}, {r.ROI.CPU.Total, again.ROI.CPU.Total},
		{r.ROI.Power.RX, again.ROI.Power.RX}, {r.ROI.Power.TX, again.ROI.Power.TX}, {r.ROI.Power.Total, again.ROI.Power.Total},
	} {
		if (p[0] == nil) != (p[1] == nil) || p[0] != nil && math.Abs(*p[0]-*p[1]) > 1e-9*math.Abs(*p[1]) {
			return false
		}
	}
	return true
}
