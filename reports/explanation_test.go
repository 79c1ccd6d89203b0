package reports

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

func TestExplain(t *testing.T) {
	var records []results.Record
	for i := range 6 {
		r := analysistest.OnNIC(100+float64(i), 30, 9, 90, 8)
		if i == 5 {
			r = analysistest.OnNIC(120, 90, 9, 50, 20)
		}
		r.ID = fmt.Sprint("run", i)
		records = append(records, r)
	}
	skipped := results.Record{ID: "no", Cell: "ffff", Status: results.Skipped, Reason: "too old.",
		Settings: map[string]any{"tx": "devmem", "rx": "devmem"}}
	records = append(records, skipped)
	// From a file, so that what lean reading leaves out must come back.
	path := filepath.Join(t.TempDir(), "r.jsonl")
	for _, r := range records {
		if err := results.Append(path, r); err != nil {
			t.Fatal(err)
		}
	}
	s, err := analysis.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"abcd": {"105.0 Gbit/s on average of 6 runs; the one next to the median (run2, 102.0 Gbit/s)",
			"was limited by the receiver's application", "do not agree: 1 of 6: the sender's CPU; 5 of 6: the receiver's application."},
		"sendzc → zcrx": {"on average of 6 runs"},
		"run5":          {"sendzc → zcrx, 120.0 Gbit/s was limited by the sender's CPU: the sender's busiest CPU"},
		"ffff":          {"devmem → devmem: skipped, so there is nothing to explain: too old."},
		"sendzc->zcrx":  {"on average of 6 runs"},
		"rx=zcrx":       {"on average of 6 runs"},
		"no":            {"skipped, so there is nothing to explain: too old."},
	} {
		var b strings.Builder
		if err := Explain(&b, r, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := strings.Join(strings.Fields(b.String()), " ")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", name, w, b.String())
			}
		}
	}
	for name, want := range map[string]string{"nix": "abcdef012345 (sendzc → zcrx)", "": "none is"} {
		if err := Explain(&strings.Builder{}, r, name); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	two := append(records[:1:1], analysistest.OnNIC(1, 2, 3, 4, 5))
	two[1].Cell = "abce"
	if err := Explain(&strings.Builder{}, analysis.FirstLook(two), "sendzc → zcrx"); fault.Of(err) != fault.Usage ||
		!strings.Contains(err.Error(), "give the id") {
		t.Errorf("two of a name: %v", err)
	}
	if err := Explain(broken{}, r, "run5"); err == nil {
		t.Error("a failed write went unnoticed")
	}
}

// What limited a run is told by its own facts, also where they lie in memory
// that another run's were in before.
func TestExplainTakesEachRunsOwnFacts(t *testing.T) {
	tier.Long(t)
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	const n = 60
	path := filepath.Join(t.TempDir(), "r.jsonl")
	for i := range n {
		r := analysistest.OnNIC(50, 30, 9, 40, 8)
		r.ID, r.Cell = fmt.Sprintf("run-%d", i), fmt.Sprintf("cell-%d", i)
		for _, f := range []results.Facts{r.Facts.RX, r.Facts.TX} {
			f["nic"].(map[string]any)["speed_mbps"] = 100000 + 1000*i
		}
		r.Settings["flows"] = i + 1
		if err := results.Append(path, r); err != nil {
			t.Fatal(err)
		}
	}
	s, err := analysis.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		for i := range n {
			runtime.GC()
			var b strings.Builder
			if err := Explain(&b, r, fmt.Sprintf("run-%d", i)); err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, fmt.Sprintf("that %d Gbit/s carry", 100+i)) {
				t.Fatalf("round %d, run %d of a link of %d Gbit/s: %s", round, i, 100+i, text)
			}
		}
	}
}
