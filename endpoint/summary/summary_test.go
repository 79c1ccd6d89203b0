package summary

import (
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/results/caveat"
)

// What the ends' windows must agree on, and by how much.
func TestCompare(t *testing.T) {
	window := func(from, to int64, bytes uint64) *Side {
		return &Side{Want: &wire.Prepare{Time: time.Second}, Unsure: 1e6, Result: &wire.Result{Samples: []wire.Sample{{At: from},
			{At: to, Copied: bytes}}}}
	}
	const mb = 1000000
	far := window(0, 1e9, 103*mb)
	far.Result.Flows = []wire.FlowResult{{RTT: 90000, MinRTT: 20000}}
	queued := window(0, 1e9, 103*mb)
	queued.Result.Flows = []wire.FlowResult{{RTT: 90000, MinRTT: 20}}
	for name, c := range map[string]struct {
		rx, tx *Side
		codes  string
	}{
		"equal":                          {window(0, 1e9, 100*mb), window(0, 1e9, 100*mb), ""},
		"in flight":                      {window(0, 1e9, 100*mb), window(2e6, 1e9+2e6, 100*mb+mb/2), ""},
		"few bytes":                      {window(0, 1e9, 1000), window(0, 1e9, 60000), ""},
		"one counts more":                {window(0, 1e9, 100*mb), window(0, 1e9, 103*mb), "bytes-differ"},
		"far away":                       {window(0, 1e9, 100*mb), far, ""},
		"behind a queue":                 {window(0, 1e9, 100*mb), queued, "bytes-differ"},
		"one opened late":                {window(0, 1e9, 100*mb), window(9e8, 1e9, 10*mb), "windows-apart windows-disjoint"},
		"one is shifted":                 {window(0, 1e9, 100*mb), window(3e8, 13e8, 100*mb), "windows-apart windows-disjoint"},
		"one is shifted by little":       {window(0, 1e9, 100*mb), window(5e7, 105e7, 100*mb), "windows-apart"},
		"they never met":                 {window(0, 1e9, 100*mb), window(3e9, 4e9, 100*mb), "windows-apart windows-disjoint"},
		"shorter by an edge":             {window(0, 1e9, 100*mb), window(1e7, 1e9, 99*mb), ""},
		"nothing at one end, of 100 MB":  {window(0, 1e9, 100*mb), window(0, 1e9, 0), "bytes-differ"},
		"nothing at either end, for now": {window(0, 1e9, 0), window(0, 1e9, 0), ""},
	} {
		var codes []string
		for _, w := range compare(c.rx, c.tx) {
			codes = append(codes, string(caveat.CodeOf(w)))
		}
		if got := strings.Join(codes, " "); got != c.codes {
			t.Errorf("%s: warnings %q, want %q", name, got, c.codes)
		}
	}
}

// TestHalfKeepsNotes: what is to be known of a window that has fewer samples than were
// asked for is known to this end's own user too.
func TestHalfKeepsNotes(t *testing.T) {
	res := &wire.Result{Notes: []string{"the engine's"}}
	for i := range 5 {
		res.Samples = append(res.Samples, wire.Sample{At: int64(i) * 2e9})
	}
	notes := Half(&wire.Prepare{Role: endpoint.RX, Interval: time.Second}, nil, res).Notes
	if len(notes) != 3 || caveat.CodeOf(notes[0]) != caveat.SamplesMerged || notes[1] != "the engine's" ||
		caveat.CodeOf(notes[2]) != caveat.HalfRecord {
		t.Errorf("%q", notes)
	}
}
