package analysis

import (
	"fmt"
	"strings"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
	"zcbench/results/caveat"
)

func TestWarnings(t *testing.T) {
	series := func(gbps ...float64) []results.Record {
		var list []results.Record
		for _, g := range gbps {
			list = append(list, analysistest.OK("a", g, 100, 50))
		}
		return list
	}
	six := []float64{10, 10.1, 10.2, 9.9, 9.8, 10}
	mixedScope := series(six...)
	mixedScope[3].RX.CPUScope = "host"
	partly := series(six...)
	partly[1].RX.CPUPercent, partly[2].RX.CPUPercent = nil, nil
	partly[1].Derive()
	partly[2].Derive()
	changed := series(six...)
	changed[2].ROI.CPU.RX = p(99)
	mixedPower := series(six...)
	for i := range mixedPower {
		mixedPower[i].RX.Watts, mixedPower[i].RX.Power = p(100), &results.Power{Scope: []string{"wall", "package"}[i/5]}
		mixedPower[i].Derive()
	}
	drifted := series(six...)
	drifted[0].Facts.RX = results.Facts{"cpu": map[string]any{"turbo": "on"}, "process": map[string]any{"command": "x"}}
	drifted[1].Facts.RX = results.Facts{"cpu": map[string]any{"turbo": "off"}, "process": map[string]any{"command": "y"}}
	pooled := series(six...)
	pooled[0].Settings, pooled[1].Settings = map[string]any{"length": 1}, map[string]any{"length": 2}
	for _, c := range []struct {
		name    string
		records []results.Record
		options Options
		want    []string
	}{
		{"six are enough", series(six...), Options{}, nil},
		{"five", series(six[:5]...), Options{}, []string{"fewer than 6 runs"}},
		{"one", series(7), Options{}, []string{"only one run"}},
		{"bimodal", series(10, 10.1, 10.2, 15, 15.1, 15.2), Options{}, []string{"bimodal, near 10.10 and near 15.10 Gbit/s"}},
		{"scopes", mixedScope, Options{}, []string{"the receiver's CPU was not counted in one way in all runs (host, thread)"}},
		{"power of two things", mixedPower, Options{},
			[]string{"the receiver's power was not measured of one thing in all runs (package, wall)"}},
		{"measured in some", partly, Options{}, []string{"not all was measured in each of 6 runs: rx.cpu_percent in 4"}},
		{"changed by hand", changed, Options{}, []string{"the ROI of 1 run cannot follow"}},
		{"host changed", drifted, Options{}, []string{"the receiver's host changed between runs: cpu.turbo on, then off"}},
		{"pooled", pooled, Options{GroupBy: []string{"tx"}}, []string{"pools runs of different settings: length 1 / 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Of(c.records).Report(c.options)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Notes) != len(c.want) {
				t.Fatalf("notes %+v", r.Notes)
			}
			for i, want := range c.want {
				if !strings.Contains(r.Notes[i].Text, want) {
					t.Errorf("%q, want %q", r.Notes[i].Text, want)
				}
			}
		})
	}
}

