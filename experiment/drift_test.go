package experiment

import (
	"slices"
	"testing"

	"zcbench/results"
)

func TestDrift(t *testing.T) {
	facts := func(turbo string, mtu int, more ...string) results.Facts {
		f := results.Facts{"cpu": map[string]any{"turbo": turbo}, "nic": map[string]any{"mtu": mtu}, "process": map[string]any{"pid": len(more)}}
		for _, m := range more {
			f["nic"].(map[string]any)[m] = "on"
		}
		return f
	}
	record := func(cell string, rx results.Facts) results.Record {
		return results.Record{Status: results.OK, Cell: cell, Facts: results.Pair[results.Facts]{RX: rx, TX: facts("on", 1500)}}
	}
	o := &output{facts: map[string]*history{}}
	for i, c := range []struct {
		r        results.Record
		tunesCPU bool
		want     []string
	}{
		{record("a", facts("on", 1500)), false, nil},
		{record("b", facts("on", 9000, "x")), false, nil}, // another cell has other settings
		{record("a", facts("on", 1500, "y")), false, []string{`rx: nic.y was absent in the cell's first run and is "on" now [host-changed]`}},
		{record("b", facts("on", 9000, "x")), false, nil},
		{record("b", facts("on", 4000, "x")), false, []string{`rx: nic.mtu was "9000" in the cell's first run and is "4000" now [host-changed]`}},
		{record("b", facts("on", 1500)), false, []string{
			`rx: nic.mtu was "9000" in the cell's first run and is "1500" now [host-changed]`, `rx: nic.x was "on" in the cell's first run and is absent now [host-changed]`,
		}},
		{record("c", facts("off", 1500)), false, []string{`rx: cpu.turbo was "on" in the pair's first run and is "off" now [host-changed]`}},
		{record("c", facts("off", 1500)), true, nil}, // as in the cell's first run
		{record("a", facts("off", 1500)), true, []string{`rx: cpu.turbo was "on" in the cell's first run and is "off" now [host-changed]`}},
	} {
		if got := o.drift(&c.r, c.tunesCPU); !slices.Equal(got, c.want) {
			t.Errorf("record %d: %q, want %q", i, got, c.want)
		}
		o.remember(&c.r)
	}
	other := record("a", facts("off", 1))
	other.Pair = "other"
	if got := o.drift(&other, false); got != nil {
		t.Errorf("another pair: %q", got)
	}
}
