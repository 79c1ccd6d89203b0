package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint/endpointtest"
	"zcbench/power"
	"zcbench/results"
	"zcbench/results/caveat"
)

// about compares what was measured with what is known of the meter.
func about(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is not there, want %v", what, want)
	} else if math.Abs(*got-want) > 0.01*math.Abs(want) {
		t.Errorf("%s is %v, want %v within 1%%", what, *got, want)
	}
}

// TestStoryPower: meters whose power is known at any time, one of them rising
// all along, and both ends' figures worked out here once more.
func TestStoryPower(t *testing.T) {
	needNamespaces(t)
	zero := time.Now()
	power := func(s float64) float64 { return 400 + 4*s }
	rx := endpointtest.MeterLog(t, "watts", 0.05, zero, power)
	tx := endpointtest.MeterLog(t, "joules", 0.05, zero, func(s float64) float64 { return 1e6 + 75*s + math.Sin(s)/1e3 })
	r := measured(t, "local", "-t", "1.5", "-O", "0.2", "-i", "0.5", "--baseline-power", "1",
		"--meter", "rx=replay:"+rx, "--meter", "tx=replay:"+tx, "--meter", "exec:while echo 300; do sleep 0.02; done")
	started, err := time.Parse(time.RFC3339Nano, r.Started)
	if err != nil {
		t.Fatal(err)
	}
	open := started.Sub(zero).Seconds()
	about(t, "the receiver's power", r.RX.Watts, power(open+r.Window/2))
	about(t, "the sender's power", r.TX.Watts, 75)
	about(t, "both ends' power", r.Total.Watts, 300)
	if r.RX.Watts == nil || r.TX.Watts == nil || r.Total.Watts == nil || r.RX.Power.JoulesPerG == nil || r.TX.Power.JoulesPerG == nil {
		t.Fatalf("warnings: %q", r.Warnings)
	}
	about(t, "the receiver's energy", &r.RX.Power.Joules, power(open+r.Window/2)*r.Window)
	about(t, "the sender's energy", &r.TX.Power.Joules, 75*r.Window)
	near(t, "the receiver's J/GB", *r.RX.Power.JoulesPerG, r.RX.Power.Joules/(float64(r.RX.Bytes)/1e9))
	near(t, "the receiver's ROI per watt", *r.ROI.Power.RX, r.Gbps*r.Gbps / *r.RX.Watts)
	near(t, "the sender's ROI per watt", *r.ROI.Power.TX, r.Gbps*r.Gbps / *r.TX.Watts)
	near(t, "the whole's ROI per watt", *r.ROI.Power.Total, r.Gbps*r.Gbps / *r.Total.Watts)
	about(t, "the sender's baseline", r.TX.Power.Baseline, 75)
	if b := r.RX.Power.Baseline; b == nil || *b >= *r.RX.Watts || *b < 400-4*60 {
		t.Errorf("the receiver's baseline, of before the run, is %v", b)
	}
	for _, s := range r.Samples {
		want := 75.0
		if s.End == "rx" {
			want = power(open + s.Start + s.Seconds/2)
		}
		about(t, s.End+"'s interval", s.Watts, want)
	}
	if r.RX.Power.Meter != "replay:watts.csv" || !r.TX.Power.Energy || r.RX.Power.Energy {
		t.Errorf("%+v %+v", r.RX.Power, r.TX.Power)
	}
	for _, w := range r.Warnings {
		// The sender's shows no load; what a command prints may come late.
		if strings.Contains(w, "meter replay:") && !strings.Contains(w, "does not see the load") {
			t.Errorf("a warning: %s", w)
		}
	}
	waitGone(t, 5*time.Second)
}

