package experiment

import (
	"fmt"
	"slices"
	"strings"

	"zcbench/results"
	"zcbench/results/caveat"
)

// history is what the facts of a pair's hosts were, to compare later runs with:
// those of the first run, and how those of each cell's first run differ from
// them.
type history struct {
	first results.Pair[results.Facts]
	cells map[string]results.Pair[map[string]string] // by cell, by name of fact
}

// fixed are the groups of facts that no run changes, unless it is told to: they
// are compared across all cells of a pair. The others follow from the
// settings of a cell, so they are compared among its repeats.
var fixed = []string{"zcbench.", "kernel.", "machine.", "cpu.", "numa.", "mitigations."}

// volatile facts differ from run to run without a meaning.
var volatile = []string{"process.", "missing."}

func in(groups []string, name string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return strings.HasPrefix(name, g) })
}

// differing are the facts that are not as in the first run; absent ones are "".
func differing(first, now results.Facts) map[string]string {
	m := map[string]string{}
	for _, d := range results.Diff(first, now) {
		if !in(volatile, d.Name) {
			m[d.Name] = d.B
		}
	}
	return m
}

// remember keeps the facts of a record that later ones are compared with.
func (o *output) remember(r *results.Record) {
	if r.Status != results.OK {
		return
	}
	h := o.facts[r.Pair]
	if h == nil {
		h = &history{r.Facts, map[string]results.Pair[map[string]string]{}}
		o.facts[r.Pair] = h
	}
	if _, ok := h.cells[r.Cell]; !ok {
		h.cells[r.Cell] = results.Pair[map[string]string]{RX: differing(h.first.RX, r.Facts.RX), TX: differing(h.first.TX, r.Facts.TX)}
	}
}

// drift says in which facts a run's hosts differ from those of earlier runs.
// tunesCPU says that the experiment itself changes settings of the CPUs.
func (o *output) drift(r *results.Record, tunesCPU bool) (warnings []string) {
	h := o.facts[r.Pair]
	if h == nil {
		return nil
	}
	cell, repeated := h.cells[r.Cell]
	for _, e := range []struct {
		role       string
		first, now results.Facts
		cell       map[string]string
	}{{"rx", h.first.RX, r.Facts.RX, cell.RX}, {"tx", h.first.TX, r.Facts.TX, cell.TX}} {
		warn := func(name, was, since, is string) {
			warnings = append(warnings, caveat.Warn(caveat.HostChanged, "%s: %s was %s in the %s's first run and is %s now", e.role, name,
				orNone(was), since, orNone(is)))
		}
		stays := func(name string) bool {
			return in(fixed, name) && !(tunesCPU && strings.HasPrefix(name, "cpu."))
		}
		first := map[string]string{}
		for _, d := range results.Diff(e.first, e.now) {
			first[d.Name] = d.A
			was, changed := e.cell[d.Name]
			switch {
			case in(volatile, d.Name):
			case stays(d.Name):
				warn(d.Name, d.A, "pair", d.B)
			case repeated && !changed:
				warn(d.Name, d.A, "cell", d.B)
			case repeated && was != d.B:
				warn(d.Name, was, "cell", d.B)
			}
		}
		if !repeated {
			continue
		}
		flat := map[string]string{}
		for name, was := range e.cell { // what is as in the pair's first run again
			if _, still := first[name]; still || stays(name) {
				continue
			}
			if len(flat) == 0 {
				for _, f := range e.now.Flat() {
					flat[f.Name] = f.Value
				}
			}
			warn(name, was, "cell", flat[name])
		}
	}
	slices.Sort(warnings)
	return warnings
}

func orNone(v string) string {
	if v == "" {
		return "absent"
	}
	return fmt.Sprintf("%q", v)
}
