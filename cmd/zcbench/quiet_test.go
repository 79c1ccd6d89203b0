package main

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"zcbench/internal/procfile"
	"zcbench/results/caveat"
)

// TestStoryQuiet: an ordinary run of each pair of engines, on a machine that
// does nothing else, says of its figures only what is so on every veth pair.
func TestStoryQuiet(t *testing.T) {
	needNamespaces(t)
	veth := []caveat.Code{caveat.Copied}
	for _, pair := range [][3]string{
		{"baseline", "baseline", "1"}, {"baseline", "trunc", "1"}, {"sendfile", "baseline", "1"}, {"msgzc", "mmap", "1"},
		{"uring", "uring", "1"}, {"sendzc", "baseline", "1"}, {"msgzc", "mmap", "3"}, {"sendzc", "uring", "3"},
	} {
		quiet(t, veth, "local", "--tx", pair[0], "--rx", pair[1], "-t", "1.5", "-P", pair[2], "-C", "reno")
	}
}

// quiet repeats a run until the machine was quiet, and tells of the warnings that
// it has beside those that are expected.
func quiet(t *testing.T, expected []caveat.Code, args ...string) {
	t.Helper()
	name := strings.Join(args, " ")
	const tries = 5
	least := math.Inf(1)
	for try := range tries {
		before, start := strangers(t), time.Now()
		r := measured(t, args...)
		share := strangers(t).since(before) / time.Since(start).Seconds()
		least = min(least, share)
		var odd []string
		for _, w := range r.Warnings {
			if !slices.Contains(expected, caveat.CodeOf(w)) {
				odd = append(odd, w)
			}
		}
		if len(odd) == 0 {
			return
		}
		// What ran this machine may have had its CPU for once, and shows nowhere.
		if again := hadNoCPU(&r) && try < tries-1; share < 0.02 && !again {
			t.Errorf("zcbench %s: %s", name, strings.Join(odd, "\n\t"))
			return
		}
	}
	t.Logf("zcbench %s: in %d runs others took at least %.0f%% of a CPU, so its warnings may be right", name, tries, 100*least)
}

// cpuSeconds are CPU times by process.
type cpuSeconds map[int]float64

// strangers are the times of all programs but this one, with those of their
// children that ended.
func strangers(t *testing.T) cpuSeconds {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	times := cpuSeconds{}
	for _, p := range all {
		const kthreadd = 2
		s, err := p.Stat()
		if err != nil || s.PPID == kthreadd || p.PID == os.Getpid() {
			continue // it ended, or is the kernel's
		}
		times[p.PID] = (float64(s.UTime) + float64(s.STime) + float64(s.CUTime) + float64(s.CSTime)) / procfile.Hz
	}
	return times
}

func (c cpuSeconds) since(before cpuSeconds) (sum float64) {
	for pid, s := range c {
		sum += s - before[pid]
	}
	return sum
}
