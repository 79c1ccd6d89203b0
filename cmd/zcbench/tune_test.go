package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zcbench/internal/netpair"
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

func TestTune(t *testing.T) {
	needNamespaces(t)
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e := &p.RX
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
	apply := []string{"tune", "apply", "-i", e.Interface, "--set", "mtu=4148", "--set", "gro=on", "--set", "sysctl.net.ipv4.tcp_rmem=4096 87380 536870912"}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string // on either stream
	}{
		{"text", []string{"tune", "show", "-i", e.Interface}, 0, "! a payload of 1448 bytes fills no page"},
		{"dry run", append(apply, "--dry-run"), 0, "3 settings would change; none was"},
		{"apply", apply, 0, "3 settings changed; zcbench tune restore -i " + e.Interface},
		{"not supported", []string{"tune", "apply", "-i", e.Interface, "--set", "rx-ring=4096"}, 3, "rx-ring: not supported by driver veth"},
		{"a bad value", []string{"tune", "apply", "-i", e.Interface, "--set", "gro=perhaps"}, 2, `"perhaps" is not on or off`},
		{"no such setting", []string{"tune", "apply", "-i", e.Interface, "--set", "speed=9"}, 2, `no setting is called "speed"`},
		{"no such profile", []string{"tune", "apply", "-i", e.Interface, "--profile", "none"}, 2, "no profile is called"},
		{"no value", []string{"tune", "apply", "-i", e.Interface, "--set", "mtu"}, 2, "--set wants NAME=VALUE"},
		{"nothing", []string{"tune", "apply", "-i", e.Interface}, 2, "nothing to apply"},
		{"no such interface", []string{"tune", "show", "-i", "zcbench-none"}, 2, "zcbench-none"},
		{"no action", []string{"tune"}, 2, "show apply restore verify"},
		{"verify", []string{"tune", "verify", "-i", e.Interface, "-t", "0.1"}, 0, "received: "},
	} {
		out, stderr, code := inside(t, e, c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.says) {
			t.Errorf("%s: exit %d, want %d, and %q in\n%s%s", c.name, code, c.code, c.says, out, stderr)
		}
	}
	if now := show(); now.Settings["link.mtu"] != "4148" || now.Settings["feature.rx-gro"] != "on" || now.Settings["sysctl.net.ipv4.tcp_rmem"] != "4096 87380 536870912" {
		t.Errorf("applied: mtu %s, gro %s, tcp_rmem %s", now.Settings["link.mtu"], now.Settings["feature.rx-gro"], now.Settings["sysctl.net.ipv4.tcp_rmem"])
	}
	out, stderr, code := inside(t, e, "tune", "restore", "-i", e.Interface)
	if code != 0 {
		t.Errorf("restore: exit %d\n%s%s", code, out, stderr)
	}
	after := show()
	for _, name := range []string{"link.mtu", "feature.rx-gro", "sysctl.net.ipv4.tcp_rmem"} {
		if after.Settings[name] != before.Settings[name] {
			t.Errorf("restored: %s is %s and was %s", name, after.Settings[name], before.Settings[name])
		}
	}
	if left, _ := filepath.Glob("/run/zcbench/*-" + e.Interface + ".journal"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestAlike(t *testing.T) {
	got := alike(ringcfg.Settings{"cpu.0.governor": "a", "cpu.1.governor": "a", "cpu.0.epp": "a", "cpu.1.epp": "b", "cpu.turbo": "on",
		"queue.rx-0.rps-cpus": "0", "queue.rx-1.rps-cpus": "0", "queue.tx-0.xps-cpus": "1", "napi.threaded": "0"})
	want := []row{{"cpu.0.epp", "a"}, {"cpu.*.governor", "a"}, {"cpu.1.epp", "b"}, {"cpu.turbo", "on"}, {"napi.threaded", "0"},
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
