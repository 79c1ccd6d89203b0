package analysis

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
)

func TestFigures(t *testing.T) {
	records := []results.Record{analysistest.OK("a", 10, 100, 50), analysistest.OK("a", 20, 100, 50), analysistest.OK("a", 30, 100, 50),
		analysistest.OK("b", 7, 70, 7)}
	records[1].RX.CPUPercent = nil
	cells := FirstLook(records).Cells
	if len(cells) != 2 {
		t.Fatalf("%d cells", len(cells))
	}
	for _, c := range []struct {
		name string
		got  Figure
		want Figure
	}{
		{"Gbit/s", Known("gbps").Over(cells[0].Runs),
			Figure{N: 3, Mean: 20, Min: 10, Max: 30, SD: 10, Median: 20, Lo: 20 - 4.302652729911275*10/math.Sqrt(3)}},
		// Run by run: 100/50, 400/50, 900/50. Of the means it would be 8.
		{"ROI of the sender", Known("roi.cpu.tx").Over(cells[0].Runs),
			Figure{N: 3, Mean: 28. / 3, Min: 2, Max: 18, Median: 8,
				SD: math.Sqrt((math.Pow(2-28./3, 2) + math.Pow(8-28./3, 2) + math.Pow(18-28./3, 2)) / 2)}},
		{"CPU measured twice", Known("rx.cpu_percent").Over(cells[0].Runs),
			Figure{N: 2, Mean: 100, Min: 100, Max: 100, Median: 100, Lo: 100}},
		{"zero-copied", Known("tx.zero_copied_percent").Over(cells[0].Runs),
			Figure{N: 3, Mean: 100, Min: 100, Max: 100, Median: 100, Lo: 100}},
	} {
		g, w := c.got, c.want
		if w.Lo == 0 {
			w.Lo = w.Mean - 4.302652729911275*w.SD/math.Sqrt(3)
		}
		if math.Abs(g.Lo-w.Lo) > 1e-9*math.Abs(w.Lo) || math.Abs(g.Hi+w.Lo-2*w.Mean) > 1e-9*w.Mean || g.Median != w.Median {
			t.Errorf("%s: interval %v to %v, median %v, want %+v", c.name, g.Lo, g.Hi, g.Median, w)
		}
		if g.N != w.N || g.Min != w.Min || g.Max != w.Max || math.Abs(g.Mean-w.Mean) > 1e-12 || math.Abs(g.SD-w.SD) > 1e-12 {
			t.Errorf("%s: got %+v, want %+v", c.name, g, w)
		}
	}
	if f := Known("gbps").Over(cells[1].Runs); f.N != 1 || !math.IsNaN(f.SD) {
		t.Errorf("one run: %+v", f)
	}
	if f := Known("gbps").Over(nil); f.N != 0 || f.Text(2) != "–" {
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
			if _, _, two := twoModes(v); two {
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
		if low, high, two := twoModes(v); !two || math.Abs(low-80) > 3 || math.Abs(high-120) > 3 {
			t.Errorf("modes of %d at 80 and 120: %v %v %v", n, low, high, two)
		}
	}
	for name, v := range map[string][]float64{
		"all the same":         {5, 5, 5, 5, 5, 5, 5, 5},
		"an outlier":           {1, 1, 1, 1, 1, 1, 9},
		"too few":              {1, 1, 1, 9, 9},
		"apart by a hundredth": {100, 100, 100, 100, 101, 101, 101, 101},
	} {
		if _, _, two := twoModes(v); two {
			t.Errorf("%s: called bimodal", name)
		}
	}
}

func p(v float64) *float64 { return &v }
