package reports

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/results"
)

// Text that drives terminals, turns the direction of reading, ends lines, and is a
// formula to a spreadsheet.
const (
	hostile = "=cmd|' /C calc'!A1\x1b]0;x\a\x1b[2J\rb\u202ec\u2066d\u200be\u009b1mf\x7fg\nh\U000e0041\u2028i"
	formula = "@SUM(1+1)*cmd"
)

// hostileRecord has such text wherever a record has text.
func hostileRecord(t *testing.T, id string) results.Record {
	t.Helper()
	r := analysistest.OK("a", 10, 50, 50)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	if b, err = json.Marshal(poison(tree)); err != nil {
		t.Fatal(err)
	}
	var out results.Record
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	out.Schema, out.Status, out.Started = r.Schema, r.Status, r.Started
	out.ID, out.Cell, out.Experiment, out.Pair, out.Command, out.Reason = hostile+id, hostile, hostile, hostile, hostile, hostile
	out.Axes = map[string]string{hostile: hostile, formula: formula}
	out.Settings = map[string]any{hostile: hostile, formula: []any{formula}}
	out.Tuned = map[string][]string{hostile: {hostile}, "rx": {formula}}
	out.Warnings, out.Notes = []string{hostile, formula}, []string{hostile}
	facts := results.Facts{hostile: hostile, "machine": map[string]any{"hostname": hostile, formula: formula},
		"nic": map[string]any{"driver": hostile}, "cpu": map[string]any{"model": hostile}}
	out.Facts = results.Pair[results.Facts]{RX: facts, TX: facts}
	w := 5.0
	for _, e := range []*results.End{out.RX, out.TX} {
		e.Engine, e.CPUScope, e.CPUMethod, e.Congestion = hostile, hostile, hostile, hostile
		e.Options, e.Syscalls, e.Counters = map[string]int{hostile: 1}, map[string]uint64{hostile: 1},
			map[string]float64{hostile: 1, formula: 2}
		e.Watts, e.Power = &w, &results.Power{Meter: hostile, Scope: hostile, Source: hostile, Watts: 5}
		e.SyscallCosts = []results.SyscallCost{{Name: hostile, Calls: 1}}
		e.Profile = &results.Profile{Event: hostile, Samples: 1, Symbols: []results.Symbol{{Name: hostile, Module: hostile, Percent: 1}},
			Stacks: []string{hostile + " 1"}}
		e.CPUs = []results.CPUTime{{States: map[string]float64{hostile: 1}, Idle: map[string]float64{hostile: 1}}}
		e.Verify = &results.Crossing{Interface: hostile}
	}
	for i := range out.Samples {
		out.Samples[i].Series = map[string]float64{hostile: 1}
	}
	return out
}

func poison(v any) any {
	switch v := v.(type) {
	case string:
		return hostile
	case map[string]any:
		for k := range v {
			v[k] = poison(v[k])
		}
	case []any:
		for i := range v {
			v[i] = poison(v[i])
		}
	}
	return v
}

// unseen is the first character that cannot be seen, but for ends of lines and the
// tabs of formats that have them.
func unseen(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != utf8.RuneError {
			return strconv.QuoteToASCII(string(r))
		}
	}
	return ""
}

