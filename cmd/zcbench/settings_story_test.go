package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"zcbench/endpoint"
	"zcbench/experiment/ask"
	"zcbench/results"
	"zcbench/results/caveat"
)

// with are the warnings of a record that have the code.
func with(r results.Record, code caveat.Code) (w []string) {
	for _, text := range r.Warnings {
		if caveat.CodeOf(text) == code {
			w = append(w, text)
		}
	}
	return w
}

// A window beyond the host's limit: root has it, and others are told that they
// have not.
func TestStoryWindow(t *testing.T) {
	if os.Geteuid() != 0 || !canMakeNamespaces() {
		t.Skip("needs root, to have more than the limit and to become somebody else")
	}
	limit := func(name string) int {
		b, err := os.ReadFile("/proc/sys/net/core/" + name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	rmem, wmem := limit("rmem_max"), limit("wmem_max")
	asked := 4 * max(rmem, wmem)
	if asked > 1<<30 {
		t.Skip("net.core.rmem_max and wmem_max leave nothing to exceed")
	}
	path := built(t)
	for dir := filepath.Dir(path); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := service(t)
	cmd := program(t, "tx", "127.0.0.1", "-p", port, "-w", fmt.Sprint(asked), "-t", "0.3", "-O", "0", "-J")
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, "/"
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	r := record(t, string(out))
	if rx, tx := r.RX.Socket, r.TX.Socket; rx.RcvBuf != 2*asked || rx.SndBuf != 2*asked || tx.RcvBuf != 2*rmem || tx.SndBuf != 2*wmem {
		t.Errorf("receiver %+v, sender %+v; asked were %d, allowed %d and %d", rx, tx, asked, rmem, wmem)
	}
	got := with(r, caveat.SettingNotTaken)
	want := []string{
		fmt.Sprintf("tx: --window %d was asked for, and the receive buffer has %d bytes", asked, rmem),
		fmt.Sprintf("tx: --window %d was asked for, and the send buffer has %d bytes", asked, wmem),
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("warnings %q, want %q", got, want)
	}
}

// Settings that a link cannot have, and options that engines bound, over a veth
// pair; and that runs whose settings were taken say nothing of the kind.
func TestStorySettingsTaken(t *testing.T) {
	needNamespaces(t)
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"-M 9000", []string{"rx: --set-mss 9000", "tx: --set-mss 9000"}},
		{"-M 9000 --set mtu=9060", nil},
		{"-4 --set gso-max-size=131072 --set gro-max-size=131072 -t 1 -O 0.5", []string{"rx: link.gro-max-size=131072 was asked for, and the " +
			"run was over IPv4", "tx: link.gso-max-size=131072 was asked for, and the run was over IPv4"}},
		{"-4 --tune-profile bigtcp -t 1 -O 0.5", nil},
		{"-6 --set gso-max-size=131072 -t 1 -O 0.5", nil},
		{"-w 1M -M 1000 -C reno -N --cport 40000", nil},
		{"--rx mmap --rx-opt chunk=2M -w 1M", []string{"rx: chunk=2M was asked for, and the engine mmap took 1048576"}},
		{"--rx mmap -w 1M", nil}, // the engine's own choice
		{"--rx uring --rx-opt buffers=5,wait-nr=1 --min-wait-us 500", []string{"rx: buffers=5 was asked for, and the engine uring took 8",
			"rx: min-wait-us=500 was asked for, and the engine uring took 0"}},
		{"--tx sendzc --tx-opt batch=16,outstanding=100 -l 1M", []string{"tx: batch=16 was asked for, and the engine sendzc took 4",
			"tx: outstanding=100 was asked for, and the engine sendzc took 128"}},
	} {
		t.Run(tc.args, func(t *testing.T) {
			r := measured(t, append([]string{"local", "-t", "0.3", "-O", "0.1"}, strings.Fields(tc.args)...)...)
			got := with(r, caveat.SettingNotTaken)
			if len(got) != len(tc.want) {
				t.Fatalf("warnings %q, want %q", got, tc.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tc.want[i]) {
					t.Errorf("warning %q, want %q", got[i], tc.want[i])
				}
			}
		})
	}
}

