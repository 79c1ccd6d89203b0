package main

import (
	"bytes"
	"context"
	"fmt"
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

	"zcbench/experiment/site"
	"zcbench/internal/cpuclock"
	"zcbench/internal/procfile"
	"zcbench/results"
	"zcbench/results/caveat"
)

// spaces are two network namespaces on one veth pair: a has 10.77.0.1 on ha, b
// has 10.77.0.2 on hb.
type spaces struct{ a, b string }

func newSpaces(t *testing.T) spaces {
	t.Helper()
	needNamespaces(t)
	if _, err := exec.LookPath("ip"); err != nil || os.Getenv("ZCBENCH_LAB") != "" {
		t.Skip("needs ip (Debian: iproute2)")
	}
	s := spaces{fmt.Sprintf("zcw%da", os.Getpid()), fmt.Sprintf("zcw%db", os.Getpid())}
	t.Cleanup(func() {
		for _, ns := range []string{s.a, s.b} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	for _, line := range []string{
		"netns add " + s.a, "netns add " + s.b,
		"-n " + s.a + " link add ha type veth peer name hb netns " + s.b,
		"-n " + s.a + " addr add 10.77.0.1/24 dev ha", "-n " + s.b + " addr add 10.77.0.2/24 dev hb",
		"-n " + s.a + " link set lo up", "-n " + s.b + " link set lo up",
		"-n " + s.a + " link set ha up", "-n " + s.b + " link set hb up",
	} {
		s.ip(t, line)
	}
	return s
}

func (s spaces) ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

// receive starts a receiver in b by the words before its own, and waits until
// it listens.
func (s spaces) receive(t *testing.T, before []string, args ...string) {
	t.Helper()
	s.receiveBy(t, append([]string{"ip", "netns", "exec", s.b}, before...), args...)
}

// receiveBy is receive for words that enter b too.
func (s spaces) receiveBy(t *testing.T, before []string, args ...string) {
	t.Helper()
	path := built(t)
	words := append(slices.Clone(before), path, "rx")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], args...)...)
	cmd.Env = append(os.Environ(), site.LinkEnv+"=")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("receiver: %s", said.String())
		}
	})
	s.listening(t)
}

// listening waits for a socket of b on port 5301.
func (s spaces) listening(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, _ := exec.Command("ip", "netns", "exec", s.b, "cat", "/proc/net/tcp", "/proc/net/tcp6").Output()
		if strings.Contains(string(out), ":14B5 ") { // 5301
			return
		}
		if time.Now().After(end) {
			t.Fatal("the receiver does not listen")
		}
	}
}

// send runs a sender in a by the words before its own and gives its record.
func (s spaces) send(t *testing.T, before []string, args ...string) results.Record {
	t.Helper()
	path := built(t)
	words := append(append([]string{"netns", "exec", s.a}, before...), path, "tx", "-J")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append(words, args...)...)
	cmd.Env = append(os.Environ(), site.LinkEnv+"=")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tx: %v\n%s%s", err, out, errs.String())
	}
	return record(t, string(out))
}

