package netpair

import (
	"os"
	"testing"

	"zcbench/internal/exhaust"
	"zcbench/internal/fault"
)

// TestLocateThatCannotLook: an interface that could not be looked for, with so few
// descriptors left, is no name that is wrong.
func TestLocateThatCannotLook(t *testing.T) {
	failed := false
	for left := range 8 {
		var spare []*os.File
		for range left {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			spare = append(spare, f)
		}
		var err error
		exhaust.Descriptors(t, func() {
			for _, f := range spare {
				f.Close()
			}
			var e *End
			if e, err = Locate("lo"); err == nil {
				e.Close()
			}
		})
		if err != nil {
			failed = true
			if kind := fault.Of(fault.Wrap(fault.Usage, err)); kind != fault.Failed {
				t.Errorf("%d descriptors left: %v, of kind %s", left, err, kind)
			}
		}
	}
	if !failed {
		t.Error("it was found without a descriptor")
	}
}
