package reports

import (
	"bytes"
	"strings"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
	"zcbench/results/caveat"
)

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
		{"congestion within a cell", analysistest.SixOf("c", func(r *results.Record) { r.TX.Congestion = "bbr" }), Options{}, "the congestion control was not one in all runs (cubic; sender bbr, receiver cubic): they are no repeats of each other", ""},
		{"congestion between cells", append(analysistest.SixOf("c", nil), analysistest.SixOf("d", func(r *results.Record) {
			r.TX.Congestion, r.RX.Congestion = "bbr", "bbr"
		})[3:]...), Options{}, "congestion control cubic, and others here have bbr: beside them it is compared too", "all runs"},
		{"congestion that was asked for", all(func(r *results.Record) {
			r.Settings["congestion"] = []string{"bbr", "cubic"}[r.Repeat%2]
			r.Cell, r.TX.Congestion, r.RX.Congestion = "c"+r.Settings["congestion"].(string), r.Settings["congestion"].(string), r.Settings["congestion"].(string)
		}), Options{}, "", "others here|not one in all"},
		{"another meter", metered(analysistest.SixOf("c", func(r *results.Record) { r.TX.Power = power("rapl:core", "package") })), Options{}, "the sender's power was not measured by one meter in all runs (rapl:, rapl:core)", ""},
		{"another thing", metered(analysistest.SixOf("c", func(r *results.Record) { r.Total.Power = power("rapl:", "package") })), Options{}, "the power of both ends was not measured of one thing in all runs (package, wall)", ""},
		{"settings in a group", analysistest.SixOf("c", func(r *results.Record) { r.Cell, r.Settings["length"] = "d", 8192 }), Options{GroupBy: []string{"rx"}}, "pools runs of different settings: length 4096 / 8192", ""},
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
			for _, n := range r.notes {
				notes = append(notes, n.text)
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
	for _, n := range r.notes {
		got = append(got, n.text)
	}
	if len(got) != 2 || got[0] != "rx: 0–4 % is missing [window-short]" || got[1] != "rx: 1–5 % is missing [flow-stalled]" {
		t.Errorf("%q", got)
	}
}

// Every run means every run, and an engine's column all engines.
func TestGroupsSayWhatAllRunsHave(t *testing.T) {
	list := analysistest.SixOf("c", func(r *results.Record) {
		r.Cell, r.Settings["length"] = "d", 8192
		r.RX.Engine = "zcrx"
		r.Facts.RX = results.Facts{"machine": map[string]any{"hostname": "b"}, "nic": map[string]any{"mtu": 9000}}
	})
	r, err := Of(list).Report(Options{GroupBy: []string{"tx"}})
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
	if got := r.cells[0].rx; got != r.set.runs[0].RX.Engine+" / zcrx" {
		t.Errorf("engines %q", got)
	}
}

