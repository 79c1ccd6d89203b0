package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"zcbench/lab/internal/wire"
)

func TestTrouble(t *testing.T) {
	for _, c := range []struct {
		line string
		bad  bool
	}{
		{"WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2", true},
		{"BUG: kernel NULL pointer dereference, address: 0000000000000000", true},
		{"Oops: int3: 0000 [#1] SMP NOPTI", true},
		{"kernel BUG at mm/slub.c:1!", true},
		{"page_pool_release_retry() stalled pool shutdown: id 3, 16 inflight 60 sec", true},
		{"unregister_netdevice: waiting for zc0 to become free. Usage count = 2", true},
		{"watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", true},
		{"INFO: task ip:99 blocked for more than 120 seconds.", true},
		{"refcount_t: underflow; use-after-free.", true},
		{"zcnic: loading out-of-tree module taints kernel.", false},
		{"clocksource: timekeeping watchdog on CPU0: wd-tsc-wd read-back delay", false},
		{"ima: No TPM chip found, activating TPM-bypass!", false},
		{"DEBUG: something", false},
	} {
		if got := len(Trouble([]string{c.line})) > 0; got != c.bad {
			t.Errorf("%q: trouble %v, want %v", c.line, got, c.bad)
		}
	}
	log := append(append([]string{"before", "BUG: here"}, strings.Split(strings.Repeat("after ", 40), " ")...), "end")
	if got := Trouble(log); len(got) != follow || got[0] != "BUG: here" {
		t.Errorf("%d lines from %q on, want %d", len(got), got[0], follow)
	}
}

// guest writes frames as a guest would.
func guest(t *testing.T, send func(w *wire.Writer)) io.Reader {
	t.Helper()
	var b bytes.Buffer
	send(wire.NewWriter(&b))
	return &b
}

func TestServe(t *testing.T) {
	var out, errout bytes.Buffer
	type step struct {
		i, status int
		trouble   []string
	}
	var steps []step
	h := &host{steps: 2, Streams: Streams{Stdout: &out, Stderr: &errout, StepDone: func(i, status int, trouble []string) {
		steps = append(steps, step{i, status, trouble})
	}}}
	err := h.serve(guest(t, func(w *wire.Writer) {
		w.Send(wire.Kmsg, []byte("booting"))
		w.Send(wire.Ready, []byte("zcnic"))
		w.Send(wire.Stdout, []byte("one"))
		w.Send(wire.Stderr, []byte("two"))
		w.Send(wire.Kmsg, []byte("WARNING: at x"))
		w.Send(wire.Exit, []byte("0"))
		w.Send(wire.Exit, []byte("7"))
		w.Send(wire.Stdout, []byte("after the end"))
	}))
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != "one" || errout.String() != "two" || h.res.Pair != "zcnic" {
		t.Errorf("stdout %q, stderr %q, pair %q", out.String(), errout.String(), h.res.Pair)
	}
	if want := []step{{0, 0, []string{"WARNING: at x"}}, {1, 7, nil}}; !reflect.DeepEqual(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	if want := []int{0, 7}; !reflect.DeepEqual(h.res.Status, want) {
		t.Errorf("status %v, want %v", h.res.Status, want)
	}
}

func TestServeEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(w *wire.Writer)
		want string
	}{
		{"when the guest dies", func(w *wire.Writer) { w.Send(wire.Ready, nil) }, "EOF"},
		{"when init fails", func(w *wire.Writer) { w.Send(wire.Failed, []byte("no module")) }, "no module"},
		{"on nonsense", func(w *wire.Writer) { w.Send(wire.Exit, []byte("x")) }, "exit status"},
		{"when there is no end of it", func(w *wire.Writer) {
			for range outputLimit/wire.MaxPayload + 1 {
				w.Send(wire.Stdout, make([]byte, wire.MaxPayload))
			}
		}, "printed more than"},
	} {
		h := &host{steps: 1, Streams: Streams{Stdout: io.Discard, Stderr: io.Discard}}
		if err := h.serve(guest(t, c.send)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestChooseAccel(t *testing.T) {
	t.Setenv(AccelEnv, "tcg")
	never := func(context.Context, Accel) error { t.Error("tried what was decided"); return nil }
	if c, err := ChooseAccel(t.Context(), t.TempDir(), never); c.Accel != TCG || c.Why == "" || err != nil {
		t.Errorf("forced tcg: %+v, %v", c, err)
	}
	t.Setenv(AccelEnv, "hvf")
	if _, err := ChooseAccel(t.Context(), t.TempDir(), never); err == nil {
		t.Error("hvf was accepted")
	}
}

// TestChoiceIsRemembered: what came of trying KVM is known, with the reason,
// until it is forgotten.
func TestChoiceIsRemembered(t *testing.T) {
	t.Setenv(AccelEnv, "")
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil {
		c, err := ChooseAccel(t.Context(), t.TempDir(), nil)
		if err != nil || c.Accel != TCG || !strings.Contains(c.String(), "emulating: there is no KVM: open /dev/kvm") {
			t.Errorf("without KVM: %v, %v", c, err)
		}
		return
	} else {
		f.Close()
	}
	dir, tried := t.TempDir(), 0
	outcome := fmt.Errorf("%w: timed out (QEMU: signal: killed)\nthe console\nof the guest", errNoBoot)
	try := func(context.Context, Accel) error { tried++; return outcome }
	for _, c := range []struct {
		forget bool
		tried  int
		want   string
	}{
		{false, 1, "emulating: KVM could not boot the guest: timed out (QEMU: signal: killed)"},
		{false, 1, "emulating: KVM could not boot the guest: timed out (QEMU: signal: killed)"},
		{true, 2, "using KVM: it boots the guest"},
		{false, 2, "using KVM: it boots the guest"},
	} {
		if c.forget {
			outcome = nil
			if err := Forget(dir); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ChooseAccel(t.Context(), dir, try)
		if err != nil || got.String() != c.want || tried != c.tried {
			t.Errorf("%q after %d tries, %v; want %q after %d", got, tried, err, c.want, c.tried)
		}
	}
	if _, ok := remembered(filepath.Join(dir, chosen), "another boot"); ok {
		t.Error("it outlived the machine's restart")
	}
	if err := Forget(t.TempDir()); err != nil {
		t.Errorf("forget what is not there: %v", err)
	}
}

func TestTail(t *testing.T) {
	l := &tail{limit: 10}
	l.Write([]byte("0123456789"))
	l.Write([]byte("ab\ncd\n"))
	if got := l.String(); got != "6789ab\ncd\n" {
		t.Errorf("kept %q", got)
	}
	if got := l.last(1); got != "cd" {
		t.Errorf("last line %q", got)
	}
	if prefixed(": ", " \n") != "" || prefixed(": ", "x") != ": x" {
		t.Error("prefixed")
	}
}
