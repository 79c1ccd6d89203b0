package main

import (
	"bytes"
	"maps"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"zcbench/internal/testutil"
	"zcbench/results"
)

// TestLabExperiment runs the whole of the lab's experiment, and is killed once
// on the way: all modes work with either GRO and on one CPU or two, the NIC is
// as each cell wants it, and afterwards as it was.
func TestLabExperiment(t *testing.T) {
	pair := testutil.Lab(t)
	before := settings(t, pair)
	path := built(t)
	dir := filepath.Join(t.TempDir(), "out")
	begin := func() (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.CommandContext(t.Context(), path, "run", "lab", "--repeats", "1", "-o", dir, "--resume")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &out
	}
	cmd, out := begin()
	// In the middle of the third run.
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if all, _, err := results.Load(filepath.Join(dir, "results.jsonl")); err == nil && len(all) == 2 &&
			!maps.Equal(before, settings(t, pair)) {
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if all, _, err := results.Load(filepath.Join(dir, "results.jsonl")); err != nil || len(all) < 2 {
		t.Fatalf("%d records after 3 minutes: %v %s", len(all), err, out)
	}
	until(t, "the settings to be as before", func() bool { return maps.Equal(before, settings(t, pair)) })
	cmd, out = begin()
	failed := cmd.Wait()
	waitGone(t, 5*time.Second)
	if after := settings(t, pair); !maps.Equal(before, after) {
		t.Errorf("settings before\n%v\nand after\n%v", before, after)
	}
	cells := map[string]bool{}
	for _, r := range storedRecords(t, dir) {
		a := r.Axes
		cell := a["mode"] + " " + a["gro"] + " " + a["cpus"]
		if cells[cell] {
			t.Errorf("%s is there twice", cell)
		}
		cells[cell] = true
		if r.Status == results.Failed && hadNoCPU(&r) {
			t.Logf("%s: %s, of which the record says %q", cell, r.Reason, codes(&r))
			failed = nil
			continue
		}
		if r.Status != results.OK {
			t.Errorf("%s: %s: %s", cell, r.Status, r.Reason)
			continue
		}
		pair := map[string]string{"baseline": "baseline → baseline", "msgzc": "msgzc → mmap", "devmem": "devmem → devmem",
			"iouring": "sendzc → zcrx"}
		if r.TX.Engine+" → "+r.RX.Engine != pair[a["mode"]] {
			t.Errorf("%s: %s → %s", cell, r.TX.Engine, r.RX.Engine)
		}
		offload, ok := r.Facts.RX["offload"].(map[string]any)
		if want := map[string]string{"sw": "off", "hw": "on"}[a["gro"]]; !ok || offload["rx-gro-hw"] != want {
			t.Errorf("%s: rx-gro-hw is %v, want %s", cell, offload["rx-gro-hw"], want)
		}
		if a["mode"] == "devmem" && r.RX.CopiedBytes > 0 {
			t.Errorf("%s: %d of %d bytes copied", cell, r.RX.CopiedBytes, r.RX.Bytes)
		}
	}
	if failed != nil {
		t.Errorf("%v: %s", failed, out)
	}
	if len(cells) != 16 {
		t.Errorf("%d cells: %v", len(cells), cells)
	}
}
