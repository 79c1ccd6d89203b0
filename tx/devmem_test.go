package tx

import (
	"strings"
	"testing"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/testutil/tier"
)

// TestDevmemAim: whatever a call takes, the next one begins where it ended, a
// cut piece first, and wraps around at the end of the period.
func TestDevmemAim(t *testing.T) {
	for _, c := range []struct{ pos, iovecs, whole int }{
		{0, 1, 100},
		{30, 1, 70},
		{30, 2, 170},
		{200, 1, 100},
		{250, 3, 250}, // 50 of the last piece, then two from the start
		{299, 1, 1},
	} {
		w := &devmemWorker{base: 4096, period: 300, length: 100, pos: c.pos, iovecs: c.iovecs, msg: abi.NewDevmemSend(1, c.iovecs)}
		if got := w.aim(); got != c.whole || w.pos != c.pos {
			t.Errorf("at %d with %d pieces: %d bytes, want %d; now at %d", c.pos, c.iovecs, got, c.whole, w.pos)
		}
	}
}

// TestFlight: completions come in ranges, out of order and across the end of
// the numbers; what was not sent cannot complete.
func TestFlight(t *testing.T) {
	for _, first := range []uint32{0, zcWindow - 2, 1<<32 - 2} {
		var n endpoint.Counters
		f := newFlight()
		f.id = first
		for i := range 5 {
			f.launch(10 + i)
		}
		if k, err := f.complete(&n, first+1, first+3, false); k != 3 || err != nil {
			t.Fatalf("from %d: %d, %v", first, k, err)
		}
		if k, err := f.complete(&n, first, first, true); k != 1 || err != nil {
			t.Fatalf("from %d: %d, %v", first, k, err)
		}
		// The range does not hold after its first send, for the next one differs.
		if n.ZeroCopied.Load() != 11 || n.Copied.Load() != 10+12+13 || n.Unknown.Load() != 12+13 || f.flying != 1 || f.landed() == nil {
			t.Errorf("from %d: %d zero-copied, %d copied, %d flying", first, n.ZeroCopied.Load(), n.Copied.Load(), f.flying)
		}
		for _, c := range []struct{ lo, hi uint32 }{{first, first}, {first + 4, first + 5}, {first + 5, first + 5}, {first + 4, first + 3}} {
			if _, err := f.complete(&n, c.lo, c.hi, false); err == nil {
				t.Errorf("from %d: completion of %d to %d is accepted", first, c.lo, c.hi)
			}
		}
		if k, err := f.complete(&n, first+4, first+4, false); k != 1 || err != nil || f.landed() != nil {
			t.Errorf("from %d: %d, %v, then %v", first, k, err, f.landed())
		}
	}
	f := newFlight()
	for range zcWindow {
		if f.full() {
			t.Fatal("full too early")
		}
		f.launch(1)
	}
	if !f.full() {
		t.Error("never full")
	}
}

// TestDevmemRefuses: usage errors name what is wrong, before anything is taken.
func TestDevmemRefuses(t *testing.T) {
	for _, c := range []struct {
		options map[string]string
		iface   string
		length  int
		say     string
	}{
		{map[string]string{"iovec": "1"}, "lo", 4096, "iovec"},
		{map[string]string{"iovecs": "1025"}, "lo", 4096, "iovecs"},
		{map[string]string{"iovecs": "1024"}, "lo", 2 << 20, "iovecs"},
		{map[string]string{"mem-size": "4K"}, "lo", 8192, "mem-size"},
		{nil, "", 4096, "--iface"},
		{nil, "no-such-if", 4096, "no-such-if"},
	} {
		_, err := Devmem().Open(endpoint.Params{Flows: 1, Length: c.length, Interface: c.iface, Options: c.options,
			Pattern: endpoint.Pattern{Period: c.length}})
		if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%v on %q: %v, want a usage error about %s", c.options, c.iface, err, c.say)
		}
	}
}

// TestDevmemUnsupported: lo cannot send from a dma-buf. Whatever the kernel
// lacks, that is no failure, and probe says so too.
func TestDevmemUnsupported(t *testing.T) {
	tier.Root(t, "to bind memory")
	s, err := Devmem().Open(endpoint.Params{Flows: 1, Length: 4096, Interface: "lo", Pattern: endpoint.Pattern{Period: 4096}})
	if err == nil {
		s.Close()
	}
	v := Devmem().Probe("lo")
	if v.Answer != feature.No || v.Reason == "" || v.Fix == "" {
		t.Fatalf("probe: %+v, want a no with reason and cure", v)
	}
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), v.Reason) {
		t.Errorf("%v, want an unsupported error for the probe's reason: %s", err, v.Reason)
	}
}
