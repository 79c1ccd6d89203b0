package endpoint

import (
	"strings"
	"testing"

	"zcbench/internal/egress"
)

// TestDoubt: zero-copied bytes of which nobody can tell become copied ones, in
// every sample and no more than there are.
func TestDoubt(t *testing.T) {
	for _, c := range []struct {
		bytes               uint64
		zero, copied, known uint64 // in the window
	}{{0, 90, 10, 10}, {30, 60, 40, 10}, {90, 0, 100, 10}, {All, 0, 100, 10}} {
		r := Result{Samples: []Sample{{ZeroCopied: 7, Copied: 3}, {At: 1, ZeroCopied: 27, Copied: 3}, {At: 2, ZeroCopied: 97, Copied: 13}}}
		if n := r.doubt(Doubt{Bytes: c.bytes}); n != 90-c.zero {
			t.Errorf("%d: %d bytes are in doubt", c.bytes, n)
		}
		a, b := r.edges()
		if b.ZeroCopied-a.ZeroCopied != c.zero || b.Copied-a.Copied != c.copied || b.Copied-a.Copied-b.Unknown+a.Unknown != c.known {
			t.Errorf("%d: %+v to %+v", c.bytes, a, b)
		}
		if m := r.Samples[1]; m.bytes() != 30 {
			t.Errorf("%d: a sample within moved to %+v", c.bytes, m)
		}
		if err := r.check(); err != nil {
			t.Errorf("%d: %v", c.bytes, err)
		}
	}
}

// TestWaysOut: all is copied when every flow left by interfaces that copy, from
// before the window until after it; what changed, or is hidden, is unknown.
func TestWaysOut(t *testing.T) {
	clear, hidden := egress.Way{}, egress.Way{Verdict: egress.Hidden, Why: "veth0 leads away"}
	copies := egress.Way{Verdict: egress.Copies, Why: "eth0 has no scatter-gather"}
	set := func(all ...egress.Way) waysOut {
		w := waysOut{}
		for _, v := range all {
			w[v] = true
		}
		return w
	}
	for _, c := range []struct {
		name          string
		before, after waysOut
		bytes         uint64
		copied        bool
		why           string
	}{
		{"a NIC", set(clear), set(clear), 0, false, ""},
		{"an engine that it does not matter for", nil, nil, 0, false, ""},
		{"no scatter-gather", set(copies), set(copies), All, true, "eth0"},
		{"turned off meanwhile", set(clear), set(copies), All, false, "changed during the run: eth0"},
		{"turned on meanwhile", set(copies), set(clear), All, false, "changed during the run: eth0"},
		{"one of two flows", set(clear, copies), set(clear, copies), All, false, "eth0"},
		{"into a container", set(hidden), set(hidden), All, false, "veth0"},
	} {
		if d := c.before.doubt(c.after); d.Bytes != c.bytes || d.Copied != c.copied || !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}
