package analysis

import (
	"slices"
	"strings"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
)

func TestGroupAndFilter(t *testing.T) {
	for _, c := range []struct {
		options Options
		names   string // of the cells
		n       int    // runs of the first
	}{
		{Options{}, "baseline, sw|baseline, hw|devmem, sw|devmem, hw|iouring, sw|iouring, hw", 8},
		{Options{GroupBy: []string{"gro"}}, "sw|hw", 24},
		{Options{GroupBy: []string{"gro", "mode"}, Filter: "mode=devmem"}, "sw, devmem|hw, devmem", 8},
		{Options{GroupBy: []string{"rx.nic.mtu", "kernel.release"}}, "4148, 6.18", 48},
		{Options{GroupBy: []string{"nic.mtu"}}, "1500 → 4148", 48},
		{Options{GroupBy: []string{"length", "cell"}, Filter: "gro!=hw, mode = devmem | iouring"}, "4096, devmemsw|4096, iouringsw", 8},
		{Options{Filter: "mode=devmem gro=hw"}, "devmem, hw", 8},
		{Options{GroupBy: []string{"tx", "rx"}, Filter: "repeat=0"}, "sendfile, baseline", 6},
	} {
		r, err := Of(analysistest.Matrix()).Report(c.options)
		if err != nil {
			t.Errorf("%+v: %v", c.options, err)
			continue
		}
		var names []string
		for _, k := range r.Cells {
			names = append(names, k.Name())
		}
		if got := strings.Join(names, "|"); got != c.names || len(r.Cells[0].Runs) != c.n {
			t.Errorf("%+v: %d of %s", c.options, len(r.Cells[0].Runs), got)
		}
	}
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{GroupBy: []string{"moed"}}, "did you mean mode?"},
		{Options{Filter: "gor=hw"}, "did you mean gro?"},
		{Options{Filter: "mode=msgzc"}, "none of 48 runs"},
		{Options{Filter: "mode"}, "is no condition"},
		{Options{Metrics: []string{"gbsp"}}, "did you mean gbps?"},
		{Options{References: []string{"netdev-0x18"}}, "did you mean netdev-0x19?"},
	} {
		if _, err := Of(analysistest.Matrix()).Report(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.options, err, c.want)
		}
	}
}

func TestNatural(t *testing.T) {
	got := []string{"zcrx", "queue10", "1M", "1s", "queue9", "iouring", "64K", "10", "9", "100us", "", "baseline", "20ms", "devmem",
		"msgzc", "a", "1500 → 4148", "[2,10]", "[2,9]"}
	slices.SortStableFunc(got, natural)
	if want := []string{"baseline", "msgzc", "devmem", "iouring", "9", "10", "64K", "1M", "100us", "20ms", "1s", "", "1500 → 4148", "[2,9]",
		"[2,10]", "a", "queue9", "queue10", "zcrx"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Two pairs of hosts that run the same cell are two cells.
func TestPairsAreCellsOfTheirOwn(t *testing.T) {
	list := analysistest.SixOf("c", func(r *results.Record) { r.Pair = "y" })
	for i := range 3 {
		list[i].Pair = "x"
	}
	r := FirstLook(list)
	if len(r.Cells) != 2 || len(r.Cells[0].Runs) != 3 || r.Cells[0].Differs != "pair x" || r.Cells[1].Differs != "pair y" {
		t.Errorf("%d cells, the first %q", len(r.Cells), r.Cells[0].label())
	}
}
