package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/results"
	"zcbench/ringcfg"
)

// TestLabDevmemRecord: what a user sees of a devmem run, who prepared nothing
// and finds everything as it was.
func TestLabDevmemRecord(t *testing.T) {
	pair := testutil.Lab(t)
	before := settings(t, pair)
	r := measured(t, "local", "--link", "zc0,zc1", "--mode", "devmem", "--mem", "udmabuf:32M", "-t", "2", "--validate")
	if after := settings(t, pair); !maps.Equal(before, after) {
		t.Errorf("settings before\n%v\nand after\n%v", before, after)
	}
	for _, e := range []*results.End{r.RX, r.TX} {
		if e.Engine != "devmem" || e.CopiedBytes != 0 {
			t.Errorf("%s: %d of %d bytes copied", e.Engine, e.CopiedBytes, e.Bytes)
		}
	}
	c := r.RX.Counters
	for _, name := range []string{"tokens", "token_ranges", "recvmsg_frags_min", "recvmsg_frags_max", "page_pool_alloc_fast"} {
		if c[name] <= 0 {
			t.Errorf("%s is %v", name, c[name])
		}
	}
	for _, name := range []string{"linear_bytes", "plain_bytes", "partial_frees"} {
		if v, ok := c[name]; !ok || v != 0 {
			t.Errorf("%s is %v, %v, want 0", name, v, ok)
		}
	}
	n := c["recvmsg_frags_below_512"] + c["recvmsg_frags_512_to_1024"] + c["recvmsg_frags_above_1024"]
	if n == 0 || c["recvmsg_frags_max"] < c["recvmsg_frags_min"] || c["tokens"]/n > c["recvmsg_frags_max"] {
		t.Errorf("%v calls gave %v to %v pieces each, %v in all", n, c["recvmsg_frags_min"], c["recvmsg_frags_max"], c["tokens"])
	}
	if r.RX.Syscalls["setsockopt"] == 0 || r.RX.Syscalls["recvmsg"] == 0 || r.TX.Syscalls["sendmsg"] == 0 {
		t.Errorf("calls: %v, %v", r.RX.Syscalls, r.TX.Syscalls)
	}
}

// settings are all that a run could change at the receiving NIC.
func settings(t *testing.T, pair *netpair.Pair) ringcfg.Settings {
	t.Helper()
	var s ringcfg.Settings
	if err := pair.RX.Do(func() (err error) {
		s, err = ringcfg.Snapshot(pair.RX.Interface)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(s, func(name, _ string) bool { return strings.HasPrefix(name, "sysctl.") })
	return s
}

// TestLabDevmemExit: what this host or this moment lacks has the exit code that
// scripts rely on, and the kernel's own words.
func TestLabDevmemExit(t *testing.T) {
	pair := testutil.Lab(t)
	local := func(opts ...string) []string {
		return append([]string{"local", "--link", "zc0,zc1", "--rx", "devmem", "--no-tune", "-t", "1", "-O", "0"}, opts...)
	}
	_, errs, code := run(t, local()...)
	if code != exitUnsupported || !strings.Contains(errs, "tcp-data-split is disabled") ||
		!strings.Contains(errs, "ethtool -G zc1 tcp-data-split on") {
		t.Errorf("without header split: exit %d\n%s", code, errs)
	}
	testutil.Tune(t, pair, 1, 1, nil)
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{local("--rx-opt", "queue=4000"), exitFailed, ".queues.id"},
		{local("--rx-opt", "mem-size=8K"), exitFailed, "too small"},
		{local("--mem", "heap:reserved"), exitUnsupported, "/dev/dma_heap/reserved"},
		{local("--mem", "fd:0"), exitUsage, "no dma-buf"},
		{local("--mem", "fd:999"), exitUsage, "no dma-buf"},
		{local("--mem", "gpu"), exitUsage, "udmabuf[:SIZE]"},
	} {
		_, errs, code := run(t, c.args...)
		if code != c.code || !strings.Contains(errs, c.say) {
			t.Errorf("zcbench %s: exit %d, want %d and %q\n%s", strings.Join(c.args, " "), code, c.code, c.say, errs)
		}
	}
	if bound := testutil.BoundQueues(t, pair); len(bound) != 0 {
		t.Errorf("queues %v are still bound", bound)
	}
}

// TestLabDevmemVerify: headers that the NIC split from payload in a dma-buf can
// be captured, and show every frame on the queue that the run's rule names. Of
// what is sent from a dma-buf the kernel shows none.
func TestLabDevmemVerify(t *testing.T) {
	testutil.Lab(t)
	r := measured(t, "local", "--link", "zc0,zc1", "--mode", "devmem", "--verify", "-P", "2", "-t", "0.5", "-O", "1")
	v := r.RX.Verify
	if len(v.Received.Flows) != 2 || v.Received.Headers[66] == 0 {
		t.Errorf("received %+v", v.Received)
	}
	for _, f := range v.Received.Flows {
		if len(f.Steered) != 1 || f.Elsewhere != 0 || f.Queues[int(f.Steered[0])] != f.Frames || f.Bytes == 0 {
			t.Errorf("flow %+v", f)
		}
	}
	if v = r.TX.Verify; v.Sent.Bytes != 0 || v.Received.Frames == 0 {
		t.Errorf("sent %+v", v.Sent)
	}
	if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, "tx: verify saw no payload cross zc0") ||
		strings.Contains(w, "other queues") {
		t.Errorf("warnings: %s", w)
	}
}

