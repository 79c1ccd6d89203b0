package wire

import (
	"math"
	"testing"
)

// A peer's word for its clock is bounded.
func TestClockOfPeer(t *testing.T) {
	for _, r := range []Result{
		{CPUMethod: "idle\x1b[2J"}, {CPUSecond: "Idle"}, {CPUMethod: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{CPUError: math.NaN()}, {CPUError: -1}, {CPUError: math.Inf(1)}, {CPUScoped: -1}, {CPUScoped: 1 << 20},
	} {
		r.Samples = []Sample{{}, {At: 1}}
		if r.Check() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

func TestResultOfAPeerIsBounded(t *testing.T) {
	for name, f := range map[string][]FlowResult{
		"too many flows": make([]FlowResult, maxFlows+1),
		"negative":       {{Stall: -1}},
		"endless":        {{Stall: 1 << 62}},
		"at no time":     {{StallAt: -1 << 62}},
		"backwards":      {{RTT: -1}},
	} {
		r := &Result{Samples: []Sample{{}, {At: 1}}}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		if r.Flows = f; r.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