// TestStoryPowerText: the figures are on the screen of both ends, with what the
// meter sees.
func TestStoryPowerText(t *testing.T) {
	rx, port, seen := service(t, "-1", "--meter", "exec:while echo 250; do sleep 0.02; done")
	out, errs, code := run(t, "tx", "127.0.0.1", "-p", port, "-t", "0.5", "-O", "0.1", "--meter", "exec:while echo 150; do sleep 0.02; done")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"Power, sender: 150.0 W", "Power, receiver: 250.0 W", "ROI per watt", " J/GB", "of what the meter is on"} {
		if !strings.Contains(out, want) {
			t.Errorf("the sender does not show %q:\n%s", want, out)
		}
	}
	if err := rx.Wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(seen.String(), "Power, receiver: 250.0 W") {
		t.Errorf("the receiver does not show its power:\n%s", seen)
	}
	waitGone(t, 5*time.Second)
}

// TestStoryPowerTrusted: what is tried first works without a word, and what would
// be a wrong number is none, or says so.
func TestStoryPowerTrusted(t *testing.T) {
	needNamespaces(t)
	codes := func(r results.Record) string {
		var all []string
		for _, w := range r.Warnings {
			if c := string(caveat.CodeOf(w)); strings.HasPrefix(c, "power-") {
				all = append(all, c)
			}
		}
		return strings.Join(all, " ")
	}
	r := measured(t, "local", "-t", "2", "-O", "0.2", "--meter", "tx=exec:echo 340?interval=200ms", "--meter",
		"rx=exec:while echo 100; do sleep 0.02; done")
	about(t, "the power of a command that prints once", r.TX.Watts, 340)
	about(t, "both ends' power", r.Total.Watts, 440)
	// What a run of it takes is of this machine, and may be told.
	if r.TX.Power == nil || !strings.Contains(r.TX.Power.Source, "run again each 200ms") ||
		strings.TrimSpace(strings.ReplaceAll(codes(r), string(caveat.PowerCost), "")) != "" {
		t.Errorf("%+v, %q", r.TX.Power, r.Warnings)
	}

	zero := time.Now()
	twice := endpointtest.MeterLog(t, "watts", 0.05, zero, func(float64) float64 { return 150 })
	r = measured(t, "local", "-t", "0.5", "-O", "0.2", "--meter", "rx=replay:"+twice, "--meter",
		"rx=replay:"+filepath.Dir(twice)+"/./watts.csv", "--meter", "tx=replay:"+twice)
	about(t, "the power of a meter given twice", r.RX.Watts, 150)
	about(t, "both ends' power by one meter", r.Total.Watts, 150)
	if got := codes(r); got != "power-twice power-twice" {
		t.Errorf("warnings: %q", r.Warnings)
	}

	coarse := endpointtest.MeterLog(t, "joules", 0.05, zero, func(s float64) float64 { return 3600 * math.Floor((200*s+1e6)/3600) })
	comma := filepath.Join(t.TempDir(), "comma.csv")
	if err := os.WriteFile(comma, []byte(fmt.Sprintf("time,watts\n%d,100,5\n%d,100,5\n", zero.Unix(), zero.Unix()+60)), 0o600); err != nil {
		t.Fatal(err)
	}
	r = measured(t, "local", "-t", "0.5", "-O", "0.2", "--meter", "rx=replay:"+coarse, "--meter", "tx=replay:"+comma)
	if r.TX.Watts != nil || r.RX.Watts != nil && math.Abs(*r.RX.Watts-200) > r.RX.Power.Bound {
		t.Errorf("%v W of a coarse counter, %v W of a decimal comma", r.RX.Power, r.TX.Power)
	}
	if text := strings.Join(r.Warnings, "\n"); !strings.Contains(text, "has 3 columns and the head has 2") ||
		!strings.Contains(text, "power-") {
		t.Errorf("warnings: %s", text)
	}
}

// TestStoryMeterDies: the run goes on, and its power is missing.
func TestStoryMeterDies(t *testing.T) {
	needNamespaces(t)
	r := measured(t, "local", "-t", "1", "-O", "0.2", "--meter", "tx=exec:for i in $(seq 20); do echo 90; sleep 0.02; done; echo unplugged "+
		">&2; exit 3",
		"--meter", "rx=exec:while echo 100; do sleep 0.02; done")
	if r.TX.Watts != nil || r.TX.Power != nil || r.Total.Watts != nil || r.ROI.Power.TX != nil {
		t.Errorf("power of a dead meter: %+v", r.TX.Power)
	}
	about(t, "the other's power", r.RX.Watts, 100)
	if !slices.ContainsFunc(r.Warnings, func(w string) bool {
		return strings.Contains(w, "its watts are missing") && strings.Contains(w, "exit status 3: unplugged")
	}) {
		t.Errorf("warnings: %q", r.Warnings)
	}
}

