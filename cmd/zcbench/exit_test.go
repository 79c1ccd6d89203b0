package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"zcbench/internal/fault"
)

// Exit codes; scripts rely on them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnsupported = 3
	exitUnreachable = 4
	exitInterrupted = 130
)

// TestExitCode: each kind of error has its exit code however far it was passed on, and
// its text is one line.
func TestExitCode(t *testing.T) {
	for kind, want := range map[fault.Kind]int{
		fault.Usage: exitUsage, fault.Unsupported: exitUnsupported, fault.Unreachable: exitUnreachable, fault.Interrupted: exitInterrupted,
		fault.Failed: exitFailed, fault.Denied: exitFailed, fault.PeerGone: exitFailed,
	} {
		cause := fault.Errorf(kind, "first\nsecond")
		for _, err := range []error{cause, fmt.Errorf("%w", cause), errors.Join(cause)} {
			var said strings.Builder
			if code := exitCode(err, &said); code != want || said.String() != "zcbench: first; second\n" {
				t.Errorf("%s: exit code %d and %q, want %d", kind, code, said.String(), want)
			}
			if code := exitCode(errReported{err}, &said); code != want || strings.Count(said.String(), "\n") != 1 {
				t.Errorf("%s, reported: exit code %d, want %d; %q", kind, code, want, said.String())
			}
		}
	}
}
