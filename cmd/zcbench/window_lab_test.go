package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/testutil"
	"zcbench/results"
)

// labPairs are pairs of engines that together are all of them, over the lab's
// NICs.
var labPairs = [][]string{
	{"--mode", "iouring"}, {"--mode", "devmem"}, {"--tx", "msgzc", "--rx", "zcrx"},
	{"--tx", "sendfile", "--rx", "mmap"}, {"--tx", "uring", "--rx", "uring"},
	{"--tx", "baseline", "--rx", "baseline"}, {"--tx", "baseline", "--rx", "trunc"},
}

// TestLabBytes: what a run over NICs with queues of their own says crossed is what
// they counted, as fast as they can and slowly.
func TestLabBytes(t *testing.T) {
	pair := testutil.Lab(t)
	const mbit = 1000 * 1000
	for _, rate := range []uint64{0, 2 * mbit} {
		for _, args := range [][]string{
			{"--mode", "iouring"}, {"--mode", "devmem"}, {"--mode", "iouring", "--zcrx-area", "dmabuf", "-P", "2"},
			{"--tx", "msgzc", "--rx", "zcrx", "-l", "16M"},
		} {
			t.Run(fmt.Sprintf("%d Mbit %s", rate/mbit, strings.Join(args, " ")), func(t *testing.T) {
				l := testutil.WatchPair(t, pair, rate)
				r, ok := unstarved(t, nil, append([]string{"-4", "-t", "3", "-O", "1"}, args...)...)
				if !ok {
					return
				}
				sent, received := sameBytes(t, l, &r)
				t.Logf("sender %d of %.0f bytes (%+.2f%%), receiver %d of %.0f (%+.2f%%); %v", r.TX.Bytes, sent, 100*(float64(r.TX.Bytes)-sent)/sent,
					r.RX.Bytes, received, 100*(float64(r.RX.Bytes)-received)/received, codes(&r))
			})
		}
	}
}

// labRun runs over the lab's NICs; what its kernel has not is skipped.
func labRun(t *testing.T, args ...string) results.Record {
	t.Helper()
	args = append([]string{"local", "--link", "zc0,zc1", "-J"}, args...)
	out, errs, code := run(t, args...)
	if code == exitUnsupported {
		t.Skip(errs)
	}
	if code != 0 {
		t.Fatalf("zcbench %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return record(t, out)
}

// unstarved repeats a run until the lab's machine had the CPUs that it takes: its
// own knows nothing of who else wants those of the host. Other codes than those of
// time tell of it too where nothing else explains them.
func unstarved(t *testing.T, too []results.Code, args ...string) (r results.Record, ok bool) {
	t.Helper()
	const tries = 3
	for range tries {
		r = labRun(t, args...)
		if !slices.ContainsFunc(codes(&r), func(c results.Code) bool {
			return c == results.SamplerLate || c == results.WindowShort || c == results.WindowsApart || slices.Contains(too, c)
		}) {
			return r, true
		}
	}
	t.Logf("in %d runs an end had no CPU for a while: %q", tries, r.Warnings)
	return r, false
}

// TestLabQuiet: an ordinary run of each pair of engines over NICs that can says
// nothing but that mmap copies what fills no page, who else uses its CPUs, or
// did while it found its clock.
func TestLabQuiet(t *testing.T) {
	testutil.Lab(t)
	for _, args := range labPairs {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r, ok := unstarved(t, []results.Code{results.CutOff, results.BytesCoarse}, append([]string{"-t", "2", "-O", "1", "-C", "reno"}, args...)...)
			for _, w := range r.Warnings {
				code := results.CodeOf(w)
				if mmap := r.RX.Engine == "mmap" && code == results.Copied; ok && !mmap && code != results.CPUForeign && code != results.ClockUncalibrated {
					t.Errorf("%s", w)
				}
			}
		})
	}
}
