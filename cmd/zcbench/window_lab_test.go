package main

import (
	"slices"
	"strings"
	"testing"

	"zcbench/internal/testutil"
	"zcbench/results"
	"zcbench/results/caveat"
)

// labPairs are pairs of engines that together are all of them, over the lab's
// NICs; the first few copy nothing.
var labPairs = [][]string{
	{"--mode", "iouring"}, {"--mode", "devmem"}, {"--mode", "iouring", "--zcrx-area", "dmabuf", "-P", "2"},
	{"--tx", "msgzc", "--rx", "zcrx", "-l", "16M"}, {"--tx", "sendfile", "--rx", "devmem", "-P", "2"},
	{"--tx", "msgzc", "--rx", "devmem", "-l", "4K"}, {"--tx", "sendzc", "--rx", "zcrx", "-l", "4K", "--tx-opt", "call=sendmsg"},
	{"--tx", "sendfile", "--rx", "mmap"}, {"--tx", "uring", "--rx", "uring"},
	{"--tx", "baseline", "--rx", "baseline"}, {"--tx", "baseline", "--rx", "trunc"},
}

const (
	// copyless is how many of them copy nothing.
	copyless = 7
	// counted is of how many the bytes are compared too: an emulated machine reads
	// its NICs' counters too late for those that use its CPUs most.
	counted = 4
)

// TestLabPairs: an ordinary run of each pair of engines over NICs that can says
// nothing but that mmap copies what fills no page, that a small dma-buf holds back
// several flows, who else uses its CPUs, or did while it found its clock; what it says
// crossed is what the NICs counted; and what copies nothing says so.
func TestLabPairs(t *testing.T) {
	pair := testutil.Lab(t)
	for i, args := range labPairs {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			l := testutil.WatchPair(t, pair, 0)
			var r results.Record
			var ok bool
			var differs []string
			// Who looks late at an emulated machine's counters looks again: a count that is
			// wrong is so each time.
			for range 3 {
				r, ok = unstarved(t, []caveat.Code{caveat.CutOff, caveat.BytesCoarse, caveat.BytesDiffer},
					append([]string{"-4", "-t", "2", "-O", "1", "-C", "reno"}, args...)...)
				if !ok || i >= counted {
					break
				}
				if differs = otherBytes(t, l, &r); differs == nil {
					break
				}
			}
			if w := copyWarnings(&r); i < copyless && (w != nil || r.TX.CopiedBytes+r.RX.CopiedBytes+r.TX.UnknownBytes+r.RX.UnknownBytes != 0) {
				t.Errorf("%d bytes copied by the sender and %d by the receiver: %q", r.TX.CopiedBytes, r.RX.CopiedBytes, w)
			}
			if !ok {
				return
			}
			for _, what := range differs {
				t.Error(what)
			}
			for _, w := range r.Warnings {
				code := caveat.CodeOf(w)
				if mmap := r.RX.Engine == "mmap" && code == caveat.Copied; !mmap &&
					!slices.Contains([]caveat.Code{caveat.CPUForeign, caveat.ClockUncalibrated, caveat.BuffersHeld}, code) {
					t.Errorf("%s", w)
				}
			}
		})
	}
}

// TestLabSlow: what crosses a link as slow as can be is what the NICs counted, too.
func TestLabSlow(t *testing.T) {
	pair := testutil.Lab(t)
	for _, args := range labPairs[:counted] {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			l := testutil.WatchPair(t, pair, 2*1000*1000)
			if r, ok := unstarved(t, nil, append([]string{"-4", "-t", "3", "-O", "1"}, args...)...); ok {
				sameBytes(t, l, &r)
			}
		})
	}
}

// labRun runs over the lab's NICs; what its kernel has not is skipped.
func labRun(t *testing.T, args ...string) results.Record {
	t.Helper()
	args = append([]string{"local", "--link", "zc0,zc1", "-J"}, args...)
	out, errs, code := attempt(t, args...)
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
func unstarved(t *testing.T, too []caveat.Code, args ...string) (r results.Record, ok bool) {
	t.Helper()
	const tries = 3
	for range tries {
		r = labRun(t, args...)
		if !hadNoCPU(&r) && !slices.ContainsFunc(codes(&r), func(c caveat.Code) bool { return slices.Contains(too, c) }) {
			return r, true
		}
	}
	t.Logf("in %d runs an end had no CPU for a while: %q", tries, r.Warnings)
	return r, false
}
