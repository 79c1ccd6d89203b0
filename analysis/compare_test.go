package analysis

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"

	"zcbench/analysis/analysistest"
	"zcbench/results"
)

// A NIC that was already as a run wants it needs no tuning: the cell is the
// same. Records of both kinds have been written.
func TestCompareTuned(t *testing.T) {
	var sets []*Set
	for side, more := range []string{`,"command":"zcbench run a","tuned":{"rx":["mtu: \"1500\" → \"4148\""]}`, ``} {
		var list []string
		for i := range 6 {
			list = append(list,
				fmt.Sprintf(
					`{"schema":"zcbench/1","id":"%d-%d","cell":"c%d","status":"ok","gbps":1%d,"window_seconds":1,`+
						`"rx":{"engine":"mmap"},"tx":{"engine":"msgzc"},"settings":{"length":4096%s}}`,
					side, i, side, i, more))
		}
		s, err := Load(analysistest.Store(t, t.TempDir(), "r.jsonl", list...))
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	for _, o := range [][2]*Set{{sets[0], sets[1]}, {sets[1], sets[0]}} {
		c, err := Compare(o[0], o[1], CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.pairs) != 1 || c.pairs[0].differs != "" {
			t.Errorf("%d pairs, the first differs in %q", len(c.pairs), c.pairs[0].differs)
		}
	}
}

func TestCompareMatches(t *testing.T) {
	change := func(list []results.Record, f func(*results.Record)) []results.Record {
		list = slices.Clone(list)
		for i := range list {
			f(&list[i])
		}
		return list
	}
	before, after := analysistest.BeforeAfter()
	withAxes := func(list []results.Record) []results.Record {
		return change(list, func(r *results.Record) { r.Axes = map[string]string{"rx": r.RX.Engine} })
	}
	longer := change(after, func(r *results.Record) {
		r.Cell += "x"
		r.Settings = map[string]any{"length": 8192, "tx": "sendfile", "rx": r.RX.Engine, "nodelay": true}
	})
	twoLengths := slices.Concat(longer, change(after, func(r *results.Record) {
		r.Cell += "y"
		r.ID += "y"
		r.Settings = map[string]any{"length": 1, "tx": "sendfile", "rx": r.RX.Engine, "nodelay": true}
	}))
	var gone []results.Record
	for _, r := range after {
		if r.RX.Engine == "mmap" {
			r.Status, r.Reason = results.Failed, "no memory"
		}
		if r.RX.Engine != "zcrx" {
			gone = append(gone, r)
		}
	}
	for _, c := range []struct {
		name          string
		before, after []results.Record
		pairs         int
		remarks       string // one of them
		losses        int
		nothingInBoth bool
	}{
		{"by id", before, after, 3, "", 2, false},
		{"by id, though one has no axes", withAxes(before), after, 3, "", 2, false},
		{"by axes", withAxes(before), withAxes(longer), 3, "length 4096 → 8192, nodelay unset → true", 2, false},
		{"by engines", before, longer, 3, "length 4096 → 8192, nodelay unset → true", 2, false},
		{"two old of one name", withAxes(slices.Concat(before, longer)), withAxes(change(after, func(r *results.Record) { r.Cell += "z" })),
			3, "", 2, false},
		{"two that are as near", before, twoLengths, 0, "", 0, true},
		{"failed and gone", before, gone, 2, "only in old: sendfile → zcrx", 1, false},
		{"nothing in common", before, change(after, func(r *results.Record) {
			r.Cell, r.TX = "other", &results.End{Engine: "devmem"}
		}), 0, "", 0, true},
		{"the host changed", before, after, 3, "the receiver's host is not the same: kernel.release 6.18 → 7.1", 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmp, err := Compare(Of(c.before), Of(c.after), CompareOptions{Threshold: 2})
			if c.nothingInBoth {
				if !errors.Is(err, errNothingToCompare) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(cmp.pairs) != c.pairs || len(cmp.Losses()) != c.losses {
				t.Errorf("%d pairs, losses %q", len(cmp.pairs), cmp.Losses())
			}
			if c.remarks != "" && !strings.Contains(strings.Join(cmp.Remarks(), "\n"), c.remarks) {
				t.Errorf("no %q in %q", c.remarks, cmp.Remarks())
			}
		})
	}
}

func TestCompareRefuses(t *testing.T) {
	before, after := analysistest.BeforeAfter()
	for i := range after {
		after[i].RX = &results.End{Engine: after[i].RX.Engine, Bytes: 1, CPUPercent: after[i].RX.CPUPercent, CPUScope: "host"}
	}
	c, err := Compare(Of(before), Of(after), CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Metrics {
		cpu := m.Unit == unitCPU || m.Unit == unitROICPU
		for _, d := range m.Changes {
			if (d.Why != "") != cpu || d.Significant && cpu {
				t.Errorf("%s: %+v", m.Name, d)
			}
		}
	}
	before, after = analysistest.BeforeAfter()
	for i, list := range [][]results.Record{before, after} {
		for k := range list {
			list[k].RX.Watts, list[k].RX.Power = p(100), &results.Power{Scope: []string{"wall", "package"}[i]}
			list[k].Derive()
		}
	}
	if c, err = Compare(Of(before), Of(after), CompareOptions{Metrics: []string{"rx.watts", "roi.power.rx", "gbps"}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"power of another thing", "power of another thing", ""} {
		if d := c.Metrics[i].Changes[0]; d.Why != want {
			t.Errorf("%s: %+v", c.Metrics[i].Name, d)
		}
	}
	if text := FirstLook(slices.Concat(before, after)).PowerLegend(); !strings.Contains(text,
		"CPU packages, which is not the wall; of whole hosts") {
		t.Errorf("legend %q", text)
	}
	if c, err = Compare(Of(before[:3]), Of(after[:3]), CompareOptions{}); err != nil {
		t.Fatal(err)
	}
	if d := c.Metrics[0].Changes[0]; d.Significant || d.Why != "" || !math.IsInf(d.Hi, 1) ||
		!strings.Contains(strings.Join(c.Remarks(), "\n"), "too few runs for any difference") {
		t.Errorf("few runs: %+v %q", d, c.Remarks())
	}
}

// The interval of a change holds those changes that the test does not reject,
// and no others.
func TestIntervalBelongsToTheTest(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	p := func(a, b []float64) float64 {
		return benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(a), &benchmath.DefaultThresholds),
			benchmath.NewSample(slices.Clone(b), &benchmath.DefaultThresholds)).P
	}
	for range 200 {
		a, b := make([]float64, 4+rng.IntN(9)), make([]float64, 4+rng.IntN(9))
		for i := range a {
			a[i] = 100 * math.Exp(0.1*rng.NormFloat64())
		}
		for i := range b {
			b[i] = 110 * math.Exp(0.1*rng.NormFloat64())
		}
		lo, hi := shift(a, b, 100)
		for _, c := range []struct {
			percent  float64
			rejected bool
		}{{lo - 1e-6, true}, {lo + 1e-6, false}, {(lo + hi) / 2, false}, {hi - 1e-6, false}, {hi + 1e-6, true}} {
			moved := slices.Clone(a)
			for i := range moved {
				moved[i] *= 1 + c.percent/100
			}
			if got := p(moved, b); (got < alpha) != c.rejected {
				t.Fatalf("a change of %v%%, interval %v to %v: p = %v, %d and %d runs", c.percent, lo, hi, got, len(a), len(b))
			}
		}
	}
	// The largest U that printed tables reject, two-sided at 5%.
	for n, u := range map[int]int{4: 0, 5: 2, 6: 5, 7: 8, 8: 13, 10: 23} {
		if k := rank(n, n); k != u+1 {
			t.Errorf("%d and %d: %d, want %d", n, n, k, u+1)
		}
	}
	if k := rank(3, 3); k != 0 {
		t.Errorf("3 and 3: %d", k)
	}
	for n := 2; n < 12; n++ {
		for m := 2; m < 12; m++ {
			k, d := 0, stats.UDist{N1: n, N2: m}
			for d.CDF(float64(k)) <= alpha/2 {
				k++
			}
			if got := rank(n, m); got != k {
				t.Errorf("%d and %d: %d, moremath has %d", n, m, got, k)
			}
		}
	}
	// The normal approximation takes over where the exact one was.
	exact, normal := rank(50, 50), int(1250-1.959963984540054*math.Sqrt(2500.*101/12))
	if math.Abs(float64(exact-normal)) > 2 {
		t.Errorf("50 and 50: %d exactly, %d by approximation", exact, normal)
	}
}

func TestCompareTellsOfConditions(t *testing.T) {
	power := func(scope string) func(*results.Record) {
		return func(r *results.Record) {
			r.Total.Power = &results.Power{Meter: scope, Scope: scope, Watts: 100}
			r.TX.Watts, r.TX.Power = &r.Total.Power.Watts, &results.Power{Meter: "rapl:" + scope, Scope: "package"}
			r.Derive()
		}
	}
	each := func(f func(*results.Record)) []results.Record {
		list := analysistest.SixOf("c", nil)
		for i := range list {
			f(&list[i])
		}
		return list
	}
	nothing := func(*results.Record) {}
	for _, c := range []struct {
		name          string
		before, after []results.Record
		want, not     string
		wont          string // of total.watts
	}{
		{"the same", each(power("wall")), each(power("wall")), "", "congestion|meter|not the same", ""},
		{"congestion", each(nothing), each(func(r *results.Record) { r.TX.Congestion, r.RX.Congestion = "bbr", "bbr" }),
			"has another congestion control: cubic → bbr", "", "not measured"},
		{"meters", each(power("wall")), each(power("package")), "the sender's power is of another meter: rapl:wall → rapl:package", "",
			"power of another thing"},
		{"a host that changed later", each(nothing), analysistest.SixOf("c", func(r *results.Record) {
			r.Facts.RX = results.Facts{"machine": map[string]any{"hostname": "b"}, "nic": map[string]any{"mtu": 9000}}
		}), "nic.mtu 1500 → 1500 / 9000", "", "not measured"},
		{"pairs", each(func(r *results.Record) { r.Pair = "x" }), each(func(r *results.Record) { r.Pair = "y" }), "pair x → y", "",
			"not measured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Compare(Of(c.before), Of(c.after), CompareOptions{Metrics: []string{"gbps", "total.watts"}})
			if err != nil && c.wont == "not measured" {
				got, err = Compare(Of(c.before), Of(c.after), CompareOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(got.Remarks(), "\n")
			if !strings.Contains(text, c.want) {
				t.Errorf("no %q in\n%s", c.want, text)
			}
			for _, not := range strings.Split(c.not, "|") {
				if not != "" && strings.Contains(text, not) {
					t.Errorf("%q in\n%s", not, text)
				}
			}
			for _, m := range got.Metrics {
				if m.Name == "total.watts" && m.Changes[0].Why != c.wont {
					t.Errorf("total watts: %q", m.Changes[0].Why)
				}
			}
		})
	}
}

// Ticks compare with nothing else, calibrated clocks do; and what was explained by
// ticks says so.
func TestClocksCompare(t *testing.T) {
	by := func(tx, rx string) func(*results.Record) {
		return func(r *results.Record) {
			for _, e := range []struct {
				end    *results.End
				method string
			}{{r.TX, tx}, {r.RX, rx}} {
				e.end.CPUMethod, e.end.CPUScope = e.method, "host"
			}
		}
	}
	all := func(f func(*results.Record)) []results.Record {
		list := analysistest.SixOf("c", nil)
		for i := range list {
			f(&list[i])
		}
		return list
	}
	for _, c := range []struct {
		before, after func(*results.Record)
		wont, remark  string
	}{
		{by("idle", "idle"), by("idle", "idle"), "", ""},
		{by("", ""), by("ticks", "ticks"), "", ""},
		{by("", ""), by("idle", "idle"), "CPU by another clock", "the sender's CPU is by another clock: ticks → idle"},
		{by("idle", "idle"), by("schedstat", "idle"), "", "the sender's CPU is by another clock: idle → schedstat"},
	} {
		got, err := Compare(Of(all(c.before)), Of(all(c.after)), CompareOptions{Metrics: []string{"tx.cpu_percent", "roi.cpu.total"}})
		if err != nil {
			t.Fatal(err)
		}
		remarks := strings.Join(got.Remarks(), "; ")
		if got.Metrics[0].Changes[0].Why != c.wont || got.Metrics[1].Changes[0].Why != c.wont ||
			strings.Contains(remarks, "clock") != (c.remark != "") || !strings.Contains(remarks, c.remark) {
			t.Errorf("%q and %q, remarks %s; want %q and %q", got.Metrics[0].Changes[0].Why, got.Metrics[1].Changes[0].Why, remarks, c.wont,
				c.remark)
		}
	}
	one := analysistest.OnNIC(100, 90, 9, 30, 20)
	if d := diagnose(&one); !strings.Contains(strings.Join(d.unknown, ";"), "timer ticks") {
		t.Errorf("explained by ticks without a word: %q", d.unknown)
	}
	by("idle", "idle")(&one)
	if d := diagnose(&one); strings.Contains(strings.Join(d.unknown, ";"), "timer ticks") {
		t.Errorf("explained by a clock: %q", d.unknown)
	}
}
