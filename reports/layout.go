package reports

import (
	"slices"
	"strings"
)

// layout is where in the charts each cell has its bar: in which panel, in
// which group of bars, and as which of the group.
type layout struct {
	panels []string // titles; a single one may have none
	groups []layoutGroup
	series []string // what the bars of a group are; nil: one bar a group
	bars   string   // what tells the bars of a group apart, by name; often empty
	at     map[[3]int]*cell
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
func arrange(r *Report) layout {
	axes := r.axes()
	group, series, rest := roles(axes)
	if group < 0 {
		return listed(r)
	}
	at := make([]map[string]int, len(axes)) // places of values
	for i, a := range axes {
		at[i] = map[string]int{}
		for k, v := range a.values {
			at[i][v.value] = k
		}
	}
	l := layout{at: map[[3]int]*cell{}}
	for _, v := range axes[group].values {
		l.groups = append(l.groups, layoutGroup{name: v.alone})
	}
	if series >= 0 {
		l.bars = axes[series].name
		for _, v := range axes[series].values {
			l.series = append(l.series, v.alone)
		}
	}
	// Every panel that some cell is in, in the order of the axes' values.
	panel := func(c *cell) []int {
		var key []int
		for _, i := range rest {
			key = append(key, at[i][c.by[i]])
		}
		return key
	}
	same := func(a []int) func([]int) bool { return func(b []int) bool { return slices.Equal(a, b) } }
	var panels [][]int
	for _, c := range r.cells {
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
			parts = append(parts, axes[i].values[key[k]].full)
		}
		l.panels = append(l.panels, strings.Join(parts, ", "))
	}
	for _, c := range r.cells {
		key := [3]int{slices.IndexFunc(panels, same(panel(c))), at[group][c.by[group]], 0}
		if series >= 0 {
			key[2] = at[series][c.by[series]]
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
func roles(axes []axis) (group, series int, rest []int) {
	rest = []int{}
	for i, a := range axes {
		if len(a.values) > 1 {
			rest = append(rest, i)
		}
	}
	take := func(i int) {
		rest = slices.DeleteFunc(rest, func(k int) bool { return k == i })
	}
	find := func(names ...string) int {
		for _, n := range names {
			for _, i := range rest {
				if axes[i].name == n {
					return i
				}
			}
		}
		return -1
	}
	if group = find("mode", "engines", "rx", "tx"); group < 0 {
		for _, i := range rest { // the axis of most values
			if group < 0 || len(axes[i].values) > len(axes[group].values) {
				group = i
			}
		}
	}
	if group < 0 {
		return -1, -1, nil
	}
	take(group)
	series = -1
	if i := find("gro"); i >= 0 && len(axes[i].values) <= mostSeries {
		series = i
	}
	for _, i := range rest {
		if axes[i].name != "cpus" && len(axes[i].values) <= mostSeries &&
			(series < 0 || axes[series].name != "gro" && len(axes[i].values) < len(axes[series].values)) {
			series = i
		}
	}
	if series >= 0 {
		take(series)
	}
	return group, series, rest
}

// listed is the layout of cells one below the other.
func listed(r *Report) layout {
	l := layout{panels: []string{""}, at: map[[3]int]*cell{}}
	cells := r.cells
	if len(cells) > mostRows {
		l.left = len(cells) - mostRows
		cells = cells[:mostRows]
	}
	for i, c := range cells {
		l.groups = append(l.groups, layoutGroup{name: r.named(c), differs: c.differs})
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
