package agent

import (
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

// TestNoCongestion: a host without a congestion control, or a user who may not have it,
// is told apart from a module that cannot be had right now.
func TestNoCongestion(t *testing.T) {
	for errno, want := range map[unix.Errno]fault.Kind{
		unix.ENOENT: fault.Unsupported, unix.EPERM: fault.Unsupported, unix.EBUSY: fault.Failed, unix.ENOMEM: fault.Failed,
	} {
		if err := noCongestion("dctcp", errno); fault.Of(err) != want {
			t.Errorf("%v, of kind %s, want %s", err, fault.Of(err), want)
		}
	}
}
