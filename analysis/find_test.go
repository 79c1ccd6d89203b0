package analysis

import (
	"fmt"
	"strings"
	"testing"

	"zcbench/internal/fault"
	"zcbench/results"
)

// A cell is known by whatever a plan, a table or a page calls it.
func TestFind(t *testing.T) {
	var records []results.Record
	for _, mode := range []string{"baseline", "msgzc"} {
		for _, length := range []string{"64K", "1M"} {
			for _, cpus := range []string{"1", "2"} {
				records = append(records, results.Record{
					ID: fmt.Sprint("run", len(records)), Cell: fmt.Sprintf("c0de%d", len(records)), Status: results.OK, Gbps: 1,
					Pair: "here", Axes: map[string]string{"mode": mode, "length": length, "cpus": cpus},
					Settings: map[string]any{"length": map[string]int{"64K": 65536, "1M": 1 << 20}[length]},
				})
			}
		}
	}
	r := FirstLook(records)
	for _, name := range []string{
		"c0de5", "run5", "mode=msgzc,length=64K,cpus=2", "mode=msgzc length=64K cpus=2", "cpus=2,length=65536,mode=msgzc",
		"here: mode=msgzc length=64k cpus=2", "msgzc, 64K, 2", "64 KiB, 2 CPUs, msgzc", "mode=msgzc, length=64KiB, 2 CPUs",
		" cpus=2 , length=64K , mode=msgzc ", r.Cells[0].label(), r.Labelled(r.Cells[0]), r.spelled(r.Cells[0]),
	} {
		c, _, err := r.find(name)
		want := "c0de5"
		if err == nil && (name == r.Cells[0].label() || name == r.Labelled(r.Cells[0]) || name == r.spelled(r.Cells[0])) {
			want = r.Cells[0].ID
		}
		if err != nil || c.ID != want {
			t.Errorf("%q: %v, %v, want %s", name, c, err, want)
		}
	}
	for name, want := range map[string]string{
		"mode=msgzc":                          "give the id, or more of the name",
		"mode=msgzc,length=65K,cpus=2":        "there are c0de5 (mode=msgzc,cpus=2,length=64K), ",
		"mode=msgcz,length=64K,cpus=2":        "there are c0de5 (mode=msgzc,cpus=2,length=64K), ",
		"there: mode=msgzc length=64K cpus=2": "there are c0de5 (",
		"mode=msgzc,lenght=64K":               "and 2 more",
		"":                                    "none is",
	} {
		if _, _, err := r.find(name); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}
