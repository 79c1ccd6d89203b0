package main

import (
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/results"
	"zcbench/results/caveat"
)

// copyWarnings are those of a record that tell of copies.
func copyWarnings(r *results.Record) (all []string) {
	for _, w := range r.Warnings {
		switch caveat.CodeOf(w) {
		case caveat.Copied, caveat.CopiesUnknown, caveat.CopiesUnreported:
			all = append(all, w)
		}
	}
	return all
}

// wireParam sets a parameter of the lab's NICs for the test.
func wireParam(t *testing.T, name string, value int) {
	t.Helper()
	path := "/sys/module/zcnic/parameters/" + name
	if err := os.WriteFile(path, []byte(strconv.Itoa(value)), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, []byte("0"), 0); err != nil {
			t.Error(err)
		}
	})
}

// splitMissed is how many bytes of payload the receiving NIC left beside the
// headers, ever.
func splitMissed(t *testing.T, pair *netpair.Pair) (n uint64) {
	t.Helper()
	if err := pair.RX.Do(func() error {
		out, err := exec.Command("ethtool", "-S", pair.RX.Interface).Output()
		for line := range strings.Lines(string(out)) {
			// One for each queue.
			if name, value, ok := strings.Cut(line, ": "); ok && strings.HasSuffix(name, "rx_split_missed_bytes") {
				v, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
				if err != nil {
					return err
				}
				n += v
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// offload turns one of a NIC's off or on until the test ends.
func offload(t *testing.T, end *netpair.End, name string, on bool) {
	t.Helper()
	set := func(on bool) error {
		return end.Do(func() error {
			c, err := ethtool.Dial()
			if err != nil {
				return err
			}
			defer c.Close()
			return c.SetFeatures(end.Interface, map[string]bool{name: on})
		})
	}
	if err := set(on); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(!on); err != nil {
			t.Error(err)
		}
	})
}

// TestLabSendZCSmall: of sends that share packets the kernel says "copied" though
// nothing was; most is proven not to be, the rest is unknown, none is copied.
func TestLabSendZCSmall(t *testing.T) {
	testutil.Lab(t)
	for _, length := range []string{"1000", "4K", "16K"} {
		r := measured(t, "local", "--link", "zc0,zc1", "--tx", "sendzc", "--rx", "baseline", "-t", "2", "-l", length)
		share := 100 * float64(r.TX.UnknownBytes) / float64(r.TX.Bytes)
		t.Logf("-l %s: of %d bytes, %d zero-copied, %.1f%% unknown; the kernel says copied of %.0f of %.0f sends",
			length, r.TX.Bytes, r.TX.ZeroCopiedBytes, share, r.TX.Counters["notifs_copied"], r.TX.Counters["notifs"])
		if r.TX.CopiedBytes != r.TX.UnknownBytes || r.TX.ZeroCopiedBytes == 0 {
			t.Errorf("-l %s: %d bytes copied, of %d is it unknown", length, r.TX.CopiedBytes, r.TX.UnknownBytes)
		}
		w := strings.Join(copyWarnings(&r), "\n")
		if r.TX.UnknownBytes > 0 && !strings.Contains(w, "sends shared packets") || strings.Contains(w, "["+string(caveat.Copied)+"]") {
			t.Errorf("-l %s: warnings %q", length, w)
		}
	}
}

// TestLabSplitMissed: payload that a NIC leaves beside the headers is copied. The
// kernel tells devmem how much that was; of zcrx a program on the kernel's function
// sums it.
func TestLabSplitMissed(t *testing.T) {
	pair := testutil.Lab(t)
	wireParam(t, "linear_ppm", 10000)
	for _, args := range [][]string{
		{"--rx", "zcrx"},
		{"--rx", "zcrx", "-P", "2", "--rx-opt", "rings=2"},
		{"--rx", "zcrx", "-P", "2", "--rx-opt", "rings=2,queues=1"},
		{"--rx", "devmem"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			before := splitMissed(t, pair)
			// Small segments: those are what the lab's NICs can miss.
			r := labRun(t, append([]string{"--tx", "baseline", "-t", "2", "-M", "128", "--validate"}, args...)...)
			missed := splitMissed(t, pair) - before
			e := r.RX
			t.Logf("%d bytes beside the headers over the whole run; in the window %d of %d copied, of %d is it unknown", missed, e.CopiedBytes,
				e.Bytes, e.UnknownBytes)
			if missed == 0 {
				t.Fatal("the NIC split everything")
			}
			// In the window is most of the run. What the NIC had sent up and nobody
			// had taken yet when it opened and closed is little of it.
			if e.UnknownBytes != 0 || e.CopiedBytes < missed/3 || e.CopiedBytes > missed {
				t.Errorf("%d bytes copied, of %d is it unknown: %q", e.CopiedBytes, e.UnknownBytes, copyWarnings(&r))
			}
			if n := e.Counters["ethtool_rx_split_missed_bytes"]; math.Abs(float64(e.CopiedBytes)-n) > n/2 {
				t.Errorf("%d bytes copied, and the NIC counts %.0f in the window", e.CopiedBytes, n)
			}
			if w := strings.Join(copyWarnings(&r), "\n"); e.Engine == "zcrx" && !strings.Contains(w, "header split missed") {
				t.Errorf("warnings %q", w)
			}
		})
	}
	// What cannot be copied cannot be received at all.
	t.Run("into a dma-buf", func(t *testing.T) {
		_, errs, code := run(t, "local", "--link", "zc0,zc1", "--tx", "baseline", "--rx", "zcrx", "--zcrx-area", "dmabuf", "-t", "2", "-M", "128")
		switch code {
		case exitFailed:
		case exitUnsupported:
			t.Skip(errs)
		default:
			t.Errorf("exit %d, %s", code, errs)
		}
	})
}

// TestLabNoScatterGather: over a NIC without, every sender's payload is copied.
func TestLabNoScatterGather(t *testing.T) {
	pair := testutil.Lab(t)
	offload(t, &pair.TX, "tx-scatter-gather", false)
	for _, engine := range []string{"msgzc", "sendzc", "sendfile"} {
		r := measured(t, "local", "--link", "zc0,zc1", "--tx", engine, "--rx", "baseline", "-t", "2")
		if w := strings.Join(copyWarnings(&r), "\n"); r.TX.ZeroCopiedBytes != 0 || r.TX.UnknownBytes != 0 ||
			!strings.Contains(w, "ethtool -K zc0 sg on") {
			t.Errorf("%s: %d bytes zero-copied of %d: %q", engine, r.TX.ZeroCopiedBytes, r.TX.Bytes, w)
		}
	}
}
