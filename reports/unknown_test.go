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
	rec := &results.Record{TX: e, RX: &results.End{Bytes: 1000, ZeroCopiedBytes: 1000}}
	if got := shareOf(rec, "tx"); got != "≥0.5 %" {
		t.Errorf("%q", got)
	}
	r := []*run{{Record: rec}}
	for name, want := range map[string]bool{"tx.zero_copied_percent": true, "rx.zero_copied_percent": false, "gbps": false} {
		if got := known(name).over(r).atLeast; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	e.UnknownBytes = 0
	if got := shareOf(rec, "tx"); strings.Contains(got, "≥") {
		t.Errorf("%q", got)
	}
}
