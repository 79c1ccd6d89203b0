package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/results"
)

const tinySpec = `
name: tiny
base: {time: 0.5, omit: 0.1, interval: 0}
axes:
  engines:
    plain: {mode: baseline}
    ring: {tx: uring, rx: uring}
    trunc: {tx: baseline, rx: trunc}
repeats: 2
drop: [first]
`

// idleSpec has runs that move nothing, so that none fails on a busy machine.
const idleSpec = `
name: idle
base: {time: 0.2, omit: 0.05, interval: 0, tx: null, rx: null}
axes:
  length: [1K, 2K, 4K]
repeats: 2
drop: [first]
`

func specFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spec.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func storedRecords(t *testing.T, dir string) []results.Record {
	t.Helper()
	all, bad, err := results.Load(filepath.Join(dir, "results.jsonl"))
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	return all
}

// runKeys name runs: cell and repeat.
func runKeys(all []results.Record) []string {
	var keys []string
	for _, r := range all {
		keys = append(keys, fmt.Sprintf("%s/%d", r.Cell, r.Repeat))
	}
	slices.Sort(keys)
	return keys
}

// planned are the runs that plan --json lists, in order, and those of each cell.
func planned(t *testing.T, args ...string) (order []string, cells map[string]plannedCell) {
	t.Helper()
	out, errs, code := run(t, append([]string{"plan", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("plan: exit %d: %s", code, errs)
	}
	var p struct {
		Cells []plannedCell `json:"cells"`
		Order []plannedRun  `json:"order"`
	}
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	cells = map[string]plannedCell{}
	for _, c := range p.Cells {
		cells[c.ID] = c
	}
	for _, r := range p.Order {
		order = append(order, fmt.Sprintf("%s/%d", p.Cells[r.Cell].ID, r.Repeat))
	}
	return order, cells
}

func TestStoryExperiment(t *testing.T) {
	needNamespaces(t)
	spec, dir := specFile(t, tinySpec), filepath.Join(t.TempDir(), "out")
	order, cells := planned(t, spec)
	out, errs, code := run(t, "run", spec, "-o", dir, "--json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	all := storedRecords(t, dir)
	var made []string
	for _, r := range all {
		made = append(made, fmt.Sprintf("%s/%d", r.Cell, r.Repeat))
		c := cells[r.Cell]
		if r.Status != results.OK || r.Experiment != "tiny" || r.Axes["engines"] != c.Axes["engines"] || r.ShuffleSeed != 1 ||
			r.Command != c.Command {
			t.Errorf("record of %v: %s %s, experiment %q, axes %v, seed %d, command %v", c, r.Status, r.Reason, r.Experiment, r.Axes, r.ShuffleSeed,
				r.Command)
		}
		if (r.Dropped != "") != (r.Repeat == 0) {
			t.Errorf("run %d is dropped: %q", r.Repeat, r.Dropped)
		}
	}
	if !slices.Equal(made, order) {
		t.Errorf("made %v, planned %v", made, order)
	}
	// What --json prints is what is stored.
	stored, err := os.ReadFile(filepath.Join(dir, "results.jsonl"))
	if err != nil || out != string(stored) {
		t.Errorf("printed %d bytes, stored %d, %v", len(out), len(stored), err)
	}
	if n := strings.Count(errs, "Gbit/s"); n != 6 {
		t.Errorf("%d lines of progress: %s", n, errs)
	}
	// A cell's command is the cell.
	line := strings.Fields(all[0].Command)
	if r := measured(t, line[1:]...); r.Cell != all[0].Cell {
		t.Errorf("%v gave cell %s, want %s", line, r.Cell, all[0].Cell)
	}
	// Nothing is measured twice, and nothing else is put there.
	if _, errs, code := run(t, "run", spec, "-o", dir); code != exitUsage || !strings.Contains(errs, "--resume") {
		t.Errorf("again: exit %d: %s", code, errs)
	}
	if out, errs, code := run(t, "run", spec, "-o", dir, "--resume"); code != 0 || !strings.Contains(errs, "6 of 6 runs done") ||
		!strings.Contains(out, "ROI") {
		t.Errorf("resumed: exit %d: %s%s", code, errs, out)
	}
	other := specFile(t, strings.Replace(tinySpec, "time: 0.5", "time: 0.6", 1))
	if _, errs, code := run(t, "run", other, "-o", dir, "--resume"); code != exitUsage ||
		!strings.Contains(errs, "3 cells not among those that were begun") {
		t.Errorf("another spec: exit %d: %s", code, errs)
	}
	if got := runKeys(storedRecords(t, dir)); len(got) != 6 {
		t.Errorf("%d records", len(got))
	}
}

// Killed at any moment, and continued: exactly the planned records, and the
// host as it was.
func TestStoryExperimentKilled(t *testing.T) {
	needNamespaces(t)
	const setting = "/proc/sys/vm/max_map_count"
	before, err := os.ReadFile(setting)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(before)))
	if err != nil {
		t.Fatal(err)
	}
	text := idleSpec
	if f, err := os.OpenFile(setting, os.O_WRONLY, 0); err == nil {
		f.Close()
		text = strings.Replace(text, "rx: null}", fmt.Sprintf("rx: null, rx-set: {sysctl.vm.max_map_count: %d}}", n+1), 1)
	}
	spec := specFile(t, text)
	order, _ := planned(t, spec)
	rounds := 1 // of up to ten kills
	if os.Getenv("ZCBENCH_SOAK") != "" {
		rounds = 10
	}
	for round := range rounds {
		dir, kills := filepath.Join(t.TempDir(), strconv.Itoa(round)), 0
		for {
			cmd := program(t, "run", spec, "-o", dir, "--resume")
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			wait := time.Duration(50+rand.IntN(2500)) * time.Millisecond
			if kills >= 10 {
				wait = time.Minute
			}
			select {
			case err := <-done:
				if err != nil {
					t.Fatalf("after %d kills: %v: %s", kills, err, errs.String())
				}
			case <-time.After(wait):
				_ = cmd.Process.Kill()
				<-done
				kills++
			}
			waitGone(t, 10*time.Second)
			if now, err := os.ReadFile(setting); err != nil || !bytes.Equal(now, before) {
				t.Fatalf("after %d kills %s is %s, was %s (%v)", kills, setting, now, before, err)
			}
			if cmd.ProcessState.Success() {
				break
			}
		}
		want := slices.Clone(order)
		slices.Sort(want)
		if got := runKeys(storedRecords(t, dir)); !slices.Equal(got, want) {
			t.Errorf("round %d, %d kills: records %v, want %v", round, kills, got, want)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 2 {
			t.Errorf("left in the directory: %v %v", left, err)
		}
		t.Logf("round %d: %d kills", round, kills)
	}
}

func TestStoryExperimentInterrupted(t *testing.T) {
	needNamespaces(t)
	spec := specFile(t, strings.Replace(idleSpec, "time: 0.2", "time: 2", 1))
	for _, c := range []struct {
		name    string
		signals []os.Signal
		records int // of the run that was on
	}{
		{"once", []os.Signal{os.Interrupt}, 1},
		{"twice", []os.Signal{os.Interrupt, os.Interrupt}, 0},
		{"terminated", []os.Signal{syscall.SIGTERM}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			cmd := program(t, "run", spec, "-o", dir)
			var out words
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Both ends are there when the run is on.
			for begun := time.Now(); len(processes(t)) < 3 && time.Since(begun) < 20*time.Second; {
				time.Sleep(20 * time.Millisecond)
			}
			for _, s := range c.signals {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * doubled)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(out.String(), "--resume") {
				t.Errorf("exit %d: %s", code, out.String())
			}
			waitGone(t, 2*time.Second)
			all, bad, err := results.Load(filepath.Join(dir, "results.jsonl"))
			if c.records == 0 && errors.Is(err, os.ErrNotExist) {
				err = nil
			}
			if len(all) != c.records || len(bad) > 0 || err != nil {
				t.Errorf("%d records, want %d; %v %v", len(all), c.records, bad, err)
			}
		})
	}
}

func TestStoryExperimentParts(t *testing.T) {
	t.Parallel() // its runs move nothing
	needNamespaces(t)
	spec := specFile(t, idleSpec)
	order, cells := planned(t, spec)
	var made []results.Record
	for i := range 2 {
		dir := filepath.Join(t.TempDir(), "out")
		if _, errs, code := run(t, "run", spec, "-o", dir, "--shard", fmt.Sprintf("%d/2", i+1)); code != 0 {
			t.Fatalf("shard %d: exit %d: %s", i+1, code, errs)
		}
		made = append(made, storedRecords(t, dir)...)
	}
	slices.Sort(order)
	if got := runKeys(made); !slices.Equal(got, order) {
		t.Errorf("shards made %v, planned %v", got, order)
	}
	dir := filepath.Join(t.TempDir(), "out")
	if _, errs, code := run(t, "run", spec, "-o", dir, "--only", "length=1K|4K", "--repeats", "3", "--shuffle-seed", "7"); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	all := storedRecords(t, dir)
	for _, r := range all {
		if a := cells[r.Cell].Axes["length"]; a != "1K" && a != "4K" || r.ShuffleSeed != 7 {
			t.Errorf("ran %s with seed %d", a, r.ShuffleSeed)
		}
	}
	if len(all) != 6 {
		t.Errorf("%d records, want 2 cells × 3", len(all))
	}
	// What was chosen need not be said again.
	if _, errs, code := run(t, "run", spec, "-o", dir, "--resume"); code != 0 || !strings.Contains(errs, "6 of 6 runs done") {
		t.Errorf("resumed: exit %d: %s", code, errs)
	}
	if _, errs, code := run(t, "run", spec, "-o", dir, "--resume", "--repeats", "2"); code != exitUsage {
		t.Errorf("resumed with fewer repeats: exit %d: %s", code, errs)
	}
}

func TestStoryExperimentMissing(t *testing.T) {
	t.Parallel() // its runs move nothing
	needNamespaces(t)
	const axis = "  x: {a: {}, b: {length: 1K}, dma: {tx: devmem, rx: devmem, rx-set: {gro-hw: on}}}"
	spec := specFile(t, strings.Replace(idleSpec, "  length: [1K, 2K, 4K]", axis, 1))
	dir := filepath.Join(t.TempDir(), "out")
	_, errs, code := run(t, "run", spec, "-o", dir)
	if code != exitUnsupported {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"rx engine devmem: ", "tx engine devmem: ", "rx setting feature.rx-gro-hw: not supported by driver veth",
		"1 cell"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in: %s", want, errs)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it began all the same: %v", err)
	}
	if _, errs, code := run(t, "run", spec, "-o", dir, "--skip-missing"); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	count := map[results.Status]int{}
	for _, r := range storedRecords(t, dir) {
		count[r.Status]++
		if r.Status == results.Skipped && !strings.Contains(r.Reason, "devmem") {
			t.Errorf("skipped: %q", r.Reason)
		}
	}
	if count[results.OK] != 4 || count[results.Skipped] != 1 {
		t.Errorf("records: %v", count)
	}
}

