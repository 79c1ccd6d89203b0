package others

import (
	"slices"
	"testing"

	"zcbench/endpoint/wire"
	"zcbench/internal/procfile"
)

func TestSiblings(t *testing.T) {
	cores := []int{0, 1, 0, 1}
	for _, c := range []struct {
		workers []int
		busy    [4]uint64 // ticks of 10 s
		want    []int
	}{
		{[]int{0}, [4]uint64{900, 900, 50, 0}, nil}, // CPU 1 is another core
		{[]int{0}, [4]uint64{900, 0, 150, 0}, []int{2}},
		{[]int{0, 2}, [4]uint64{900, 0, 900, 0}, []int{0, 2}}, // two workers on a core
		{nil, [4]uint64{900, 900, 900, 900}, nil},
	} {
		o := &Watch{p: &wire.Prepare{}, workers: c.workers, first: make([]procfile.CPU, 4), last: make([]procfile.CPU, 4)}
		for n, ticks := range c.busy {
			o.last[n].System = ticks
		}
		if got := o.siblings(10, cores); !slices.Equal(got, c.want) {
			t.Errorf("workers on %v, busy %v: siblings %v, want %v", c.workers, c.busy, got, c.want)
		}
	}
}
