package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/outside"
	"zcbench/results"
	"zcbench/ringcfg"
)

// nic is one of QEMU's NICs, which the lab has by make lab NIC=…
type nic struct {
	driver string
	// settings are some that it takes, of each family that it has, and refused
	// some that it does not, with what is said of it.
	settings []string
	refused  map[string]string
	gathers  bool // it sends packets in pieces, and so without a copy
}

var nics = map[string]nic{
	"igb": {"igb", []string{"mtu=4148", "rx-ring=512", "channels=1", "rx-usecs=33", "tso=off", "irq.tx-0=1", "napi.rx-0.threaded=on",
		"queue.rx-0.rps-cpus=cpus 1",
		"rss.key=" + strings.Repeat("5a", 40)},
		map[string]string{"gro-hw=on": "gro-hw: not supported by driver igb", "rss.key=00": "rss.key of zc1 is 40 bytes in hexadecimal"}, true},
	"e1000e": {"e1000e", []string{"mtu=4148", "rx-ring=512", "rx-usecs=33", "tso=off", "irq.rx-0=1", "irq.tx-0=0", "napi.rx-0.threaded=on",
		"queue.rx-0.rps-cpus=cpus 1"},
		map[string]string{"channels=1": "channels: not supported by driver e1000e"}, true},
	"vmxnet3": {"vmxnet3", []string{"mtu=4148", "rx-ring=512", "lro=off", "irq.rx-0=1", "irq.rx-1=0", "threaded=on", "rss=equal 1",
		"queue.rx-0.rps-cpus=cpus 1"},
		map[string]string{"channels=1": "driver vmxnet3 of zc1 shows its channels settings, and does not let this be changed",
			"rss=0 7": "no queue 7"}, true},
	"virtio": {"virtio_net", []string{"mtu=4148", "rx-ring=512", "gro=off", "irq.rx-0=1", "irq.tx-0=0", "napi.rx-0.threaded=on",
		"queue.rx-0.rps-cpus=cpus 1"},
		map[string]string{"rx-usecs=33": "driver virtio_net of zc1 shows its coalesce settings, and does not let this be changed",
			"sg=on": "sg: not supported by driver virtio_net"}, false},
}

// labNIC gives the lab's pair where it is of a NIC that others wrote the driver of.
func labNIC(t *testing.T) (*netpair.Pair, nic) {
	t.Helper()
	model := os.Getenv("ZCBENCH_LAB_NIC")
	if model == "" {
		t.Skip("runs in the lab with a NIC of QEMU's: make test-nics")
	}
	n, ok := nics[model]
	if !ok {
		t.Fatalf("no such NIC: %s", model)
	}
	return testutil.Lab(t), n
}

// nicRun runs over the NICs. One that a busy machine starved, which then is a failed
// run, is repeated.
func nicRun(t *testing.T, args ...string) results.Record {
	t.Helper()
	args = append([]string{"local", "--link", "zc0,zc1", "-J"}, args...)
	var out, errs string
	var code int
	for range 3 {
		if out, errs, code = run(t, args...); code == 0 {
			return record(t, out)
		}
		if code != exitFailed {
			break
		}
	}
	t.Fatalf("zcbench %s: exit %d\n%s", strings.Join(args, " "), code, errs)
	return results.Record{}
}

// apply are the arguments that make all settings.
func (n nic) apply() []string {
	args := []string{"tune", "apply", "-i", "zc1"}
	for _, s := range n.settings {
		args = append(args, "--set", s)
	}
	return args
}

