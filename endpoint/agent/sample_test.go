package agent

import (
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/results/caveat"
)

const ms = int64(time.Millisecond)

// A sampler is late when its process was stopped; both the length of the window
// and a gap inside it tell.
func TestTiming(t *testing.T) {
	for name, c := range map[string]struct {
		from, to, late int64
		interval       time.Duration
		early          bool
		endless        bool
		codes          string
	}{
		"on time":                      {from: 0, to: 2e9, codes: ""},
		"a slice late":                 {from: 1e7, to: 2e9 + 2e7, late: 2e7, codes: ""},
		"several slices late":          {from: 0, to: 2e9, late: 8e7, codes: ""},
		"opened late":                  {from: 19e8, to: 2e9, late: 19e8, codes: "window-short sampler-late"},
		"closed late":                  {from: 0, to: 25e8, late: 5e8, codes: "window-long sampler-late"},
		"stopped in the middle":        {from: 0, to: 2e9, late: 5e8, codes: "sampler-late"},
		"a sample late by an interval": {from: 0, to: 2e9, late: 105e6, interval: 100 * time.Millisecond, codes: "sampler-late"},
		"stopped for an interval, a nap of which it would have slept": {from: 0, to: 2e9, late: 105e6 - napMost, interval: 100 * time.Millisecond,
			codes: "sampler-late"},
		"ended early":         {from: 0, to: 1e9, early: true, codes: "window-short"},
		"ended, as was asked": {from: 0, to: 1e9, early: true, endless: true},
	} {
		s := &sampler{r: &run{p: wire.Prepare{Role: endpoint.RX, Time: 2 * time.Second, Interval: c.interval}},
			timeline: timeline{samples: []wire.Sample{{At: c.from}, {At: c.to}}}, early: c.early}
		s.late.much = late(&s.r.p)
		s.late.note(0, 0, c.late)
		if c.endless {
			s.r.p.Time = 0
		}
		var codes []string
		for _, w := range s.timing() {
			codes = append(codes, string(caveat.CodeOf(w)))
		}
		if got := strings.Join(codes, " "); got != c.codes {
			t.Errorf("%s: warnings %q, want %q", name, got, c.codes)
		}
	}
}

// A stop is counted from when the sampler last ran, less what it meant to sleep,
// wherever in its round it was stopped.
func TestLateness(t *testing.T) {
	l := lateness{much: 200 * ms}
	l.note(1000*ms, 50*ms, 1052*ms)
	l.note(1150*ms, 50*ms, 2150*ms) // stopped for 0.95 to 1 s
	l.note(2160*ms, 100*ms, 2200*ms)
	l.note(2500*ms, 50*ms, 2550*ms) // and for 0.3 s before it slept
	l.note(2560*ms, 50*ms, 2760*ms)
	if want := (lateness{950 * ms, 1150 * ms, 2150 * ms, 200 * ms, 2, 1250 * ms, 2760 * ms}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
}