// TestLabDevmemKilled: whatever is killed in the middle of a run, the binding
// goes with it, and the next command puts the settings back.
func TestLabDevmemKilled(t *testing.T) {
	pair := testutil.Lab(t)
	before := settings(t, pair)
	for _, all := range []bool{false, true} {
		cmd := program(t, "local", "--link", "zc0,zc1", "--mode", "devmem", "-t", "50")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "the queue to be bound", func() bool { return len(testutil.BoundQueues(t, pair)) == 1 })
		time.Sleep(time.Second) // under load
		victims := children(t, cmd.Process.Pid)
		if all {
			victims = append([]int{cmd.Process.Pid}, victims...)
		} else {
			victims = victims[:1] // the receiver is the first that is started
		}
		for _, pid := range victims {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		err := cmd.Wait()
		if err == nil {
			t.Error("the run ended well")
		}
		until(t, "the queue to be free", func() bool { return len(testutil.BoundQueues(t, pair)) == 0 })
		r := measured(t, "local", "--link", "zc0,zc1", "--mode", "devmem", "-t", "1", "--validate")
		if r.RX.CopiedBytes != 0 {
			t.Errorf("%d bytes copied after that", r.RX.CopiedBytes)
		}
		if after := settings(t, pair); !maps.Equal(before, after) {
			t.Errorf("settings before\n%v\nand after\n%v", before, after)
		}
	}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}

// children are the processes that a process has started, oldest first.
func children(t *testing.T, pid int) []int {
	t.Helper()
	var pids []int
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Fields(string(b)) {
			var child int
			if _, err := fmt.Sscan(f, &child); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	slices.Sort(pids)
	if len(pids) == 0 {
		t.Fatal("no process was started")
	}
	return pids
}

// TestLabDevmemRaw: the other end may be any TCP program.
func TestLabDevmemRaw(t *testing.T) {
	pair := testutil.Lab(t)
	t.Run("nc sends", func(t *testing.T) {
		path := built(t)
		receiver := exec.CommandContext(t.Context(), path, "rx", "--raw", "--rx", "devmem", "--iface", "zc1", "-p", "5302", "-B",
			pair.RX.Addr4.String(), "-J")
		var out strings.Builder
		receiver.Stdout, receiver.Stderr = &out, os.Stderr
		start(t, pair.RX, receiver)
		until(t, "the queue to be bound", func() bool { return len(testutil.BoundQueues(t, pair)) == 1 })
		time.Sleep(300 * time.Millisecond)
		sender := exec.CommandContext(t.Context(), "sh", "-c", "head -c 20000000 /dev/urandom | nc "+pair.RX.Addr4.String()+" 5302")
		sender.Stderr = os.Stderr
		start(t, pair.TX, sender)
		if err := receiver.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		if err := sender.Wait(); err != nil {
			t.Error(err)
		}
		if r := record(t, out.String()); r.RX.Bytes != 20000000 || r.RX.CopiedBytes != 0 {
			t.Errorf("%d bytes, %d copied", r.RX.Bytes, r.RX.CopiedBytes)
		}
	})
	t.Run("nc receives", func(t *testing.T) {
		receiver := exec.CommandContext(t.Context(), "sh", "-c", "nc -l -p 5302 | wc -c")
		var count strings.Builder
		receiver.Stdout, receiver.Stderr = &count, os.Stderr
		start(t, pair.RX, receiver)
		time.Sleep(500 * time.Millisecond)
		path := built(t)
		sender := exec.CommandContext(t.Context(), path, "tx", pair.RX.Addr4.String(), "--raw", "--tx", "devmem", "--iface", "zc0", "-p", "5302",
			"-t", "2", "-J")
		var out strings.Builder
		sender.Stdout, sender.Stderr = &out, os.Stderr
		start(t, pair.TX, sender)
		if err := sender.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		if err := receiver.Wait(); err != nil {
			t.Error(err)
		}
		r := record(t, out.String())
		var got uint64
		if _, err := fmt.Sscan(count.String(), &got); err != nil {
			t.Fatal(err)
		}
		if got < r.TX.Bytes || r.TX.CopiedBytes != 0 {
			t.Errorf("%d bytes received, %d sent in the window, %d of them copied", got, r.TX.Bytes, r.TX.CopiedBytes)
		}
	})
}

func start(t *testing.T, at netpair.End, cmd *exec.Cmd) {
	t.Helper()
	if err := at.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
}

// TestLabCounters: a NIC that counts is read, and what it says agrees with the
// run.
func TestLabCounters(t *testing.T) {
	testutil.Lab(t)
	r := measured(t, "local", "--link", "zc0,zc1", "--mode", "devmem", "--mem", "udmabuf:32M", "-t", "2", "-i", "0.5",
		"--counters", "cpu,link,qstats,pagepool,tcp")
	for _, c := range []struct {
		end   *results.End
		bytes string
		some  []string
	}{
		{r.RX, "qstat_rx_bytes", []string{"qstat_rx_packets", "link_rx_packets", "nic_pool_inflight_bytes", "nic_pool_alloc_fast"}},
		{r.TX, "qstat_tx_bytes", []string{"qstat_tx_packets", "link_tx_packets", "tcp_busy_us"}},
	} {
		for _, name := range c.some {
			if c.end.Counters[name] <= 0 {
				t.Errorf("%s: %s is %v", c.end.Engine, name, c.end.Counters[name])
			}
		}
		if n := c.end.Counters[c.bytes]; n < 0.95*float64(c.end.Bytes) || n > 1.5*float64(c.end.Bytes)+16<<20 {
			t.Errorf("%s: %s is %v, the run moved %d", c.end.Engine, c.bytes, n, c.end.Bytes)
		}
	}
	moved := 0
	for _, s := range r.Samples {
		if s.Series["qstat_rx_packets_per_second"] > 0 || s.Series["qstat_tx_packets_per_second"] > 0 {
			moved++
		}
	}
	if moved < 6 {
		t.Errorf("%d samples with packets", moved)
	}
}
