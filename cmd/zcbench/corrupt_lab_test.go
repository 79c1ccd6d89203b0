package main

import (
	"os/exec"
	"testing"

	"zcbench/internal/testutil"
)

// TestLabChecksums: frames whose checksums come complete, some of them wrong, reach
// memory that the stack must not read. The lab fails a test whose kernel warns, as it
// does where it is to sum up such memory.
func TestLabChecksums(t *testing.T) {
	testutil.Lab(t)
	sender := func(args ...string) error {
		out, err := exec.Command("ip", append([]string{"netns", "exec", "zctx"}, args...)...).CombinedOutput()
		if err != nil {
			t.Logf("%v: %v: %s", args, err, out)
		}
		return err
	}
	if err := sender("ethtool", "-K", "zc0", "tx", "off", "tso", "off"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender("ethtool", "-K", "zc0", "tx", "on", "tso", "on") }()
	for _, corrupt := range []string{"0%", "0.1%"} {
		if corrupt != "0%" {
			_ = exec.Command("modprobe", "sch_netem").Run()
			if sender("tc", "qdisc", "replace", "dev", "zc0", "root", "netem", "corrupt", corrupt) != nil {
				t.Log("this kernel has no netem: nothing was corrupted")
				break
			}
			defer func() { _ = sender("tc", "qdisc", "del", "dev", "zc0", "root") }()
		}
		for _, engine := range []string{"devmem", "zcrx"} {
			// Corruption of a handshake may end a run; a wrong byte or a warning must not come of it.
			out, errs, code := run(t, "local", "--link", "zc0,zc1", "--tx", "baseline", "--rx", engine,
				"--validate", "-t", "3", "-O", "0.5", "-i", "0", "--counters", "none")
			if code != 0 && corrupt == "0%" {
				t.Errorf("%s: exit %d\n%s%s", engine, code, out, errs)
			}
		}
	}
}