// TestNICSettings shows, changes and puts back what a driver has, and wants a reason
// for what it has not.
func TestNICSettings(t *testing.T) {
	pair, n := labNIC(t)
	before := outside.Look(t, &pair.RX)
	out, errs, code := run(t, "tune", "show", "-i", "zc1", "--json")
	var v ringcfg.View
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || v.Driver != n.driver {
		t.Fatalf("tune show: exit %d, %v, driver %q\n%s", code, err, v.Driver, errs)
	}
	for _, q := range v.Queues {
		if q.IRQ == 0 || q.CPUs == "" {
			t.Errorf("%s: interrupt %d on CPUs %q", q.Name, q.IRQ, q.CPUs)
		}
	}
	out, errs, code = run(t, n.apply()...)
	if code != 0 {
		t.Fatalf("tune apply: exit %d\n%s%s", code, out, errs)
	}
	t.Logf("%s", out)
	now := settings(t, pair)
	for _, s := range n.settings {
		name, _, _ := strings.Cut(s, "=")
		for _, pattern := range ringcfg.Names(name) {
			changed := false // one of those that a pattern is of may be so already
			for full := range v.Settings {
				is, err := path.Match(pattern, full)
				if err != nil {
					t.Fatal(err)
				}
				changed = changed || is && now[full] != v.Settings[full]
			}
			if !changed {
				t.Errorf("%s: %s as before", s, pattern)
			}
		}
	}
	out, errs, code = run(t, "tune", "restore", "-i", "zc1")
	if code != 0 || !strings.Contains(out, "put back") {
		t.Errorf("tune restore: exit %d\n%s%s", code, out, errs)
	}
	for setting, why := range n.refused {
		_, errs, code := run(t, "tune", "apply", "-i", "zc1", "--set", setting)
		if code != exitUnsupported && code != exitUsage || !strings.Contains(errs, why) || strings.Count(errs, "\n") != 1 {
			t.Errorf("--set %q: exit %d, want one line with %q\n%s", setting, code, why, errs)
		}
	}
	if after := outside.Look(t, &pair.RX); after != before {
		t.Errorf("not as before:\n%s\nbefore it was\n%s", after, before)
	}
	if out, errs, code := run(t, "tune", "verify", "-i", "zc1", "-t", "0.5"); code != 0 {
		t.Errorf("tune verify: exit %d\n%s%s", code, out, errs)
	}
}