// Two pairs of hosts that run the same cell are two cells.
func TestPairsAreCellsOfTheirOwn(t *testing.T) {
	list := analysistest.SixOf("c", func(r *results.Record) { r.Pair = "y" })
	for i := range 3 {
		list[i].Pair = "x"
	}
	r := FirstLook(list)
	if len(r.cells) != 2 || len(r.cells[0].runs) != 3 || r.cells[0].differs != "pair x" || r.cells[1].differs != "pair y" {
		t.Errorf("%d cells, the first %q", len(r.cells), r.cells[0].label())
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
		{"congestion", each(nothing), each(func(r *results.Record) { r.TX.Congestion, r.RX.Congestion = "bbr", "bbr" }), "has another congestion control: cubic → bbr", "", "not measured"},
		{"meters", each(power("wall")), each(power("package")), "the sender's power is of another meter: rapl:wall → rapl:package", "", "power of another thing"},
		{"a host that changed later", each(nothing), analysistest.SixOf("c", func(r *results.Record) {
			r.Facts.RX = results.Facts{"machine": map[string]any{"hostname": "b"}, "nic": map[string]any{"mtu": 9000}}
		}), "nic.mtu 1500 → 1500 / 9000", "", "not measured"},
		{"pairs", each(func(r *results.Record) { r.Pair = "x" }), each(func(r *results.Record) { r.Pair = "y" }), "pair x → y", "", "not measured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Compare(Of(c.before), Of(c.after), CompareOptions{Metrics: []string{"gbps", "total.watts"}})
			if err != nil && c.wont == "not measured" {
				got, err = Compare(Of(c.before), Of(c.after), CompareOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(got.remarks(), "\n")
			if !strings.Contains(text, c.want) {
				t.Errorf("no %q in\n%s", c.want, text)
			}
			for _, not := range strings.Split(c.not, "|") {
				if not != "" && strings.Contains(text, not) {
					t.Errorf("%q in\n%s", not, text)
				}
			}
			for _, m := range got.metrics {
				if m.name == "total.watts" && m.changes[0].wont != c.wont {
					t.Errorf("total watts: %q", m.changes[0].wont)
				}
			}
		})
	}
}

// Times of one page are in one zone, whatever that of the records is.
func TestOneTimeZone(t *testing.T) {
	list := analysistest.SixOf("c", nil)[:2]
	list[0].Started, list[1].Started = "2026-11-21T23:30:00+01:00", "2026-11-21T22:45:00Z"
	r := FirstLook(list)
	if from, to := span(r.runs); from != "2026-11-21 23:30 +01:00" || to != "23:45" {
		t.Errorf("from %q to %q", from, to)
	}
	rows, _ := runLog(r)
	if rows[0].Started != "2026-11-21 23:30:00 +01:00" || rows[1].Started != "2026-11-21 23:45:00 +01:00" {
		t.Errorf("%q and %q", rows[0].Started, rows[1].Started)
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
			if err := write(&b, FirstLook(c.records), format); err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(b.String(), "≥25.0"); told != c.bound || !c.bound && strings.Contains(b.String(), "≥") {
				t.Errorf("%s, %s: told %v", c.name, format, told)
			}
		}
		got, err := Compare(Of(c.records), Of(c.records), CompareOptions{Metrics: []string{"rx.zero_copied_percent"}})
		if err != nil {
			t.Fatal(err)
		}
		if wont := got.metrics[0].changes[0].wont; (wont == "copies not known") != c.bound {
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
		if err := Table(&b, FirstLook(records)); err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(b.String()), " ")
	}
	if got := text(all(by("", ""))); strings.Contains(got, "clock") {
		t.Errorf("of records that name none: %s", got)
	}
	if got := text(all(by("idle", "idle"))); !strings.Contains(got, "over all CPUs of its host. By the clock idle.") || strings.Contains(got, "not counted by one clock") {
		t.Errorf("of one clock: %s", got)
	}
	mixed := append(all(by("idle", "idle"))[:3], all(by("ticks", "idle"))[3:]...)
	if got := text(mixed); !strings.Contains(got, "the sender's CPU was not counted by one clock in all runs (idle, ticks)") || strings.Contains(got, "the receiver's CPU was not") || !strings.Contains(got, "they do not compare") {
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
		if err := write(&b, FirstLook(stated), name); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, "By the clock idle (± 2.0 %), by the clock threads.") {
			t.Errorf("%s: how far the clock may be off is not told", name)
		}
	}
	stated[4].TX.CPUError = nil
	if got := text(stated); !strings.Contains(got, "By the clock idle (± 2.0 %, of 1 figures not known)") {
		t.Errorf("of one nothing is known: %s", got)
	}
	if list := bests(FirstLook(mixed)); len(list) != 1 {
		t.Errorf("a winner in ROI of clocks that do not compare: %+v", list)
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
		remarks := strings.Join(got.remarks(), "; ")
		if got.metrics[0].changes[0].wont != c.wont || got.metrics[1].changes[0].wont != c.wont || strings.Contains(remarks, "clock") != (c.remark != "") || !strings.Contains(remarks, c.remark) {
			t.Errorf("%q and %q, remarks %s; want %q and %q", got.metrics[0].changes[0].wont, got.metrics[1].changes[0].wont, remarks, c.wont, c.remark)
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
