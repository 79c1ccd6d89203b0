package main

import (
	"testing"

	"zcbench/endpoint"
	"zcbench/endpoint/instrument"
	"zcbench/internal/exhaust"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
)

// TestExhaustedIsNoVerdict: what fails for want of descriptors says nothing of what
// the host can do: no probe answers no for that, and no engine or counter is
// unsupported.
func TestExhaustedIsNoVerdict(t *testing.T) {
	for role, engines := range map[endpoint.Role][]endpoint.Engine{endpoint.TX: txEngines(), endpoint.RX: rxEngines()} {
		for _, e := range engines {
			before := e.Probe("lo")
			var v feature.Verdict
			var opened error
			exhaust.Descriptors(t, func() {
				v = e.Probe("lo")
				var s endpoint.Session
				if s, opened = e.Open(endpoint.Params{Flows: 1, Length: 4096, Interface: "lo",
					Pattern: endpoint.Pattern{Period: 4096}}); opened == nil {
					opened = s.Close()
				}
			})
			if v.Answer == feature.No && before.Answer != feature.No {
				t.Errorf("%s %s: without descriptors %+v, with them %+v", role, e.Name(), v, before)
			}
			if fault.Of(opened) == fault.Unsupported && before.Answer != feature.No {
				t.Errorf("%s %s: %v", role, e.Name(), opened)
			}
		}
	}
	for _, m := range instruments().Counters {
		site := instrument.Place{Interface: "lo", CPUs: []int{0}}
		r, before := m.Open(site)
		if before == nil {
			r.Close()
		}
		exhaust.Descriptors(t, func() {
			r, err := m.Open(site)
			if err == nil {
				r.Close()
			}
			if fault.Of(err) == fault.Unsupported && fault.Of(before) != fault.Unsupported {
				t.Errorf("counters %s: %v", m.Name, err)
			}
		})
	}
}
