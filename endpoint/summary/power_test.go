package summary

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/power"
	"zcbench/results"
	"zcbench/results/caveat"
)

// TestPowerOfSeveralMeters: two power supplies add up; what they contain does
// not count twice.
func TestPowerOfSeveralMeters(t *testing.T) {
	now := time.Now()
	w := power.Window{From: now, To: now.Add(10 * time.Second)}
	of := func(scope power.Scope, watts float64) *Meter {
		tr := power.Trace{Info: power.Info{Name: fmt.Sprint(watts), Scope: scope, Pushed: true, Of: []string{fmt.Sprintf("serial:%g", watts)}}}
		for i := -1; i < 12; i++ {
			tr.Readings = append(tr.Readings, power.Reading{At: now.Add(time.Duration(i) * time.Second), Watts: &watts})
		}
		return &Meter{End: endpoint.RX, Trace: tr}
	}
	all := []*Meter{of(power.GPU, 100), of(power.Wall, 200), of(power.Package, 50), of(power.Wall, 250)}
	rec := results.Record{RX: &results.End{Bytes: 5e9}, TX: &results.End{}, Gbps: 4,
		Samples: []results.Sample{{End: "rx", Start: 0, Seconds: 10}}}
	Power(&rec, all, map[endpoint.Role]power.Window{endpoint.RX: w}, &w)
	rec.Derive()
	p := rec.RX.Power
	if p == nil || p.Watts != 450 || p.Joules != 4500 || *p.JoulesPerG != 900 || *p.Baseline != 450 || p.Meter != "200 + 250" ||
		p.Scope != "wall" {
		t.Fatalf("%+v", p)
	}
	if len(rec.Warnings) > 0 && !strings.Contains(strings.Join(rec.Warnings, ""), "does not see the load") {
		t.Errorf("warnings: %q", rec.Warnings)
	}
	if len(rec.RX.Meters) != 4 || *rec.RX.Watts != 450 || *rec.ROI.Power.RX != 16.0/450 || *rec.Samples[0].Watts != 450 {
		t.Errorf("%+v", rec)
	}
	// One supply unread: no sum, and no smaller meter in its place.
	all[1].Trace.Readings = nil
	rec = results.Record{RX: &results.End{Bytes: 5e9}}
	Power(&rec, all, map[endpoint.Role]power.Window{endpoint.RX: w}, nil)
	if rec.RX.Power != nil || rec.RX.Watts != nil || len(rec.RX.Meters) != 3 || len(rec.Warnings) == 0 {
		t.Errorf("%+v %q", rec.RX, rec.Warnings)
	}
}

