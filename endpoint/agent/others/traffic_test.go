package others

import (
	"slices"
	"testing"
)

func TestParseArrivals(t *testing.T) {
	// Since 5.10 with the CPU of each line, before without.
	const now = "0000ffff 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 " +
		"00000000 00000000\n" +
		"00000010 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000003 00000000 00000000\n"
	const old = "0000ffff 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n" +
		"00000010 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n"
	for text, want := range map[string][]uint32{now: {65535, 0, 0, 16}, old: {65535, 16}, "": nil} {
		if got := parseArrivals([]byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := parseArrivals([]byte("1 0 0 0 0 0 0 0 0 0 0 0 ffffffff\n")); len(got) > 0 {
		t.Errorf("a CPU that no host has: %d", len(got))
	}
	if a := readArrivals(); a.at == 0 || len(a.of) == 0 {
		t.Errorf("nothing is read: %+v", a)
	}
}

// The counters have 32 bits and wrap.
func TestRate(t *testing.T) {
	a, b := arrivals{1e9, []uint32{5, 1<<32 - 100}}, arrivals{3e9, []uint32{1005, 100}}
	if v, known := rate(a, b, []int{1}); !known || v != 100 {
		t.Errorf("%v, %v", v, known)
	}
	if v, known := rate(a, b, []int{0, 1, 7}); !known || v != 600 {
		t.Errorf("%v, %v", v, known)
	}
	if _, known := rate(arrivals{}, b, []int{0}); known {
		t.Error("what was not read has a rate")
	}
}
