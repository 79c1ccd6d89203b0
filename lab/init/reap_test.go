package main

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/testutil/tier"
)

// TestOrphansAreReaped: of processes whose parents are gone none stays a zombie, and
// no status of an own child is lost.
func TestOrphansAreReaped(t *testing.T) {
	tier.Long(t)
	// Orphans come to this process as they do to process 1.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	f := &family{own: map[int]bool{}}
	f.watch()
	for range 20 {
		cmd := exec.Command("/bin/sh", "-c", "sleep 0.05 & sleep 0.01 & exit 7")
		if err := f.start(cmd); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); !slices.Contains(zombies(os.Getpid()), cmd.Process.Pid); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("it does not end")
			}
		}
		f.reap() // which is not to take it
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Fatalf("its own child ended with %v", err)
		}
		f.over(cmd)
	}
	time.Sleep(100 * time.Millisecond) // longer than the orphans sleep
	for deadline := time.Now().Add(30 * time.Second); len(zombies(os.Getpid())) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("zombies %v", zombies(os.Getpid()))
		}
	}
}
