package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"zcbench/internal/genl/netdev"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/internal/uring"
	"zcbench/udmabuf"
)

// TestLabZCRXRecord: what a user sees of a zcrx run, who prepared nothing and
// finds everything as it was.
func TestLabZCRXRecord(t *testing.T) {
	pair := testutil.Lab(t)
	before := settings(t, pair)
	r := measured(t, "local", "--link", "zc0,zc1", "--mode", "iouring", "-t", "2", "--validate", "--zcrx-area", "dmabuf", "--wait-nr", "32",
		"--busy-poll", "50")
	if after := settings(t, pair); !maps.Equal(before, after) {
		t.Errorf("settings before\n%v\nand after\n%v", before, after)
	}
	if r.RX.Engine != "zcrx" || r.RX.CopiedBytes != 0 || r.TX.Engine != "sendzc" {
		t.Errorf("%s → %s: %d of %d bytes copied", r.TX.Engine, r.RX.Engine, r.RX.CopiedBytes, r.RX.Bytes)
	}
	c := r.RX.Counters
	for _, name := range []string{"cqes", "refill_depth_max"} {
		if c[name] <= 0 {
			t.Errorf("%s is %v", name, c[name])
		}
	}
	for _, name := range []string{"rearms", "refill_stalls", "cq_overflows", "pool_empty", "flows_by_other_queues"} {
		if v, ok := c[name]; !ok || v != 0 {
			t.Errorf("%s is %v, %v, want 0", name, v, ok)
		}
	}
	if n := r.RX.Syscalls["io_uring_enter"]; n == 0 || float64(n) > c["cqes"] {
		t.Errorf("%d calls for %v completions", n, c["cqes"])
	}
}

// TestLabZCRXInherited: into a dma-buf that it was given, zcrx receives by as few
// calls as into one of its own.
func TestLabZCRXInherited(t *testing.T) {
	testutil.Lab(t)
	const size = 16 << 20
	b, err := udmabuf.New(size, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	own, err := syscall.Dup(b.FD())
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(own), "dma-buf")
	defer file.Close()
	cmd := program(t, "local", "--link", "zc0,zc1", "--tx", "baseline", "--rx", "zcrx", "-t", "2", "--mem", "fd:3", "-J")
	cmd.ExtraFiles = []*os.File{file} // 3
	out, errs, code := finish(t, cmd)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	r := record(t, out)
	for name, want := range map[string]int{"mem-size": size, "rq-entries": size / os.Getpagesize(), "wait-nr": 512} {
		if got := r.RX.Options[name]; got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	calls, pieces := r.RX.Syscalls["io_uring_register"], r.RX.Counters["cqes"]
	t.Logf("%d calls of io_uring_register for %.0f pieces", calls, pieces)
	if float64(calls) > pieces/100 || r.RX.CopiedBytes != 0 {
		t.Errorf("%d calls of io_uring_register for %.0f pieces, %d bytes copied", calls, pieces, r.RX.CopiedBytes)
	}
}

// TestLabZCRXCopies: without a queue, every byte is right and reported as
// copied.
func TestLabZCRXCopies(t *testing.T) {
	testutil.Lab(t)
	for _, more := range [][]string{
		{"--link", "veth"}, {"--link", "veth", "-6", "-P", "4"}, {"--link", "zc0,zc1", "--rx-opt", "nodev=on"},
	} {
		r := measured(t, append([]string{"local", "--mode", "iouring", "-t", "2", "--validate"}, more...)...)
		if r.RX.CopiedBytes != r.RX.Bytes || r.RX.Counters["validated_bytes"] == 0 {
			t.Errorf("%v: %d of %d bytes copied", more, r.RX.CopiedBytes, r.RX.Bytes)
		}
		if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, "rx: 100.0% of the payload of zcrx was copied") {
			t.Errorf("%v: warnings: %s", more, w)
		}
	}
}

// TestLabZCRXAstray: a flow that no rule leads to the queue is copied, and the
// record says which it was.
func TestLabZCRXAstray(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 1, 1, nil) // a rule for flow 1 alone
	r := measured(t, "local", "--link", "zc0,zc1", "--tx", "baseline", "--rx", "zcrx", "--no-tune", "-P", "2", "-t", "2", "--rx-opt",
		fmt.Sprintf("nodev=off,queue=%d", queues[0]))
	w := strings.Join(r.Warnings, "\n")
	if !strings.Contains(w, "rx: flow 2 came by another queue of zc1") || strings.Contains(w, "flow 1 came") ||
		r.RX.Counters["flows_by_other_queues"] != 1 {
		t.Errorf("warnings: %s", w)
	}
	if r.RX.CopiedBytes == 0 || r.RX.ZeroCopiedBytes == 0 || r.RX.UnknownBytes != 0 {
		t.Errorf("%d bytes zero-copied, %d copied, of %d is it unknown", r.RX.ZeroCopiedBytes, r.RX.CopiedBytes, r.RX.UnknownBytes)
	}
	if n := r.RX.Counters["copy_events"]; (n > 0) != uring.QueryZeroCopyRX().Copies {
		t.Errorf("the kernel told %v times that it copied", n)
	}
}