// TestNICKilled kills the program while it changes settings, and while it puts them
// back.
func TestNICKilled(t *testing.T) {
	pair, n := labNIC(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	before := outside.Look(t, &pair.RX)
	began := time.Now()
	if out, errs, code := run(t, n.apply()...); code != 0 {
		t.Fatalf("tune apply: exit %d\n%s%s", code, out, errs)
	}
	span := time.Since(began)
	if out, errs, code := run(t, "tune", "restore", "-i", "zc1"); code != 0 {
		t.Fatalf("tune restore: exit %d\n%s%s", code, out, errs)
	}
	open := 0
	for round := range 20 {
		killed(t, r, span, n.apply()...)
		if left, _ := filepath.Glob("/run/zcbench/*.journal"); len(left) > 0 {
			open++
		}
		if r.IntN(2) == 0 {
			killed(t, r, span, "tune", "restore", "-i", "zc1")
		}
		if out, errs, code := run(t, "tune", "restore", "-i", "zc1"); code != 0 {
			t.Fatalf("round %d: tune restore: exit %d\n%s%s", round, code, out, errs)
		}
		if after := outside.Look(t, &pair.RX); after != before {
			t.Fatalf("round %d: not as before:\n%s\nbefore it was\n%s", round, after, before)
		}
	}
	t.Logf("all settings take %v; %d died over an open journal", span, open)
	if open == 0 {
		t.Error("none was killed in the middle of a change: the test proves nothing")
	}
	if left, _ := filepath.Glob("/run/zcbench/*.journal"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// killed starts a command that takes about span, and kills it within that.
func killed(t *testing.T, r *rand.Rand, span time.Duration, args ...string) {
	t.Helper()
	cmd := program(t, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Duration(r.Int64N(int64(span))))
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()
}

// TestNICRuns: a run by calls that copy, and one by MSG_ZEROCOPY, of which the record
// tells whether the NIC took the payload where it lay.
func TestNICRuns(t *testing.T) {
	_, n := labNIC(t)
	for _, mode := range []string{"baseline", "msgzc"} {
		r := nicRun(t, "--mode", mode, "-t", "3", "--validate")
		t.Logf("%s: %.4f Gbit/s, of %d bytes %d sent without a copy, of %d is it unknown: %q", mode, r.Gbps, r.TX.Bytes, r.TX.ZeroCopiedBytes,
			r.TX.UnknownBytes, copyWarnings(&r))
		said := strings.Join(copyWarnings(&r), "\n")
		switch {
		case mode == "baseline":
			if r.TX.ZeroCopiedBytes != 0 {
				t.Errorf("%s: %d bytes zero-copied", mode, r.TX.ZeroCopiedBytes)
			}
		case n.gathers:
			// Of the last sends the kernel has not told yet, which on a busy machine
			// are many.
			if r.TX.CopiedBytes != r.TX.UnknownBytes || r.TX.ZeroCopiedBytes == 0 {
				t.Errorf("%s: of %d bytes %d copied, of %d is it unknown", mode, r.TX.Bytes, r.TX.CopiedBytes, r.TX.UnknownBytes)
			}
		default:
			if r.TX.ZeroCopiedBytes != 0 || !strings.Contains(said, "zc0 has no scatter-gather") || !strings.Contains(said, "its driver cannot") {
				t.Errorf("%s: %d bytes zero-copied: %s", mode, r.TX.ZeroCopiedBytes, said)
			}
		}
	}
}

// TestNICVerify: the frames of a run are seen to cross, before it is measured. What the
// kernel copies for that is not said to be for a socket of this machine.
func TestNICVerify(t *testing.T) {
	labNIC(t)
	for _, mode := range []string{"baseline", "msgzc"} {
		var v *results.Crossing
		for range 3 { // a busy machine may send nothing meanwhile
			r := nicRun(t, "--mode", mode, "--verify", "-t", "1", "-O", "4")
			w := strings.Join(copyWarnings(&r), "\n")
			t.Logf("%s: of %d bytes %d sent without a copy: %q", mode, r.TX.Bytes, r.TX.ZeroCopiedBytes, w)
			if strings.Contains(w, "veth") {
				t.Errorf("%s: %s", mode, w)
			}
			if v = r.RX.Verify; v != nil && v.Received.Bytes > 0 {
				break
			}
		}
		if v == nil || v.Received.Bytes == 0 {
			t.Errorf("%s: verify saw nothing: %+v", mode, v)
		}
	}
}

// TestNICRefused: what none of these drivers can ends at once, with the reason in one
// line, and changes nothing.
func TestNICRefused(t *testing.T) {
	pair, n := labNIC(t)
	before := outside.Look(t, &pair.RX)
	for _, c := range []struct {
		args []string
		say  string
	}{
		{[]string{"--mode", "devmem"}, "zc1 cannot bind a dma-buf: its driver has no queue API"},
		{[]string{"--tx", "baseline", "--rx", "devmem"}, "zc1 cannot bind a dma-buf: its driver has no queue API"},
		{[]string{"--tx", "devmem", "--rx", "baseline"}, "Driver does not support netmem TX"},
		{[]string{"--mode", "iouring", "--rx-opt", "queue=0"}, "driver " + n.driver},
		{[]string{"--mode", "iouring", "--rx-opt", "queues=1"}, "driver " + n.driver},
	} {
		out, errs, code := run(t, append([]string{"local", "--link", "zc0,zc1", "-t", "1"}, c.args...)...)
		t.Logf("%s: %s", strings.Join(c.args, " "), errs)
		if code != exitUnsupported || !strings.Contains(errs, c.say) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, want %d and one line with %q\n%s%s", strings.Join(c.args, " "), code, exitUnsupported, c.say, out, errs)
		}
	}
	if after := outside.Look(t, &pair.RX); after != before {
		t.Errorf("not as before:\n%s\nbefore it was\n%s", after, before)
	}
}

// TestNICProfile: a profile asks for what there is alone, and is put back.
func TestNICProfile(t *testing.T) {
	pair, _ := labNIC(t)
	before := outside.Look(t, &pair.RX)
	for _, name := range []string{"netdev-0x19", "latency-safe"} {
		out, errs, code := run(t, "tune", "apply", "-i", "zc1", "--profile", name)
		if code != 0 {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, errs)
		}
		if out, errs, code := run(t, "tune", "restore", "-i", "zc1"); code != 0 {
			t.Errorf("%s: tune restore: exit %d\n%s%s", name, code, out, errs)
		}
	}
	if after := outside.Look(t, &pair.RX); after != before {
		t.Errorf("not as before:\n%s\nbefore it was\n%s", after, before)
	}
}
