package experiment

import (
	"fmt"
	"slices"
	"strings"

	"zcbench/results"
)

// baseline is what later runs' facts are compared with: of a pair's first
// record, and of a cell's.
type baseline struct{ rx, tx results.Facts }

// fixed are the groups of facts that no run changes, unless it is told to: they
// are compared across all cells of a pair. The others follow from the
// settings of a cell, so they are compared among its repeats.
var fixed = []string{"zcbench.", "kernel.", "machine.", "cpu.", "numa.", "mitigations."}

// volatile facts differ from run to run without a meaning.
var volatile = []string{"process.", "missing."}

func (o *output) remember(r *results.Record) {
	if r.Status != results.OK {
		return
	}
	for _, key := range []string{"pair " + r.Pair, "cell " + r.Pair + "/" + r.Cell} {
		if _, ok := o.first[key]; !ok {
			o.first[key] = baseline{r.Facts.RX, r.Facts.TX}
		}
	}
}

// drift says in which facts a run's hosts differ from those of earlier runs.
// tunesCPU says that the experiment itself changes settings of the CPUs.
func (o *output) drift(r *results.Record, tunesCPU bool) []string {
	var warnings []string
	seen := map[string]bool{}
	for _, part := range []struct {
		key, since string
		within     []string // groups; nil: all
	}{
		{"pair " + r.Pair, "the pair's first run", fixed},
		{"cell " + r.Pair + "/" + r.Cell, "the cell's first run", nil},
	} {
		first, ok := o.first[part.key]
		if !ok {
			continue
		}
		for _, e := range []struct {
			role     string
			was, now results.Facts
		}{{"rx", first.rx, r.Facts.RX}, {"tx", first.tx, r.Facts.TX}} {
			for _, d := range results.Diff(e.was, e.now) {
				in := func(groups []string) bool {
					return slices.ContainsFunc(groups, func(g string) bool { return strings.HasPrefix(d.Name, g) })
				}
				switch {
				case in(volatile), part.within != nil && !in(part.within), seen[e.role+d.Name]:
				case part.within != nil && tunesCPU && strings.HasPrefix(d.Name, "cpu."):
				default:
					seen[e.role+d.Name] = true
					warnings = append(warnings, fmt.Sprintf("%s: %s was %s in %s and is %s now", e.role, d.Name, orNone(d.A), part.since, orNone(d.B)))
				}
			}
		}
	}
	return warnings
}

func orNone(v string) string {
	if v == "" {
		return "absent"
	}
	return fmt.Sprintf("%q", v)
}
