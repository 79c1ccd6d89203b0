package analysis

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zcbench/analysis/analysistest"
)

func TestLoad(t *testing.T) {
	good := analysistest.Lines(t, "pair")
	newer := strings.Replace(good[0], "zcbench/1", "zcbench/2", 1)
	other := strings.Replace(good[1], `"repeat":0`, `"repeat":7`, 1)
	for _, c := range []struct {
		name     string
		files    map[string][]string
		runs     int
		problems []string
	}{
		{"one file", map[string][]string{"a.jsonl": good}, len(good), nil},
		{"shards", map[string][]string{"a.jsonl": good[:9], "b.jsonl": good[9:]}, len(good), nil},
		{"overlap", map[string][]string{"a.jsonl": good, "b.jsonl": good[:3]}, len(good), []string{"3 records are there more than once"}},
		{"one id, two contents", map[string][]string{"a.jsonl": {good[1], other}}, 1,
			[]string{"1 record has the id of another but not its content"}},
		{"newer among them", map[string][]string{"a.jsonl": {newer, good[0], newer}}, 1,
			[]string{`2 lines not read (lines 1, 3): record of schema "zcbench/2"`}},
		{"torn and wrong", map[string][]string{"a.jsonl": {good[0], good[1][:3000], "hello"}}, 1,
			[]string{"1 line not read (line 2): torn line", "1 line not read (line 3): not a record"}},
		{"many torn", map[string][]string{"a.jsonl": slices.Repeat([]string{good[1][:99]}, 7)}, 0,
			[]string{"7 lines not read (lines 1, 2, 3, 4, 5, …): torn"}},
		{"mixed hosts", map[string][]string{"a.jsonl": {good[0], analysistest.Lines(t, "demo")[0]}}, 2,
			[]string{"runs of 2 pairs of hosts: r760-a → r760-a (1), r760-a → r760-b (1)"}},
		{"as -J prints them", map[string][]string{"a.jsonl": {indented(t, good[0]), indented(t, good[1])}}, 2, nil},
		{"other files beside", map[string][]string{"a.jsonl": good[:1], "plan.json": {"{}"}}, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a [b]*") // a path is no pattern
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range c.files {
				analysistest.Store(t, dir, name, text...)
			}
			s, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.runs) != c.runs || s.Empty() != (c.runs == 0) {
				t.Errorf("%d runs, want %d", len(s.runs), c.runs)
			}
			if len(s.Problems) != len(c.problems) {
				t.Fatalf("problems %q", s.Problems)
			}
			for i, want := range c.problems {
				if !strings.Contains(s.Problems[i], want) {
					t.Errorf("problem %q, want %q", s.Problems[i], want)
				}
			}
			for _, r := range s.runs {
				whole, err := r.Full()
				if err != nil || whole.ID != r.ID || whole.Gbps != r.Gbps {
					t.Errorf("read again: %+v %v", whole.ID, err)
				}
			}
		})
	}
	for name, path := range map[string]string{"no such path": "testdata/none", "no records in it": t.TempDir(), "a device": "/dev/zero"} {
		if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func indented(t *testing.T, line string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(line), "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadAgainFindsAChangedFile(t *testing.T) {
	good := analysistest.Lines(t, "pair")
	path := analysistest.Store(t, t.TempDir(), "a.jsonl", good[0], good[1])
	s, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	analysistest.Store(t, filepath.Dir(path), "a.jsonl", good[1], good[0])
	if _, err := s.runs[0].Full(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

// What a report keeps of a run must not grow with the run's length.
func TestLongRunsTakeLittleMemory(t *testing.T) {
	const n, limit = 60, 50_000 // bytes a run; its line has 120,000
	path := analysistest.LongStudy(t, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	set, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Report(Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; kept > limit {
		t.Errorf("%d bytes a run are kept", kept)
	}
	runtime.KeepAlive(r)
}