// TestHostileRecord: what a peer wrote into a record reaches no terminal, page or
// spreadsheet as anything but text.
func TestHostileRecord(t *testing.T) {
	records := []results.Record{hostileRecord(t, "1"), hostileRecord(t, "2")}
	set := analysis.Of(records)
	set.Problems, set.Plan = nil, nil
	for _, o := range []analysis.Options{{}, {Metrics: []string{"gbps", "rx.counters"}, References: analysis.References()},
		{GroupBy: []string{"machine.hostname", formula}}} {
		r, err := set.Report(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range formats() {
			var b bytes.Buffer
			if err := write(&b, r, format); err != nil {
				t.Errorf("%s: %v", format, err)
			}
			if c := unseen(b.String()); c != "" {
				t.Errorf("%s holds %s", format, c)
			}
			if format == "csv" || format == "runs" {
				noFormula(t, format, &b)
			}
		}
	}
	r, err := set.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Explain(&b, r, records[0].ID); err != nil {
		t.Error(err)
	}
	if err := Run(&b, records[0]); err != nil {
		t.Error(err)
	}
	failed := records[0]
	failed.Status = results.Failed
	if err := Run(&b, failed); err != nil {
		t.Error(err)
	}
	if err := Crossing(&b, *records[0].RX.Verify); err != nil {
		t.Error(err)
	}
	if c := unseen(b.String()); c != "" {
		t.Errorf("text holds %s", c)
	}
	c, err := analysis.Compare(analysis.Of(records), analysis.Of(records),
		analysis.CompareOptions{Metrics: []string{"gbps", "rx.counters"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range CompareFormats() {
		var b bytes.Buffer
		if err := WriteComparison(&b, c, format); err != nil {
			t.Errorf("compare as %s: %v", format, err)
		}
		if c := unseen(b.String()); c != "" {
			t.Errorf("compare as %s holds %s", format, c)
		}
		if format == "csv" {
			noFormula(t, "compare", &b)
		}
	}
}

func noFormula(t *testing.T, what string, r io.Reader) {
	t.Helper()
	lines, err := csv.NewReader(r).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		for _, cell := range line {
			if _, err := strconv.ParseFloat(cell, 64); cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") && err != nil {
				t.Errorf("%s: a cell is %q", what, cell)
			}
		}
	}
}

func TestNumbersStay(t *testing.T) {
	for in, want := range map[string]string{"-1.5e-7": "-1.5e-7", "+3": "+3", "-": "'-", "=1": "'=1", "@x": "'@x", "-x": "'-x",
		"a=b": "a=b", "": ""} {
		if got := inert(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestRedacted: no format of a redacted report tells whose records they are.
func TestRedacted(t *testing.T) {
	r := analysistest.OK("a", 10, 50, 50)
	r.Started = "2026-01-02T03:04:05Z"
	r.Pair, r.Command, r.Reason = "db7-web1", "/home/alice/zcbench tx db7.prod.example.org -t 5 --token-file /home/alice/tok", ""
	r.Warnings = []string{"rx: connect to 10.20.30.40: /home/alice/x is not there", "web1 is slow"}
	r.Settings = map[string]any{"bind": "10.20.30.40", "mtu": "4148"}
	r.Facts.RX = results.Facts{"machine": map[string]any{"hostname": "db7.prod.example.org", "model": "Gen11"},
		"kernel": map[string]any{"cmdline": "ip=10.20.30.40", "release": "6.18.1"}}
	r.Facts.TX = results.Facts{"machine": map[string]any{"hostname": "web1"},
		"links": map[string]any{"enx02005eaa0001": "up", "web1-eth": 1.0}}
	// As what it has is called too, and in every figure that a format shows.
	r.Experiment, r.RX.Engine = "on db7", "mmap v10.20.30.40"
	r.Axes = map[string]string{"at 10.20.30.41": "[2001:db8::7]", "web1": "0200.5eaa.0001"}
	r.RX.Counters = map[string]float64{"rx_10.20.30.42": 1, "db7_csum": 2}
	r.Warnings = append(r.Warnings, `rx: open /home/alice/my secretfile: no such file`, "rx: x2001:db8::7 and 02-00-5e-aa-00-01 [odd]")
	r.Tuned = map[string][]string{"rx": {"flow.tcp4-dst-10.20.30.43: (none) → queue 1"}}
	dir := t.TempDir() + "/secretdir"
	var paths []string
	for i, id := range []string{"1", "2"} {
		r.ID, r.Repeat = id, i
		path := dir + id + ".jsonl"
		if err := results.Append(path, r); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	set, err := analysis.LoadRedacted(append(paths, paths[0])...)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := set.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range formats() {
		var b bytes.Buffer
		if err := write(&b, rep, format); err != nil {
			t.Fatal(err)
		}
		for _, gone := range []string{"db7", "web1", "alice", "prod.example", "10.20", "secretdir", "secretfile", "2001:", "5eaa",
			"5e-aa"} {
			if strings.Contains(b.String(), gone) {
				t.Errorf("%s has %q: %s", format, gone, b.String())
			}
		}
		if format == "table" && !strings.Contains(b.String(), "Sender: host-") {
			t.Errorf("%s names no stand-in: %s", format, b.String())
		}
	}
	// The redacted records are records, and say the same.
	var b bytes.Buffer
	if err := write(&b, rep, "records"); err != nil {
		t.Fatal(err)
	}
	n := 0
	for back, err := range results.Read(&b) {
		if err != nil || back.Gbps != r.Gbps || back.Facts.RX["machine"].(map[string]any)["model"] != "Gen11" ||
			back.Settings["mtu"] != "4148" {
			t.Errorf("%+v, %v", back, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
}
