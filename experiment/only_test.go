package experiment

import (
	"fmt"
	"strings"
	"testing"

	"zcbench/internal/fault"
)

// TestOnly: cells are chosen by the filter that report has, and by the names that plan
// prints.
func TestOnly(t *testing.T) {
	plan := func() *Plan {
		p := &Plan{}
		for _, pair := range []string{"here", "there"} {
			for _, mode := range []string{"baseline", "msgzc", "devmem"} {
				for _, length := range []string{"64K", "1M"} {
					p.Cells = append(p.Cells, Cell{Pair: &Pair{Name: pair}, Axes: []Label{{"mode", mode}, {"length", length}}})
				}
			}
		}
		return p
	}
	for text, want := range map[string]int{
		"mode=msgzc": 4, "mode=msgzc|devmem,length=65536": 4, "mode!=msgzc": 8, "mode!=msgzc|devmem,pair=here": 2, "length=64 KiB": 6,
		"here: mode=msgzc length=64K": 1, "there:": 6, "mode=msgzc,mode=devmem": 8, "mode!=msgzc,mode!=devmem": 4,
		"mode = msgzc , length != 1M": 2,
	} {
		p := plan()
		if err := p.Only(text); err != nil || len(p.Cells) != want {
			t.Errorf("%q: %d cells, %v, want %d", text, len(p.Cells), err, want)
		}
	}
	for text, want := range map[string]string{
		"msgzc":       `"msgzc" is no condition: name=value, name!=value or name=value|value`,
		"mdoe=msgzc":  `no axis is called "mdoe" (did you mean "mode"?)`,
		"mode!=msgcz": `no value of axis mode is called "msgcz" (did you mean "msgzc"?)`, "mode!=msgzc,mode=msgzc": "leaves no cell",
		"": "is no condition",
	} {
		if err := plan().Only(text); fault.Of(err) != fault.Usage || !strings.HasPrefix(fmt.Sprint(err), "--only") ||
			!strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
