package reports

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// benchstat runs the benchstat of the golang.org/x/perf that we are built with,
// for CSV.
func benchstat(t *testing.T, files ...string) []byte {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "golang.org/x/perf").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	var errs bytes.Buffer
	cmd := exec.Command("go", append([]string{"run", "golang.org/x/perf/cmd/benchstat@" + strings.TrimSpace(string(out)), "-format", "csv"},
		files...)...)
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
			r := results.Record{ID: fmt.Sprint(i, "-", n), Cell: fmt.Sprint("c", i), Status: results.OK, Gbps: float64(100 * (i + 1)),
				Axes: map[string]string{"x": v}}
			records = append(records, r)
		}
	}
	return records
}

// Names tell cells apart wherever benchstat looks, and stay what they were
// where they did.
func TestBenchNames(t *testing.T) {
	r := analysis.FirstLook(awkwardCells())
	names := map[string]string{}
	for i, name := range benchNames(r) {
		v := r.Cells[i].By[0]
		if other, ok := names[name]; ok {
			t.Errorf("%q and %q are both %s", other, v, name)
		}
		names[name] = v
		if base, parts := benchfmt.Name(name).Parts(); string(base) != "TCP" || len(parts) != 1 || parts[0][0] != '/' {
			t.Errorf("%q: benchstat takes %s for %q and %q", v, name, base, parts)
		}
	}
	for name, v := range map[string]string{"TCP/x=a": "a", "TCP/x=a_b": "a_b", "TCP/x=a-": "a-", "TCP/x=4": "4", "TCP/x=a%2D4": "a-4",
		"TCP/x=a-4%2D8": "a-4-8", "TCP/x=a%20b": "a b"} {
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
		if names := benchNames(analysis.FirstLook(two)); len(names) != 2 || names[0] == names[1] {
			t.Errorf("of settings %v: %q", settings, names)
		}
	}
}

func TestBenchstatKeepsCellsApart(t *testing.T) {
	tier.Long(t)
	var b bytes.Buffer
	r, err := analysis.Of(awkwardCells()).Report(analysis.Options{Metrics: []string{"gbps"}})
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
		r, err := analysis.Of(records).Report(analysis.Options{Metrics: []string{"gbps", "roi.cpu.total"}})
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
	c, err := analysis.Compare(analysis.Of(before), analysis.Of(after), analysis.CompareOptions{Metrics: []string{"gbps", "roi.cpu.total"}})
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]analysis.Change{}
	for _, m := range c.Metrics {
		for _, d := range m.Changes {
			ours[benchUnit(m.Metric)+" TCP/tx="+strings.Replace(d.Cell, " → ", "/rx=", 1)] = d
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
		if a, b := number(t, line[1]), number(t, line[3]); math.Abs(a-d.Old.Median) > 1e-9*a || math.Abs(b-d.New.Median) > 1e-9*b {
			t.Errorf("%s: medians %v and %v, benchstat has %v and %v", line[0], d.Old.Median, d.New.Median, a, b)
		}
		if line[5] != delta(d) {
			t.Errorf("%s: %s, benchstat has %s", line[0], delta(d), line[5])
		}
		if want := fmt.Sprintf("p=%.3f n=8", d.P); line[6] != want {
			t.Errorf("%s: %s, benchstat has %s", line[0], want, line[6])
		}
	}
	if seen != len(ours) {
		t.Errorf("benchstat shows %d of %d:\n%s", seen, len(ours), out)
	}
}
