package labtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"zcbench/internal/netpair"
)

// finding is what zcbench probe says of one engine.
type finding struct {
	Direction, Engine, Answer, Reason, Fix string
}

// zcbench runs the program and returns its exit status.
func zcbench(args ...string) (status int, stdout, stderr string, err error) {
	cmd := exec.Command("zcbench", args...)
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), out.String(), errout.String(), err
}

// TestProbeTellsTheTruth tries what zcbench probe says is possible on this
// kernel, and what it says is not. It runs on kernels old and new, the old
// ones with a veth pair.
func TestProbeTellsTheTruth(t *testing.T) {
	needLab(t)
	pair, err := netpair.Find("zc0", "zc1")
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	before := map[string]ran{}
	for _, end := range []struct {
		direction string
		*netpair.End
	}{{"tx", &pair.TX}, {"rx", &pair.RX}} {
		var engines []finding
		if err := end.Do(func() error {
			status, out, errout, err := zcbench("probe", "-i", end.Interface, "--json")
			if err != nil {
				return err
			}
			if status != 0 {
				return fmt.Errorf("probe: exit status %d: %s", status, errout)
			}
			var report struct{ Engines []finding }
			err = json.Unmarshal([]byte(out), &report)
			engines = report.Engines
			return err
		}); err != nil {
			t.Fatal(err)
		}
		tried := 0
		for _, f := range engines {
			if f.Direction != end.direction {
				continue
			}
			tried++
			t.Run(f.Direction+"/"+f.Engine, func(t *testing.T) { f.try(t, before) })
		}
		if tried == 0 {
			t.Errorf("probe says nothing about %s", end.direction)
		}
	}
}

// ran is how a run ended.
type ran struct {
	status int
	errout string
}

// try holds a finding against a run, or against the one there was of both engines.
func (f finding) try(t *testing.T, before map[string]ran) {
	args := []string{"local", "--link", "zc0,zc1", "-t", "1", "-O", "0", "--rx", "baseline", "--tx", "baseline"}
	if f.Direction == "rx" || f.Engine == "null" { // which goes with its like
		args[8] = f.Engine
	}
	if f.Direction == "tx" || f.Engine == "null" {
		args[10] = f.Engine
	}
	engines := strings.Join(args[7:], " ")
	r, known := before[engines]
	if !known {
		var err error
		if r.status, _, r.errout, err = zcbench(args...); err != nil {
			t.Fatal(err)
		}
		before[engines] = r
	}
	status, errout := r.status, r.errout
	why := strings.TrimSpace(errout[strings.LastIndex(strings.TrimSpace(errout), "\n")+1:])
	t.Logf("probe: %s (%s); run: exit status %d (%s)", f.Answer, f.Reason, status, why)
	switch f.Answer {
	case "yes":
		if status != 0 {
			t.Errorf("said to work, ends with status %d: %s", status, errout)
		}
	case "no":
		if f.Reason == "" || f.Fix == "" {
			t.Errorf("says no, without a reason (%q) or what to do (%q)", f.Reason, f.Fix)
		}
		if status != 3 || !strings.Contains(why, f.Reason) {
			t.Errorf("said not to work because %q, ends with status %d (%q), want 3 and that reason", f.Reason, status, why)
		}
	default: // root asks about an interface: all can be known, but what a driver keeps to itself
		if !strings.Contains(f.Reason, "driver bnxt_en tells only when memory is bound") || status != 0 {
			t.Errorf("answer %q, exit status %d", f.Answer, status)
		}
	}
}
