package agent

import (
	"math"
	"testing"

	"zcbench/endpoint"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/cpuclock"
	"zcbench/results"
	"zcbench/results/caveat"
)

// What a run says of its clock: nothing on a quiet host, by how much two differ,
// and what a clock cannot know.
func TestClockWarnings(t *testing.T) {
	sec := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		name          string
		c             cpuclock.Calibration
		busy, ticks   float64  // seconds of the ten of the window
		second        *float64 // likewise
		threads       float64
		waits         float64 // how often they did
		code          caveat.Code
		errorAtLeast  float64
		errorIsNotOne bool
	}{
		{name: "an ordinary run", c: cpuclock.Calibration{Method: "idle", Error: 1.2}, busy: 7.2, ticks: 5.4, threads: 5, errorAtLeast: 1.4},
		{name: "two clocks that agree", c: cpuclock.Calibration{Method: "idle", Error: 1, Second: "schedstat+interrupts"}, busy: 7.2, ticks: 5.4,
			second: sec(7.05), threads: 5, errorAtLeast: 1},
		{name: "two that do not", c: cpuclock.Calibration{Method: "idle", Error: 1, Second: "schedstat+interrupts"}, busy: 7.2, ticks: 5.4,
			second: sec(6.1), threads: 5, code: caveat.ClocksDiffer, errorAtLeast: 11},
		{name: "two that differ a little", c: cpuclock.Calibration{Method: "idle", Error: 1, Second: "schedstat+interrupts"}, busy: 8.9,
			ticks: 9.3, second: sec(9.25), threads: 5, errorAtLeast: 3.5},
		{name: "two of which one counts how a CPU falls idle", c: cpuclock.Calibration{Method: "idle", Error: 1, Second: "cpuacct+interrupts"},
			busy: 8.07, ticks: 6.1, second: sec(7.4), threads: 5, waits: 3e5, errorAtLeast: 6.7},
		{name: "likewise the second", c: cpuclock.Calibration{Method: "schedstat+interrupts", Error: 1, Second: "idle"}, busy: 7.4, ticks: 6.1,
			second: sec(8.07), threads: 5, waits: 3e5, errorAtLeast: 6.7},
		{name: "by more than that takes", c: cpuclock.Calibration{Method: "idle", Error: 1, Second: "cpuacct+interrupts"}, busy: 8.07, ticks: 6.1,
			second: sec(6.4), threads: 5, waits: 3e5, code: caveat.ClocksDiffer, errorAtLeast: 16},
		{name: "the wrong way round", c: cpuclock.Calibration{Method: "idle", Error: 1, Second: "cpuacct+interrupts"}, busy: 7.4, ticks: 6.1,
			second: sec(8.07), threads: 5, waits: 3e5, code: caveat.ClocksDiffer, errorAtLeast: 6.7},
		{name: "two that both do", c: cpuclock.Calibration{Method: "idle", Error: 1, Second: "cpuidle"}, busy: 8.07, ticks: 6.1, second: sec(7.4),
			threads: 5, waits: 3e5, code: caveat.ClocksDiffer, errorAtLeast: 6.7},
		{name: "threads ran for longer", c: cpuclock.Calibration{Method: "ticks", Error: 3}, busy: 3, ticks: 3, threads: 5,
			code: caveat.ClocksDiffer},
		{name: "for a little longer", c: cpuclock.Calibration{Method: "idle", Error: 1}, busy: 3, ticks: 3, threads: 3.1},
		{name: "softirqs that nobody saw", c: cpuclock.Calibration{Method: "schedstat", Error: 14}, busy: 7.2, ticks: 1, code: caveat.ClockBlind,
			errorAtLeast: 100 - 72},
		{name: "a guess that matters", c: cpuclock.Calibration{Method: "idle", Noisy: true}, busy: 7.2, ticks: 5.4,
			code: caveat.ClockUncalibrated, errorIsNotOne: true},
		{name: "a guess that does not", c: cpuclock.Calibration{Method: "idle", Noisy: true}, busy: 9.9, ticks: 9.95, errorIsNotOne: true},
		{name: "a guess that was bounded", c: cpuclock.Calibration{Method: "idle", Error: 12, Noisy: true}, busy: 7.2, ticks: 5.4,
			code: caveat.ClockUncalibrated, errorAtLeast: 12},
		{name: "a guess that was bounded well", c: cpuclock.Calibration{Method: "idle", Error: 3, Noisy: true}, busy: 7.2, ticks: 5.4,
			errorAtLeast: 3},
		{name: "no clock is right", c: cpuclock.Calibration{Method: "ticks", Error: 11}, busy: 7.2, ticks: 7.2, code: caveat.ClockCoarse,
			errorAtLeast: 11},
	} {
		r := &run{p: wire.Prepare{Role: endpoint.RX, Scope: wire.ScopeCPUSet}, calibration: c.c}
		s := &sampler{r: r, busy: []cpuBusy{{cpu: 1, first: 1, last: 1 + c.busy}}}
		zero, ticks := 0.0, c.ticks
		res := &wire.Result{Samples: []wire.Sample{{Ticks: &zero}, {At: 10e9, Busy: c.busy, Ticks: &ticks}},
			Counters: map[string]float64{"rusage_user_seconds": c.threads, "voluntary_switches": c.waits}}
		if c.second != nil {
			res.Samples[0].Second, res.Samples[1].Second = &zero, c.second
		}
		s.samples = res.Samples
		s.clock(res)
		if err := res.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		rec := results.Record{RX: &results.End{}, TX: &results.End{}}
		_ = summary.Fill(&rec, &summary.Side{Role: endpoint.RX, Want: &r.p, Result: res},
			&summary.Side{Role: endpoint.TX, Want: &wire.Prepare{}}) // no payload crossed
		v, warnings := rec.RX, rec.Warnings
		var code caveat.Code
		if len(warnings) > 0 {
			code = caveat.CodeOf(warnings[0])
		}
		if len(warnings) > 1 || code != c.code {
			t.Errorf("%s: warnings %v, want %q", c.name, warnings, c.code)
		}
		if v.CPUMethod != c.c.Method || math.Abs(*v.CPUPercent-10*c.busy) > 1e-6 || math.Abs(*v.CPUTicks-10*c.ticks) > 1e-6 ||
			math.Abs(*s.busyCPU(1)-10*c.busy) > 1e-3 || s.busyCPU(2) != nil {
			t.Errorf("%s: %+v", c.name, v)
		}
		if c.errorIsNotOne != (v.CPUError == nil) || v.CPUError != nil && *v.CPUError < c.errorAtLeast-1e-9 {
			t.Errorf("%s: error %v", c.name, v.CPUError)
		}
	}
}

// The error of a figure is that of each CPU that did anything, and what a reading
// that took long leaves open.
func TestClockErrorSums(t *testing.T) {
	r := &run{p: wire.Prepare{Role: endpoint.RX, Scope: wire.ScopeHost}, calibration: cpuclock.Calibration{Method: "schedstat+interrupts",
		Error: 2}}
	s := &sampler{r: r, busy: []cpuBusy{{cpu: 0, last: 5}, {cpu: 1, last: 0.1}, {cpu: 2}, {cpu: 3, last: 9}}, reading: [2]int64{5e6, 20e6}}
	res := &wire.Result{Samples: []wire.Sample{{}, {At: 10e9, Busy: 14.1}}}
	s.clock(res)
	if want := 2 + 1 + 0 + 2 + 100*4*0.025/10; math.Abs(res.CPUError-want) > 1e-9 || len(res.Warnings) > 0 {
		t.Errorf("error %.3f, want %.3f; %v", res.CPUError, want, res.Warnings)
	}
}
