package driver

import (
	"testing"

	"zcbench/endpoint/agent"
	"zcbench/results"
	"zcbench/results/caveat"
)

func TestUnlikeHosts(t *testing.T) {
	cpu := func(governor, turbo any) results.Facts {
		f := map[string]any{"smt": "on"}
		if governor != nil {
			f["governor"] = governor
		}
		if turbo != nil {
			f["turbo"] = turbo
		}
		return results.Facts{"cpu": f}
	}
	for _, c := range []struct {
		rx, tx results.Facts
		want   int
	}{
		{cpu("performance", "on"), cpu("performance", "on"), 0},
		{cpu("performance", "on"), cpu("powersave", "on"), 1},
		{cpu("performance", "off"), cpu("powersave", "on"), 2},
		{cpu(nil, nil), cpu("powersave", "on"), 0}, // a virtual machine does not tell
		{nil, cpu("powersave", "on"), 0},
	} {
		got := unlike(c.rx, c.tx)
		if len(got) != c.want || c.want > 0 && caveat.CodeOf(got[0]) != caveat.HostsDiffer {
			t.Errorf("%v and %v: %q", c.rx, c.tx, got)
		}
	}
}

// Two agents of one process are on one kernel, whatever they show for a boot
// ID, and it takes more than equal ones to make one kernel of two.
func TestShared(t *testing.T) {
	a, b := pipeAgent(t, "a", &agent.Agent{}), pipeAgent(t, "b", &agent.Agent{})
	b.Welcome.BootID = "another"
	if got, err := Shared(t.Context(), a, b); got != OneHost || err != nil {
		t.Errorf("one kernel: %s, %v", got, err)
	}
}

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		name                  string
		before, middle, after []uint64
		one, sure             bool
	}{
		{"the same, busy", []uint64{1e9, 2e8, 3e7, 0}, []uint64{1e9 + 50, 2e8, 3e7 + 2, 0}, []uint64{1e9 + 100, 2e8 + 3, 3e7 + 4, 0}, true, true},
		{"one total differs", []uint64{1e9, 2e8, 3e7, 0}, []uint64{1e9 + 50, 2e8, 4e7, 0}, []uint64{1e9 + 100, 2e8 + 3, 3e7 + 4, 0}, false,
			false},
		{"one that the other lacks", []uint64{1e9, 0}, []uint64{1e9, 17}, []uint64{1e9, 0}, false, false},
		// Two that booted just now are close to each other.
		{"too few to be sure", []uint64{900, 40, 3, 0}, []uint64{950, 41, 3, 0}, []uint64{1000, 50, 4, 0}, true, false},
	} {
		one, chance := between(c.before, c.middle, c.after)
		if one != c.one || one && chance <= sureness != c.sure {
			t.Errorf("%s: one kernel %t, by accident %g", c.name, one, chance)
		}
	}
}
