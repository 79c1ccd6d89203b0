package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/testutil"
	"zcbench/internal/testutil/some"
	"zcbench/results"
	"zcbench/results/caveat"
)

// mishap is something that befalls a run: what, whom and when.
type mishap struct {
	local  bool   // one command, else one at each end
	whom   string // rx, tx, driver, rx's or tx's sampler, link
	what   string // freeze, pause, kill, cut
	after  time.Duration
	tx, rx string // engines
}

func (f mishap) String() string {
	kind := "tx and rx"
	if f.local {
		kind = "local"
	}
	return fmt.Sprintf("%s of %s after %s, %s, %s → %s", f.what, f.whom, f.after.Round(time.Millisecond), kind, f.tx, f.rx)
}

const (
	faultOmit = 500 * time.Millisecond
	faultTime = 1500 * time.Millisecond
	pauseTime = 2 * time.Second
)

// draw makes a fault by chance. It comes at some point of a run: as both ends make
// ready and connect, in the warm-up, the window, the tail, or just after.
func draw(r *rand.Rand) mishap {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	f := mishap{local: r.IntN(2) == 0, after: time.Duration(r.Int64N(int64(3 * time.Second)))}
	f.tx, f.rx = one("baseline", "msgzc", "sendzc", "uring", "sendfile"), one("baseline", "mmap", "uring", "trunc")
	f.whom = one("rx", "tx", "rx", "tx", "driver", "link", "rx's sampler", "tx's sampler")
	if f.whom == "driver" && !f.local {
		f.whom = "tx" // which is the driver
	}
	switch f.whom {
	case "link":
		f.what = one("cut", "pause")
	case "rx's sampler", "tx's sampler":
		f.what = one("freeze", "pause")
	default:
		f.what = one("freeze", "pause", "kill")
	}
	return f
}

// TestStoryFaults lets faults befall runs, drawn by chance: each process that lives
// on ends soon, with a line that says what happened, or yields a record whose
// warnings do. ZCBENCH_FAULTS says how many, and holds them to 8 s, for which the
// machine must be quiet; ZCBENCH_SEED draws those of an earlier time.
func TestStoryFaults(t *testing.T) {
	needNamespaces(t)
	if os.Getuid() != 0 || os.Getenv("ZCBENCH_LAB") != "" {
		t.Skip("needs root of a whole system: it stops threads of others")
	}
	rounds, limit := 5, 30*time.Second
	if v := os.Getenv("ZCBENCH_FAULTS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		rounds, limit = n, 8*time.Second
	}
	seed := some.Seed(t)
	state := t.TempDir()
	if err := os.Chmod(state, 0o700); err != nil {
		t.Fatal(err)
	}
	// Undisturbed: what is found out of the host then, later runs need not.
	for _, local := range []bool{true, false} {
		f := mishap{local: local, whom: "driver", what: "none", after: time.Minute, tx: "baseline", rx: "baseline"}
		for _, p := range f.start(t, state, testutil.NewLink(t, 0)) {
			if <-p.ended; p.cmd.ProcessState.ExitCode() != 0 {
				t.Fatalf("without any fault: %s", p.errs.String())
			}
		}
	}
	for i := range rounds {
		f := draw(rand.New(rand.NewPCG(seed, uint64(i))))
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Log(f)
			f.befall(t, state, limit)
		})
	}
}

// party is a process of a run.
type party struct {
	cmd       *exec.Cmd // nil: an end of local
	pid       int
	out, errs words
	ended     chan struct{}
}

