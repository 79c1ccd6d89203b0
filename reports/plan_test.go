package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/results"
)

// A report over part of an experiment says so, and what is missing.
func TestReportTellsWhatIsNotThere(t *testing.T) {
	const state = `{"schema":"zcbench-experiment/1","zcbench":"test","experiment":"some",`
	line := func(pair, cell string, repeat int) string {
		return fmt.Sprintf(
			`{"schema":"zcbench/1","id":"%s-%s-%d","cell":"%s","pair":"%s","repeat":%d,"experiment":"some","status":"ok","gbps":1}`, pair,
			cell, repeat, cell, pair, repeat)
	}
	plan := func(shard, shards, all int, cells ...string) string {
		p := results.Plan{Shard: shard, Shards: shards, Whole: "w", All: all}
		for _, c := range cells {
			p.Cells = append(p.Cells, results.PlannedCell{Cell: c, Name: "mode=" + c, Runs: 2})
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return state + `"plan":` + string(b) + "}"
	}
	all := func(cells ...string) (list []string) {
		for _, c := range cells {
			list = append(list, line("", c, 0), line("", c, 1))
		}
		return list
	}
	for _, c := range []struct {
		name  string
		files map[string][]string
		load  []string // default: all directories
		want  []string // parts of all lines of Plan, in order; none: nothing is said
		not   string
	}{
		{"all", map[string][]string{"a/experiment.json": {plan(0, 0, 2, "x", "y")}, "a/results.jsonl": all("x", "y")}, nil, nil, ""},
		{"all, by the store", map[string][]string{"a/experiment.json": {plan(0, 0, 2, "x", "y")}, "a/results.jsonl": all("x", "y")},
			[]string{"a/results.jsonl"}, nil, ""},
		{"a cell and a run are missing", map[string][]string{"a/experiment.json": {plan(0, 0, 3, "x", "y", "z")},
			"a/results.jsonl": all("x", "z")[:3]}, nil,
			[]string{"experiment some in",
				"a is incomplete: 3 of 6 planned runs are there, and 1 of 3 cells complete; without a run: mode=y; with fewer than planned: mode=z " +
					"(1 of 2). It was interrupted, or gave up; zcbench run with --resume goes on"}, "killed"},
		{"by the store", map[string][]string{"a/experiment.json": {plan(0, 0, 3, "x", "y", "z")}, "a/results.jsonl": all("x", "z")[:3]},
			[]string{"a/results.jsonl"}, []string{"a is incomplete: 3 of 6"}, ""},
		{"killed", map[string][]string{"a/experiment.json": {plan(0, 0, 1, "x")}, "a/results.jsonl": all("x")[:1], "a/.spare": {""}}, nil,
			[]string{"1 of 2 planned runs", "still being measured, or was killed"}, "interrupted"},
		{"a torn line", map[string][]string{"a/experiment.json": {plan(0, 0, 1, "x")},
			"a/results.jsonl": {line("", "x", 0), line("", "x", 1)[:50]}}, nil, []string{"1 of 2 planned runs"}, ""},
		{"many cells", map[string][]string{"a/experiment.json": {plan(0, 0, 9, "a", "b", "c", "d", "e", "f", "g", "x")},
			"a/results.jsonl": all("x")}, nil, []string{"without a run: mode=a, mode=b, mode=c, mode=d, mode=e, and 2 more."}, "mode=f"},
		{"nothing yet", map[string][]string{"a/experiment.json": {plan(0, 0, 1, "x")},
			"b/results.jsonl": {`{"schema":"zcbench/1","id":"other","status":"ok"}`}}, nil,
			[]string{"a is incomplete: 0 of 2 planned runs"}, ""},
		{"of another experiment", map[string][]string{"a/experiment.json": {strings.Replace(plan(0, 0, 1, "x"), "some", "other", 1)},
			"a/results.jsonl": all("x")}, nil, []string{"experiment other in", "0 of 2"}, ""},
		{"of another pair", map[string][]string{"a/experiment.json": {plan(0, 0, 1, "x")},
			"a/results.jsonl": {line("", "x", 0), line("p", "x", 1)}}, nil, []string{"1 of 2 planned runs"}, ""},
		{"a shard", map[string][]string{"a/experiment.json": {plan(2, 3, 5, "x", "y")}, "a/results.jsonl": all("x", "y")}, nil,
			[]string{"experiment some is incomplete: of its 3 shards 1, 3 are missing, with 3 of 5 cells"}, "planned runs"},
		{"both shards", map[string][]string{"a/experiment.json": {plan(1, 2, 2, "x")}, "a/results.jsonl": all("x"),
			"b/experiment.json": {plan(2, 2, 2, "y")}, "b/results.jsonl": all("y")}, nil, nil, ""},
		{"shards of two experiments", map[string][]string{"a/experiment.json": {plan(1, 2, 2, "x")}, "a/results.jsonl": all("x"),
			"b/experiment.json": {strings.Replace(plan(2, 2, 2, "y"), `"w"`, `"v"`, 1)}, "b/results.jsonl": all("y")}, nil,
			[]string{"of its 2 shards 1 is missing, with 1 of 2 cells", "of its 2 shards 2 is missing"}, ""},
		{"a copy of the directory", map[string][]string{"a/experiment.json": {plan(0, 0, 1, "x")}, "a/results.jsonl": all("x"),
			"b/experiment.json": {plan(0, 0, 1, "x")}, "b/results.jsonl": all("x")}, nil, nil, ""},
		{"a file of its own", map[string][]string{"a/merged.jsonl": all("x")}, []string{"a/merged.jsonl"},
			[]string{"whether all planned runs of experiment some are here cannot be known: no experiment.json stands beside"},
			"incomplete"},
		{"a directory without a plan", map[string][]string{"a/results.jsonl": all("x")}, nil, []string{"cannot be known"}, "incomplete"},
		{"single runs", map[string][]string{"a/run.jsonl": {`{"schema":"zcbench/1","id":"other","status":"ok"}`}}, []string{"a/run.jsonl"},
			nil, ""},
		{"what is no plan", map[string][]string{"a/experiment.json": {"{"}, "a/results.jsonl": all("x")}, nil,
			[]string{"read what was planned in", "cannot be known"}, "incomplete"},
		{"an older version's",
			map[string][]string{"a/experiment.json": {state + `"choice":{"shard":"1/2"},"cells":["x mode=x","y p: mode=y","z mode=z"]}`},
				"a/results.jsonl": append(all("x"), line("p", "y", 0))}, nil,
			[]string{"3 of at least 6 planned runs are there, and 1 of 3 cells complete; without a run: mode=z; with fewer than planned: p: " +
				"mode=y (1 of 2)", "of its 2 shards 2 is missing"}, "of 0 cells"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			load := []string{}
			for _, name := range []string{"a", "b"} {
				for file, text := range c.files {
					if strings.HasPrefix(file, name+"/") {
						if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
							t.Fatal(err)
						}
						analysistest.Store(t, dir, file, text...)
						if path := filepath.Join(dir, name); !slices.Contains(load, path) {
							load = append(load, path)
						}
					}
				}
			}
			if c.load != nil {
				load = nil
				for _, name := range c.load {
					load = append(load, filepath.Join(dir, name))
				}
			}
			s, err := analysis.Load(load...)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(s.Plan, ". ")
			if c.want == nil && text != "" {
				t.Fatalf("said of what is all there: %s", text)
			}
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in %q", w, text)
				}
			}
			if c.not != "" && strings.Contains(text, c.not) {
				t.Errorf("%q in %q", c.not, text)
			}
			r, err := s.Report(analysis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, format := range formats() {
				var b bytes.Buffer
				if err := write(&b, r, format); err != nil {
					t.Fatal(err)
				}
				out := strings.Join(strings.Fields(b.String()), " ")
				if told := strings.Contains(out, "incomplete:") ||
					strings.Contains(out, "cannot be known"); told != (tellsPlan(format) && c.want != nil) {
					t.Errorf("%s: told %v", format, told)
				}
			}
			compared, err := analysis.Compare(s, s, analysis.CompareOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if list := strings.Join(compared.Remarks(), "; "); strings.Contains(list, "old: ") != (c.want != nil) {
				t.Errorf("compare says %s", list)
			}
		})
	}
}
