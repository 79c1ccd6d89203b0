package reports

import (
	"strings"
	"testing"

	"zcbench/results"
)

// TestUnknownShare: a zero-copied share is no firm figure where of some payload
// nobody can tell.
func TestUnknownShare(t *testing.T) {
	e := &results.End{Bytes: 1000, ZeroCopiedBytes: 5, CopiedBytes: 995, UnknownBytes: 900}
	if got := shareOf(e); got != "≥0.5 %" {
		t.Errorf("%q", got)
	}
	r := []*run{{Record: &results.Record{TX: e, RX: &results.End{Bytes: 1000, ZeroCopiedBytes: 1000}}}}
	for name, want := range map[string]string{"tx.zero_copied_percent": "≥", "rx.zero_copied_percent": "", "gbps": ""} {
		if got := atLeast(r, known(name)); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	e.UnknownBytes = 0
	if got := shareOf(e); strings.Contains(got, "≥") {
		t.Errorf("%q", got)
	}
}
