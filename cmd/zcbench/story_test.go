package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zcbench/experiment"
	"zcbench/experiment/site"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
	"zcbench/results/caveat"
)

// These tests run the built program as a user does.

// where holds the program that binary built.
var where string

var binary = sync.OnceValues(func() (path string, err error) {
	if os.Getenv("ZCBENCH_LAB") != "" {
		return exec.LookPath("zcbench") // there is no compiler
	}
	if where, err = os.MkdirTemp("", "zcbench-story-"); err != nil {
		return "", err
	}
	path = filepath.Join(where, "zcbench")
	// As the Makefile does, which has compiled the packages already.
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if where != "" {
		os.RemoveAll(where)
	}
	os.Exit(code)
}

// built is the path of the program, which the first that asks has built.
func built(t *testing.T) string {
	t.Helper()
	tier.Long(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path := built(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), site.LinkEnv+"=") // a veth pair, in the lab too
	return cmd
}

// run gives what a command printed and its exit code.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return finish(t, program(t, args...))
}

// finish is run for a command that was made.
func finish(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func needNamespaces(t *testing.T) {
	t.Helper()
	tier.Long(t)
	if !canMakeNamespaces() {
		t.Skip("needs the right to make network namespaces (root)")
	}
}

// attempt is run with -J, again where the machine gave an end no CPU in its window
// and nothing crossed, as the failed run's record says.
func attempt(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	for range 3 {
		stdout, stderr, code = run(t, args...)
		var r results.Record
		if code != exitFailed || json.Unmarshal([]byte(stdout), &r) != nil || !hadNoCPU(&r) {
			break
		}
		t.Logf("zcbench %s: %s, of which the record says %q", strings.Join(args, " "), strings.TrimSpace(stderr), codes(&r))
	}
	return stdout, stderr, code
}

// hadNoCPU says that an end of a run did not get any CPU for a while, which says
// nothing of zcbench.
func hadNoCPU(r *results.Record) bool {
	return slices.ContainsFunc(codes(r), func(c caveat.Code) bool {
		return c == caveat.SamplerLate || c == caveat.WindowShort || c == caveat.WindowLong || c == caveat.WindowsApart
	})
}

// measured runs zcbench with -J and checks what must hold of every record.
func measured(t *testing.T, args ...string) results.Record {
	t.Helper()
	out, errs, code := attempt(t, append(args, "-J")...)
	if code != 0 {
		t.Fatalf("zcbench %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return record(t, out)
}

func record(t *testing.T, out string) results.Record {
	t.Helper()
	var r results.Record
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("not a record: %v\n%s", err, out)
	}
	if r.Schema != results.Schema || r.Status != results.OK || r.Window <= 0 || r.Bytes == 0 {
		t.Errorf("record: schema %q, status %q (%s), %v s, %d bytes", r.Schema, r.Status, r.Reason, r.Window, r.Bytes)
	}
	for _, e := range []*results.End{r.RX, r.TX} {
		if e != nil && e.ZeroCopiedBytes+e.CopiedBytes != e.Bytes {
			t.Errorf("%s: %d zero-copied and %d copied of %d bytes", e.Engine, e.ZeroCopiedBytes, e.CopiedBytes, e.Bytes)
		}
	}
	near(t, "gbps", r.Gbps, float64(r.Bytes)*8/1e9/r.Window)
	if r.RX != nil && r.TX != nil {
		// What the ends saw in the window differs by what was in flight, and
		// by what the clocks' uncertainty lets through.
		if d := math.Abs(float64(r.RX.Bytes) - float64(r.TX.Bytes)); d > 16<<20+0.05*float64(r.RX.Bytes) {
			t.Errorf("sent %d and received %d bytes in the window", r.TX.Bytes, r.RX.Bytes)
		}
		if r.RX.CPUPercent == nil || r.TX.CPUPercent == nil {
			t.Fatal("CPU was not measured")
		}
		if r.ROI.CPU.RX != nil {
			near(t, "receiver's ROI", *r.ROI.CPU.RX, r.Gbps*r.Gbps / *r.RX.CPUPercent)
		}
		if r.ROI.CPU.Total != nil {
			near(t, "total ROI", *r.ROI.CPU.Total, r.Gbps*r.Gbps/(*r.RX.CPUPercent+*r.TX.CPUPercent))
		}
	}
	return r
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*math.Max(math.Abs(want), 1e-9) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestStoryEveryPair(t *testing.T) {
	needNamespaces(t)
	var answers struct{ Engines []finding }
	out, _, _ := run(t, "probe", "--json")
	if err := json.Unmarshal([]byte(out), &answers); err != nil {
		t.Fatalf("probe: %v\n%s", err, out)
	}
	can := map[string]finding{}
	for _, f := range answers.Engines {
		can[f.Direction+" "+f.Engine] = f
	}
	spec, err := loadSpec(t.Context(), []string{"demo"}, "demo")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := spec.Expand(map[string]results.Pair[experiment.Survey]{"": twoCPUs()}, known().Resolve)
	if err != nil {
		t.Fatal(err)
	}
	pairs := [][2]string{{"null", "null"}}
	for _, c := range plan.Cells {
		pairs = append(pairs, [2]string{c.Trial.TX.Engine, c.Trial.RX.Engine})
	}
	for _, pair := range pairs {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			for _, need := range []string{"tx " + pair[0], "rx " + pair[1]} {
				f := can[need]
				if f.Answer == "yes" {
					continue
				}
				// What probe calls impossible fails with the reason it gave;
				// what depends on the NIC is not to be had of a veth pair.
				_, errs, code := run(t, "local", "--tx", pair[0], "--rx", pair[1], "-t", "0.3", "-O", "0")
				if code != exitUnsupported || f.Reason == "" || f.Answer == "no" && !strings.Contains(errs, f.Reason) {
					t.Errorf("probe says %s (%s), the run ends with %d: %s", f.Answer, f.Reason, code, errs)
				}
				return
			}
			if pair[0] == "null" {
				_, errs, code := run(t, "local", "--tx", "null", "--rx", "null", "-t", "0.3", "-O", "0")
				if code != 0 {
					t.Errorf("exit %d: %s", code, errs)
				}
				return
			}
			args := []string{"local", "--tx", pair[0], "--rx", pair[1], "-t", "0.5", "-O", "0.1", "-P", "2", "-C", "reno"}
			if pair[1] != "trunc" {
				args = append(args, "--validate")
			}
			r := measured(t, args...)
			if r.TX.Engine != pair[0] || r.RX.Engine != pair[1] {
				t.Errorf("ran %s → %s", r.TX.Engine, r.RX.Engine)
			}
			if pair[1] != "trunc" && (r.RX.Counters["validated_bytes"] != r.RX.Counters["total_bytes"] || r.RX.Counters["total_bytes"] == 0) {
				t.Errorf("validated %v of %v bytes", r.RX.Counters["validated_bytes"], r.RX.Counters["total_bytes"])
			}
			// What was asked was taken, and engines' own choices are no news.
			for _, code := range []caveat.Code{caveat.SettingNotTaken, caveat.CongestionDiffers, caveat.PacingLimited, caveat.BuffersHeld} {
				if w := with(r, code); len(w) > 0 {
					t.Errorf("warnings %q", w)
				}
			}
			// A veth pair copies MSG_ZEROCOPY data on delivery.
			if (pair[0] == "msgzc" || pair[0] == "sendzc") && r.TX.ZeroCopiedBytes != 0 {
				t.Errorf("%d bytes called zero-copied over veth", r.TX.ZeroCopiedBytes)
			}
			// The samples of each end add up to its window.
			var sum uint64
			for _, s := range r.Samples {
				if s.End == "rx" {
					sum += s.Bytes
				}
			}
			if sum != r.RX.Bytes {
				t.Errorf("samples add up to %d of %d bytes", sum, r.RX.Bytes)
			}
		})
	}
}

// TestStoryVerify: the record tells what crossed each end's interface in the
// warm-up, all of it payload of the run, and the window is as ever.
func TestStoryVerify(t *testing.T) {
	needNamespaces(t)
	args := []string{"local", "--verify", "-P", "2", "-t", "0.3", "-O", "0.6"}
	r := measured(t, args...)
	for _, c := range []struct {
		end           *results.End
		with, without results.Direction
	}{{r.RX, r.RX.Verify.Received, r.RX.Verify.Sent}, {r.TX, r.TX.Verify.Sent, r.TX.Verify.Received}} {
		v := c.end.Verify
		if v.Seconds < 0.2 || v.Seconds > 0.6 || !strings.HasPrefix(v.Interface, "zc") {
			t.Errorf("looked at %s for %v s", v.Interface, v.Seconds)
		}
		var flows uint64
		for _, f := range c.with.Flows {
			flows += f.Bytes
		}
		if c.with.Bytes == 0 || c.without.Bytes != 0 || len(c.with.Flows) != 2 || flows != c.with.Bytes || len(c.without.Flows) != 2 {
			t.Errorf("%d bytes with the payload, %d against it, flows %v and %v", c.with.Bytes, c.without.Bytes, c.with.Flows, c.without.Flows)
		}
		if float64(c.with.Bytes) > 1.2*c.end.Counters["total_bytes"] { // it includes what was sent again
			t.Errorf("%d bytes crossed of %v", c.with.Bytes, c.end.Counters["total_bytes"])
		}
		if c.with.Segments[1448] == 0 || c.with.Sizes[65536] == 0 || c.with.Headers[66] == 0 || c.with.Options["Timestamps"] == 0 {
			t.Errorf("headers: %+v", c.with)
		}
	}
	out, errs, code := run(t, args...)
	for _, want := range []string{"rx   warm-up: ", "The receiver's headers, in the warm-up: ", "The sender's headers, in the warm-up: ",
		"66 (100.0%)"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	if out, _, _ := run(t, append(args, "--json-stream")...); strings.Count(out, `{"event":"verify"`) != 2 {
		t.Errorf("events:\n%s", out)
	}
}

// TestStoryVerifyOwn: a receiver's user verifies whatever a stranger sends,
// and a stranger verifies its own end only.
func TestStoryVerifyOwn(t *testing.T) {
	needNamespaces(t) // the right to capture comes with it
	_, port, _ := service(t, "--verify")
	r := measured(t, "tx", "127.0.0.1", "-p", port, "-t", "0.3", "-O", "1.5")
	if r.TX.Verify != nil || r.RX.Verify == nil || r.RX.Verify.Interface != "lo" || r.RX.Verify.Received.Bytes == 0 {
		t.Errorf("sender %+v, receiver %+v", r.TX.Verify, r.RX.Verify)
	}
	r = measured(t, "tx", "127.0.0.1", "-p", port, "-t", "0.3", "-O", "0")
	if w := strings.Join(r.Warnings, "\n"); r.RX.Verify != nil || !strings.Contains(w, "rx: nothing was verified: the run had no warm-up") {
		t.Errorf("without a warm-up: %+v, warnings %s", r.RX.Verify, w)
	}
	_, port, _ = service(t)
	if r = measured(t, "tx", "127.0.0.1", "-p", port, "-t", "0.3", "-O", "0.4", "--verify"); r.TX.Verify == nil || r.RX.Verify != nil {
		t.Errorf("sender %+v, receiver %+v", r.TX.Verify, r.RX.Verify)
	}
}

func TestStoryIPv6(t *testing.T) {
	needNamespaces(t)
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		t.Skip("needs IPv6")
	}
	measured(t, "local", "-6", "-t", "0.3", "-O", "0", "--validate")
}

// service starts zcbench rx on free ports and waits until it listens.
func service(t *testing.T, args ...string) (*exec.Cmd, string, *words) {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	cmd := program(t, append([]string{"rx", "-p", port}, args...)...)
	var out words
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := bufio.NewReader(stderr)
	line, err := r.ReadString('\n')
	if err != nil || !strings.Contains(line, "waiting") {
		t.Fatalf("rx said %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(&out, r) }()
	return cmd, port, &out
}

// words is what a program said on both its outputs.
type words struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func freePort(t *testing.T) int {
	t.Helper()
	// Below what the kernel gives to others meanwhile (ip_local_port_range).
	for range 100 {
		port, free := 20000+rand.IntN(10000), true
		for p := port; p < port+5; p++ {
			l, err := net.Listen("tcp", ":"+strconv.Itoa(p))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func TestStoryTwoTerminals(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a secret of sixteen"), 0o600); err != nil {
		t.Fatal(err)
	}
	rx, port, out := service(t, "-1", "--mode", "msgzc", "--token-file", token)
	if _, errs, code := run(t, "tx", "127.0.0.1", "-p", port, "-t", "0.3"); code != exitFailed || !strings.Contains(errs, "token") {
		t.Errorf("without the token: exit %d: %s", code, errs)
	}
	// The receiver's user chose the engines; the sender's flags are iperf3's.
	r := measured(t, "tx", "127.0.0.1", "-p", port, "-t", "0.5", "-O", "0.1", "-i", "0.2", "-P", "2", "-l", "64K", "--token-file", token)
	if r.TX.Engine != "msgzc" || r.RX.Engine != "mmap" {
		t.Errorf("ran %s → %s", r.TX.Engine, r.RX.Engine)
	}
	if err := rx.Wait(); err != nil {
		t.Errorf("rx -1: %v\n%s", err, out)
	}
}

// TestStoryDataPath: data connections may come from another address than the control
// connection, and that may come through somebody else.
func TestStoryDataPath(t *testing.T) {
	_, port, _ := service(t)
	short := []string{"-t", "0.3", "-O", "0"}
	measured(t, append([]string{"tx", "127.0.0.1", "-p", port, "-B", "127.0.0.9", "-P", "3"}, short...)...)

	// A relay of the control port alone, which the receiver takes for its driver.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go relay(l, net.JoinHostPort("127.0.0.1", port), "127.0.0.8")
	_, relayed, _ := net.SplitHostPort(l.Addr().String())
	measured(t, append([]string{"tx", "127.0.0.1", "-p", relayed}, short...)...)
}

// relay carries what comes to l to another address, from one of its own, and back.
func relay(l net.Listener, to, from string) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for {
		a, err := l.Accept()
		if err != nil {
			return
		}
		b, err := d.Dial("tcp4", to)
		if err != nil {
			a.Close()
			continue
		}
		for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
			go func() {
				_, _ = io.Copy(way[0], way[1])
				way[0].Close()
			}()
		}
	}
}

func TestStoryJSONStream(t *testing.T) {
	_, port, _ := service(t)
	out, errs, code := run(t, "tx", "127.0.0.1", "-p", port, "-t", "0.5", "-O", "0", "-i", "0.2", "--json-stream")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var kinds []string
	for line := range strings.Lines(out) {
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("not JSON: %q", line)
		}
		kinds = append(kinds, e.Event)
	}
	if got := strings.Join(kinds, " "); got != "start interval interval interval end" && got != "start interval interval end" {
		t.Errorf("events: %s", got)
	}
}

// sunk is what a plain TCP peer got: of whom, and how many bytes.
type sunk struct {
	from  string
	bytes int64
}

// sink is a plain TCP peer that takes one connection to its end.
func sink(t *testing.T) (port string, got <-chan sunk) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	all := make(chan sunk, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, c)
		all <- sunk{c.RemoteAddr().String(), n}
	}()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), all
}

