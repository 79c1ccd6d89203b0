package endpoint

import (
	"testing"
)

func TestPattern(t *testing.T) {
	pt := Pattern{Seed: 3, Period: 1001}
	a, b, other := make([]byte, 1001), make([]byte, 500), make([]byte, 1001)
	pt.Fill(a, 0)
	pt.Fill(b, 0)
	pt.Fill(other, 1)
	if string(a[:500]) != string(b) {
		t.Error("a shorter fill is not a prefix of a longer one")
	}
	if string(a) == string(other) {
		t.Error("two flows carry the same payload")
	}
	// Any split of the stream checks, and any shift, loss or flip shows.
	stream := append(append(append([]byte{}, a...), a...), a...)
	for _, step := range []int{1, 7, 1000, 1001, 1002, 3003} {
		c := NewChecker(pt, 0)
		for s := stream; len(s) > 0; s = s[min(step, len(s)):] {
			c.Consume(s[:min(step, len(s))])
		}
		if n, err := c.Result(); err != nil || n != 3003 {
			t.Errorf("step %d: %d bytes, %v", step, n, err)
		}
	}
	for name, bad := range map[string][]byte{
		"lost":    append(append([]byte{}, a[:100]...), stream[101:]...),
		"doubled": append(append([]byte{}, a[:100]...), stream[99:]...),
		"flipped": append(append(append([]byte{}, a[:100]...), a[100]^0x80), stream[101:]...),
	} {
		c := NewChecker(pt, 0)
		c.Consume(bad)
		if _, err := c.Result(); err == nil {
			t.Errorf("%s byte went unnoticed", name)
		}
	}
}