// TestStoryMeterElsewhere: a meter on a third host is read there, through ssh.
func TestStoryMeterElsewhere(t *testing.T) {
	needNamespaces(t)
	path := built(t)
	dir := t.TempDir()
	// As ssh does it: options, the host, and a command for a shell there.
	ssh := "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\n[ \"$2\" = box ] || { echo \"ssh: Could not resolve hostname $2\" >&2; exit " +
		"255; }\nPATH=" + filepath.Dir(path) + ":$PATH exec sh -c \"$3\"\n"
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(ssh), 0o755); err != nil {
		t.Fatal(err)
	}
	local := func(meter string) ([]byte, error) {
		cmd := program(t, "local", "-t", "0.5", "-O", "0.1", "-J", "--meter", meter)
		cmd.Env = append(cmd.Env, "PATH="+dir+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+dir)
		return cmd.Output()
	}
	out, err := local("rx=exec:while echo 70; do sleep 0.02; done@box")
	if err != nil {
		t.Fatal(err)
	}
	r := record(t, string(out))
	about(t, "the receiver's power", r.RX.Watts, 70)
	if t.Failed() {
		t.Logf("warnings: %q", r.Warnings)
	}
	if _, err := local("rx=rapl:@nobox"); err == nil {
		t.Error("a host that does not exist was reached")
	}
	waitGone(t, 5*time.Second)
}

