package reports

import (
	"cmp"
	"slices"
	"strings"

	"zcbench/internal/printable"
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
func arrange(cells []*cell, by []string) layout {
	values := make([][]string, len(by))
	for i := range by {
		for _, c := range cells {
			if !slices.Contains(values[i], c.by[i]) {
				values[i] = append(values[i], c.by[i])
			}
		}
		slices.SortFunc(values[i], natural)
	}
	rest := []int{}
	for i := range by {
		if len(values[i]) > 1 {
			rest = append(rest, i)
		}
	}
	take := func(i int) int {
		rest = slices.DeleteFunc(rest, func(k int) bool { return k == i })
		return i
	}
	find := func(names ...string) int {
		for _, n := range names {
			for _, i := range rest {
				if by[i] == n {
					return i
				}
			}
		}
		return -1
	}
	group := find("mode", "engines", "rx", "tx")
	for _, i := range rest {
		if group < 0 || by[group] != "mode" && find("mode", "engines", "rx", "tx") < 0 && len(values[i]) > len(values[group]) {
			group = i
		}
	}
	if group < 0 {
		return listed(cells, by)
	}
	take(group)
	series := -1
	if i := find("gro"); i >= 0 && len(values[i]) <= mostSeries {
		series = i
	}
	for _, i := range rest {
		if by[i] != "cpus" && len(values[i]) <= mostSeries && (series < 0 || by[series] != "gro" && len(values[i]) < len(values[series])) {
			series = i
		}
	}
	if series >= 0 {
		take(series)
	}
	l := layout{at: map[[3]int]*cell{}}
	for _, v := range values[group] {
		l.groups = append(l.groups, layoutGroup{name: axisValue(by[group], v)})
	}
	if series >= 0 {
		l.bars = by[series]
		for _, v := range values[series] {
			l.series = append(l.series, axisValue(by[series], v))
		}
	}
	// Every panel that some cell is in, in the order of the axes' values.
	panel := func(c *cell) []string {
		var key []string
		for _, i := range rest {
			key = append(key, c.by[i])
		}
		return key
	}
	var panels [][]string
	for _, c := range cells {
		if !slices.ContainsFunc(panels, func(k []string) bool { return slices.Equal(k, panel(c)) }) {
			panels = append(panels, panel(c))
		}
		if len(panels) > mostPanels {
			return listed(cells, by)
		}
	}
	slices.SortFunc(panels, func(a, b []string) int { return slices.CompareFunc(a, b, natural) })
	for _, key := range panels {
		var parts []string
		for k, i := range rest {
			parts = append(parts, axisText(by[i], key[k]))
		}
		l.panels = append(l.panels, strings.Join(parts, ", "))
	}
	for _, c := range cells {
		key := [3]int{
			slices.IndexFunc(panels, func(k []string) bool { return slices.Equal(k, panel(c)) }),
			slices.Index(values[group], c.by[group]), 0,
		}
		if series >= 0 {
			key[2] = slices.Index(values[series], c.by[series])
		}
		if l.at[key] != nil {
			return listed(cells, by) // settings differ that are no axes
		}
		l.at[key] = c
	}
	l.colour()
	return l
}

// listed is the layout of cells one below the other.
func listed(cells []*cell, by []string) layout {
	l := layout{panels: []string{""}, at: map[[3]int]*cell{}}
	if len(cells) > mostRows {
		l.left = len(cells) - mostRows
		cells = cells[:mostRows]
	}
	for i, c := range cells {
		l.groups = append(l.groups, layoutGroup{name: named(by, c), differs: c.differs})
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

// names of the values of axes that everybody knows.
var valueNames = map[[2]string]string{
	{"gro", "sw"}: "sw GRO", {"gro", "hw"}: "HW GRO",
	{"bigtcp", "on"}: "BIG TCP", {"bigtcp", "off"}: "no BIG TCP",
	{"cpus", "1"}: "1 CPU", {"cpus", "2"}: "2 CPUs",
}

// axisValue is a value where its axis is said elsewhere, or goes without.
func axisValue(name, value string) string {
	return cmp.Or(valueNames[[2]string{name, value}], value)
}

// axisText is a value with its axis.
func axisText(name, value string) string {
	return cmp.Or(valueNames[[2]string{name, value}], printable.Line(name)+" "+value)
}

// named is a cell's name with what its values are: iouring, HW GRO, 2 CPUs.
func named(by []string, c *cell) string {
	if c.by == nil {
		return c.name()
	}
	var parts []string
	for i, name := range by {
		if name == "mode" || name == "engines" {
			parts = append(parts, c.by[i])
		} else {
			parts = append(parts, axisText(name, c.by[i]))
		}
	}
	return strings.Join(parts, ", ")
}

func (r *Report) named(c *cell) string { return named(r.by, c) }

func (r *Report) labelled(c *cell) string {
	if c.differs == "" {
		return r.named(c)
	}
	return r.named(c) + " (" + c.differs + ")"
}
