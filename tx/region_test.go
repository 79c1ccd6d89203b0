package tx

import (
	"bytes"
	"testing"

	"zcbench/endpoint"
)

// TestRegionAdvancesOverPieces: one step over several pieces, and what is left
// of the last, is as many steps over each.
func TestRegionAdvancesOverPieces(t *testing.T) {
	const length, period = 7, 21
	for n := range 3 * period {
		far, near := region{mem: make([]byte, period), length: length}, region{mem: make([]byte, period), length: length}
		far.advance(n)
		for left := n; left > 0; {
			step := min(left, len(near.next()))
			near.advance(step)
			left -= step
		}
		if far.pos != near.pos {
			t.Errorf("%d bytes further: at %d, want %d", n, far.pos, near.pos)
		}
	}
}

// However a piece is cut up by short sends, what goes out is the pattern.
func TestRegionOrder(t *testing.T) {
	for _, c := range []struct{ length, period, most int }{
		{1, 1, 1}, {7, 21, 7}, {7, 21, 3}, {1000, 1000, 999}, {4096, 12288, 4095},
	} {
		pt := endpoint.Pattern{Seed: 3, Period: c.period}
		r, err := newRegion(endpoint.Params{Length: c.length, Pattern: pt}, 2)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, c.period)
		pt.Fill(want, 2)
		var sent []byte
		for len(sent) < 3*c.period {
			p := r.next()
			if len(p) == 0 || len(p) > c.length {
				t.Fatalf("%+v: a piece of %d bytes", c, len(p))
			}
			p = p[:min(len(p), c.most)]
			sent = append(sent, p...)
			r.advance(len(p))
		}
		if !bytes.Equal(sent[:3*c.period], bytes.Repeat(want, 3)) {
			t.Errorf("%+v: not the pattern", c)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}
}