// TestStoryPowerRead: what power read says of a meter is what the meter says.
func TestStoryPowerRead(t *testing.T) {
	path := endpointtest.MeterLog(t, "watts", 0.05, time.Now(), func(float64) float64 { return 42.5 })
	out, errs, code := run(t, "power", "read", "--meter", "replay:"+path, "-t", "0.5", "-i", "0.25", "--json")
	var v struct {
		Schema   string
		Power    results.Power
		Readings []reading
		Warnings []string

		Intervals []reading
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	about(t, "power", &v.Power.Watts, 42.5)
	about(t, "energy", &v.Power.Joules, 42.5*0.5)
	about(t, "its interval", &v.Power.Interval, 0.05)
	if v.Schema == "" || len(v.Readings) == 0 || len(v.Warnings) > 0 {
		t.Errorf("schema %q, %d readings, %q", v.Schema, len(v.Readings), v.Warnings)
	}
	if len(v.Intervals) != 2 {
		t.Fatalf("intervals %v", v.Intervals)
	}
	for _, i := range v.Intervals {
		about(t, "an interval's power", i.Watts, 42.5)
	}
	out, errs, code = run(t, "power", "read", "--meter", "replay:"+path, "-t", "0.6", "-i", "0.2")
	if code != 0 || strings.Count(out, "     42.50 W\n") != 3 || !strings.Contains(out, "mean 42.50 W, min 42.50, max 42.50 over 0.6 s, "+
		"25.5 J") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// TestStoryPowerList: what is listed can be read, and what is not says why.
func TestStoryPowerList(t *testing.T) {
	out, errs, code := run(t, "power", "list", "--json")
	var v struct {
		Schema string
		Kinds  []power.Stock
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Schema == "" {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	for _, s := range v.Kinds {
		for _, m := range s.Found {
			if _, errs, code := run(t, "power", "read", "--meter", m.Meter, "-t", "1"); code != 0 {
				t.Errorf("%s is listed and not readable: exit %d: %s", m.Meter, code, errs)
			}
		}
		if s.Lacks != "" {
			_, cure, ok := strings.Cut(s.Lacks, ": ")
			if !ok {
				cure = s.Lacks
			}
			if _, errs, code := run(t, "power", "read", "--meter", s.Name+":", "-t", "1"); code != exitUnsupported || !strings.Contains(errs, cure) {
				t.Errorf("%s: exit %d: %s, and listed as: %s", s.Name, code, errs, s.Lacks)
			}
		}
	}
	text, _, _ := run(t, "power", "list")
	for _, s := range v.Kinds {
		if !strings.Contains(text, s.Name+":"+s.Address) || !strings.Contains(text, s.Lacks) {
			t.Errorf("%s is not in the text:\n%s", s.Name, text)
		}
	}
}

func TestStoryPowerBadInput(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.csv")
	for _, tc := range []struct {
		args string
		code int
		text string
	}{
		{"power", exitUsage, "list read"},
		{"power list x", exitUsage, "x"},
		{"power read", exitUsage, "--meter"},
		{"power read --meter nosuch:1", exitUsage, "nosuch"},
		{"power read --meter rapl+soon:", exitUsage, "rapl+3s:"},
		{"power read --meter replay:" + missing, exitUsage, missing},
		{"power read --meter exec:false -t 1", exitFailed, "exit status 1"},
		{"local --meter nosuch:1", exitUsage, "nosuch"},
		{"local --meter rx=replay:" + missing, exitUsage, missing},
		{"local --meter rx=rapl:@-oProxyCommand", exitUsage, "no host"},
		{"local --meter exec:false", exitFailed, "exit status 1"},
		{"local --baseline-power -1", exitUsage, "--baseline-power"},
		{"rx --meter tx=rapl:", exitUsage, "zcbench tx"},
		{"rx --meter replay:" + missing, exitUsage, missing},
		{"rx --meter exec:cat --baseline-power 3", exitUsage, "sender"},
		{"tx 127.0.0.1 --raw --meter rx=exec:cat", exitUsage, "--raw"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			if strings.HasPrefix(tc.args, "local") {
				needNamespaces(t)
			}
			_, errs, code := run(t, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(errs, tc.text) || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit %d, want %d; it said %q, want one line with %q", code, tc.code, errs, tc.text)
			}
		})
	}
}

// TestStoryPowerMatrix: the cells of an experiment have power, and one whose
// meter does not work is not begun.
func TestStoryPowerMatrix(t *testing.T) {
	needNamespaces(t)
	dir := t.TempDir()
	spec := filepath.Join(dir, "power.yaml")
	matrix := func(meter string) (store string, errs string, code int) {
		text := "base:\n  time: 0.3\n  omit: 0.1\n  meter: ['rx=" + meter + "']\naxes:\n  parallel: [1, 2]\n"
		if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "results")
		_, errs, code = run(t, "run", spec, "-o", out)
		return filepath.Join(out, "results.jsonl"), errs, code
	}
	store, errs, code := matrix("exec:exit 3")
	if _, err := os.Stat(store); code != exitFailed || !strings.Contains(errs, "exit status 3") || err == nil {
		t.Errorf("exit %d: %s", code, errs)
	}
	store, errs, code = matrix("exec:while echo 65; do sleep 0.02; done")
	all, _, err := results.Load(store)
	if err != nil || code != 0 || len(all) != 2 {
		t.Fatalf("exit %d, %d records, %v: %s", code, len(all), err, errs)
	}
	for _, r := range all {
		about(t, "the receiver's power", r.RX.Watts, 65)
	}
}

// TestStoryPowerNetwork: both ends of a local run are in namespaces from which
// no meter can be reached; the meter is read all the same.
func TestStoryPowerNetwork(t *testing.T) {
	needNamespaces(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if strings.HasPrefix(lines.Text(), "MEAS:POW?") {
						fmt.Fprintln(c, "1.2345E+02")
					}
				}
			}()
		}
	}()
	r := measured(t, "local", "-t", "1", "-O", "0.2", "--meter", "tx=scpi:"+l.Addr().String()+"?power=MEAS:POW?")
	about(t, "the sender's power", r.TX.Watts, 123.45)
	if r.TX.Power == nil || r.TX.Power.Scope != "wall" {
		t.Errorf("%+v, %q", r.TX.Power, r.Warnings)
	}
}