// launch starts zcbench in a network namespace, with a directory of its own for what
// it keeps.
func launch(t *testing.T, state, ns string, args ...string) *party {
	t.Helper()
	whole := program(t, args...)
	words := whole.Args
	if ns != "" {
		words = append([]string{"ip", "netns", "exec", ns}, words...)
	}
	// What others left to put back on this machine is not this test's.
	const alone = `mkdir -p /run/zcbench && mount --bind "$0" /run/zcbench && exec "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", alone, state}, words...)...)
	cmd.Env = whole.Env
	p := &party{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	go func() { _ = cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-p.ended })
	return p
}

// living reports a process that is there and no zombie.
func living(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}

// start starts the run.
func (f mishap) start(t *testing.T, state string, l *testutil.Link) map[string]*party {
	engines := []string{"--tx", f.tx, "--rx", f.rx, "-t", faultTime.String(), "-O", faultOmit.String(), "-i", "0.5", "-J"}
	parties := map[string]*party{}
	if f.local {
		parties["driver"] = launch(t, state, "", append([]string{"local", "--link", l.TX + "," + l.RX}, engines...)...)
	} else {
		rx := launch(t, state, l.RX, "rx", "-1", "-J")
		waitFor(t, "the receiver listens", func() bool { return strings.Contains(rx.errs.String(), "waiting") })
		parties["rx"] = rx
		parties["tx"] = launch(t, state, l.TX, append([]string{"tx", testutil.LinkRX}, engines...)...)
	}
	return parties
}

func (f mishap) befall(t *testing.T, state string, limit time.Duration) {
	l := testutil.NewLink(t, 0)
	parties := f.start(t, state, l)
	time.Sleep(f.after)
	if f.local { // both ends, as far as there are
		for name, pid := range agentsOf(parties["driver"].pid) {
			parties[name] = &party{pid: pid}
		}
	}
	victim := parties[strings.TrimSuffix(f.whom, "'s sampler")]
	if victim == nil && f.whom != "link" {
		victim = parties["driver"] // the end has not begun yet, or ended
		f.whom = "driver"
		if f.what == "freeze" && !living(victim.pid) {
			return
		}
	}
	at := time.Now()
	undo, stopped := f.strike(t, l, victim)
	stopped = stopped && f.what == "freeze"
	until := at
	if f.what == "pause" {
		time.Sleep(pauseTime)
		undo()
		until = time.Now()
	}
	deadline := at.Add(limit)
	for name, p := range parties {
		if p == victim && stopped {
			continue
		}
		for living(p.pid) && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
		}
		if !living(p.pid) {
			continue
		}
		if name == "rx" && p.cmd != nil && !strings.Contains(p.out.String(), "{") && f.before(parties, victim) {
			continue // no sender has come, and it waits for one
		}
		t.Errorf("%s has not ended %s after the fault; it said %q", name, limit, p.errs.String())
	}
	if f.what != "pause" && f.what != "kill" {
		undo()
	}
	t.Logf("all ended within %s", time.Since(at).Round(10*time.Millisecond))
	for name, p := range parties {
		if p.cmd == nil || p == victim && (stopped || f.what == "kill") || living(p.pid) {
			continue
		}
		<-p.ended
		f.judge(t, name, p, at, until)
	}
}

// before says that the fault hindered the sender from coming at all.
func (f mishap) before(parties map[string]*party, victim *party) bool {
	tx := parties["tx"]
	if victim == tx || living(tx.pid) {
		return victim == tx
	}
	<-tx.ended
	return tx.cmd.ProcessState.ExitCode() == exitUnreachable
}

// clear are lines that say what happened to the other end.
var clear = regexp.MustCompile(`nothing was heard from it since \d\d:\d\d:\d\d|vanished|closed the control connection|` +
	`closed the connection during the handshake|no answer to the zcbench handshake|reach zcbench rx at|` +
	`connect data flow|no mark came|none of the payload got through|has not closed the window|` +
	`closed the data connections before the window was over|no payload crossed|` +
	`: it is stuck; end zcbench there|start .* s ahead|ended the connection before it had a mark|` +
	`broken pipe|reset by peer|this end heard nothing since|no such (device|network interface)|` +
	`network is (down|unreachable)|no route to host|nothing was measured|killed by SIGKILL|` +
	`cannot assign requested address`)

// tells are the codes of warnings that tell of a fault.
var tells = []caveat.Code{caveat.FlowStalled, caveat.SamplerLate, caveat.WindowShort, caveat.WindowLong, caveat.WindowsApart, caveat.CutOff,
	caveat.BytesDiffer}

// judge looks at what a process that lived left.
func (f mishap) judge(t *testing.T, name string, p *party, at, until time.Time) {
	t.Helper()
	code, said := p.cmd.ProcessState.ExitCode(), strings.TrimSpace(p.errs.String())
	if code != 0 {
		last := said[strings.LastIndexByte(said, '\n')+1:]
		if !clear.MatchString(last) || strings.Count(said, "\n") > 4 {
			t.Errorf("%s exited with %d and is not clear: %s", name, code, said)
		}
	}
	var r results.Record
	if err := json.Unmarshal([]byte(p.out.String()), &r); err != nil {
		if code == 0 || p.out.String() != "" {
			t.Errorf("%s left no record: %v\n%s\n%s", name, err, p.out.String(), said)
		}
		return
	}
	if code != 0 && r.Status == results.Failed {
		if r.Reason == "" {
			t.Errorf("%s exited with %d and its record does not say why", name, code)
		}
		return
	}
	// A receiver may have measured before its sender fell silent.
	if code != 0 && name != "rx" {
		t.Errorf("%s exited with %d and its record is %s", name, code, r.Status)
	}
	if f.whom == "driver" {
		return // it measures nothing
	}
	if name == "rx" && f.whom == "tx's sampler" {
		return // its half of the record knows nothing of it: the payload came all the same
	}
	from, err := time.Parse(time.RFC3339Nano, r.Started)
	if err != nil {
		t.Fatal(err)
	}
	to := from.Add(time.Duration(r.Window * float64(time.Second)))
	if f.what != "pause" {
		until = to
	}
	// What is over before the window, or comes after it, changes nothing in it.
	const least = 600 * time.Millisecond
	begun, over := at, until
	if begun.Before(from) {
		begun = from
	}
	if over.After(to) {
		over = to
	}
	if over.Sub(begun) < least {
		return
	}
	if !slices.ContainsFunc(codes(&r), func(c caveat.Code) bool { return slices.Contains(tells, c) }) {
		t.Errorf("%s: the fault was from %s to %s into a window of %.3f s, and no warning tells: %q", name,
			at.Sub(from).Round(time.Millisecond), until.Sub(from).Round(time.Millisecond), r.Window, r.Warnings)
	}
}

// strike does it. It gives what undoes it, and whether a whole process is stopped.
func (f mishap) strike(t *testing.T, l *testutil.Link, victim *party) (undo func(), stopped bool) {
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(victim.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	switch {
	case f.whom == "link":
		if f.what == "cut" && f.after%2 == 0 {
			l.Remove(t)
			return func() {}, false
		}
		l.Up(t, false)
		return func() { l.Up(t, true) }, false
	case strings.HasSuffix(f.whom, "sampler"):
		if undo := holdSampler(t, victim.pid); undo != nil {
			return undo, false
		}
		t.Log("it has no sampler now: the process is stopped")
		signal(syscall.SIGSTOP)
		return func() { signal(syscall.SIGCONT) }, true
	case f.what == "kill":
		signal(syscall.SIGKILL)
		return func() {}, false
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }, true
}

// holdSampler stops the one thread of a process that samples, which runs by
// SCHED_FIFO; nil: there is none.
func holdSampler(t *testing.T, pid int) (undo func()) {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 39 || fields[38] != strconv.Itoa(unix.SCHED_FIFO) {
			continue
		}
		tid, _ := strconv.Atoi(filepath.Base(filepath.Dir(task)))
		held, release, done := make(chan error), make(chan struct{}), make(chan struct{})
		go func() { // a tracer is a thread
			runtime.LockOSThread()
			defer close(done)
			err := unix.PtraceSeize(tid)
			if err == nil {
				err = unix.PtraceInterrupt(tid)
			}
			if held <- err; err != nil {
				return
			}
			// A traced thread that ends is its tracer's to reap.
			for {
				var status unix.WaitStatus
				if n, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil); err != nil || n == tid && !status.Stopped() {
					return
				}
				select {
				case <-release:
					_ = unix.PtraceDetach(tid) // or it goes on as this thread ends
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
		if err = <-held; err != nil {
			return nil // it has just ended
		}
		undo := sync.OnceFunc(func() { close(release); <-done })
		t.Cleanup(undo)
		return undo
	}
	return nil
}

// agentsOf are the two ends of local, in the order in which it starts them.
func agentsOf(driver int) map[string]int {
	var pids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", driver))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for _, w := range strings.Fields(string(b)) {
			n, _ := strconv.Atoi(w)
			pids = append(pids, n)
		}
	}
	slices.Sort(pids)
	all := map[string]int{}
	for i, pid := range pids {
		if i < 2 {
			all[[]string{"rx", "tx"}[i]] = pid
		}
	}
	return all
}

// An interface that is deleted under a run is named by both ends.
func TestStoryInterfaceDeleted(t *testing.T) {
	needNamespaces(t)
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	l, state := testutil.NewLink(t, 0), t.TempDir()
	rx := launch(t, state, l.RX, "rx", "-1")
	waitFor(t, "the receiver listens", func() bool { return strings.Contains(rx.errs.String(), "waiting") })
	tx := launch(t, state, l.TX, "tx", testutil.LinkRX, "-t", "60", "-O", "0")
	waitFor(t, "payload crosses", func() bool { return strings.Contains(tx.out.String(), "1.00") })
	l.Remove(t)
	for name, p := range map[string]*party{l.TX: tx, l.RX: rx} {
		select {
		case <-p.ended:
		case <-time.After(30 * time.Second):
			t.Fatalf("the end of %s is there yet", name)
		}
		if want := "interface " + name + " is not here any more"; p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.errs.String(), want) {
			t.Errorf("exit %d, want 1, and %q in %s", p.cmd.ProcessState.ExitCode(), want, p.errs.String())
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}
