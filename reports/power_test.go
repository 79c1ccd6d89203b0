package reports

import (
	"bytes"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/results"
)

func some(v float64) *float64 { return &v }

// powered are runs whose power is of the given scopes, receiver by receiver.
func powered(scopes ...string) []results.Record {
	var all []results.Record
	for i, s := range scopes {
		r := results.Record{
			Cell: "c", Repeat: i, Status: results.OK, Gbps: 10, Window: 1,
			RX: &results.End{Engine: "mmap", Bytes: 1.25e9, CopiedBytes: 1.25e9, CPUPercent: some(50), CPUScope: "host"},
			TX: &results.End{Engine: "msgzc", Bytes: 1.25e9, CopiedBytes: 1.25e9, CPUPercent: some(50), CPUScope: "host"},
		}
		r.RX.Power = &results.Power{Meter: "m:1", Scope: s, Watts: 200, Min: some(190), Max: some(210), Baseline: some(150),
			JoulesPerG: some(160), Samples: 10}
		r.RX.Watts = &r.RX.Power.Watts
		r.Derive()
		all = append(all, r)
	}
	return all
}

func TestPowerIsToldWithWhatItSees(t *testing.T) {
	for scope, want := range map[string]string{
		"wall":    "Power, receiver: 200.0 W (190.0 to 210.0), idle 150.0 W, 160.0 J/GB, at the wall, by m:1 (10 values)",
		"package": "of the CPU packages and not the wall",
		"gpu":     "of the GPU and not the wall",
		"other":   "of what the meter is on",
		"\x1b[2J": "of what the meter is on",
	} {
		var b bytes.Buffer
		if err := Run(&b, powered(scope)[0]); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, want) || strings.Contains(text, "\x1b") {
			t.Errorf("%s: no %q in\n%s", scope, want, &b)
		}
	}
	for want, scopes := range map[string][]string{
		"W: power of whole hosts, at the wall.":                     {"wall", "wall"},
		"W: power of CPU packages, which is not the wall; of whole": {"package", "wall"},
	} {
		var b bytes.Buffer
		if err := Table(&b, analysis.FirstLook(powered(scopes...))); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

// TestPowerCountedOnce: a meter that was left out of a sum is no part of it.
func TestPowerCountedOnce(t *testing.T) {
	r := powered("wall")[0]
	r.RX.Power.Meter, r.RX.Power.Bound = "a:1 + a:2", 6
	for _, m := range []struct{ name, scope string }{{"a:1", "wall"}, {"a:2", "wall"}, {"b:1", "wall"}, {"c:1", "package"}} {
		r.RX.Meters = append(r.RX.Meters, results.Power{Meter: m.name, Scope: m.scope, Watts: 100, Bound: 0.5})
	}
	var b bytes.Buffer
	if err := Run(&b, r); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"Power, receiver: 200.0 W ± 6.000 (190.0", "of it: 100.0 W, at the wall, by a:1",
		"of it: 100.0 W, at the wall, by a:2", "counted once, also: 100.0 W, at the wall, by b:1", "of it: 100.0 W, of the CPU packages"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