// The interface of a run is the one its packets take, though another has the
// same address and comes first.
func TestStoryInterfaceOfTwo(t *testing.T) {
	t.Parallel() // no other of those is with these namespaces
	s := newSpaces(t)
	s.ip(t, "-n "+s.a+" link property add dev ha altname bench-port")
	r := measured(t, "local", "--link", "bench-port,hb", "-t", "0.3", "-O", "0.1")
	if got := nicOf(r.Facts.TX); got != "ha" {
		t.Errorf("--link by an alternative name: the sender's interface is %q", got)
	}
	for _, args := range [][]string{{"tune", "show", "-i", "bench-port", "--json"}, {"tune", "apply", "-i", "bench-port", "--set", "mtu=1400",
		"--dry-run"}} {
		if out, errs, code := run(t, args...); code != 0 {
			t.Errorf("%s: exit %d: %s%s", strings.Join(args, " "), code, out, errs)
		}
	}
	for _, line := range []string{
		"-n " + s.b + " link add zbr type bridge", "-n " + s.b + " link set hb master zbr",
		"-n " + s.b + " addr add fe80::77/64 dev hb nodad", "-n " + s.b + " addr add fe80::77/64 dev zbr nodad",
		"-n " + s.b + " link property add dev zbr altname bench-bridge",
		"-n " + s.b + " link set zbr up",
		"-n " + s.a + " addr add fe80::78/64 dev ha nodad",
	} {
		s.ip(t, line)
	}
	s.receive(t, nil)
	r = s.send(t, nil, "fe80::77%bench-port", "-t", "0.3", "-O", "0.1")
	if got := nicOf(r.Facts.RX); got != "zbr" {
		t.Errorf("the receiver's interface is %q, and packets came by zbr", got)
	}
	if got := nicOf(r.Facts.TX); got != "ha" {
		t.Errorf("the sender's interface is %q, and packets left by ha", got)
	}
	// An alternative name given for it is the same interface.
	r = s.send(t, nil, "fe80::77%ha", "-t", "0.3", "-O", "0.1", "--iface", "bench-port")
	if got := nicOf(r.Facts.TX); got != "ha" || r.TX.Counters["link_tx_bytes"] == 0 {
		t.Errorf("the sender's interface is %q by its alternative name, and its counters %v", got, r.TX.Counters["link_tx_bytes"])
	}
	warned := func(r results.Record) bool {
		return slices.ContainsFunc(r.Warnings, func(w string) bool { return caveat.CodeOf(w) == caveat.WrongInterface })
	}
	if warned(r) {
		t.Errorf("the interface that carries the run: %q", r.Warnings)
	}
	if r = s.send(t, nil, "fe80::77%ha", "-t", "0.3", "-O", "0.1", "--iface", "lo"); !warned(r) {
		t.Errorf("packets left by ha, and nothing says that lo is another: %q", r.Warnings)
	}
}

func nicOf(f results.Facts) string {
	nic, _ := f["nic"].(map[string]any)
	name, _ := nic["name"].(string)
	return name
}