func TestStoryExperimentFullDisk(t *testing.T) {
	t.Parallel() // its runs move nothing
	needNamespaces(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=5m"); err != nil {
		t.Skip("needs the right to mount a tmpfs: ", err)
	}
	defer unix.Unmount(disk, unix.MNT_DETACH)
	spec, dir := specFile(t, idleSpec), filepath.Join(disk, "out")
	// Room for the spare and little else.
	if err := os.WriteFile(filepath.Join(disk, "fill"), make([]byte, 1<<20-24<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	_, errs, code := run(t, "run", spec, "-o", dir)
	if code != exitFailed || !strings.Contains(errs, "is full") || !strings.Contains(errs, "--resume") {
		t.Errorf("exit %d: %s", code, errs)
	}
	before := storedRecords(t, dir)
	if len(before) == 0 || len(before) == 6 {
		t.Errorf("%d records", len(before))
	}
	for _, r := range before {
		if r.Status != results.OK {
			t.Errorf("%s: %s", r.Status, r.Reason)
		}
	}
	// Still no room.
	if _, errs, code := run(t, "run", spec, "-o", dir, "--resume"); code != exitFailed || !strings.Contains(errs, "free there to begin") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if err := os.Remove(filepath.Join(disk, "fill")); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := run(t, "run", spec, "-o", dir, "--resume"); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	if all := storedRecords(t, dir); len(all) != 6 || !slices.EqualFunc(before, all[:len(before)],
		func(a, b results.Record) bool { return a.ID == b.ID }) {
		t.Errorf("%d records, %d of them from before", len(all), len(before))
	}
}

func TestStoryExperimentBadInput(t *testing.T) {
	good := specFile(t, tinySpec)
	bad := func(old, new string) string { return specFile(t, strings.Replace(tinySpec, old, new, 1)) }
	for _, c := range []struct {
		args []string
		text string
	}{
		{[]string{"run"}, "quick"},
		{[]string{"plan", "nope"}, "nope"},
		{[]string{"plan", "./nope.yaml"}, "nope.yaml"},
		{[]string{"plan", bad("repeats", "repaets")}, `line 9: no key is called "repaets"; did you mean "repeats"?`},
		{[]string{"plan", bad("time:", "tmie:")}, `line 3: no flag of a run is called "tmie"; did you mean "time"?`},
		{[]string{"plan", bad("time: 0.5", "time: soon")}, `line 3: time: `},
		{[]string{"plan", bad("rx: trunc", "rx: trunk")}, `line 8: rx: unknown receive engine "trunk"`},
		{[]string{"plan", bad("[first]", "[first, last]")}, "drop leaves no run of 2"},
		{[]string{"plan", bad("interval: 0", "rx-opt: {wings: 2}")}, "wings"},
		{[]string{"plan", bad("trunc: {tx: baseline, rx: trunc}", "again: {tx: baseline, rx: baseline}")}, "are the same run"},
		{[]string{"plan", good, "--only", "engine=plain"}, `no axis is called "engine"`},
		{[]string{"plan", good, "--only", "engines=plane"}, `no value of axis engines is called "plane"`},
		{[]string{"plan", good, "--shard", "3/2"}, "shard 3 of 2"},
		{[]string{"plan", good, "--shard", "x"}, "--shard"},
		{[]string{"plan", good, "--repeats", "-1"}, "repeats"},
		{[]string{"plan", good, "--facts", "/nonexistent"}, "/nonexistent"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			if slices.Contains(c.args, good) || strings.Contains(c.text, "wings") || strings.Contains(c.text, "same run") {
				needNamespaces(t)
			}
			_, errs, code := run(t, c.args...)
			if code != exitUsage || !strings.Contains(errs, c.text) || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit %d, want %d; it said %q, want %q in it", code, exitUsage, errs, c.text)
			}
		})
	}
}