// TestLabZCRXExit: what this host or this moment lacks has the exit code that
// scripts rely on, and says what to do.
func TestLabZCRXExit(t *testing.T) {
	pair := testutil.Lab(t)
	local := func(opts ...string) []string {
		return append([]string{"local", "--link", "zc0,zc1", "--rx", "zcrx", "-t", "1", "-O", "0"}, opts...)
	}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{local("--no-tune"), exitFailed, "ethtool -G zc1 tcp-data-split on"},
		{local("--zcrx-area", "dmabuf", "--rx-buf-len", "32K"), exitFailed, "sysctl vm.nr_hugepages"},
		{local("--zcrx-area", "huge", "--rx-opt", "mem-size=1G"), exitFailed, "vm.nr_hugepages"},
		{local("--zcrx-area", "normal", "--mem", "udmabuf"), exitUsage, "area=dmabuf"},
		{local("--rx-opt", "rings=3,queues=2", "-P", "3"), exitUsage, "multiple"},
		{[]string{"local", "--link", "veth", "--rx", "zcrx", "--zcrx-area", "dmabuf"}, exitUsage, "copies"},
	} {
		_, errs, code := run(t, c.args...)
		if code == 0 && slices.Contains(c.args, "32K") {
			continue // the memory that it got happened to lie together
		}
		if code != c.code || !strings.Contains(errs, c.say) {
			t.Errorf("zcbench %s: exit %d, want %d and %q\n%s", strings.Join(c.args, " "), code, c.code, c.say, errs)
		}
	}
	if _, errs, code := run(t, local("--rx-opt", "grow=128M")...); code != exitUnsupported || !strings.Contains(errs, "7.3") {
		if !uring.QueryZeroCopyRX().Grow {
			t.Errorf("an area that grows: exit %d\n%s", code, errs)
		}
	}
	until(t, "the queue to be free", func() bool { return len(testutil.BoundQueues(t, pair)) == 0 })
}

// TestLabZCRXGrowth: the record says how often an area grew, and to how much.
func TestLabZCRXGrowth(t *testing.T) {
	testutil.Lab(t)
	if !uring.QueryZeroCopyRX().Grow {
		t.Skip("needs Linux 7.3")
	}
	r := labRun(t, "--tx", "baseline", "--rx", "zcrx", "-t", "2", "--validate", "--rx-opt", "mem-size=256K,grow=32M")
	c := r.RX.Counters
	size := int(c["area_bytes_max"])
	_, counted := c["area_grown"] // most of it before the window
	if r.RX.Options["grow"] != 32<<20 || !counted || size <= 256<<10 || size&(size-1) != 0 || size > 32<<20 || r.RX.CopiedBytes != 0 {
		t.Errorf("options %v, grown %v times to %v bytes, %d bytes copied", r.RX.Options, c["area_grown"], c["area_bytes_max"], r.RX.CopiedBytes)
	}
}

// TestLabZCRXKilled: whatever is killed or interrupted in the middle of a run,
// with receives armed and buffers in flight, queues, page pools and memory come
// back, and the next run works.
func TestLabZCRXKilled(t *testing.T) {
	pair := testutil.Lab(t)
	before := settings(t, pair)
	rounds := 4
	if os.Getenv("ZCBENCH_SOAK") != "" {
		rounds = 20
	}
	again := func() {
		t.Helper()
		r := measured(t, "local", "--link", "zc0,zc1", "--mode", "iouring", "-t", "2", "--validate")
		if r.RX.CopiedBytes != 0 {
			t.Errorf("%d bytes copied", r.RX.CopiedBytes)
		}
		if after := settings(t, pair); !maps.Equal(before, after) {
			t.Errorf("settings before\n%v\nand after\n%v", before, after)
		}
	}
	again() // so that what a first run leaves in caches does not count
	free := available(t)
	for round := range rounds {
		area := []string{"normal", "dmabuf"}[round%2]
		cmd := program(t, "local", "--link", "zc0,zc1", "--mode", "iouring", "-t", "50", "--zcrx-area", area, "-P", "2", "--rx-opt", "rings=2")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "the queues to be bound", func() bool { return len(testutil.BoundQueues(t, pair)) == 2 })
		time.Sleep(time.Duration(round*37%10) * 100 * time.Millisecond) // from no traffic to load
		victims := children(t, cmd.Process.Pid)
		sig := syscall.SIGKILL
		switch round / 2 % 3 {
		case 0:
			victims = victims[:1] // the receiver is the first that is started
		case 1:
			victims, sig = []int{cmd.Process.Pid}, syscall.SIGINT
		case 2:
			victims = append([]int{cmd.Process.Pid}, victims...)
		}
		for _, pid := range victims {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Error(err)
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("round %d: the run ended well", round)
		}
		until(t, fmt.Sprintf("the queues to be free (round %d)", round), func() bool { return len(testutil.BoundQueues(t, pair)) == 0 })
		until(t, fmt.Sprintf("the page pools to be gone (round %d)", round), func() bool { return len(ringPools(t, pair)) == 0 })
		again()
	}
	// A run takes 128 MiB in these areas alone.
	const slack = 48 << 20
	until(t, "the memory to come back", func() bool { return available(t)+slack > free })
	t.Logf("%d rounds: %d MiB were available before, %d are now", rounds, free>>20, available(t)>>20)
}

// ringPools are the page pools of the receiving NIC whose memory is a ring's,
// those included that wait for their last buffers.
func ringPools(t *testing.T, pair *netpair.Pair) (pools []netdev.PagePool) {
	t.Helper()
	if err := pair.RX.Do(func() error {
		i, err := net.InterfaceByName(pair.RX.Interface)
		if err != nil {
			return err
		}
		nd, err := netdev.Dial()
		if err != nil {
			return err
		}
		defer nd.Close()
		all, err := nd.PagePools(i.Index)
		for _, p := range all {
			if p.IOUring {
				pools = append(pools, p)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return pools
}

// available is the memory that programs could still have, in bytes.
func available(t *testing.T) uint64 {
	t.Helper()
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		t.Fatal(err)
	}
	m, err := fs.Meminfo()
	if err != nil {
		t.Fatal(err)
	}
	return *m.MemAvailable << 10
}