func TestStoryRaw(t *testing.T) {
	port, got := sink(t)
	r := measured(t, "tx", "127.0.0.1", "--raw", "-p", port, "-t", "0.3")
	if s := <-got; float64(s.bytes) != r.TX.Counters["total_bytes"] || r.RX != nil {
		t.Errorf("the peer got %d bytes, the record says %v", s.bytes, r.TX.Counters["total_bytes"])
	}

	port = strconv.Itoa(freePort(t))
	cmd := program(t, "rx", "--raw", "-p", port, "-J")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var c net.Conn
	var err error
	for range 100 {
		if c, err = net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			break
		}
		time.Sleep(30 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for range 100 {
		n, err := c.Write(make([]byte, 10001))
		if err != nil {
			t.Fatal(err)
		}
		sent += n
	}
	c.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	// What had come before the window opened counts too, and the end of the stream
	// does not.
	if r := record(t, out.String()); r.RX.Counters["total_bytes"] != float64(sent) || r.RX.Bytes != uint64(sent) || r.TX != nil {
		t.Errorf("sent %d bytes, the record says %v, and %d in the window", sent, r.RX.Counters["total_bytes"], r.RX.Bytes)
	}
}

// TestStoryRawAddresses: of a name with several addresses the first may not answer.
func TestStoryRawAddresses(t *testing.T) {
	tier.Root(t, "to give a process its own /etc/hosts")
	port, _ := sink(t)
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.2 peer.example\n127.0.0.1 peer.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "tx", "peer.example", "--raw", "-p", port, "-t", "0.3", "-J")
	inside := exec.Command("unshare", append([]string{"--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts},
		cmd.Args...)...)
	inside.Env = cmd.Env
	var out, errs bytes.Buffer
	inside.Stdout, inside.Stderr = &out, &errs
	if err := inside.Run(); err != nil && inside.ProcessState == nil {
		t.Skipf("needs unshare(1): %v", err)
	} else if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	record(t, out.String())
	if !strings.Contains(errs.String(), "127.0.0.2") || !strings.Contains(errs.String(), "peer.example has another address") {
		t.Errorf("it does not say which address was left: %s", errs.String())
	}
}

func TestStoryBadInput(t *testing.T) {
	busy, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	// A busy port, and one that answers with garbage.
	port := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := busy.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2p1\r\n"))
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	closed := strconv.Itoa(freePort(t))
	for _, tc := range []struct {
		args string
		code int
		text string
	}{
		{"", exitUsage, "no subcommand"},
		{"fly", exitUsage, "fly"},
		{"local --wings", exitUsage, "--wings"},
		{"local extra", exitUsage, "extra"},
		{"local --rx warp", exitUsage, "warp"},
		{"local --mode warp", exitUsage, "baseline msgzc devmem iouring"},
		{"local --mode baseline --rx trunc", exitUsage, "--mode"},
		{"local --length 0", exitUsage, "--length"},
		{"local --length 12Q", exitUsage, "12Q"},
		{"local -P x", exitUsage, `--parallel "x": it is a whole number`},
		{"local -P 99999999999999999999", exitUsage, `": it is a whole number`},
		{"local -t x", exitUsage, `--time "x": it is a number of seconds`},
		{"local --seed -1", exitUsage, `--seed "-1": it is a whole number from 0 on`},
		{"local --validate=x", exitUsage, `--validate "x": it is true or false`},
		{"local --rx-opt x", exitUsage, `--rx-opt "x": it is NAME=VALUE`},
		{"local --mem x", exitUsage, `--mem: "x" is none of udmabuf`},
		{"report -o x.foo .", exitUsage, "ending .foo: give --format"},
		{"compare -o x.foo . .", exitUsage, "ending .foo: give --format"},
		{"local -P 10000", exitUsage, "--parallel"},
		{"local -P 0", exitUsage, "--parallel"},
		{"local -t 0", exitUsage, "--time"},
		{"local -t NaN", exitUsage, "NaN"},
		{"local -i 0.01", exitUsage, "--interval"},
		{"local --verify -O 0", exitUsage, "--omit"},
		{"rx --raw --verify", exitUsage, "--omit"},
		{"tx 127.0.0.1 --raw --verify -p " + port, exitUsage, "--omit"},
		{"local -A 0,1,2", exitUsage, "--affinity"},
		{"local -A 5000", exitUsage, "5000"},
		{"local -4 -6", exitUsage, "-6"},
		{"local -p 70000", exitUsage, "--port"},
		{"local --tx-opt wings=2", exitUsage, "wings"},
		{"local --rx trunc --validate", exitUsage, "trunc"},
		{"local --link nope0,nope1", exitUsage, "nope0"},
		{"rx -p " + port, exitFailed, "in use"},
		{"rx extra", exitUsage, "extra"},
		{"rx --token-file /nonexistent", exitUsage, "/nonexistent"},
		{"local --meter redfish:admin:hunter2@bmc", exitUsage, "credentials"},
		{"tx", exitUsage, "HOST"},
		{"tx 127.0.0.1 -p " + closed, exitUnreachable, "127.0.0.1:" + closed},
		// What is known here is said before anybody is asked: nobody listens there.
		{"tx -6 127.0.0.1 -p " + closed, exitUsage, "-6 asks for IPv6"},
		{"tx ::1 -4 --raw -p " + closed, exitUsage, "-4 asks for IPv4"},
		{"tx 127.0.0.1:" + closed, exitUsage, "127.0.0.1 --port " + closed},
		{"tx [::1]:" + closed, exitUsage, "::1 --port " + closed},
		{"tx [::1] -p " + closed, exitUsage, "without brackets: ::1"},
		{"tx fe80::1 -p " + closed, exitUsage, "fe80::1%eth0"},
		{"tx fe80::1%nope0 -p " + closed, exitUsage, "no interface nope0"},
		{"tx 224.0.0.1 -p " + closed, exitUsage, "group"},
		{"tx a/b -p " + closed, exitUsage, "neither a name"},
		{"tx 127.0.0.1 -B foo -p " + closed, exitUsage, "no IP address"},
		{"tx 127.0.0.1 -B ::1 -p " + closed, exitUsage, "--bind ::1 is not"},
		{"tx localhost -4 -B ::1 -p " + closed, exitUsage, "-4 asks for IPv4"},
		{"tx localhost -B 198.18.7.7 -p " + closed, exitUsage, "address of this host"},
		{"tx localhost -B fe80::1 -p " + closed, exitUsage, "fe80::1%eth0"},
		{"rx -B foo", exitUsage, "no IP address"},
		{"tx 127.0.0.1 -A 5000 -p " + closed, exitUsage, "CPU 5000"},
		{"rx -A 5000", exitUsage, "CPU 5000"},
		{"tx 127.0.0.1 -C nosuch -p " + closed, exitUsage, "has no congestion control"},
		{"local -C nosuch", exitUsage, "has no congestion control"},
		{"tx 127.0.0.1 --tx msgzc --tx-opt wings=2 -p " + closed, exitUsage, "wings"},
		{"tx 127.0.0.1 --tx-opt batch=2 -p " + closed, exitUsage, "--mode or --tx"},
		{"tx 127.0.0.1 --rx mmap --rx-opt wings=2 -p " + closed, exitUsage, "wings"},
		{"tx 127.0.0.1 --rx-opt chunk=2M -p " + closed, exitUsage, "--mode or --rx"},
		{"rx --rx mmap --rx-opt wings=2", exitUsage, "wings"},
		{"tx 127.0.0.1 -M 87 -p " + closed, exitUsage, "from 88 to 32767"},
		{"tx 127.0.0.1 -M 32768 -p " + closed, exitUsage, "from 88 to 32767"},
		{"tx no.such.host.invalid -t 1", exitUnreachable, "no.such.host.invalid"},
		{"tx 127.0.0.1 -p " + port, exitUnreachable, "does not speak"},
		{"probe -i nope0", exitUsage, "nope0"},
		{"agent", exitUsage, "--stdio"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			if strings.HasPrefix(tc.args, "local -A 5000") || strings.Contains(tc.args, "trunc --v") || strings.Contains(tc.args, "nope0,") {
				needNamespaces(t)
			}
			out, errs, code := run(t, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(errs, tc.text) {
				t.Errorf("exit %d, want %d; it said %q, want %q in it", code, tc.code, errs, tc.text)
			}
			if lines := strings.Count(errs, "\n"); lines != 1 && tc.args != "" {
				t.Errorf("%d lines of errors: %s", lines, errs)
			}
			_ = out
		})
	}
}

// processes are this test's children that run the binary.
func processes(t *testing.T) []string {
	t.Helper()
	path := built(t)
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, p := range all {
		if target, err := os.Readlink(p); err == nil && target == path {
			found = append(found, filepath.Base(filepath.Dir(p)))
		}
	}
	return found
}

func waitGone(t *testing.T, within time.Duration) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < within; time.Sleep(20 * time.Millisecond) {
		if len(processes(t)) == 0 {
			return
		}
	}
	t.Errorf("processes %v are still there after %s", processes(t), within)
}