// A plan is made anywhere from facts that were saved.
func TestStoryPlanFacts(t *testing.T) {
	needNamespaces(t)
	spec, facts := specFile(t, tinySpec), filepath.Join(t.TempDir(), "facts.json")
	here, _, code := run(t, "plan", spec, "--save-facts", facts)
	there, errs, code2 := run(t, "plan", spec, "--facts", facts)
	if code != 0 || code2 != 0 || here != there {
		t.Errorf("exit %d and %d: %s\n%s\n%s", code, code2, errs, here, there)
	}
	if out, _, _ := run(t, "plan", spec, "--facts", facts, "--shards", "2"); !strings.Contains(out, "1/2") || !strings.Contains(out, "2/2") {
		t.Errorf("shards: %s", out)
	}
}

// Both ends have the settings of a run, each its own, and only for the run.
func TestStorySettings(t *testing.T) {
	needNamespaces(t)
	r := measured(t, "local", "-t", "0.2", "-O", "0", "--set", "mtu=9000", "--tx-set", "mtu=4148", "--set", "gro-hw?=on",
		"--set", "sysctl.net.ipv4.tcp_rmem=4096 131072 16777216", "--tune-profile", "bigtcp")
	for _, e := range []struct {
		facts results.Facts
		mtu   float64
	}{{r.Facts.RX, 9000}, {r.Facts.TX, 4148}} {
		nic, sysctl, offload := e.facts["nic"].(map[string]any), e.facts["sysctl"].(map[string]any), e.facts["offload"].(map[string]any)
		if nic["mtu"] != e.mtu || sysctl["net.ipv4.tcp_rmem"] != "4096 131072 16777216" || nic["gro_max_size"] != 131072.0 ||
			offload["rx-gro"] != "on" {
			t.Errorf("mtu %v, tcp_rmem %v, gro_max_size %v, GRO %v", nic["mtu"], sysctl["net.ipv4.tcp_rmem"], nic["gro_max_size"], offload["rx-gro"])
		}
	}
	// What it took to get there is told, and is no setting.
	_, tuned := r.Settings["tuned"]
	_, command := r.Settings["command"]
	if tuned || command || !strings.Contains(r.Command, "--set mtu=9000") || !strings.Contains(strings.Join(r.Tuned["tx"], "; "),
		`mtu: "1500" → "4148"`) || len(r.Tuned["rx"]) == 0 {
		t.Errorf("command %q, tuned %v, settings %v", r.Command, r.Tuned, r.Settings)
	}
	if plain := measured(t, "local", "-t", "0.2", "-O", "0"); plain.Cell == r.Cell {
		t.Error("settings do not tell the cell from one without")
	}
	for _, c := range []struct {
		args string
		code int
		text string
	}{
		{"--set mtu", exitUsage, "NAME=VALUE"},
		{"--set mtuu=1", exitUsage, "mtuu"},
		{"--set mtu=many", exitUsage, "many"},
		{"--rx-set gro-hw=on", exitUnsupported, "feature.rx-gro-hw"},
		{"--tune-profile nope", exitUsage, "nope"},
		{"--set mtu=9000 --no-tune", exitUsage, "--no-tune"},
	} {
		_, errs, code := run(t, append([]string{"local", "-t", "0.2", "-O", "0"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.text) {
			t.Errorf("%s: exit %d, want %d: %s", c.args, code, c.code, errs)
		}
	}
}

// An agent whose driver goes in any moment of its preparations puts back what it
// has set, though it cannot tell anybody.
func TestStoryAgentAbandoned(t *testing.T) {
	const setting = "/proc/sys/vm/max_map_count"
	before, err := os.ReadFile(setting)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := os.OpenFile(setting, os.O_WRONLY, 0); err != nil {
		t.Skip("needs the right to change a sysctl: ", err)
	} else {
		f.Close()
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(before)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
		cmd := program(t, "agent", "--stdio")
		cmd.Stdin, cmd.Stdout = theirs, theirs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		link, err := net.FileConn(ours)
		if err != nil {
			t.Fatal(err)
		}
		ours.Close()
		client, err := driver.NewClient("agent", link, nil, version)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(i)*3*time.Millisecond, func() { link.Close() })
		_, err = driver.Drive(t.Context(), driver.Run{RX: client, RXWant: wire.Prepare{
			Role: endpoint.RX, Engine: "null", Flows: 1, Length: 1, Pattern: endpoint.Pattern{Period: 1}, Time: time.Second, Scope: wire.ScopeThread,
			Interface: "lo", Bind: "127.0.0.1", DataPort: freePort(t), Settings: map[string]string{"sysctl.vm.max_map_count": strconv.Itoa(n + 1)},
		}})
		if err == nil {
			t.Error("the run went well without a driver")
		}
		_ = cmd.Wait()
		if now, err := os.ReadFile(setting); err != nil || !bytes.Equal(now, before) {
			t.Fatalf("left after %d ms: it is %s, was %s (%v; the agent ended with %s)", 3*i, now, before, err, cmd.ProcessState)
		}
	}
}

// A report over a shard, or over what was interrupted, says what is missing;
// over all of it, it says nothing of the kind.
func TestStoryReportOfParts(t *testing.T) {
	t.Parallel() // its runs move nothing
	needNamespaces(t)
	spec, dir := specFile(t, idleSpec), t.TempDir()
	var dirs []string
	for _, shard := range []string{"1/2", "2/2"} {
		dirs = append(dirs, filepath.Join(dir, strings.ReplaceAll(shard, "/", "-")))
		if _, errs, code := run(t, "run", spec, "--shard", shard, "-o", dirs[len(dirs)-1]); code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
	}
	report := func(args ...string) string {
		t.Helper()
		out, errs, code := run(t, append([]string{"report"}, args...)...)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		return strings.Join(strings.Fields(out+errs), " ")
	}
	const all = "incomplete"
	if text := report(dirs...); strings.Contains(text, all) || strings.Contains(text, "cannot be known") {
		t.Errorf("of all: %s", text)
	}
	if text := report(dirs[0]); !strings.Contains(text, "of its 2 shards 2 is missing, with") || !strings.Contains(text, "of 3 cells") {
		t.Errorf("of a shard: %s", text)
	}
	// As a kill in the last run leaves it.
	path := filepath.Join(dirs[1], results.StoreFile)
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.SplitAfter(bytes.TrimRight(lines, "\n"), []byte("\n"))
	if err := os.WriteFile(path, bytes.Join(kept[:len(kept)-1], nil), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{dirs, append([]string{"--format", "csv"}, dirs...),
		append([]string{"--format", "benchfmt", "-o", filepath.Join(dir, "bench")}, dirs...)} {
		if text := report(args...); strings.Count(text, all) != 1 || !strings.Contains(text, "planned runs are there") {
			t.Errorf("%q: %s", args, text)
		}
	}
	if _, errs, code := run(t, "run", spec, "--resume", "-o", dirs[1]); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if text := report(dirs...); strings.Contains(text, all) {
		t.Errorf("after --resume: %s", text)
	}
	alone := filepath.Join(dir, "alone.jsonl")
	if err := os.WriteFile(alone, lines, 0o644); err != nil {
		t.Fatal(err)
	}
	if text := report(alone); !strings.Contains(text, "whether all planned runs of experiment idle are here cannot be known") {
		t.Errorf("of a file: %s", text)
	}
}
