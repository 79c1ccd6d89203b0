package driver

import (
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/results"
)

// tape is a recorder that remembers what was done to it.
type tape struct {
	mu      sync.Mutex
	log     []string
	site    instrument.Place
	openErr error
	runErr  error
}

func (p *tape) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.log); n == 0 || p.log[n-1] != s {
		p.log = append(p.log, s)
	}
}

func (p *tape) Begin() error { p.note("begin"); return p.runErr }
func (p *tape) Poll()        { p.note("poll") }
func (p *tape) End() error   { p.note("end"); return nil }
func (p *tape) Close() error { p.note("close"); return nil }

func (p *tape) Report(res *wire.Result) (notes, warnings []string, err error) {
	p.note("report")
	res.SyscallCosts = []results.SyscallCost{{Name: "poll", Calls: 7}}
	return []string{"it was taped"}, nil, nil
}

func (p *tape) recorder() instrument.Recorder {
	return instrument.Recorder{Name: "tape", Open: func(s instrument.Place) (instrument.Recording, error) {
		p.site = s
		if p.openErr != nil {
			return nil, p.openErr
		}
		return p, nil
	}}
}

// TestInstruments: meters and recorders of a run see its window, and only it,
// and end up in its record.
func TestInstruments(t *testing.T) {
	tr := trial(t, 2, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	var reading atomic.Uint64
	ticking := instrument.Counter{Name: "ticks", Open: func(s instrument.Place) (instrument.Reader, error) {
		if len(s.Threads) != 2 || len(s.CPUs) == 0 || s.Stat == nil {
			t.Errorf("site %+v", s)
		}
		return total{func(to []uint64) error {
			if n := len(s.Flows()); n != 2 {
				t.Errorf("%d flows", n)
			}
			to[0] = reading.Add(10)
			return nil
		}}, nil
	}}
	absent := instrument.Counter{Name: "absent", Open: func(instrument.Place) (instrument.Reader, error) {
		return nil, fault.Errorf(fault.Unsupported, "buy one")
	}}
	taped := &tape{}
	tr.RX = pipeAgent(t, "receiver", &agent.Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}},
		Facts:       func(string) results.Facts { return results.Facts{"missing": map[string]any{}} },
		Instruments: instrument.Instruments{Counters: []instrument.Counter{ticking, absent}, Tracer: taped.recorder()}})
	tr.RXWant.Syscalls = true
	r, err := Drive(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(taped.log, " "), "begin poll end report close"; got != want {
		t.Errorf("the recorder: %s, want %s", got, want)
	}
	intervals, sum := 0, 0.0
	for _, s := range r.Samples {
		if s.End == "rx" {
			intervals++
			sum += s.Series["ticks_per_second"] * s.Seconds
		}
	}
	if n := r.RX.Counters["ticks"]; n != float64(10*intervals) || math.Abs(sum-n) > 0.5 {
		t.Errorf("%v ticks in %d intervals whose series have %v", n, intervals, sum)
	}
	if len(r.RX.SyscallCosts) != 1 || r.RX.SyscallCosts[0].Calls != 7 || len(r.TX.SyscallCosts) != 0 {
		t.Errorf("costs %+v, %+v", r.RX.SyscallCosts, r.TX.SyscallCosts)
	}
	if w := strings.Join(append(r.Notes, r.Warnings...), "\n"); !strings.Contains(w, "rx: it was taped") || strings.Contains(w, "absent") {
		t.Errorf("warnings %s", w)
	}
	if m, _ := r.Facts.RX["missing"].(map[string]any); m["counters.absent"] != "buy one" {
		t.Errorf("facts %v", r.Facts.RX)
	}
	if r.RX.Counters["sampler_cpu_seconds"] <= 0 {
		t.Errorf("sampling cost %v", r.RX.Counters["sampler_cpu_seconds"])
	}
}

// A recorder that cannot open, or begin, ends the run that asked for it, and
// nothing is left open.
func TestRecorderFails(t *testing.T) {
	for _, c := range []struct {
		tape *tape
		kind fault.Kind
		log  string
	}{
		{&tape{openErr: fault.Errorf(fault.Unsupported, "no tape")}, fault.Unsupported, ""},
		{&tape{runErr: errors.New("the tape is stuck")}, fault.Failed, "begin close"},
	} {
		tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
		tr.TX = pipeAgent(t, "sender", &agent.Agent{TX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.TX}},
			Instruments: instrument.Instruments{Profiler: c.tape.recorder()}})
		tr.TXWant.Profile = true
		_, err := Drive(t.Context(), tr)
		if fault.Of(err) != c.kind || !strings.Contains(err.Error(), "tape") {
			t.Errorf("%v", err)
		}
		tr.TX.Close()
		c.tape.mu.Lock()
		if got := strings.Join(c.tape.log, " "); got != c.log {
			t.Errorf("%v: %s, want %s", err, got, c.log)
		}
		c.tape.mu.Unlock()
	}
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	tr.TXWant.Profile = true
	if _, err := Drive(t.Context(), tr); fault.Of(err) != fault.Unsupported {
		t.Errorf("an agent without a profiler: %v", err)
	}
}

// total is a meter of one total.
type total struct{ read func([]uint64) error }

func (r total) Quantities() []instrument.Quantity { return []instrument.Quantity{{Name: "ticks"}} }
func (r total) Read(to []uint64) error            { return r.read(to) }
func (r total) Close() error                      { return nil }
