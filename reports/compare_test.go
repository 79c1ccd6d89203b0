package reports

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"

	"zcbench/analysis/analysistest"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

func TestCompare(t *testing.T) {
	before, after := analysistest.BeforeAfter()
	c, err := Compare(Of(before), Of(after), CompareOptions{Threshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	for format, file := range map[string]string{"table": "compare.table", "markdown": "compare.md", "csv": "compare.csv", "json": "compare.json"} {
		var b bytes.Buffer
		if err := WriteComparison(&b, c, format); err != nil {
			t.Fatal(err)
		}
		analysistest.Golden(t, file, b.Bytes())
	}
	if err := WriteComparison(broken{}, c, "table"); err == nil {
		t.Error("a failed write went unnoticed")
	}
	if err := WriteComparison(&bytes.Buffer{}, c, "html"); err == nil {
		t.Error("a format that is none")
	}
	if l := c.Losses(); len(l) != 2 || !strings.HasPrefix(l[0], "sendfile → mmap: gbps -6.") || !strings.HasPrefix(l[1], "sendfile → mmap: roi.cpu.total -") {
		t.Errorf("losses %q", l)
	}
	for _, o := range []struct {
		options CompareOptions
		losses  int
	}{
		{CompareOptions{Threshold: 20}, 0},
		{CompareOptions{Threshold: 8}, 1},                                       // ROI has the square
		{CompareOptions{Metrics: []string{"gbps"}}, 1},                          // without a threshold
		{CompareOptions{Metrics: []string{"rx.cpu_percent"}}, 0},                // no change
		{CompareOptions{Metrics: []string{"roi.cpu"}, Threshold: 2}, 3},         // each that is named
		{CompareOptions{Filter: "rx=zcrx"}, 0},                                  // it gained
		{CompareOptions{GroupBy: []string{"tx"}, Metrics: []string{"gbps"}}, 0}, // pooled, it is not significant
	} {
		c, err := Compare(Of(before), Of(after), o.options)
		if err != nil {
			t.Fatal(err)
		}
		if l := c.Losses(); len(l) != o.losses {
			t.Errorf("%+v: %q", o.options, l)
		}
	}
}

// A NIC that was already as a run wants it needs no tuning: the cell is the
// same. Records of both kinds have been written.
func TestCompareTuned(t *testing.T) {
	var sets []*Set
	for side, more := range []string{`,"command":"zcbench run a","tuned":{"rx":["mtu: \"1500\" → \"4148\""]}`, ``} {
		var list []string
		for i := range 6 {
			list = append(list, fmt.Sprintf(`{"schema":"zcbench/1","id":"%d-%d","cell":"c%d","status":"ok","gbps":1%d,"window_seconds":1,"rx":{"engine":"mmap"},"tx":{"engine":"msgzc"},"settings":{"length":4096%s}}`, side, i, side, i, more))
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
	r, err := sets[0].Report(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if list := commandsOf(r); len(list) != 1 || !slices.Equal(list[0].Lines, []string{"zcbench run a"}) || !slices.Equal(list[0].Changed, []string{`rx: mtu: "1500" → "4148"`}) {
		t.Errorf("commands %+v", list)
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
		{"two old of one name", withAxes(slices.Concat(before, longer)), withAxes(change(after, func(r *results.Record) { r.Cell += "z" })), 3, "", 2, false},
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
				if !errors.Is(err, ErrNothingToCompare) {
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
			if c.remarks != "" && !strings.Contains(strings.Join(cmp.remarks(), "\n"), c.remarks) {
				t.Errorf("no %q in %q", c.remarks, cmp.remarks())
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
	for _, m := range c.metrics {
		cpu := m.unit == unitCPU || m.unit == unitROICPU
		for _, d := range m.changes {
			if (d.wont != "") != cpu || d.different && cpu {
				t.Errorf("%s: %+v", m.name, d)
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
		if d := c.metrics[i].changes[0]; d.wont != want {
			t.Errorf("%s: %+v", c.metrics[i].name, d)
		}
	}
	if text := FirstLook(slices.Concat(before, after)).powerLegend(); !strings.Contains(text, "CPU packages, which is not the wall; of whole hosts") {
		t.Errorf("legend %q", text)
	}
	if c, err = Compare(Of(before[:3]), Of(after[:3]), CompareOptions{}); err != nil {
		t.Fatal(err)
	}
	if d := c.metrics[0].changes[0]; d.different || delta(d) != "~" || !math.IsInf(d.hi, 1) || !strings.Contains(strings.Join(c.remarks(), "\n"), "too few runs for any difference") {
		t.Errorf("few runs: %+v %q", d, c.remarks())
	}
}

// The interval of a change holds those changes that the test does not reject,
// and no others.
func TestIntervalBelongsToTheTest(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	p := func(a, b []float64) float64 {
		return benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(a), &benchmath.DefaultThresholds), benchmath.NewSample(slices.Clone(b), &benchmath.DefaultThresholds)).P
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

// benchstat runs the benchstat of the golang.org/x/perf that we are built with,
// for CSV.
func benchstat(t *testing.T, files ...string) []byte {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "golang.org/x/perf").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	var errs bytes.Buffer
	cmd := exec.Command("go", append([]string{"run", "golang.org/x/perf/cmd/benchstat@" + strings.TrimSpace(string(out)), "-format", "csv"}, files...)...)
	cmd.Stderr = &errs
	if out, err = cmd.Output(); err != nil {
		if strings.Contains(errs.String(), "dial") || strings.Contains(errs.String(), "module lookup disabled") {
			t.Skipf("benchstat cannot be fetched: %s", &errs)
		}
		t.Fatalf("%v: %s", err, &errs)
	}
	return out
}

// awkward are values of an axis that differ in what a benchmark's name cannot
// have, or has for something else.
var awkward = []string{"a-4", "a-8", "a%2D4", "a-4-8", "a b", "a/b", "a=b", "a_b", "a%20b", `a"b`, "a-", "a", "4"}

func awkwardCells() []results.Record {
	var records []results.Record
	for i, v := range awkward {
		for n := range 6 {
			r := results.Record{ID: fmt.Sprint(i, "-", n), Cell: fmt.Sprint("c", i), Status: results.OK, Gbps: float64(100 * (i + 1)), Axes: map[string]string{"x": v}}
			records = append(records, r)
		}
	}
	return records
}

// Names tell cells apart wherever benchstat looks, and stay what they were
// where they did.
func TestBenchNames(t *testing.T) {
	r := FirstLook(awkwardCells())
	names := map[string]string{}
	for i, name := range benchNames(r) {
		v := r.cells[i].by[0]
		if other, ok := names[name]; ok {
			t.Errorf("%q and %q are both %s", other, v, name)
		}
		names[name] = v
		if base, parts := benchfmt.Name(name).Parts(); string(base) != "TCP" || len(parts) != 1 || parts[0][0] != '/' {
			t.Errorf("%q: benchstat takes %s for %q and %q", v, name, base, parts)
		}
	}
	for name, v := range map[string]string{"TCP/x=a": "a", "TCP/x=a_b": "a_b", "TCP/x=a-": "a-", "TCP/x=4": "4", "TCP/x=a%2D4": "a-4", "TCP/x=a-4%2D8": "a-4-8", "TCP/x=a%20b": "a b"} {
		if names[name] != v {
			t.Errorf("%s is %q, want %q", name, names[name], v)
		}
	}
	// Settings with what parts them in texts; and cells that nothing but the
	// id tells apart.
	for _, settings := range [][2]map[string]any{{{"mem": "a, b"}, {"mem": "a, c"}}, {{}, {}}} {
		two := awkwardCells()[5:7]
		for i := range two {
			two[i].Axes, two[i].Settings = nil, settings[i]
		}
		if names := benchNames(FirstLook(two)); len(names) != 2 || names[0] == names[1] {
			t.Errorf("of settings %v: %q", settings, names)
		}
	}
}

func TestBenchstatKeepsCellsApart(t *testing.T) {
	tier.Long(t)
	var b bytes.Buffer
	r, err := Of(awkwardCells()).Report(Options{Metrics: []string{"gbps"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeBenchfmt(&b, r); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{".fullname", "/x"} {
		rows := csv.NewReader(bytes.NewReader(benchstat(t, "-row", by, path)))
		rows.FieldsPerRecord = -1
		all, err := rows.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[float64]bool{}
		for _, row := range all {
			if len(row) > 1 && row[0] != "" && row[0] != "geomean" {
				if v, err := strconv.ParseFloat(row[1], 64); err == nil {
					seen[v] = true
				}
			}
		}
		for i, v := range awkward {
			if !seen[float64(100*(i+1))] {
				t.Errorf("by %s: no row has the median of %q alone:\n%q", by, v, all)
			}
		}
	}
}

// benchstat itself reads our benchmark format, and comes to the same medians,
// changes and p.
func TestBenchstatComesToTheSame(t *testing.T) {
	dir := t.TempDir()
	before, after := analysistest.BeforeAfter()
	var files []string
	for name, records := range map[string][]results.Record{"old": before, "new": after} {
		r, err := Of(records).Report(Options{Metrics: []string{"gbps", "roi.cpu.total"}})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := writeBenchfmt(&b, r); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, name+"="+path)
	}
	slices.Sort(files)
	slices.Reverse(files) // old first
	out := benchstat(t, files...)
	c, err := Compare(Of(before), Of(after), CompareOptions{Metrics: []string{"gbps", "roi.cpu.total"}})
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]change{}
	for _, m := range c.metrics {
		for k, d := range m.changes {
			ours[benchUnit(m.metric)+" TCP/tx="+c.pairs[k].old.tx+"/rx="+c.pairs[k].old.rx] = d
		}
	}
	unit, seen := "", 0
	r := csv.NewReader(bytes.NewReader(out))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if len(line) > 1 && line[0] == "" && line[1] != "" && line[1] != "old" {
			unit = line[1]
		}
		d, ok := ours[unit+" "+line[0]]
		if !ok {
			continue
		}
		seen++
		// name, median, its interval, median, its interval, change, p and n
		if a, b := number(t, line[1]), number(t, line[3]); math.Abs(a-d.old.median) > 1e-9*a || math.Abs(b-d.new.median) > 1e-9*b {
			t.Errorf("%s: medians %v and %v, benchstat has %v and %v", line[0], d.old.median, d.new.median, a, b)
		}
		if line[5] != delta(d) {
			t.Errorf("%s: %s, benchstat has %s", line[0], delta(d), line[5])
		}
		if want := fmt.Sprintf("p=%.3f n=8", d.p); line[6] != want {
			t.Errorf("%s: %s, benchstat has %s", line[0], want, line[6])
		}
	}
	if seen != len(ours) {
		t.Errorf("benchstat shows %d of %d:\n%s", seen, len(ours), out)
	}
}
