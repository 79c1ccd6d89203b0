package ringcfg

import (
	"slices"
	"testing"
)

// What a change of header split is told as: the driver may have done so unasked, or it
// may have been configured.
func TestTold(t *testing.T) {
	for _, c := range []struct {
		about       string
		before, set string
		after       Settings // nil: in doubt
		want        []Change
	}{
		{"read so", "on", "on", Settings{headerSplit: "on"}, []Change{{headerSplit, "auto (on)", "on"}}},
		{"configured so", "on", "on", Settings{}, nil},
		{"cut off", "on", "on", nil, []Change{{headerSplit, "auto (on)", "on"}}},
		{"read otherwise", "off", "on", Settings{headerSplit: "on"}, []Change{{headerSplit, "off", "on"}}},
		{"taken away", "on", "auto", Settings{headerSplit: "off"}, []Change{{headerSplit, "on", "auto"}}},
	} {
		change := change{Family: "ring", Before: Settings{headerSplit: c.before}, Set: Settings{headerSplit: c.set}, after: c.after}
		if got := change.told(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}
