package results

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"zcbench/results/caveat"
)

func p(v float64) *float64 { return &v }

func TestDerive(t *testing.T) {
	for _, c := range []struct {
		name         string
		rx, tx       *End
		bytes        uint64
		roi          Return
		total, watts *float64
	}{
		{"both", &End{Bytes: 7, CPUPercent: p(100), Watts: p(50)}, &End{Bytes: 9, CPUPercent: p(60), Watts: p(150)},
			7, Return{p(1), p(100. / 60), p(100. / 160)}, p(160), p(200)},
		{"sender not ours", &End{Bytes: 7, CPUPercent: p(100)}, nil, 7, Return{p(1), nil, nil}, nil, nil},
		{"receiver not ours", nil, &End{Bytes: 9, CPUPercent: p(50)}, 9, Return{nil, p(2), nil}, nil, nil},
		{"one not measured", &End{Bytes: 7}, &End{Bytes: 9, CPUPercent: p(50)}, 7, Return{nil, p(2), nil}, nil, nil},
		{"clock too coarse", &End{Bytes: 7, CPUPercent: p(0)}, &End{Bytes: 9, CPUPercent: p(0)}, 7, Return{}, p(0), nil},
		{"neither", nil, nil, 0, Return{}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Record{Gbps: 10, RX: c.rx, TX: c.tx}
			r.Derive()
			if r.Bytes != c.bytes {
				t.Errorf("bytes %d, want %d", r.Bytes, c.bytes)
			}
			same(t, "roi.cpu.rx", r.ROI.CPU.RX, c.roi.RX)
			same(t, "roi.cpu.tx", r.ROI.CPU.TX, c.roi.TX)
			same(t, "roi.cpu.total", r.ROI.CPU.Total, c.roi.Total)
			same(t, "total.cpu_percent", r.Total.CPUPercent, c.total)
			same(t, "total.watts", r.Total.Watts, c.watts)
			if c.watts != nil {
				same(t, "roi.power.total", r.ROI.Power.Total, p(100. / *c.watts))
			}
		})
	}
}

// Over windows of two times only the receiver's own figures belong together.
func TestDeriveDisjoint(t *testing.T) {
	p := func(v float64) *float64 { return &v }
	r := Record{Gbps: 10, RX: &End{Bytes: 7, CPUPercent: p(100), Watts: p(50)}, TX: &End{Bytes: 9, CPUPercent: p(60), Watts: p(50)},
		Warnings: []string{caveat.Warn(caveat.WindowsDisjoint, "34%% in common")}}
	r.Derive()
	same(t, "roi.cpu.rx", r.ROI.CPU.RX, p(1))
	same(t, "roi.power.rx", r.ROI.Power.RX, p(2))
	for name, v := range map[string]*float64{"roi.cpu.tx": r.ROI.CPU.TX, "roi.cpu.total": r.ROI.CPU.Total, "roi.power.tx": r.ROI.Power.TX,
		"roi.power.total": r.ROI.Power.Total, "total.cpu_percent": r.Total.CPUPercent, "total.watts": r.Total.Watts} {
		same(t, name, v, nil)
	}
}

func same(t *testing.T, name string, got, want *float64) {
	t.Helper()
	switch {
	case (got == nil) != (want == nil):
		t.Errorf("%s: got %v, want %v", name, got, want)
	case got != nil && *got != *want:
		t.Errorf("%s: got %v, want %v", name, *got, *want)
	}
}

// The names and shapes that scripts outside this repository read.
func TestRecordJSON(t *testing.T) {
	b, err := json.Marshal(Record{RX: &End{}})
	if err != nil {
		t.Fatal(err)
	}
	const end = `{"engine":"","bytes":0,"zero_copied_bytes":0,"copied_bytes":0,"unknown_bytes":0,"cpu_percent":null,"iowait_percent":null,"cpu_scope":"","syscalls":{},"watts":null,"counters":{}}`
	const none = `{"rx":null,"tx":null,"total":null}`
	want := `{"schema":"zcbench/1","id":"","cell":"","repeat":0,"dropped":"","status":"","reason":"","started":"","window_seconds":0,"gbps":0,"bytes":0,` +
		`"rx":` + end + `,"tx":null,"total":{"cpu_percent":null,"watts":null},"roi":{"cpu":` + none + `,"power":` + none + `},` +
		`"facts":{"rx":{},"tx":{}},"settings":{},"samples":[],"flows":[],"warnings":[]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func TestCrossingWarnings(t *testing.T) {
	for _, c := range []struct {
		crossing Crossing
		want     []string
	}{
		{Crossing{Interface: "eth1"}, []string{"verify saw no frame of the run cross eth1: its payload goes another way [verify-missing]"}},
		{Crossing{Interface: "eth1", Received: Direction{Frames: 1}}, []string{"verify saw no payload cross eth1, only acknowledgements: the " +
			"kernel shows no capture what is sent from a dma-buf [verify-missing]"}},
		{Crossing{Received: Direction{Frames: 1}, Sent: Direction{Frames: 1, Bytes: 1}}, nil},
		{Crossing{Received: Direction{Frames: 5, Bytes: 5, Flows: []Flow{{Flow: "a", Frames: 3, Steered: []uint32{1}},
			{Flow: "b", Frames: 2, Steered: []uint32{1, 2}, Elsewhere: 2}}}},
			[]string{"verify saw 2 of 2 frames of b come on other queues than the [1 2] of its flow rule [wrong-queue]"}},
	} {
		if got := c.crossing.Warnings(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.crossing, got, c.want)
		}
	}
}

func TestFactsDiff(t *testing.T) {
	a := Facts{"kernel": map[string]any{"release": "6.18", "cmdline": "quiet"}, "mtu": 1500, "only": true}
	b := Facts{"kernel": Facts{"release": "7.2", "cmdline": "quiet"}, "mtu": 1500.0, "new": "x"}
	got := Diff(a, b)
	want := []Difference{{"kernel.release", "6.18", "7.2"}, {"new", "", "x"}, {"only", "true", ""}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
	stored, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back Facts
	if err := json.NewDecoder(strings.NewReader(string(stored))).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if d := Diff(a, back); len(d) > 0 {
		t.Errorf("facts differ after they were stored: %v", d)
	}
}
