package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/netpair"
	"zcbench/internal/printable"
	"zcbench/internal/testutil"
	"zcbench/results"
	"zcbench/results/caveat"
)

// codes are those of a record's warnings, each once.
func codes(r *results.Record) []caveat.Code {
	var all []caveat.Code
	for _, w := range r.Warnings {
		if c := caveat.CodeOf(w); c != "" {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// warning is the end's of the code, "" where there is none.
func warning(r *results.Record, end string, code caveat.Code) string {
	for _, w := range r.Warnings {
		if caveat.CodeOf(w) == code && strings.HasPrefix(w, end) {
			return w
		}
	}
	return ""
}

// TestStoryBytes: what a run says crossed is what the interfaces counted, at any
// speed and with calls that are far longer than the window.
func TestStoryBytes(t *testing.T) {
	needNamespaces(t)
	const mbit = 1000 * 1000
	short := []string{"-t", "1.5", "-O", "0.5"}
	for _, c := range []struct {
		rate uint64
		args []string
	}{
		{mbit, []string{"-t", "3", "-O", "1"}},
		{mbit, []string{"-t", "3", "-O", "1", "--mode", "msgzc"}},
		{mbit, []string{"-t", "3", "-O", "1", "--tx", "sendzc", "--rx", "uring"}},
		{mbit, []string{"-t", "3", "-O", "1", "--tx", "uring", "--rx", "trunc"}},
		{mbit, []string{"-t", "3", "-O", "1", "--tx", "sendfile", "--rx", "mmap"}},
		{50 * mbit, append(short, "--tx", "sendzc", "--rx", "baseline")},
		{100 * mbit, append(short, "-l", "16M")},
		{100 * mbit, append(short, "-l", "32M")},
		{100 * mbit, append(short, "-l", "16M", "--mode", "msgzc")},
		{100 * mbit, append(short, "-l", "16M", "--tx", "uring", "--rx", "uring")},
		{100 * mbit, append(short, "-l", "32M", "--tx", "sendzc", "--rx", "trunc")},
		{100 * mbit, append(short, "--tx", "sendfile", "--rx", "mmap", "-P", "3")},
		{1000 * mbit, append(short, "--tx", "sendzc", "--rx", "baseline", "-l", "16M")},
		{0, []string{"-t", "1.5", "-O", "0.2", "-l", "512M"}},
		{0, []string{"-t", "1", "-O", "0.2", "-l", "16M", "--mode", "msgzc"}},
		{0, []string{"-t", "1", "-O", "0.2", "--tx", "sendzc", "--rx", "uring"}},
		{0, []string{"-t", "1", "-O", "0.2", "--tx", "sendfile", "--rx", "trunc", "-P", "3"}},
	} {
		t.Run(fmt.Sprintf("%d Mbit %s", c.rate/mbit, strings.Join(c.args, " ")), func(t *testing.T) {
			if 0 < c.rate && c.rate <= 100*mbit {
				t.Parallel() // it hardly needs a CPU
			}
			l := testutil.NewLink(t, c.rate)
			out, errs, code := attempt(t, append([]string{"local", "--link", l.TX + "," + l.RX, "-J"}, c.args...)...)
			if code == exitUnsupported {
				t.Skip(errs)
			}
			if code != 0 {
				t.Fatalf("exit %d: %s", code, errs)
			}
			r := record(t, out)
			sameBytes(t, l, &r)
		})
	}
}

// sameBytes wants both ends' bytes to be what the interfaces counted meanwhile.
func sameBytes(t *testing.T, l *testutil.Link, r *results.Record) {
	t.Helper()
	for _, what := range otherBytes(t, l, r) {
		t.Error(what)
	}
}

// otherBytes compares both ends' bytes with what the interfaces counted meanwhile, and
// says what differs.
func otherBytes(t *testing.T, l *testutil.Link, r *results.Record) (differs []string) {
	t.Helper()
	from, err := time.Parse(time.RFC3339Nano, r.Started)
	if err != nil {
		t.Fatal(err)
	}
	sent, received := l.Crossed(from, from.Add(time.Duration(r.Window*1e9)))
	again := 0.0 // what crossed twice
	for _, f := range r.Flows {
		again += float64(f.TX.Retransmits) * 1448
	}
	for _, e := range []struct {
		name  string
		bytes uint64
		want  float64
	}{{"receiver", r.RX.Bytes, received}, {"sender", r.TX.Bytes, sent}} {
		// And what crosses while a busy machine is late to look.
		off := max(64<<10, e.want/100) + e.want/r.Window*0.02 + again
		if got := float64(e.bytes); math.Abs(got-e.want) > off && !slices.Contains(codes(r), caveat.BytesCoarse) && !slices.Contains(codes(r),
			caveat.BytesDiffer) {
			differs = append(differs, fmt.Sprintf("%s: %.0f bytes, its interface counted %.0f (%+.2f%%)\n%s", e.name, got, e.want,
				100*(got-e.want)/e.want, strings.Join(r.Warnings, "\n")))
		}
	}
	var rx, tx uint64
	for _, f := range r.Flows {
		rx, tx = rx+f.RX.Bytes, tx+f.TX.Bytes
	}
	if rx != r.RX.Bytes || tx != r.TX.Bytes {
		differs = append(differs, fmt.Sprintf("flows add up to %d and %d bytes of %d and %d", rx, tx, r.RX.Bytes, r.TX.Bytes))
	}
	t.Logf("sender %d of %.0f bytes (%+.2f%%), receiver %d of %.0f (%+.2f%%); %v", r.TX.Bytes, sent, 100*(float64(r.TX.Bytes)-sent)/sent,
		r.RX.Bytes, received, 100*(float64(r.RX.Bytes)-received)/received, codes(r))
	return differs
}

// during runs zcbench and calls act once the window has opened, with the process
// of each end.
func during(t *testing.T, act func(rx, tx int), args ...string) results.Record {
	t.Helper()
	cmd := program(t, append([]string{"local", "-i", "0.1", "--json-stream"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var r results.Record
	acted := false
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var e struct {
			Event string
			Data  json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("not JSON: %q", lines.Bytes())
		}
		switch {
		case e.Event == "interval" && !acted:
			acted = true
			act(ends(t, cmd))
		case e.Event == "end":
			if err := json.Unmarshal(e.Data, &r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !acted || r.Status != results.OK {
		t.Fatalf("%v; acted %t; record %s (%s)", err, acted, r.Status, r.Reason)
	}
	return r
}

// ends are the processes of both ends, which the driver starts in turn.
func ends(t *testing.T, driver *exec.Cmd) (rx, tx int) {
	t.Helper()
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		b, err := os.ReadFile(s)
		if err != nil {
			continue // it is gone
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(driver.Process.Pid) {
			n, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
			pids = append(pids, n)
		}
	}
	slices.Sort(pids)
	if len(pids) != 2 {
		t.Fatalf("the driver has children %v, want both ends", pids)
	}
	return pids[0], pids[1]
}

func freeze(t *testing.T, pid int, d time.Duration) {
	t.Helper()
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
		if s == syscall.SIGSTOP {
			time.Sleep(d)
		}
	}
}

// stood is for how long an end saw its connection stand still; -1: it did not see.
func stood(e *results.ConnectionEnd) float64 {
	if e.Stall == nil {
		return -1
	}
	return *e.Stall
}

// TestStoryShortFreeze: a receiver that is stopped for half a second and more, at
// any point of the window, says when it took nothing, also where a slow link goes
// on filling its window; the sender says how long nothing crossed, as the
// interfaces saw it.
func TestStoryShortFreeze(t *testing.T) {
	needNamespaces(t)
	for _, c := range []struct {
		rate uint64
		d    time.Duration
	}{
		{0, 600 * time.Millisecond}, {0, 800 * time.Millisecond}, {0, time.Second},
		{20_000_000, 600 * time.Millisecond},
	} {
		d := c.d
		t.Run(fmt.Sprintf("%d Mbit %s", c.rate/1_000_000, d), func(t *testing.T) {
			l := testutil.NewLink(t, c.rate)
			var from time.Time
			r := during(t, func(rx, _ int) {
				time.Sleep(470 * time.Millisecond)
				from = time.Now()
				freeze(t, rx, d)
			}, "--link", l.TX+","+l.RX, "-t", "2.5", "-O", "0.5")
			// It takes what its buffer holds, and then nothing but probes.
			// The witness looks every 5 ms, if it has a CPU.
			const blur = 40 * time.Millisecond
			still := d - blur
			for still > 0 {
				if sent, _ := l.Crossed(from.Add(d-blur-still), from.Add(d-blur)); sent < 64<<10 {
					break
				}
				still -= 5 * time.Millisecond
			}
			opened, err := time.Parse(time.RFC3339Nano, r.Started)
			if err != nil {
				t.Fatal(err)
			}
			// All is seen but a look at either end, which may be late.
			f := r.Flows[0]
			if got := stood(f.TX); got < still.Seconds()-0.15 {
				t.Errorf("tx saw %.3f s of %s: %q", got, still, r.Warnings)
			}
			if still >= 550*time.Millisecond && warning(&r, "tx:", caveat.FlowStalled) == "" {
				t.Errorf("tx does not say that nothing crossed for %s: %q", still, r.Warnings)
			}
			if got := stood(f.RX); got >= 0 && got < still.Seconds()-0.15 {
				t.Errorf("rx claims to have seen no more than %.3f s of %s", got, still)
			}
			var least, most, begin, end float64
			w := warning(&r, "rx:", caveat.SamplerLate)
			if _, err := fmt.Sscanf(w, "rx: this process did not run for %f to %f s, somewhere from %f to %f s", &least, &most, &begin,
				&end); err != nil {
				t.Fatalf("rx does not say that it did not run: %q", r.Warnings)
			}
			at := from.Sub(opened).Seconds()
			if !strings.Contains(w, "its engine took nothing of what arrived then") {
				t.Errorf("rx does not say that it took nothing: %s", w)
			}
			if most < d.Seconds()-0.01 || least < d.Seconds()-0.11 || begin > at+0.01 || end < at+d.Seconds()-0.01 {
				t.Errorf("stopped for %s from %.3f s on, and it says %q", d, at, w)
			}
			t.Logf("tx saw %.3f s, rx %.3f s, the interface %s; stopped at %.3f s: %s", stood(f.TX), stood(f.RX), still, at, w)
		})
	}
}

// TestStoryBriefFreeze: what is stopped for little more than an interval says so,
// whichever end it is.
func TestStoryBriefFreeze(t *testing.T) {
	needNamespaces(t)
	for _, whom := range []string{"rx", "tx"} {
		r := during(t, func(rx, tx int) {
			freeze(t, map[string]int{"rx": rx, "tx": tx}[whom], 110*time.Millisecond)
		}, "-t", "1", "-O", "0.2")
		if warning(&r, whom+":", caveat.SamplerLate) == "" {
			t.Errorf("%s does not say that it stood still: %q", whom, r.Warnings)
		}
	}
}

// TestStoryWorkerStops: a receiver of which only the thread that takes the payload
// is stopped, as for want of a CPU, says that the payload waited.
func TestStoryWorkerStops(t *testing.T) {
	needNamespaces(t)
	for _, engine := range []string{"baseline", "mmap", "uring"} {
		t.Run(engine, func(t *testing.T) {
			r := during(t, func(rx, _ int) { stopThread(t, busiest(t, rx), 900*time.Millisecond) },
				"--rx", engine, "-t", "2", "-O", "1")
			w := warning(&r, "rx:", caveat.PayloadWaited)
			if !strings.Contains(w, "payload of 1 of 1 flow ") || warning(&r, "", caveat.SamplerLate) != "" {
				t.Errorf("warnings %q", r.Warnings)
			}
		})
	}
}

// busiest is the thread of a process that has used most CPU time.
func busiest(t *testing.T, pid int) (tid int) {
	t.Helper()
	most := -1
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/schedstat", pid))
	for _, s := range all {
		b, err := os.ReadFile(s)
		if err != nil {
			continue // it is gone
		}
		ran, _, _ := strings.Cut(string(b), " ")
		if n, err := strconv.Atoi(ran); err == nil && n > most {
			most = n
			tid, _ = strconv.Atoi(filepath.Base(filepath.Dir(s)))
		}
	}
	if tid == 0 {
		t.Fatalf("process %d has no threads", pid)
	}
	return tid
}

// stopThread stops one thread as a debugger does, with which a kernel may not let
// us do that.
func stopThread(t *testing.T, tid int, d time.Duration) {
	t.Helper()
	runtime.LockOSThread() // whose thread it is that traces
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(tid); err != nil {
		t.Skipf("needs the right to trace a thread: %v", err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(tid, nil, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := unix.PtraceDetach(tid); err != nil {
		t.Fatal(err)
	}
}

// TestStoryFrozenEnd: an end that is stopped in the window does not pass for one
// that worked all the time, at whatever point of the window.
func TestStoryFrozenEnd(t *testing.T) {
	needNamespaces(t)
	stop := func(whom string, d time.Duration) func(int, int) {
		return func(rx, tx int) { freeze(t, map[string]int{"rx": rx, "tx": tx}[whom], d) }
	}
	for _, c := range []struct{ whom, other string }{{"rx", "tx"}, {"tx", "rx"}} {
		t.Run(c.whom+" in the middle", func(t *testing.T) {
			r := during(t, stop(c.whom, 1500*time.Millisecond), "-t", "3", "-O", "0")
			if warning(&r, c.whom+":", caveat.SamplerLate) == "" {
				t.Errorf("it does not say that it stood still: %q", r.Warnings)
			}
			if w := warning(&r, c.other+":", caveat.FlowStalled); !strings.Contains(w, "1 of 1 flow ") {
				t.Errorf("nor does the other end: %q", r.Warnings)
			}
			for _, s := range r.Samples {
				if s.Seconds < 0.04 {
					t.Errorf("a sample of %.3f s made up for one that was missed", s.Seconds)
				}
			}
		})
		t.Run(c.whom+" over the end", func(t *testing.T) {
			r := during(t, stop(c.whom, 1500*time.Millisecond), "-t", "1", "-O", "0")
			if warning(&r, c.whom+":", caveat.WindowLong) == "" || warning(&r, "", caveat.WindowsApart) == "" {
				t.Errorf("warnings %q", r.Warnings)
			}
		})
	}
}

// TestStoryChanged: what is changed of an interface within the window, put back or not,
// is told by the end whose it is, and of payload that was copied meanwhile nothing
// is claimed.
func TestStoryChanged(t *testing.T) {
	needNamespaces(t)
	for _, c := range []struct {
		name    string
		change  func(end *netpair.End, link netlink.Link, back bool) error
		says    string
		unknown bool
	}{
		{"nothing", func(*netpair.End, netlink.Link, bool) error { return nil }, "", false},
		{"scatter-gather", func(end *netpair.End, _ netlink.Link, back bool) error {
			c, err := ethtool.Dial()
			if err != nil {
				return err
			}
			defer c.Close()
			return c.SetFeatures(end.Interface, map[string]bool{"tx-scatter-gather": back})
		}, "tx-scatter-gather off", true},
		{"an MTU", func(_ *netpair.End, link netlink.Link, back bool) error {
			mtu := link.Attrs().MTU - 100
			if back {
				mtu += 100
			}
			return netlink.LinkSetMTU(link, mtu)
		}, "mtu 1500 → 1400", false},
		{"a qdisc", func(_ *netpair.End, link netlink.Link, back bool) error {
			q := &netlink.GenericQdisc{QdiscType: "pfifo", QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index,
				Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}}
			if back {
				return netlink.QdiscDel(q)
			}
			return netlink.QdiscAdd(q)
		}, "qdisc pfifo was added", false},
		{"a sysctl that is no fact", func(_ *netpair.End, _ netlink.Link, back bool) error { // only the end of the run tells
			if back {
				return nil
			}
			return os.WriteFile("/proc/sys/net/ipv4/tcp_autocorking", []byte("0"), 0)
		}, "sysctl.net.ipv4.tcp_autocorking was 1 and is 0", false},
	} {
		for _, whose := range []string{"tx", "rx"} {
			t.Run(c.name+" at "+whose, func(t *testing.T) {
				l := testutil.NewLink(t, 0)
				end, err := netpair.Locate(map[string]string{"tx": l.TX, "rx": l.RX}[whose])
				if err != nil {
					t.Fatal(err)
				}
				defer end.Close()
				r := during(t, func(int, int) {
					if err := end.Do(func() error {
						link, err := netlink.LinkByName(end.Interface)
						if err != nil {
							return err
						}
						for _, back := range []bool{false, true} {
							if err := c.change(end, link, back); err != nil {
								return err
							}
						}
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}, "--link", l.TX+","+l.RX, "--tx", "sendfile", "--rx", "baseline", "-t", "1", "-O", "0.2")
				if w := warning(&r, whose+":", caveat.HostChanged); (w != "") != (c.says != "") || !strings.Contains(w, c.says) {
					t.Errorf("warnings %q", r.Warnings)
				}
				other := map[string]string{"tx": "rx:", "rx": "tx:"}[whose]
				if w := warning(&r, other, caveat.HostChanged); w != "" {
					t.Errorf("the other end says: %s", w)
				}
				if unknown := warning(&r, "tx:", caveat.CopiesUnknown) != "" && r.TX.ZeroCopiedBytes == 0; unknown != (c.unknown && whose == "tx") {
					t.Errorf("%d of %d bytes zero-copied: %q", r.TX.ZeroCopiedBytes, r.TX.Bytes, r.Warnings)
				}
			})
		}
	}
}

// TestStoryLinkDown: a link that was down for a while in the window.
func TestStoryLinkDown(t *testing.T) {
	needNamespaces(t)
	l := testutil.NewLink(t, 0)
	r := during(t, func(int, int) {
		l.Up(t, false)
		time.Sleep(1200 * time.Millisecond)
		l.Up(t, true)
	}, "--link", l.TX+","+l.RX, "-t", "3", "-O", "0", "-P", "2")
	for _, end := range []string{"rx", "tx"} {
		if w := warning(&r, end+":", caveat.FlowStalled); !strings.Contains(w, "2 of 2 flows") {
			t.Errorf("%s: warnings %q", end, r.Warnings)
		}
	}
	for i, f := range r.Flows {
		if stood(f.RX) < 1 || stood(f.TX) < 1 || f.RX.StallAt > 1.5 {
			t.Errorf("flow %d stood still for %.3f and %.3f s from %.3f s on", i+1, stood(f.RX), stood(f.TX), f.RX.StallAt)
		}
	}
}

// TestStoryDeadFlow: one flow of four dies in the window, or the only one.
func TestStoryDeadFlow(t *testing.T) {
	needNamespaces(t)
	for _, flows := range []int{1, 4} {
		t.Run(fmt.Sprint(flows), func(t *testing.T) {
			port := freePort(t)
			r := during(t, func(rx, _ int) {
				if !testutil.Deafen(t, rx, port+flows) { // of the last flow, after that of control
					t.Fatalf("the receiver has no connection by port %d", port+flows)
				}
			}, "-p", strconv.Itoa(port), "-t", "2", "-O", "0", "-P", strconv.Itoa(flows))
			for _, end := range []string{"rx", "tx"} {
				want := fmt.Sprintf("1 of %s stood still for about half a second or more: flow %d for", printable.Count(flows, "flow"), flows)
				if w := warning(&r, end+":", caveat.FlowStalled); !strings.Contains(w, want) {
					t.Errorf("%s: warnings %q, want %q", end, r.Warnings, want)
				}
			}
			if len(r.Flows) != flows || stood(r.Flows[flows-1].RX) < 1 || stood(r.Flows[flows-1].TX) < 1 || r.Flows[flows-1].TX.Retransmits == 0 {
				t.Errorf("flows: %d, the dead one %+v and %+v", len(r.Flows), r.Flows[flows-1].RX, r.Flows[flows-1].TX)
			}
		})
	}
}

// TestStoryQuietWindow: an ordinary run of every engine has nothing to say of its
// window, its flows or its bytes. A busy machine may stop one: one of three has
// to be quiet.
func TestStoryQuietWindow(t *testing.T) {
	needNamespaces(t)
	for _, c := range [][]string{
		{"--tx", "baseline", "--rx", "baseline"}, {"--tx", "sendfile", "--rx", "trunc"}, {"--tx", "msgzc", "--rx", "mmap"},
		{"--tx", "uring", "--rx", "uring"}, {"--tx", "sendzc", "--rx", "baseline", "-P", "3"},
		{"--mode", "iouring"}, {"--tx", "null", "--rx", "null"},
	} {
		t.Run(strings.Join(c, " "), func(t *testing.T) {
			var said []caveat.Code
			for range 3 {
				out, errs, code := attempt(t, append([]string{"local", "-t", "1", "-O", "0.2", "-i", "0.25", "-J"}, c...)...)
				if code == exitUnsupported {
					t.Skip(errs)
				}
				var r results.Record
				if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
					t.Fatalf("exit %d, %v: %s", code, err, errs)
				}
				said = slices.DeleteFunc(codes(&r), func(c caveat.Code) bool {
					return !slices.Contains([]caveat.Code{
						caveat.WindowShort, caveat.WindowLong, caveat.WindowsApart, caveat.SamplerLate, caveat.FlowStalled,
						caveat.PayloadWaited, caveat.HostChanged, caveat.BytesCoarse, caveat.BytesDiffer, caveat.CutOff, caveat.CopiesUnknown,
					}, c)
				})
				if len(said) == 0 {
					return
				}
			}
			t.Errorf("warnings %v", said)
		})
	}
}

// TestStoryNAPIThread: what a NAPI thread does for an end is that end's, wherever it
// runs.
func TestStoryNAPIThread(t *testing.T) {
	needNamespaces(t)
	l := testutil.NewLink(t, 0)
	// A veth pair has NAPI for what GRO could merge.
	for _, args := range [][]string{{"-i", l.TX, "--set", "tso=off"}, {"-i", l.RX, "--set", "gro=on"}, {"-i", l.RX, "--set", "threaded=on"}} {
		if out, errs, code := run(t, append([]string{"tune", "apply"}, args...)...); code == exitUnsupported {
			t.Skip(errs)
		} else if code != 0 {
			t.Fatalf("tune apply %v: exit %d\n%s%s", args, code, out, errs)
		}
		t.Cleanup(func() { run(t, "tune", "restore", "-i", args[1]) })
	}
	pid, err := exec.Command("pgrep", "^napi/"+l.RX+"-").Output()
	if err != nil {
		t.Fatalf("the thread of %s: %v", l.RX, err)
	}
	used := func() float64 {
		b, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/schedstat")
		if err != nil {
			t.Fatal(err)
		}
		ns, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return ns / 1e9
	}
	before := used()
	// On one CPU both ends count their own threads alone.
	r := measured(t, "local", "--link", l.TX+","+l.RX, "-A", "0,0", "-t", "1", "-O", "0.3")
	all, c := used()-before, r.RX.Counters
	own, thread := c["rusage_user_seconds"]+c["rusage_system_seconds"], c["napi_elsewhere_seconds"]
	t.Logf("the thread took %.3f s over the whole run, %.3f s in the window; the receiver's own %.3f s; its figure %.1f%%", all, thread, own,
		*r.RX.CPUPercent)
	if thread > all || thread < all/4 || c["napi_threads"] != 1 {
		t.Errorf("the thread's %.3f s are %.3f s in the record, of %v threads", all, thread, c["napi_threads"])
	}
	if want := 100 * (own + thread) / r.Window; math.Abs(*r.RX.CPUPercent-want) > 0.05*want {
		t.Errorf("the receiver's CPU is %.1f%%, want %.1f%%", *r.RX.CPUPercent, want)
	}
}
