package html

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// decoded reads a column as the page's script does.
func decoded(t *testing.T, c columnJ) []float64 {
	t.Helper()
	var values []float64
	at := 0.
	for _, part := range strings.Fields(c.V) {
		step, times, _ := strings.Cut(part, "*")
		n := 1
		if times != "" {
			n, _ = strconv.Atoi(times)
		}
		for range n {
			if step == "x" {
				values = append(values, math.NaN())
				continue
			}
			v, err := strconv.ParseFloat(step, 64)
			if err != nil {
				t.Fatal(err)
			}
			at += v
			values = append(values, at*c.K)
		}
	}
	return values
}

func TestColumns(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		values []float64
		k      float64
		want   string
	}{
		{nil, 1, ""},
		{[]float64{5, 4, 3, 2}, 1, "5 -1*3"},
		{[]float64{7, 7, nan, nan, 7.26}, 0.1, "70 0 x*2 3"},
		{[]float64{math.Inf(1), 1}, 1, "x 1"},
	} {
		got := encode(c.values, c.k)
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
		for i, v := range decoded(t, columnJ{c.k, got}) {
			if w := c.values[i]; finite(w) && math.Abs(v-w) > c.k/2*1.001 {
				t.Errorf("%v: %v again as %v", c.values, w, v)
			}
		}
	}
}

// Samples come back to three digits of the largest; of many, the mean over
// their time.
func TestSeries(t *testing.T) {
	watts := 250.
	samples := []results.Sample{
		{Start: 0, Seconds: 1, Gbps: 100, Watts: &watts,
			Series: map[string]float64{"a": 1e-9, "inf": math.Inf(1), "huge": math.MaxFloat64}},
		{Start: 1, Seconds: 3, Gbps: 60.04},
		{Start: 4, Seconds: 1, Gbps: 0},
	}
	for _, c := range []struct {
		points       int
		gbps, times  []float64
		watts, small []float64
	}{
		{3, []float64{100, 60, 0}, []float64{1, 4, 5}, []float64{250, math.NaN(), math.NaN()}, []float64{1e-9, math.NaN(), math.NaN()}},
		{2, []float64{(100 + 3*60.04) / 4, 0}, []float64{4, 5}, []float64{250, math.NaN()}, []float64{1e-9, math.NaN()}},
	} {
		var d detailEnd
		d.series(samples, c.points)
		for name, want := range map[string][]float64{"gbps": c.gbps, "watts": c.watts, "a": c.small} {
			got := decoded(t, d.Series[name])
			if len(got) != len(want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
			for i := range want {
				if math.IsNaN(got[i]) != math.IsNaN(want[i]) || math.Abs(got[i]-want[i]) > d.Series[name].K/2*1.001 {
					t.Errorf("%d points, %s: %v, want %v", c.points, name, got, want)
				}
			}
		}
		if got := decoded(t, columnJ{0.001, d.Times}); fmt.Sprint(got) != fmt.Sprint(c.times) {
			t.Errorf("times %v, want %v", got, c.times)
		}
		if _, ok := d.Series["inf"]; ok || d.Series["cpu_percent"].V != "" {
			t.Error("a series of nothing")
		}
	}
}

// Of more runs than there is room for, each cell has one, and the page says so.
func TestManyRunsInDetail(t *testing.T) {
	tier.Long(t)
	var records []results.Record
	for i := range 10 {
		for _, r := range analysistest.RichStudy() {
			r.ID += fmt.Sprint("-", i)
			records = append(records, r)
		}
	}
	r := analysis.FirstLook(records)
	d := drawingOf(r).detail()
	if d.Shown >= d.Runs || d.Shown < 100 {
		t.Fatalf("%d of %d runs", d.Shown, d.Runs)
	}
	for _, c := range d.JSON.(detailPage).Cells {
		if c.First < 0 && c.Name != "iouring, 1 CPU, sw GRO" {
			t.Errorf("%s has none", c.Name)
		}
	}
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d of %d runs in detail", d.Shown, d.Runs); !strings.Contains(b.String(), want) || b.Len() > 8<<20 {
		t.Errorf("%d bytes, and no %q", b.Len(), want)
	}
}

// A store that changed since it was read is no reason for another figure.
func TestDetailOfAChangedStore(t *testing.T) {
	path := analysistest.LongStudy(t, 10)
	set, err := analysis.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "read run 0000000000000004 again from") || strings.Count(s, `<rect class="bar `) == 0 {
		t.Error("the page does not say that runs could not be read again")
	}
}