// What a receiver's own flags make of it.
func TestReceiverServes(t *testing.T) {
	serves := func(args string) string {
		f := pflag.NewFlagSet("rx", pflag.ContinueOnError)
		r := newRunFlags(f, inRX)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.refuseRX(), r.check()); err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		if err := known().GiveMemory(r.Run, endpoint.RX); err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		mine, _, err := ask.ParseCPUs("--affinity", r.Affinity)
		if err != nil {
			t.Fatal(err)
		}
		a := r.agent(mine)
		return fmt.Sprint(a.Options, a.Pinned, a.DataPort, a.Bind, a.Interface, a.NoTune, a.Verify, a.Counters, a.Profile, a.Syscalls)
	}
	for _, c := range [][2]string{
		{"", "--mode msgzc"}, {"", "--rx trunc"}, {"", "--tx msgzc"}, {"--rx mmap", "--rx mmap --rx-opt chunk=1M"},
		{"--rx devmem", "--rx devmem --mem udmabuf:16M"}, {"", "-A 0"}, {"", "-p 6000"}, {"", "-B 127.0.0.1"}, {"", "--iface lo"},
		{"", "--no-tune"}, {"", "--verify"}, {"", "--counters tcp"}, {"", "--profile"}, {"", "--syscalls"}, {"--rx zcrx",
			"--rx zcrx --zcrx-area huge"},
		{"--rx zcrx", "--rx zcrx --rx-buf-len 8K"}, {"--rx zcrx", "--rx zcrx --rq-entries 64"}, {"--rx zcrx", "--rx zcrx --cq-entries 64"},
		{"--rx zcrx", "--rx zcrx --wait-nr 4"}, {"--rx zcrx", "--rx zcrx --min-wait-us 4"}, {"--rx zcrx", "--rx zcrx --busy-poll 4"},
	} {
		if a, b := serves(c[0]), serves(c[1]); a == b {
			t.Errorf("%q does nothing beside %q: %s", c[1], c[0], a)
		}
	}
	_, port, _ := service(t, "-4", "--max-time", "2", "--max-flows", "2", "--max-memory", "2M")
	for args, want := range map[string]string{
		"127.0.0.1 -t 3 -O 0":              "its --max-time",
		"127.0.0.1 -t 0.2 -O 0 -P 3":       "its --max-flows",
		"127.0.0.1 -t 0.2 -O 0 -l 2M":      "its --max-memory",
		"::1 -t 0.2 -O 0":                  "reach zcbench rx",
		"127.0.0.1 -t 1 -O 0 -P 2 -l 128K": "",
	} {
		_, errs, code := run(t, append(append([]string{"tx"}, strings.Fields(args)...), "-p", port)...)
		if (code == 0) != (want == "") || !strings.Contains(errs, want) {
			t.Errorf("tx %s: exit %d, %s", args, code, errs)
		}
	}
}

// Addresses, CPUs and the interface that were given are those of the run.
func TestStoryBind(t *testing.T) {
	to, got := sink(t)
	source := freePort(t)
	r := measured(t, "tx", "127.0.0.1", "--raw", "-p", to, "-t", "0.2", "-B", "127.0.0.3", "--cport", strconv.Itoa(source), "--iface", "lo",
		"-A", "0")
	if s, want := <-got, fmt.Sprintf("127.0.0.3:%d", source); s.from != want {
		t.Errorf("it came from %s, not %s", s.from, want)
	}
	if got := fmt.Sprint(r.Settings["tx_cpus"]); got != "[0]" {
		t.Errorf("it ran on CPUs %s", got)
	}
	nic := ""
	for _, f := range r.Facts.TX.Flat() {
		if f.Name == "nic.name" {
			nic = f.Value
		}
	}
	if nic != "lo" {
		t.Errorf("the interface is %q", nic)
	}
	_, port, _ := service(t, "-B", "127.0.0.2")
	if _, errs, code := run(t, "tx", "127.0.0.1", "-p", port, "-t", "0.2"); code != exitUnreachable {
		t.Errorf("a receiver that listens elsewhere: exit %d: %s", code, errs)
	}
	measured(t, "tx", "127.0.0.2", "-p", port, "-t", "0.2", "-O", "0")
}
