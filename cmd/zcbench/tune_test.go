package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/ringcfg"
)

// inside runs the program in the namespace of an end.
func inside(t *testing.T, e *netpair.End, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := program(t, args...)
	var o, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &errs
	err := e.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// veth is a pair that ends with the test.
func veth(t *testing.T) *netpair.Pair {
	t.Helper()
	needNamespaces(t)
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestTune(t *testing.T) {
	e := &veth(t).RX
	show := func() ringcfg.View {
		out, stderr, code := inside(t, e, "tune", "show", "-i", e.Interface, "--json")
		var v ringcfg.View
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 {
			t.Fatalf("show: exit %d, %v\n%s", code, err, stderr)
		}
		return v
	}
	before := show()
	if before.Driver != "veth" || before.Settings["link.mtu"] != "1500" {
		t.Errorf("show: %+v", before)
	}
	apply := []string{"tune", "apply", "-i", e.Interface, "--set", "mtu=4148", "--set", "gro=on", "--set",
		"sysctl.net.ipv4.tcp_rmem=4096 87380 536870912"}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string // on either stream
	}{
		{"text", []string{"tune", "show", "-i", e.Interface}, 0, "driver veth, in memory: no link's speed"},
		{"dry run", append(apply, "--dry-run"), 0, "3 settings would change; none was"},
		{"apply", apply, 0, "3 settings changed; zcbench tune restore -i " + e.Interface},
		{"not supported", []string{"tune", "apply", "-i", e.Interface, "--set", "rx-ring=4096"}, 3, "ring.rx: not supported by driver veth"},
		{"a bad value", []string{"tune", "apply", "-i", e.Interface, "--set", "gro=perhaps"}, 2, `"perhaps" is not on or off`},
		{"no such setting", []string{"tune", "apply", "-i", e.Interface, "--set", "speed=9"}, 2, `no setting is called "speed"`},
		{"no such profile", []string{"tune", "apply", "-i", e.Interface, "--profile", "none"}, 2, "no profile is called"},
		{"no value", []string{"tune", "apply", "-i", e.Interface, "--set", "mtu"}, 2, "a setting is NAME=VALUE, not"},
		{"nothing", []string{"tune", "apply", "-i", e.Interface}, 2, "nothing to apply"},
		{"no such interface", []string{"tune", "show", "-i", "zcbench-none"}, 2, "zcbench-none"},
		{"no action", []string{"tune"}, 2, "show apply restore journal verify"},
		{"verify", []string{"tune", "verify", "-i", e.Interface, "-t", "0.1"}, 0, "received: "},
	} {
		out, stderr, code := inside(t, e, c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.says) {
			t.Errorf("%s: exit %d, want %d, and %q in\n%s%s", c.name, code, c.code, c.says, out, stderr)
		}
	}
	if now := show(); now.Settings["link.mtu"] != "4148" || now.Settings["feature.rx-gro"] != "on" ||
		now.Settings["sysctl.net.ipv4.tcp_rmem"] != "4096 87380 536870912" {
		t.Errorf("applied: mtu %s, gro %s, tcp_rmem %s", now.Settings["link.mtu"], now.Settings["feature.rx-gro"],
			now.Settings["sysctl.net.ipv4.tcp_rmem"])
	}
	out, stderr, code := inside(t, e, "tune", "journal")
	if code != 0 || !strings.Contains(out, ": "+e.Interface+", changed by process ") || !strings.Contains(out, "  link.mtu: 1500 → 4148\n") {
		t.Errorf("journal: exit %d\n%s%s", code, out, stderr)
	}
	out, stderr, code = inside(t, e, "tune", "restore", "-i", e.Interface)
	if code != 0 || !strings.Contains(out, e.Interface+": link.mtu: 4148 → 1500, put back\n") ||
		!strings.HasSuffix(out, "\n3 settings put back\n") {
		t.Errorf("restore: exit %d\n%s%s", code, out, stderr)
	}
	out, stderr, code = inside(t, e, "tune", "restore", "-i", e.Interface)
	if code != 0 || out != "nothing to put back\n" {
		t.Errorf("a second restore: exit %d\n%s%s", code, out, stderr)
	}
	after := show()
	for _, name := range []string{"link.mtu", "feature.rx-gro", "sysctl.net.ipv4.tcp_rmem"} {
		if after.Settings[name] != before.Settings[name] {
			t.Errorf("restored: %s is %s and was %s", name, after.Settings[name], before.Settings[name])
		}
	}
	if out, stderr, code = inside(t, e, "tune", "journal"); code != 0 || strings.Contains(out, e.Interface) {
		t.Errorf("journal: exit %d\n%s%s", code, out, stderr)
	}
	if out, stderr, code = inside(t, e, "tune", "journal", "--forget", "none"); code != 2 || !strings.Contains(stderr,
		`"none" is no name of a journal`) {
		t.Errorf("forget what there is not: exit %d\n%s%s", code, out, stderr)
	}
}

// Where /proc/sys is mounted read-only, as in a container, a dry run and apply
// refuse alike, and change nothing.
func TestStoryReadOnlySysctls(t *testing.T) {
	needNamespaces(t)
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, dry := range []string{"", "--dry-run"} {
		whole := program(t, "tune", "apply", "--set", "sysctl.net.ipv4.tcp_notsent_lowat=77777")
		cmd := exec.Command("unshare", append([]string{"--mount", "--net", "sh", "-c",
			`mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@" $0`, dry}, whole.Args...)...)
		cmd.Env = whole.Env
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(string(out),
			"sysctl.net.ipv4.tcp_notsent_lowat: its file system is mounted read-only here") {
			t.Errorf("%q: exit %d, %v\n%s", dry, code, err, out)
		}
	}
}

// TestRestoreElsewhere applies settings, renames the interface, gives it
// another address and moves it: restore finds it by the name it had. One that
// is deleted is said, and stays in the journal until it is to be forgotten.
func TestRestoreElsewhere(t *testing.T) {
	e := &veth(t).RX
	was := fmt.Sprintf("zcwas%d", os.Getpid()%100000)
	ip := func(args ...string) {
		t.Helper()
		cmd := exec.Command("ip", args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := e.Do(cmd.Start)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out.String())
		}
	}
	rename := func(from, to string) {
		ip("link", "set", from, "down")
		ip("link", "set", from, "name", to)
		ip("link", "set", to, "up")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip (iproute2)")
	}
	rename(e.Interface, was)
	for _, deleted := range []bool{false, true} {
		if out, stderr, code := inside(t, e, "tune", "apply", "-i", was, "--set", "mtu=4148"); code != 0 {
			t.Fatalf("apply: exit %d\n%s%s", code, out, stderr)
		}
		name := was + "x"
		rename(was, name)
		if !deleted {
			ip("link", "set", name, "address", "02:03:04:05:06:07")
			out, stderr, code := inside(t, e, "tune", "restore", "-i", was)
			if code != 0 || !strings.Contains(out, name+": link.mtu: 4148 → 1500, put back\n1 setting put back\n") {
				t.Errorf("restore: exit %d\n%s%s", code, out, stderr)
			}
			rename(name, was)
			continue
		}
		ip("link", "del", name)
		out, stderr, code := inside(t, e, "tune", "restore", "-i", was)
		if code != 1 || !strings.Contains(stderr, "the interface that was called "+was) {
			t.Errorf("restore of what is gone: exit %d\n%s%s", code, out, stderr)
		}
		_, forget, _ := strings.Cut(strings.TrimSpace(stderr), "tune journal --forget ")
		if out, stderr, code := inside(t, e, "tune", "journal", "--forget", forget); code != 0 {
			t.Errorf("forget %q: exit %d\n%s%s", forget, code, out, stderr)
		}
		if out, stderr, code := inside(t, e, "tune", "restore", "-i", was); code != 2 || !strings.Contains(stderr,
			"nor is any called so in the journal") {
			t.Errorf("restore of what is forgotten: exit %d\n%s%s", code, out, stderr)
		}
	}
}

