package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/filter"
)

// find is the cell, or the run, that a name means: the id of either, the start
// of a cell's, or what a plan, a table or a page calls it. In a name made of
// parts these may stand in any order, sizes in any unit, and some be missing
// where the others are enough.
func (r *Report) find(name string) (*Cell, *Run, error) {
	var found []*Cell
	for _, c := range r.Cells {
		if c.ID == name || c.label() == name || r.Labelled(c) == name || len(name) >= 4 && strings.HasPrefix(c.ID, name) {
			found = append(found, c)
			continue
		}
		for _, one := range c.Records() {
			if one.ID != "" && one.ID == name {
				alone := &Cell{TX: c.TX, RX: c.RX, By: c.By, Differs: c.Differs}
				switch one.Status {
				case results.OK:
					return c, one, nil
				case results.Skipped:
					alone.Skipped = []*Run{one}
				default:
					alone.Failed = []*Run{one}
				}
				return alone, nil, nil
			}
		}
	}
	parts := nameParts(name)
	if len(found) == 0 && len(parts) > 0 {
		for _, c := range r.Cells {
			if !slices.ContainsFunc(parts, func(p string) bool { return !r.part(c, p) }) {
				found = append(found, c)
			}
		}
	}
	if len(found) == 1 {
		return found[0], nil, nil
	}
	list := func(cells []*Cell) string {
		const most = 6
		var all []string
		for _, c := range cells[:min(most, len(cells))] {
			all = append(all, fmt.Sprintf("%s (%s)", cmp.Or(printable.Line(c.ID), "no id"), r.spelled(c)))
		}
		if n := len(cells) - most; n > 0 {
			all = append(all, fmt.Sprintf("and %d more", n))
		}
		return strings.Join(all, ", ")
	}
	if len(found) > 1 {
		return nil, nil, fault.Errorf(fault.Usage, "which cell or run: %q may be %s: give the id, or more of the name", name, list(found))
	}
	// The nearest come first.
	near := slices.Clone(r.Cells)
	far := func(c *Cell) (int, int) {
		missed := 0
		for _, p := range parts {
			if !r.part(c, p) {
				missed++
			}
		}
		return missed, min(distance(name, c.label()), distance(name, r.spelled(c)), distance(name, c.ID))
	}
	slices.SortStableFunc(near, func(a, b *Cell) int {
		missedA, distanceA := far(a)
		missedB, distanceB := far(b)
		return cmp.Or(cmp.Compare(missedA, missedB), cmp.Compare(distanceA, distanceB))
	})
	return nil, nil, fault.Errorf(fault.Usage, "which cell or run: none is %q; there are %s", name, list(near))
}

// spelled is a cell's name as a plan has it, mode=msgzc,length=128K, which can be
// given back in any order; where it has no axes, its label.
func (r *Report) spelled(c *Cell) string {
	if c.By == nil {
		return c.label()
	}
	var words []string
	for i, name := range r.By {
		words = append(words, printable.Line(name)+"="+c.By[i])
	}
	text := strings.Join(words, ",")
	if c.Differs != "" {
		text += " (" + c.Differs + ")"
	}
	return text
}

// nameParts takes a name apart, as a filter, but for parts that are no conditions.
func nameParts(name string) []string {
	all := func(string) bool { return true }
	return slices.DeleteFunc(filter.Terms(name, all), func(part string) bool { return part == "" })
}

// part says whether a part of a name is one of this cell's.
func (r *Report) part(c *Cell, part string) bool {
	all := c.Records()
	if len(all) == 0 {
		return false
	}
	if pair, ok := strings.CutSuffix(part, ":"); ok {
		return r.set.attribute(all[0], "pair") == pair
	}
	if name, value, ok := strings.Cut(part, "="); ok {
		return filter.Same(r.set.attribute(all[0], strings.TrimSpace(name)), strings.TrimSpace(value))
	}
	engines := strings.NewReplacer("->", "→", " ", "").Replace(part)
	if engines == c.TX+"→"+c.RX {
		return true
	}
	for i, value := range c.By {
		if filter.Same(value, part) || part == axisValue(r.By[i], value) || part == axisText(r.By[i], value) {
			return true
		}
	}
	return false
}
