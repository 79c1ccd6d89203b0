package reports

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
)

func TestFigures(t *testing.T) {
	records := []results.Record{analysistest.OK("a", 10, 100, 50), analysistest.OK("a", 20, 100, 50), analysistest.OK("a", 30, 100, 50), analysistest.OK("b", 7, 70, 7)}
	records[1].RX.CPUPercent = nil
	cells := FirstLook(records).cells
	if len(cells) != 2 {
		t.Fatalf("%d cells", len(cells))
	}
	for _, c := range []struct {
		name string
		got  figure
		want figure
	}{
		{"Gbit/s", known("gbps").over(cells[0].runs), figure{n: 3, mean: 20, min: 10, max: 30, sd: 10, median: 20, lo: 20 - 4.302652729911275*10/math.Sqrt(3)}},
		// Run by run: 100/50, 400/50, 900/50. Of the means it would be 8.
		{"ROI of the sender", known("roi.cpu.tx").over(cells[0].runs), figure{n: 3, mean: 28. / 3, min: 2, max: 18, median: 8, sd: math.Sqrt((math.Pow(2-28./3, 2) + math.Pow(8-28./3, 2) + math.Pow(18-28./3, 2)) / 2)}},
		{"CPU measured twice", known("rx.cpu_percent").over(cells[0].runs), figure{n: 2, mean: 100, min: 100, max: 100, median: 100, lo: 100}},
		{"zero-copied", known("tx.zero_copied_percent").over(cells[0].runs), figure{n: 3, mean: 100, min: 100, max: 100, median: 100, lo: 100}},
	} {
		g, w := c.got, c.want
		if w.lo == 0 {
			w.lo = w.mean - 4.302652729911275*w.sd/math.Sqrt(3)
		}
		if math.Abs(g.lo-w.lo) > 1e-9*math.Abs(w.lo) || math.Abs(g.hi+w.lo-2*w.mean) > 1e-9*w.mean || g.median != w.median {
			t.Errorf("%s: interval %v to %v, median %v, want %+v", c.name, g.lo, g.hi, g.median, w)
		}
		if g.n != w.n || g.min != w.min || g.max != w.max || math.Abs(g.mean-w.mean) > 1e-12 || math.Abs(g.sd-w.sd) > 1e-12 {
			t.Errorf("%s: got %+v, want %+v", c.name, g, w)
		}
	}
	if f := known("gbps").over(cells[1].runs); f.n != 1 || !math.IsNaN(f.sd) {
		t.Errorf("one run: %+v", f)
	}
	if f := known("gbps").over(nil); f.n != 0 || f.text(2) != "–" {
		t.Errorf("no run: %+v", f)
	}
}

// The limit is said to pass 99% of normal samples, and must catch what a
// person sees at once.
func TestHeaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{6, 7, 9, 12, 20, 40} {
		wrong := 0
		const samples = 1500
		for range samples {
			v := make([]float64, n)
			for i := range v {
				v[i] = 100 + 20*rng.NormFloat64()
			}
			slices.Sort(v)
			if _, _, two := heaps(v); two {
				wrong++
			}
		}
		if wrong > samples*2/100 {
			t.Errorf("%d of %d normal samples of %d called bimodal", wrong, samples, n)
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = 80 + 40*float64(i%2) + rng.NormFloat64()
		}
		slices.Sort(v)
		if low, high, two := heaps(v); !two || math.Abs(low-80) > 3 || math.Abs(high-120) > 3 {
			t.Errorf("heaps of %d at 80 and 120: %v %v %v", n, low, high, two)
		}
	}
	for name, v := range map[string][]float64{
		"all the same":         {5, 5, 5, 5, 5, 5, 5, 5},
		"an outlier":           {1, 1, 1, 1, 1, 1, 9},
		"too few":              {1, 1, 1, 9, 9},
		"apart by a hundredth": {100, 100, 100, 100, 101, 101, 101, 101},
	} {
		if _, _, two := heaps(v); two {
			t.Errorf("%s: called bimodal", name)
		}
	}
}

func p(v float64) *float64 { return &v }
