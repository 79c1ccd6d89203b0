package digits

import (
	"math"
	"testing"
)

func TestPercent(t *testing.T) {
	for in, want := range map[float64]string{0: "0.0", 0.001: "<0.1", 0.05: "0.1", 50: "50.0", 99.94: "99.9", 99.96: ">99.9", 100: "100.0"} {
		if got := Percent(in); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for in, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 10_090_000_000: "10.09 GB",
		math.MaxUint64: "18446.74 PB"} {
		if got := Bytes(in); got != want {
			t.Errorf("%d: got %q, want %q", in, got, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	for top, want := range map[float64]int{
		0: 2, 1234: 1, 100: 1, 99: 2, -99: 2, 9.9: 3, 0.5: 4, 0.05: 5, 0.0034: 6, 1e-30: 9, math.NaN(): 2, math.Inf(1): 1,
	} {
		if got := Places(top, top/2); got != want {
			t.Errorf("%v: %d, want %d", top, got, want)
		}
	}
	if got := Places(); got != 2 {
		t.Errorf("nothing: %d", got)
	}
}

func TestExact(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 0.1: "0.1", 1e300: "1e+300", -7: "-7", math.NaN(): "", math.Inf(-1): ""} {
		if got := Exact(in); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}

func TestSigned(t *testing.T) {
	for in, want := range map[float64]string{0: "+0.00%", -6.125: "-6.12%", 3: "+3.00%", math.NaN(): "?"} {
		if got := Signed(in); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}
