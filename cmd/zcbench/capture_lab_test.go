package main

import (
	"testing"

	"zcbench/internal/testutil"
	"zcbench/internal/testutil/some"
	"zcbench/lab/pair"
)

// TestLabCapture: a capture of NICs that answer as this or that driver answers as
// they do, and taking it changes nothing. Each time it is one of the drivers.
func TestLabCapture(t *testing.T) {
	testutil.Lab(t).Close()
	t.Cleanup(func() {
		if err := pair.Reload(""); err != nil {
			t.Error(err)
		}
	})
	for _, like := range some.Of(t, 1, []string{"mlx5", "bnxt", "ice"}) {
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
