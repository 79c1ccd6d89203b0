package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/experiment/site"
	"zcbench/internal/exhaust"
	"zcbench/internal/fault"
	"zcbench/internal/perf"
	"zcbench/internal/printable"
	"zcbench/internal/remote"
	"zcbench/power"
	"zcbench/results"
	"zcbench/ringcfg"
	"zcbench/udmabuf"
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

// TestKindsAllTheWay: what a package far down says of an error is what its exit code
// and its record's status say, also where another process has it from the wire; and what
// ends for want of descriptors is nothing that this host lacks.
func TestKindsAllTheWay(t *testing.T) {
	meter := func(spec string) func() error {
		return func() error {
			m, err := power.Open(t.Context(), spec)
			if err == nil {
				err = errors.Join(errors.New("it opened"), m.Close())
			}
			return err
		}
	}
	memory := func(heap string) func() error {
		return func() error {
			b, err := udmabuf.New(4096, false)
			if heap != "" {
				b, err = udmabuf.FromHeap(heap, 4096)
			}
			if err == nil {
				err = errors.Join(errors.New("it was made"), b.Close())
			}
			return err
		}
	}
	host := func(says string) func() error {
		ssh := filepath.Join(t.TempDir(), "ssh")
		if err := os.WriteFile(ssh, []byte("#!/bin/sh\n"+says+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return func() error {
			t.Setenv(remote.CommandEnv, ssh)
			there := experiment.Host{Name: "there", SSH: "there"}
			open := site.Program{Version: version, Stderr: io.Discard}
			_, err := open.Open(t.Context(), &experiment.Spec{Pairs: []experiment.Pair{{RX: there, TX: there}}})
			return err
		}
	}
	interrupted, end := context.WithCancelCause(t.Context())
	end(fault.Errorf(fault.Interrupted, "ended by signal: interrupt"))
	for name, c := range map[string]struct {
		from  func() error
		want  fault.Kind
		opens bool // and has failed without descriptors
	}{
		"a setting that there is not":     {func() error { return ringcfg.Check("no-such", "1") }, fault.Usage, false},
		"a meter that there is not":       {meter("no-such:1"), fault.Usage, false},
		"a descriptor that is no dma-buf": {func() error { _, err := udmabuf.FromFD(0); return err }, fault.Usage, false},
		"a heap that there is not":        {memory("no-such"), fault.Unsupported, true},
		"a host of another system":        {host("echo zcbench-host; echo Plan9; echo vax; echo /"), fault.Unsupported, true},
		"a host that does not answer":     {host("echo refused >&2; exit 255"), fault.Unreachable, true},
		"a plug that does not answer":     {meter("tasmota:127.0.0.1:1"), fault.Unreachable, false},
		"an event that there is not": {func() error {
			_, err := perf.Count(perf.Event{Type: 1 << 30}, 0, perf.Any)
			return err
		}, fault.Unsupported, true},
		"a command that fails": {meter("exec:exit 3"), fault.Failed, false},
		"a signal":             {func() error { return context.Cause(interrupted) }, fault.Interrupted, false},
	} {
		errs := map[fault.Kind]error{c.want: c.from()}
		if c.opens {
			exhaust.Descriptors(t, func() { errs[fault.Failed] = c.from() })
		}
		for want, err := range errs {
			if err == nil || fault.Of(err) != want {
				t.Errorf("%s: %v, of kind %s, want %s", name, err, fault.Of(err), want)
				continue
			}
			if code := exitCode(fmt.Errorf("around: %w", err), io.Discard); code != want.Exit() {
				t.Errorf("%s: exit code %d, want %d", name, code, want.Exit())
			}
			heard := overTheWire(t, err)
			if fault.Of(heard) != want || heard.Error() != printable.Line(err.Error()) {
				t.Errorf("%s: sent %v, heard %v of kind %s", name, err, heard, fault.Of(heard))
			}
			for _, err := range []error{err, heard} {
				status := results.Failed
				if want == fault.Unsupported {
					status = results.Skipped
				}
				rec, got := driver.Drive(t.Context(), driver.Run{Refused: err})
				if rec.Status != status || rec.Reason != err.Error() || fault.Of(got) != want {
					t.Errorf("%s: the record is %s: %s; want %s", name, rec.Status, rec.Reason, status)
				}
			}
		}
	}
}

// overTheWire is an error as the other end of a control connection has it.
func overTheWire(t *testing.T, err error) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _ = wire.NewLink(a, wire.MaxReply).SendError(err) }()
	m, rerr := wire.NewLink(b, wire.MaxReply).Receive()
	if rerr != nil || m.Error == nil {
		t.Fatalf("sent %v, received %+v, %v", err, m, rerr)
	}
	return m.Error.Err()
}
