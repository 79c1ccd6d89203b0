package main

import (
	"testing"

	"zcbench/internal/testutil"
	"zcbench/lab/pair"
)

// TestLabCapture: a capture of NICs that answer as this or that driver answers as
// they do, and taking it changes nothing.
func TestLabCapture(t *testing.T) {
	testutil.Lab(t).Close()
	t.Cleanup(func() {
		if err := pair.Reload(""); err != nil {
			t.Error(err)
		}
	})
	for _, like := range []string{"mlx5", "bnxt", "ice"} {
		t.Run(like, func(t *testing.T) {
			if err := pair.Reload("like=" + like); err != nil {
				t.Fatal(err)
			}
			p := testutil.Lab(t)
			was := seenOutside(t, &p.RX)
			path := captured(t, &p.RX)
			is := seenOutside(t, &p.RX)
			for what := range is {
				if was[what] != is[what] {
					t.Errorf("%s differs after a capture:%s", what, changed(was[what], is[what]))
				}
			}
			answersAgain(t, &p.RX, path)
		})
	}
}