func TestStorySignals(t *testing.T) {
	needNamespaces(t)
	links := interfaces(t)
	// At any moment: while it sets up, warms up, and measures.
	for _, after := range []time.Duration{5, 50, 150, 400, 1200} {
		cmd := program(t, "local", "-t", "30", "-P", "2")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		begun := time.Now()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if d := time.Since(begun); d > time.Second {
			t.Errorf("interrupted after %d ms, it took %s to end", after, d)
		}
		// Before its handler is there the signal itself ends it.
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted && after > 5 {
			t.Errorf("interrupted after %d ms: exit %d", after, code)
		}
		waitGone(t, time.Second)
	}
	// Killed outright, its children notice and the namespaces go with them.
	cmd := program(t, "local", "-t", "30")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	if len(processes(t)) != 3 {
		t.Errorf("processes %v, want a driver and two ends", processes(t))
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	waitGone(t, 2*time.Second)
	if now := interfaces(t); now != links {
		t.Errorf("interfaces before: %s, after: %s", links, now)
	}
}

// A user without rights gets the same over a user namespace.
func TestStoryUnprivileged(t *testing.T) {
	needNamespaces(t)
	tier.Root(t, "to become somebody else")
	path := built(t)
	for dir := filepath.Dir(path); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd := program(t, "local", "-t", "0.3", "-O", "0", "-J")
	cmd.SysProcAttr, cmd.Dir = nobody, "/"
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() == exitUnsupported && strings.Contains(errs.String(), "user namespace") {
		t.Skip("needs unprivileged user namespaces: ", errs.String())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	record(t, string(out))
	// A signal to the parent alone ends all.
	cmd = program(t, "local", "-t", "30")
	cmd.SysProcAttr, cmd.Dir = nobody, "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	begun := time.Now()
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if d := time.Since(begun); d > time.Second || cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("after %s: exit %d", d, cmd.ProcessState.ExitCode())
	}
	waitGone(t, time.Second)
}

func interfaces(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

func TestStoryKilledPeer(t *testing.T) {
	// The receiver dies: the sender says so within 2 s.
	rx, port, _ := service(t)
	cmd := program(t, "tx", "127.0.0.1", "-p", port, "-t", "30")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	begun := time.Now()
	_ = rx.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	if d := time.Since(begun); d > 2*time.Second || cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(errs.String(), "receiver") {
		t.Errorf("after %s: exit %d, %s", d, cmd.ProcessState.ExitCode(), errs.String())
	}
	// The sender dies: the receiver is free for the next within 2 s.
	_, port, _ = service(t)
	cmd = program(t, "tx", "127.0.0.1", "-p", port, "-t", "30")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	begun = time.Now()
	for {
		_, errs, code := run(t, "tx", "127.0.0.1", "-p", port, "-t", "0.2", "-O", "0")
		if code == 0 {
			break
		}
		if time.Since(begun) > 3*time.Second {
			t.Fatalf("the receiver still refuses: %s", errs)
		}
	}
}