// A container shows a boot ID of its own and shares the CPUs all the same.
func TestStoryContainerIsThisHost(t *testing.T) {
	s := newSpaces(t)
	id := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(id, []byte("0a1b2c3d-0000-4000-8000-000000000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// What it finds out of its host's clocks is not to stand for this one's.
	over := "mount --bind " + t.TempDir() + " /run && mount --bind " + id + " /proc/sys/kernel/random/boot_id && exec \"$@\""
	container := []string{"unshare", "-m", "--", "sh", "-c", over, "sh"}
	s.receive(t, container)
	r := s.send(t, nil, "10.77.0.2", "-t", "1", "-O", "0.2")
	if r.RX.CPUScope != "cpuset" && r.RX.CPUScope != "thread" {
		t.Errorf("a container is taken for a host: CPU scope %s", r.RX.CPUScope)
	}
	if total, most := *r.Total.CPUPercent, 100*float64(runtime.NumCPU()); total > most*1.1 {
		t.Errorf("%.0f%% of %.0f%%", total, most)
	}
	if w := warned(r, caveat.HostUnknown); w != "" {
		t.Error(w)
	}
	// Nothing proves anything where the kernel's totals are hidden too.
	over = "mount --bind " + id + " /proc/vmstat && exec \"$@\""
	r = s.send(t, []string{"unshare", "-m", "--", "sh", "-c", over, "sh"}, "10.77.0.2", "-t", "0.5", "-O", "0.2")
	if warned(r, caveat.HostUnknown) == "" {
		t.Errorf("it is not known whether this is one host, and nothing says so: %q", r.Warnings)
	}
}

// warned is a record's warning of a code, "" when there is none.
func warned(r results.Record, code caveat.Code) string {
	for _, w := range r.Warnings {
		if caveat.CodeOf(w) == code {
			return w
		}
	}
	return ""
}

// Each end stays on the CPUs it was given.
func TestStoryOwnCPUs(t *testing.T) {
	s := newSpaces(t)
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	for _, c := range [][2]string{{"1", "0"}, {"0", "1"}} { // receiver, sender
		t.Run("receiver on "+c[0], func(t *testing.T) {
			s.receive(t, []string{"taskset", "-c", c[0]}, "-1")
			r := s.send(t, []string{"taskset", "-c", c[1]}, "10.77.0.2", "-t", "0.5", "-O", "0.2", "--counters", "all")
			for _, e := range []struct {
				role, cpu string
				end       *results.End
			}{{"receiver", c[0], r.RX}, {"sender", c[1], r.TX}} {
				if e.end.CPUScope != "cpuset" {
					t.Errorf("%s: CPU scope %s", e.role, e.end.CPUScope)
				}
				for _, used := range e.end.CPUs {
					if fmt.Sprint(used.CPU) != e.cpu {
						t.Errorf("%s may use CPU %s and counts CPU %d", e.role, e.cpu, used.CPU)
					}
				}
			}
		})
	}
	s.receive(t, []string{"taskset", "-c", "1"}, "-1", "-A", "1")
	path := built(t)
	out, err := exec.Command("ip", "netns", "exec", s.a, "taskset", "-c", "0", path, "tx", "10.77.0.2", "-t", "0.3", "-A",
		"1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CPU 1") {
		t.Errorf("a sender on CPU 0 took CPU 1: %v\n%s", err, out)
	}
}

// A veth pair charges the receiver's softirq to the sender, unless it is steered.
func TestStoryVethNote(t *testing.T) {
	noted := func(args ...string) bool {
		r := measured(t, append([]string{"local", "--link", "veth", "-t", "0.3", "-O", "0.1"}, args...)...)
		return slices.ContainsFunc(r.Notes, func(n string) bool { return caveat.CodeOf(n) == caveat.VethSoftirq })
	}
	needNamespaces(t)
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	if !noted() {
		t.Error("nothing says whose the receiver's softirq is")
	}
	if noted("-A", "0,1", "--softirq-cpus", "0,1") {
		t.Error("it was steered to the receiver's CPU")
	}
}

// busyLoop burns one CPU until the test ends, by a program that has its own
// name.
func busyLoop(t *testing.T, cpu string, words ...string) {
	t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "zcw-loop")
	if err := os.Symlink(shell, name); err != nil {
		t.Fatal(err)
	}
	words = append(words, "taskset", "-c", cpu, name, "-c", "while :; do :; done")
	cmd := exec.Command(words[0], words[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// slow gives the pair a rate at which neither end has much to do.
func (s spaces) slow(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", s.a, "tc", "qdisc", "add", "dev", "ha", "root", "tbf", "rate", "100mbit", "burst", "64kb",
		"latency", "50ms").CombinedOutput()
	if err != nil {
		t.Skipf("needs tc with tbf: %v\n%s", err, out)
	}
}

// A program beside the run uses the CPU whose time is the receiver's figure.
func TestStoryForeignLoad(t *testing.T) {
	s := newSpaces(t)
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	s.slow(t)
	s.receive(t, nil)
	busyLoop(t, "1")
	r := s.send(t, nil, "10.77.0.2", "-t", "2", "-O", "0.3", "-A", "0,1")
	own := (r.RX.Counters["rusage_user_seconds"] + r.RX.Counters["rusage_system_seconds"]) / r.Window * 100
	w := ""
	for _, text := range r.Warnings {
		if caveat.CodeOf(text) == caveat.CPUForeign && strings.HasPrefix(text, "rx:") {
			w = text
		}
	}
	if w == "" {
		t.Fatalf("rx: %.1f%% CPU, %.1f%% its own threads', and nothing says whose the rest is: %q", *r.RX.CPUPercent, own, r.Warnings)
	}
	// On a loaded machine others use it too.
	if foreign := r.RX.Counters["foreign_cpu_percent"]; foreign < 40 || foreign+own > *r.RX.CPUPercent+0.2 {
		t.Errorf("%.1f%% foreign, %.1f%% own, of %.1f%%: %s", foreign, own, *r.RX.CPUPercent, w)
	}
	if *r.RX.CPUPercent > 95 && !strings.Contains(w, "zcw-loop") && r.RX.Counters["foreign_cpu_percent"] > 95 {
		t.Errorf("not the busy loop? %s", w)
	}
}

// In a container the program cannot be seen, and the time is told all the same.
func TestStoryForeignUnseen(t *testing.T) {
	s := newSpaces(t)
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	s.slow(t)
	s.receive(t, []string{"unshare", "-p", "-f", "--mount-proc", "--kill-child", "--"}, "-1")
	busyLoop(t, "1")
	r := s.send(t, nil, "10.77.0.2", "-t", "2", "-O", "0.3", "-A", "0,1")
	if w := warned(r, caveat.CPUForeign); !strings.HasPrefix(w, "rx:") || !strings.Contains(w, "cannot be seen") {
		t.Errorf("rx: %.1f%% CPU, and nothing says whose: %q", *r.RX.CPUPercent, r.Warnings)
	}
	if r.RX.CPUScope != "cpuset" {
		t.Errorf("CPU scope %s", r.RX.CPUScope)
	}
}

// Programs that come and go, and that nobody waits for, are in no process's time.
func TestStoryForkStorm(t *testing.T) {
	s := newSpaces(t)
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	known := false
	for _, name := range []string{cpuclock.Schedstat, cpuclock.CPUAcct} {
		if k, err := cpuclock.Open(cpuclock.Calibration{Method: name}, []int{1}); err == nil {
			known = true
			k.Close()
		}
	}
	if !known {
		t.Skip("this kernel does not tell what all tasks had: no /proc/schedstat, and no cpuacct")
	}
	s.slow(t)
	s.receive(t, nil)
	// A shell that ignores SIGCHLD; its children end unseen on the receiver's CPU.
	const child = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"
	cmd := exec.Command("taskset", "-c", "0", "sh", "-c", "trap '' CHLD; while :; do taskset -c 1 sh -c '"+child+"'; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := s.send(t, nil, "10.77.0.2", "-t", "2", "-O", "0.3", "-A", "0,1")
	own := (r.RX.Counters["rusage_user_seconds"] + r.RX.Counters["rusage_system_seconds"]) / r.Window * 100
	for _, w := range r.Warnings {
		if caveat.CodeOf(w) == caveat.CPUForeign && strings.HasPrefix(w, "rx:") {
			if foreign := r.RX.Counters["foreign_cpu_percent"]; foreign < 15 || foreign > *r.RX.CPUPercent-own+1 {
				t.Errorf("%.1f%% foreign, %.1f%% own, of %.1f%%: %s", foreign, own, *r.RX.CPUPercent, w)
			}
			return
		}
	}
	t.Errorf("rx: %.1f%% CPU, %.1f%% its own threads', and nothing says whose the rest is: %q", *r.RX.CPUPercent, own, r.Warnings)
}

// Receive softirq on a CPU that nobody counts is told.
func TestStorySoftirqElsewhere(t *testing.T) {
	s := newSpaces(t)
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	path := built(t)
	cmd := exec.Command("ip", "netns", "exec", s.b, path, "rx", "--raw", "-A", "1", "-t", "2", "-J", "-p", "5301")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.listening(t)
	before := netTicks(t)
	// The veth pair delivers where it sends: on CPU 0.
	sender := exec.Command("ip", "netns", "exec", s.a, "taskset", "-c", "0", path, "tx", "10.77.0.2", "--raw", "-t", "4", "-p", "5301", "-A",
		"0")
	if err := sender.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Wait() }()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("rx: %v\n%s%s", err, out.String(), errs.String())
	}
	// In over two seconds; what the window had of it is at most as much.
	if share := float64(netTicks(t)-before) / 2; share < 20 {
		t.Skipf("CPU 0 was busy with something else: %.0f%% of it softirq", share)
	}
	r := record(t, out.String())
	if w := warned(r, caveat.SoftirqElsewhere); !strings.Contains(w, "CPU 0,") {
		t.Errorf("the softirq of CPU 0 is nobody's, and nothing says so: %q", r.Warnings)
	}
}

// What shows /proc/stat in a container need not be the kernel.
func TestStoryMaskedStat(t *testing.T) {
	s := newSpaces(t)
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	stat := filepath.Join(t.TempDir(), "stat")
	if err := os.WriteFile(stat, b, 0o644); err != nil {
		t.Fatal(err)
	}
	// What it finds out of its clocks by that file is not to stand for this host's.
	over := "mount --bind " + t.TempDir() + " /run && mount --bind " + stat + " /proc/stat && exec \"$@\""
	s.receive(t, []string{"unshare", "-m", "--", "sh", "-c", over, "sh"}, "-1")
	r := s.send(t, nil, "10.77.0.2", "-t", "0.5", "-O", "0.2", "-A", "0,1")
	w := warned(r, caveat.ProcMasked)
	if !strings.HasPrefix(w, "rx:") {
		t.Errorf("/proc/stat of the receiver stands still, and nothing says so: %q", r.Warnings)
	}
}

// A quota that stops an end again and again is told.
func TestStoryThrottled(t *testing.T) {
	s := newSpaces(t)
	dir := quota(t, 5000, 20000) // short periods, or the end would be stopped for longer than the other waits
	s.receiveBy(t, []string{"sh", "-c", "echo $$ >" + dir + "/cgroup.procs && exec ip netns exec " + s.b + " \"$@\"", "sh"}, "-1")
	r := s.send(t, nil, "10.77.0.2", "-t", "2", "-O", "0.2")
	w := warned(r, caveat.CPUThrottled)
	b, err := os.ReadFile(dir + "/cpu.stat")
	if err != nil {
		t.Fatal(err)
	}
	var ns float64
	for _, v := range []struct {
		name string
		unit float64
	}{{"throttled_time ", 1}, {"throttled_usec ", 1000}} {
		if _, after, ok := strings.Cut(string(b), v.name); ok {
			text, _, _ := strings.Cut(after, "\n")
			n, _ := strconv.ParseFloat(text, 64)
			ns = n * v.unit
		}
	}
	if ns < 0.5e9 { // of more than 2 s
		t.Skip("the machine is too busy for the receiver to come by its quota")
	}
	if !strings.HasPrefix(w, "rx:") || !strings.Contains(w, dir) {
		t.Errorf("the receiver had a quarter of a CPU, and nothing says so: %q", r.Warnings)
	}
}

// quota makes a cgroup that may use so many µs of CPU time a period.
func quota(t *testing.T, us, period int) string {
	t.Helper()
	name := fmt.Sprintf("zcw%d", os.Getpid())
	for _, root := range []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"} {
		dir := filepath.Join(root, name)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			for range 50 { // until its last process is gone
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Errorf("%s is left", dir)
		})
		if os.WriteFile(dir+"/cpu.max", fmt.Appendf(nil, "%d %d", us, period), 0) == nil ||
			os.WriteFile(dir+"/cpu.cfs_period_us", fmt.Append(nil, period), 0) == nil && os.WriteFile(dir+"/cpu.cfs_quota_us", fmt.Append(nil, us),
				0) == nil {
			return dir
		}
	}
	t.Skip("needs the CPU controller of cgroups")
	return ""
}

// netTicks are the ticks that CPU 0 has spent in interrupts and softirq.
func netTicks(t *testing.T) (n uint64) {
	t.Helper()
	s, err := procfile.OpenStat("/")
	if err == nil {
		defer s.Close()
		err = s.Read()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.CPUs[0].IRQ + s.CPUs[0].SoftIRQ
}