// TestPowerCountsOnce: meters of one end that see the same, or one of which sees
// what the other does, are no sum of both.
func TestPowerCountsOnce(t *testing.T) {
	now := time.Now()
	w := power.Window{From: now, To: now.Add(10 * time.Second)}
	of := func(end endpoint.Role, watts float64, whole bool, names ...string) *Meter {
		tr := power.Trace{Info: power.Info{Name: fmt.Sprint(watts), Scope: power.Wall, Pushed: true, Of: names, Whole: whole}}
		for i := -1; i < 12; i++ {
			tr.Readings = append(tr.Readings, power.Reading{At: now.Add(time.Duration(i) * time.Second), Watts: &watts})
		}
		return &Meter{End: end, Trace: tr}
	}
	for _, c := range []struct {
		name   string
		meters []*Meter
		watts  float64
		code   caveat.Code
	}{
		{"one", []*Meter{of(endpoint.RX, 200, true, "uuid:a")}, 200, ""},
		{"two supplies", []*Meter{of(endpoint.RX, 200, false, "serial:a/outlet-1"), of(endpoint.RX, 210, false, "serial:a/outlet-2")}, 410, ""},
		{"two PDUs", []*Meter{of(endpoint.RX, 200, false, "serial:a/outlet-1", "addr:x/?1"), of(endpoint.RX, 210, false, "serial:b/outlet-1",
			"addr:x/?2")}, 410, ""},
		{"two addresses", []*Meter{of(endpoint.RX, 200, false, "addr:a"), of(endpoint.RX, 210, false, "addr:b")}, 410, ""},
		{"the same twice", []*Meter{of(endpoint.RX, 200, false, "addr:a"), of(endpoint.RX, 201, false, "addr:a")}, 200, caveat.PowerTwice},
		{"two names of one", []*Meter{of(endpoint.RX, 200, true, "uuid:a", "addr:x"), of(endpoint.RX, 201, true, "uuid:a", "addr:y/chassis-1")},
			200, caveat.PowerTwice},
		{"a part first", []*Meter{of(endpoint.RX, 50, false, "host:a/rapl/package-*/core"), of(endpoint.RX, 200, false, "host:a/rapl")}, 200,
			caveat.PowerTwice},
		{"a part last", []*Meter{of(endpoint.RX, 200, false, "serial:a"), of(endpoint.RX, 50, false, "serial:a/outlet-1"),
			of(endpoint.RX, 60, false, "serial:a/outlet-2")}, 200, caveat.PowerTwice},
		{"parts, then all", []*Meter{of(endpoint.RX, 50, false, "serial:a/outlet-1"), of(endpoint.RX, 60, false, "serial:a/outlet-2"),
			of(endpoint.RX, 200, false, "serial:a")}, 200, caveat.PowerTwice},
		{"a controller and a PDU", []*Meter{of(endpoint.RX, 200, true, "uuid:a"), of(endpoint.RX, 110, false, "serial:a/outlet-1"),
			of(endpoint.RX, 110, false, "serial:a/outlet-2")}, 200, caveat.PowerTwice},
		{"a PDU and a controller", []*Meter{of(endpoint.RX, 110, false, "serial:a/outlet-1"), of(endpoint.RX, 110, false, "serial:a/outlet-2"),
			of(endpoint.RX, 200, true, "uuid:a")}, 220, caveat.PowerTwice},
		{"nobody knows", []*Meter{of(endpoint.RX, 200, false), of(endpoint.RX, 210, false)}, 410, caveat.PowerSum},
		{"two sensors of one chip", []*Meter{of(endpoint.RX, 200, false, "host:a/device-x/?1"),
			of(endpoint.RX, 210, false, "host:a/device-x/?2")}, 410, caveat.PowerSum},
	} {
		rec := results.Record{RX: &results.End{Bytes: 5e9}}
		Power(&rec, c.meters, map[endpoint.Role]power.Window{endpoint.RX: w}, nil)
		rec.Derive()
		if rec.RX.Watts == nil || math.Abs(*rec.RX.Watts-c.watts) > 1e-6 {
			t.Errorf("%s: %v, want %v W", c.name, rec.RX.Power, c.watts)
		}
		if len(c.meters) > 1 && len(rec.RX.Meters) != len(c.meters) {
			t.Errorf("%s: of %d meters %d are told", c.name, len(c.meters), len(rec.RX.Meters))
		}
		for _, text := range rec.Warnings {
			if caveat.CodeOf(text) != c.code {
				t.Errorf("%s: %s", c.name, text)
			}
		}
		if (len(rec.Warnings) > 0) != (c.code != "") {
			t.Errorf("%s: warnings %q", c.name, rec.Warnings)
		}
	}
	// One meter for both ends: the host that they share.
	for _, c := range []struct {
		rx, tx *Meter
		watts  float64 // 0: there is no total
		code   caveat.Code
	}{
		{of(endpoint.RX, 200, true, "uuid:a"), of(endpoint.TX, 300, true, "uuid:b"), 500, ""},
		{of(endpoint.RX, 200, true, "uuid:a", "addr:x"), of(endpoint.TX, 200, true, "uuid:a"), 200, caveat.PowerTwice},
		{of(endpoint.RX, 50, false, "host:a/rapl/package-0"), of(endpoint.TX, 200, false, "host:a/rapl"), 200, caveat.PowerTwice},
		{of(endpoint.RX, 50, false, "host:a/rapl"), of(endpoint.TX, 60, false, "host:b/rapl"), 110, ""},
		{of(endpoint.RX, 50, false), of(endpoint.TX, 60, false), 110, ""},
	} {
		rec := results.Record{RX: &results.End{Bytes: 5e9}, TX: &results.End{Bytes: 5e9}, Bytes: 5e9}
		all := []*Meter{c.rx, c.tx}
		Power(&rec, all, map[endpoint.Role]power.Window{endpoint.RX: w, endpoint.TX: w}, nil)
		SeenByBoth(&rec, all)
		rec.Derive()
		if rec.Total.Watts == nil || math.Abs(*rec.Total.Watts-c.watts) > 1e-6 {
			t.Errorf("%v and %v: %+v, want %v W", c.rx.Trace.Info.Of, c.tx.Trace.Info.Of, rec.Total.Power, c.watts)
		}
		if (len(rec.Warnings) > 0) != (c.code != "") || c.code != "" && caveat.CodeOf(rec.Warnings[0]) != c.code {
			t.Errorf("%v and %v: warnings %q", c.rx.Trace.Info.Of, c.tx.Trace.Info.Of, rec.Warnings)
		}
	}
	rec := results.Record{RX: &results.End{Bytes: 5e9}, TX: &results.End{Bytes: 5e9}}
	mixed := []*Meter{of(endpoint.RX, 200, true, "uuid:a"), of(endpoint.TX, 60, false, "host:b/rapl")}
	mixed[1].Trace.Info.Scope = power.Package
	Power(&rec, mixed, map[endpoint.Role]power.Window{endpoint.RX: w, endpoint.TX: w}, nil)
	SeenByBoth(&rec, mixed)
	rec.Derive()
	if rec.Total.Watts != nil || rec.ROI.Power.Total != nil || len(rec.Warnings) != 1 || caveat.CodeOf(rec.Warnings[0]) != caveat.PowerSum {
		t.Errorf("the wall and a package: %v W, %q", rec.Total.Watts, rec.Warnings)
	}
}

// TestEdgesOf: a window that opened late has its intervals where it was.
func TestEdgesOf(t *testing.T) {
	from := time.Unix(1000, 0)
	samples := []results.Sample{{End: "tx", Start: 7, Seconds: 1}, {End: "rx", Start: 0.25, Seconds: 0.75}, {End: "rx", Start: 1, Seconds: 1}}
	want := []time.Time{from, from.Add(750 * time.Millisecond), from.Add(1750 * time.Millisecond)}
	if got := edgesOf(samples, endpoint.RX, from); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