// TestStoryAgentKilled kills one end of a run that changed an interface of the
// user's own: the driver says how it ended, and puts its settings back.
func TestStoryAgentKilled(t *testing.T) {
	needNamespaces(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip (iproute2)")
	}
	l := testutil.NewLink(t, 0)
	mtu := func() string {
		out, err := exec.Command("ip", "-n", l.RX, "-o", "link", "show", l.RX).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, after, _ := strings.Cut(string(out), " mtu ")
		return strings.Fields(after)[0]
	}
	for _, c := range []struct {
		signal syscall.Signal
		says   string
	}{
		{syscall.SIGKILL, "it was killed by SIGKILL (by somebody, or by the kernel for want of memory: dmesg)"},
		{syscall.SIGSEGV, "it ended with exit code 2"},
	} {
		cmd := program(t, "local", "--link", l.TX+","+l.RX, "-t", "30", "--rx-set", "mtu=1400")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); mtu() != "1400"; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("the run has not begun:\n%s", stderr.String())
			}
		}
		victims := children(t, cmd.Process.Pid)
		if len(victims) != 2 {
			t.Fatalf("agents: %v", victims)
		}
		if err := syscall.Kill(victims[0], c.signal); err != nil { // the receiver
			t.Fatal(err)
		}
		_ = cmd.Wait() // its exit code follows
		text := stderr.String()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(text, "receiver: "+c.says) ||
			!strings.Contains(text, l.RX+": link.mtu: 1400 → 1500, put back\n") {
			t.Errorf("%v: exit %d\n%s", c.signal, code, text)
		}
		if now := mtu(); now != "1500" {
			t.Errorf("%v: MTU %s", c.signal, now)
		}
	}
	if out, stderr, code := run(t, "tune", "journal"); code != 0 || strings.Contains(out, l.RX) {
		t.Errorf("journal: exit %d\n%s%s", code, out, stderr)
	}
}

func TestAlike(t *testing.T) {
	got := alike(ringcfg.Settings{"cpu.0.governor": "a", "cpu.1.governor": "a", "cpu.0.epp": "a", "cpu.1.epp": "b", "cpu.turbo": "on",
		"queue.rx-0.rps-cpus": "0", "queue.rx-1.rps-cpus": "0", "queue.tx-0.xps-cpus": "1", "napi.threaded": "off"})
	want := []row{{"cpu.0.epp", "a"}, {"cpu.*.governor", "a"}, {"cpu.1.epp", "b"}, {"cpu.turbo", "on"}, {"napi.threaded", "off"},
		{"queue.rx-*.rps-cpus", "0"}, {"queue.tx-0.xps-cpus", "1"}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("row %d is %v, want %v", i, got[i], want[i])
		}
	}
}
