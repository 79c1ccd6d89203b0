package reports

import (
	"bytes"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/results"
)

// Every run means every run, and an engine's column all engines.
func TestGroupsSayWhatAllRunsHave(t *testing.T) {
	list := analysistest.SixOf("c", func(r *results.Record) {
		r.Cell, r.Settings["length"] = "d", 8192
		r.RX.Engine = "zcrx"
		r.Facts.RX = results.Facts{"machine": map[string]any{"hostname": "b"}, "nic": map[string]any{"mtu": 9000}}
	})
	r, err := analysis.Of(list).Report(analysis.Options{GroupBy: []string{"tx"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Table(&b, r); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "Every run: length") || !strings.Contains(text, "MTU 1500 / 9000") {
		t.Errorf("of runs of two lengths:\n%s", text)
	}
	if got := r.Cells[0].RX; got != r.Runs[0].RX.Engine+" / zcrx" {
		t.Errorf("engines %q", got)
	}
}

// A share of zero-copied payload is a bound where of some nobody knows, and
// bounds are not compared.
func TestUnknownCopiesAreABound(t *testing.T) {
	some := analysistest.SixOf("c", nil)
	for i := range some {
		e := some[i].RX
		e.Bytes, e.ZeroCopiedBytes, e.CopiedBytes, e.UnknownBytes = 100, 25, 75, 75
	}
	for _, c := range []struct {
		name    string
		records []results.Record
		bound   bool
	}{{"unknown", some, true}, {"known", analysistest.SixOf("c", nil), false}} {
		for _, format := range []string{"table", "markdown", "html"} {
			var b bytes.Buffer
			if err := write(&b, analysis.FirstLook(c.records), format); err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(b.String(), "≥25.0"); told != c.bound || !c.bound && strings.Contains(b.String(), "≥") {
				t.Errorf("%s, %s: told %v", c.name, format, told)
			}
		}
		got, err := analysis.Compare(analysis.Of(c.records), analysis.Of(c.records),
			analysis.CompareOptions{Metrics: []string{"rx.zero_copied_percent"}})
		if err != nil {
			t.Fatal(err)
		}
		if wont := got.Metrics[0].Changes[0].Why; (wont == "copies not known") != c.bound {
			t.Errorf("%s: compared: %q", c.name, wont)
		}
	}
}

// Clocks of CPU time are told where they differ; ticks compare with nothing
// else, calibrated ones do.
func TestClocksAreTold(t *testing.T) {
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
	text := func(records []results.Record) string {
		var b bytes.Buffer
		if err := Table(&b, analysis.FirstLook(records)); err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(b.String()), " ")
	}
	if got := text(all(by("", ""))); strings.Contains(got, "clock") {
		t.Errorf("of records that name none: %s", got)
	}
	if got := text(all(by("idle", "idle"))); !strings.Contains(got, "over all CPUs of its host. By the clock idle.") ||
		strings.Contains(got, "not counted by one clock") {
		t.Errorf("of one clock: %s", got)
	}
	mixed := append(all(by("idle", "idle"))[:3], all(by("ticks", "idle"))[3:]...)
	if got := text(mixed); !strings.Contains(got, "the sender's CPU was not counted by one clock in all runs (idle, ticks)") ||
		strings.Contains(got, "the receiver's CPU was not") || !strings.Contains(got, "they do not compare") {
		t.Errorf("mixed: %s", got)
	}
	// How far they may be off is told in every format that shows CPU time.
	stated := all(by("idle", "threads"))
	for i, v := range []float64{1.2, 2.04, 1.5} {
		stated[i].TX.CPUError = &v
	}
	for i := 3; i < len(stated); i++ {
		stated[i].TX.CPUError = stated[0].TX.CPUError
	}
	for _, name := range []string{"table", "markdown", "html"} {
		var b bytes.Buffer
		if err := write(&b, analysis.FirstLook(stated), name); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got,
			"By the clock idle (± 2.0 %), by the clock threads.") {
			t.Errorf("%s: how far the clock may be off is not told", name)
		}
	}
	stated[4].TX.CPUError = nil
	if got := text(stated); !strings.Contains(got, "By the clock idle (± 2.0 %, of 1 figures not known)") {
		t.Errorf("of one nothing is known: %s", got)
	}
}