// What was not measured in one way, or not under one condition, is told.
func TestMixedIsTold(t *testing.T) {
	power := func(meter, scope string) *results.Power {
		return &results.Power{Meter: meter, Scope: scope, Watts: 100}
	}
	metered := func(list []results.Record) []results.Record {
		for i := range list {
			r := &list[i]
			if r.TX.Power == nil {
				r.TX.Power = power("rapl:", "package")
			}
			if r.Total.Power == nil {
				r.Total.Power = power("shelly:x", "wall")
			}
			r.TX.Watts = &r.TX.Power.Watts
			r.Derive()
		}
		return list
	}
	all := func(f func(*results.Record)) []results.Record {
		list := analysistest.SixOf("c", nil)
		for i := range list {
			f(&list[i])
		}
		return list
	}
	for _, c := range []struct {
		name    string
		records []results.Record
		options Options
		want    string // in the notes; empty: of the like nothing
		not     string
	}{
		{"nothing", analysistest.SixOf("c", nil), Options{}, "", "congestion|meter|pools|power"},
		{"meters all along", metered(analysistest.SixOf("c", nil)), Options{}, "", "meter|power"},
		{"congestion within a cell", analysistest.SixOf("c", func(r *results.Record) { r.TX.Congestion = "bbr" }), Options{},
			"the congestion control was not one in all runs (cubic; sender bbr, receiver cubic): they are no repeats of each other", ""},
		{"congestion between cells", append(analysistest.SixOf("c", nil), analysistest.SixOf("d", func(r *results.Record) {
			r.TX.Congestion, r.RX.Congestion = "bbr", "bbr"
		})[3:]...), Options{}, "congestion control cubic, and others here have bbr: beside them it is compared too", "all runs"},
		{"congestion that was asked for", all(func(r *results.Record) {
			r.Settings["congestion"] = []string{"bbr", "cubic"}[r.Repeat%2]
			r.Cell, r.TX.Congestion, r.RX.Congestion = "c"+r.Settings["congestion"].(string), r.Settings["congestion"].(string),
				r.Settings["congestion"].(string)
		}), Options{}, "", "others here|not one in all"},
		{"another meter", metered(analysistest.SixOf("c", func(r *results.Record) { r.TX.Power = power("rapl:core", "package") })),
			Options{}, "the sender's power was not measured by one meter in all runs (rapl:, rapl:core)", ""},
		{"another thing", metered(analysistest.SixOf("c", func(r *results.Record) { r.Total.Power = power("rapl:", "package") })),
			Options{}, "the power of both ends was not measured of one thing in all runs (package, wall)", ""},
		{"settings in a group", analysistest.SixOf("c", func(r *results.Record) { r.Cell, r.Settings["length"] = "d", 8192 }),
			Options{GroupBy: []string{"rx"}}, "pools runs of different settings: length 4096 / 8192", ""},
		{"settings of runs without an id", func() []results.Record {
			list := analysistest.SixOf("", func(r *results.Record) { r.Settings["length"] = 8192 })
			return list
		}(), Options{}, "pools runs of different settings: length 4096 / 8192", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Of(c.records).Report(c.options)
			if err != nil {
				t.Fatal(err)
			}
			var notes []string
			for _, n := range r.Notes {
				notes = append(notes, n.Text)
			}
			text := strings.Join(notes, "\n")
			if !strings.Contains(text, c.want) {
				t.Errorf("no %q in\n%s", c.want, text)
			}
			for _, not := range strings.Split(c.not, "|") {
				if not != "" && strings.Contains(text, not) {
					t.Errorf("%q in\n%s", not, text)
				}
			}
		})
	}
}

// Notes with the same words and shares are one, but for their codes.
func TestCodesStayApart(t *testing.T) {
	list := analysistest.SixOf("c", nil)
	for i := range list {
		list[i].Warnings = []string{caveat.Warn([]caveat.Code{caveat.WindowShort, caveat.FlowStalled}[i%2], "rx: %d %% is missing", i)}
	}
	r := FirstLook(list)
	var got []string
	for _, n := range r.Notes {
		got = append(got, n.Text)
	}
	if len(got) != 2 || got[0] != "rx: 0–4 % is missing [window-short]" || got[1] != "rx: 1–5 % is missing [flow-stalled]" {
		t.Errorf("%q", got)
	}
}

// Warnings of one code that differ in size and culprit are one footnote; those
// that say different things are not.
func TestNotesOfOneKind(t *testing.T) {
	var records []results.Record
	for i, w := range []string{
		"rx: at least 7.5% of a CPU went to programs that are not of the run, on CPU 1; most to go (pid 12, 7.0%)",
		"rx: at least 31.0% of a CPU went to programs that are not of the run, on CPU 1; most to cc1 (pid 345, 22.0%)",
		"rx: at least 9.0% of a CPU went to programs that are not of the run, on CPU 1; most to go (pid 99, 9.0%)",
		"tx: at least 8.0% of a CPU went to programs that are not of the run, on CPU 0; most to sh (pid 7, 8.0%)",
	} {
		records = append(records, results.Record{ID: fmt.Sprint(i), Cell: fmt.Sprint("c", i/2), Status: results.OK, Gbps: 1,
			Axes:     map[string]string{"x": fmt.Sprint(i / 2)},
			Warnings: []string{w + " [cpu-foreign]", fmt.Sprintf("rx: --window %d was asked for [setting-not-taken]", i)}})
	}
	text := ""
	for _, n := range FirstLook(records).Notes {
		text += n.Text + "\n"
	}
	for _, want := range []string{
		"rx: at least 31.0% of a CPU went to programs that are not of the run, on CPU 1; most to cc1 (pid 345, 22.0%); the worst of 3 such " +
			"[cpu-foreign]",
		"tx: at least 8.0% of a CPU", "--window 0 was", "--window 3 was",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "[cpu-foreign]"); n != 2 {
		t.Errorf("%d footnotes of cpu-foreign:\n%s", n, text)
	}
}
