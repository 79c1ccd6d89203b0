package agent

import (
	"testing"

	"zcbench/endpoint/wire"
	"zcbench/internal/egress"
	"zcbench/results"
)

// bbr that goes as fast as it lets itself is told; not one that waits for the
// receiver, nor any other, whose pacing rate nothing holds to.
func TestPacing(t *testing.T) {
	res := &wire.Result{Samples: []wire.Sample{{At: 0}, {At: 1e9, Copied: 125e6}}, Flows: make([]wire.FlowResult, 2)} // 1 Gbit/s
	for name, tc := range map[string]struct {
		t    taken
		way  egress.Rate
		want bool
	}{
		"bbr at its rate":  {taken{congestion: "bbr", Socket: results.Socket{Pacing: 150e6}, busy: 100}, egress.Rate{}, true},
		"bbr far below it": {taken{congestion: "bbr", Socket: results.Socket{Pacing: 1500e6}, busy: 100}, egress.Rate{}, false},
		"bbr, the receiver is slow": {taken{congestion: "bbr", Socket: results.Socket{Pacing: 150e6}, busy: 100, waited: 90}, egress.Rate{},
			false},
		"reno on a slow link": {taken{congestion: "reno", Socket: results.Socket{Pacing: 150e6}, busy: 100}, egress.Rate{}, false},
		"reno with a limit": {taken{congestion: "reno", Socket: results.Socket{Pacing: 1500e6, MaxPacing: 130e6}, busy: 100},
			egress.Rate{All: 1e9}, true},
		"a limit far above": {taken{congestion: "reno", Socket: results.Socket{Pacing: 1500e6, MaxPacing: 1300e6}, busy: 100},
			egress.Rate{}, false},
		"bbr fills its link": {taken{congestion: "bbr", Socket: results.Socket{Pacing: 150e6}, busy: 100}, egress.Rate{All: 1.06e9},
			false},
		"bbr on a faster link": {taken{congestion: "bbr", Socket: results.Socket{Pacing: 150e6}, busy: 100}, egress.Rate{All: 10e9}, true},
		"fq holds two flows": {taken{congestion: "reno", Socket: results.Socket{Pacing: 1500e6}, busy: 100}, egress.Rate{Flow: 0.52e9,
			By: "fq"}, true},
		"fq allows more": {taken{congestion: "reno", Socket: results.Socket{Pacing: 1500e6}, busy: 100},
			egress.Rate{Flow: 1e9, By: "fq"}, false},
	} {
		if got := pacing(res, tc.t, tc.way) != ""; got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
