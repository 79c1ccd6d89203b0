package html

import (
	"slices"
	"strings"

	"zcbench/analysis"
)

// layout is where in the charts each cell has its bar: in which panel, in
// which group of bars, and as which of the group.
type layout struct {
	panels []string // titles; a single one may have none
	groups []layoutGroup
	series []string // what the bars of a group are; nil: one bar a group
	bars   string   // what tells the bars of a group apart, by name; often empty
	at     map[[3]int]*analysis.Cell
	left   int // cells that the charts have no room for
}

type layoutGroup struct {
	name, differs string
	colour        int
}

const (
	mostPanels = 12
	mostSeries = 4
	mostRows   = 60 // of a chart of cells that no axes order
)

// arrange chooses what the axes of a matrix are in its charts: the groups are
// modes or engines where there are some, the bars of a group software and
// hardware GRO, and the panels the CPUs; any other axis takes what is left. Cells
// that axes do not tell apart are groups of their own.
func arrange(r *analysis.Report) layout {
	axes := r.Axes()
	group, series, rest := roles(axes)
	if group < 0 {
		return listed(r)
	}
	at := make([]map[string]int, len(axes)) // places of values
	for i, a := range axes {
		at[i] = map[string]int{}
		for k, v := range a.Values {
			at[i][v.Value] = k
		}
	}
	l := layout{at: map[[3]int]*analysis.Cell{}}
	for _, v := range axes[group].Values {
		l.groups = append(l.groups, layoutGroup{name: v.Alone})
	}
	if series >= 0 {
		l.bars = axes[series].Name
		for _, v := range axes[series].Values {
			l.series = append(l.series, v.Alone)
		}
	}
	// Every panel that some cell is in, in the order of the axes' values.
	panel := func(c *analysis.Cell) []int {
		var key []int
		for _, i := range rest {
			key = append(key, at[i][c.By[i]])
		}
		return key
	}
	same := func(a []int) func([]int) bool { return func(b []int) bool { return slices.Equal(a, b) } }
	var panels [][]int
	for _, c := range r.Cells {
		if !slices.ContainsFunc(panels, same(panel(c))) {
			panels = append(panels, panel(c))
		}
		if len(panels) > mostPanels {
			return listed(r)
		}
	}
	slices.SortFunc(panels, slices.Compare)
	for _, key := range panels {
		var parts []string
		for k, i := range rest {
			parts = append(parts, axes[i].Values[key[k]].Full)
		}
		l.panels = append(l.panels, strings.Join(parts, ", "))
	}
	for _, c := range r.Cells {
		key := [3]int{slices.IndexFunc(panels, same(panel(c))), at[group][c.By[group]], 0}
		if series >= 0 {
			key[2] = at[series][c.By[series]]
		}
		if l.at[key] != nil {
			return listed(r) // settings differ that are no axes
		}
		l.at[key] = c
	}
	l.colour()
	return l
}

// roles are which axis the groups are, which the bars of a group, -1 for none, and
// which are left for panels. An axis of one value has no part in it.
func roles(axes []analysis.Axis) (group, series int, rest []int) {
	rest = []int{}
	for i, a := range axes {
		if len(a.Values) > 1 {
			rest = append(rest, i)
		}
	}
	take := func(i int) {
		rest = slices.DeleteFunc(rest, func(k int) bool { return k == i })
	}
	find := func(names ...string) int {
		for _, n := range names {
			for _, i := range rest {
				if axes[i].Name == n {
					return i
				}
			}
		}
		return -1
	}
	if group = find("mode", "engines", "rx", "tx"); group < 0 {
		for _, i := range rest { // the axis of most values
			if group < 0 || len(axes[i].Values) > len(axes[group].Values) {
				group = i
			}
		}
	}
	if group < 0 {
		return -1, -1, nil
	}
	take(group)
	series = -1
	if i := find("gro"); i >= 0 && len(axes[i].Values) <= mostSeries {
		series = i
	}
	for _, i := range rest {
		if axes[i].Name != "cpus" && len(axes[i].Values) <= mostSeries &&
			(series < 0 || axes[series].Name != "gro" && len(axes[i].Values) < len(axes[series].Values)) {
			series = i
		}
	}
	if series >= 0 {
		take(series)
	}
	return group, series, rest
}

// listed is the layout of cells one below the other.
func listed(r *analysis.Report) layout {
	l := layout{panels: []string{""}, at: map[[3]int]*analysis.Cell{}}
	cells := r.Cells
	if len(cells) > mostRows {
		l.left = len(cells) - mostRows
		cells = cells[:mostRows]
	}
	for i, c := range cells {
		l.groups = append(l.groups, layoutGroup{name: r.Named(c), differs: c.Differs})
		l.at[[3]int{0, i, 0}] = c
	}
	l.colour()
	return l
}

// colour gives groups colours of their own where there are enough; modes have
// the same in every report.
func (l *layout) colour() {
	const colours = 8
	if len(l.groups) > colours {
		return
	}
	fixed := map[string]int{"baseline": 1, "msgzc": 2, "devmem": 3, "iouring": 4}
	for i := range l.groups {
		l.groups[i].colour = fixed[l.groups[i].name]
	}
	next := 1
	for i := range l.groups {
		if l.groups[i].colour > 0 {
			continue
		}
		for slices.ContainsFunc(l.groups, func(g layoutGroup) bool { return g.colour == next }) {
			next++
		}
		l.groups[i].colour = next
	}
}
