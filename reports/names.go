package reports

import (
	"cmp"
	"slices"
	"strings"

	"zcbench/internal/printable"
)

// axis is one of what cells are told apart by, with the values it has in them.
type axis struct {
	name   string
	values []axisPlace
}

// axisPlace is a value and how it reads: alone, where its axis is said elsewhere, and
// with its axis.
type axisPlace struct{ value, alone, full string }

// axes are those of the report's cells, with the values in their natural order.
func (r *Report) axes() []axis {
	axes := make([]axis, len(r.by))
	for i, name := range r.by {
		var values []string
		for _, c := range r.cells {
			values = add(values, c.by[i])
		}
		slices.SortFunc(values, natural)
		axes[i].name = name
		for _, v := range values {
			axes[i].values = append(axes[i].values, axisPlace{v, axisValue(name, v), axisText(name, v)})
		}
	}
	return axes
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
func (r *Report) named(c *cell) string {
	if c.by == nil {
		return c.name()
	}
	var parts []string
	for i, name := range r.by {
		if name == "mode" || name == "engines" {
			parts = append(parts, c.by[i])
		} else {
			parts = append(parts, axisText(name, c.by[i]))
		}
	}
	return strings.Join(parts, ", ")
}

// labelled is the same with what tells the cell from others of that name.
func (r *Report) labelled(c *cell) string {
	if c.differs == "" {
		return r.named(c)
	}
	return r.named(c) + " (" + c.differs + ")"
}

// heads are the headings over what cells are told apart by.
func (r *Report) heads() []string {
	if r.by == nil {
		return []string{"sender → receiver"}
	}
	heads := make([]string, len(r.by))
	for i, name := range r.by {
		heads[i] = printable.Line(name)
	}
	return heads
}

// keys are a cell's values under the heads.
func (c *cell) keys() []string {
	if c.by == nil {
		return []string{c.name()}
	}
	return c.by
}

// name is what the first columns say, in one text.
func (c *cell) name() string {
	if c.by == nil {
		return c.tx + " → " + c.rx
	}
	return strings.Join(c.by, ", ")
}

// label is the name with what tells the cell from others of that name.
func (c *cell) label() string {
	if c.differs == "" {
		return c.name()
	}
	return c.name() + " (" + c.differs + ")"
}
