// Package tier tells what of the tests runs where: make check (go test -short)
// leaves out what takes seconds or needs root; make test runs all.
package tier

import (
	"os"
	"testing"
)

// Long leaves the test out of make check, as one that takes seconds.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds: make test runs it")
	}
}

// Root leaves the test out of make check, which changes nothing of the machine,
// and skips it where it is not root that runs it. What root is needed for is why.
func Root(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs root: make test runs it")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, " + why)
	}
}
