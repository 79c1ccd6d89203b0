package site

import (
	"crypto/rand"
	"net"
	"os"
	"testing"

	"zcbench/internal/fault"
)

// TestClaim: one controller holds the host, with as many agents as it likes, and who is
// not this user cannot.
func TestClaim(t *testing.T) {
	// The name that once was the lock, which any user of the host can take.
	if l, err := net.Listen("unix", "@zcbench-agent"); err == nil {
		defer l.Close()
	}
	dir, mine, theirs := t.TempDir(), rand.Text(), rand.Text()
	first, err := claimIn(dir, mine)
	if err != nil {
		t.Fatal(err)
	}
	again, err := claimIn(dir, mine)
	if err != nil {
		t.Fatalf("the same controller: %v", err)
	}
	again.Close()
	if _, err := claimIn(dir, theirs); fault.Of(err) != fault.Denied {
		t.Errorf("another controller: %v", err)
	}
	first.Close()
	next, err := claimIn(dir, theirs)
	if err != nil {
		t.Fatalf("after the first has left: %v", err)
	}
	next.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
