package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
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
