package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"zcbench/results"
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
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	words := append(append([]string{"ip", "netns", "exec", s.b}, before...), path, "rx")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], args...)...)
	cmd.Env = append(os.Environ(), linkEnv+"=")
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
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	words := append(append([]string{"netns", "exec", s.a}, before...), path, "tx", "-J")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append(words, args...)...)
	cmd.Env = append(os.Environ(), linkEnv+"=")
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
	s := newSpaces(t)
	s.ip(t, "-n "+s.a+" link property add dev ha altname bench-port")
	r := measured(t, "local", "--link", "bench-port,hb", "-t", "0.3", "-O", "0.1")
	if got := nicOf(r.Facts.TX); got != "ha" {
		t.Errorf("--link by an alternative name: the sender's interface is %q", got)
	}
	for _, args := range [][]string{{"tune", "show", "-i", "bench-port", "--json"}, {"tune", "apply", "-i", "bench-port", "--set", "mtu=1400", "--dry-run"}} {
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
	over := "mount --bind " + id + " /proc/sys/kernel/random/boot_id && exec \"$@\""
	container := []string{"unshare", "-m", "--", "sh", "-c", over, "sh"}
	s.receive(t, container)
	r := s.send(t, nil, "10.77.0.2", "-t", "1", "-O", "0.2")
	if r.RX.CPUScope != "cpuset" && r.RX.CPUScope != "thread" {
		t.Errorf("a container is taken for a host: CPU scope %s", r.RX.CPUScope)
	}
	if total, most := *r.Total.CPUPercent, 100*float64(runtime.NumCPU()); total > most*1.1 {
		t.Errorf("%.0f%% of %.0f%%", total, most)
	}
	if w := warned(r, results.HostUnknown); w != "" {
		t.Error(w)
	}
	// Nothing proves anything where the kernel's totals are hidden too.
	over = "mount --bind " + id + " /proc/vmstat && exec \"$@\""
	r = s.send(t, []string{"unshare", "-m", "--", "sh", "-c", over, "sh"}, "10.77.0.2", "-t", "0.5", "-O", "0.2")
	if warned(r, results.HostUnknown) == "" {
		t.Errorf("it is not known whether this is one host, and nothing says so: %q", r.Warnings)
	}
}

// warned is a record's warning of a code, "" when there is none.
func warned(r results.Record, code results.Code) string {
	for _, w := range r.Warnings {
		if results.CodeOf(w) == code {
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
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ip", "netns", "exec", s.a, "taskset", "-c", "0", path, "tx", "10.77.0.2", "-t", "0.3", "-A", "1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CPU 1") {
		t.Errorf("a sender on CPU 0 took CPU 1: %v\n%s", err, out)
	}
}
