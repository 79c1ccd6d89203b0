package main

import (
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/feature"
)

// withoutDescriptors runs f in a process that can open nothing more.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()
	f()
}

// TestExhaustedIsNoVerdict: what fails for want of descriptors says nothing of what
// the host can do: no probe answers no for that, and no engine or counter is
// unsupported.
func TestExhaustedIsNoVerdict(t *testing.T) {
	for role, engines := range map[endpoint.Role][]endpoint.Engine{endpoint.TX: txEngines(), endpoint.RX: rxEngines()} {
		for _, e := range engines {
			before := e.Probe("lo")
			var v feature.Verdict
			var opened error
			withoutDescriptors(t, func() {
				v = e.Probe("lo")
				var s endpoint.Session
				if s, opened = e.Open(endpoint.Params{Flows: 1, Length: 4096, Interface: "lo", Pattern: endpoint.Pattern{Period: 4096}}); opened == nil {
					opened = s.Close()
				}
			})
			if v.Answer == feature.No && before.Answer != feature.No {
				t.Errorf("%s %s: without descriptors %+v, with them %+v", role, e.Name(), v, before)
			}
			if endpoint.KindOf(opened) == endpoint.Unsupported && before.Answer != feature.No {
				t.Errorf("%s %s: %v", role, e.Name(), opened)
			}
		}
	}
	for _, m := range instruments().Meters {
		site := endpoint.Site{Interface: "lo", CPUs: []int{0}}
		r, before := m.Open(site)
		if before == nil {
			r.Close()
		}
		withoutDescriptors(t, func() {
			r, err := m.Open(site)
			if err == nil {
				r.Close()
			}
			if endpoint.KindOf(err) == endpoint.Unsupported && endpoint.KindOf(before) != endpoint.Unsupported {
				t.Errorf("counters %s: %v", m.Name, err)
			}
		})
	}
}
