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
	e.UnknownBytes = 0
	if got := shareOf(rec, "tx"); strings.Contains(got, "≥") {
		t.Errorf("%q", got)
	}
}
