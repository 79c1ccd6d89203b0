package analysis

import (
	"cmp"
	"slices"
	"strings"

	"zcbench/internal/printable"
)

// Axis is one of what cells are told apart by, with the values it has in them.
type Axis struct {
	Name   string
	Values []AxisValue
}

// AxisValue is a value and how it reads: alone, where its axis is said elsewhere, and
// with its axis.
type AxisValue struct{ Value, Alone, Full string }

// Axes are those of the report's cells, with the values in their natural order.
func (r *Report) Axes() []Axis {
	axes := make([]Axis, len(r.By))
	for i, name := range r.By {
		var values []string
		for _, c := range r.Cells {
			values = add(values, c.By[i])
		}
		slices.SortFunc(values, natural)
		axes[i].Name = name
		for _, v := range values {
			axes[i].Values = append(axes[i].Values, AxisValue{v, axisValue(name, v), axisText(name, v)})
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

// Named is a cell's name with what its values are: iouring, HW GRO, 2 CPUs.
func (r *Report) Named(c *Cell) string {
	if c.By == nil {
		return c.Name()
	}
	var parts []string
	for i, name := range r.By {
		if name == "mode" || name == "engines" {
			parts = append(parts, c.By[i])
		} else {
			parts = append(parts, axisText(name, c.By[i]))
		}
	}
	return strings.Join(parts, ", ")
}

// Labelled is the same with what tells the cell from others of that name.
func (r *Report) Labelled(c *Cell) string {
	if c.Differs == "" {
		return r.Named(c)
	}
	return r.Named(c) + " (" + c.Differs + ")"
}

// Heads are the headings over what cells are told apart by.
func (r *Report) Heads() []string {
	if r.By == nil {
		return []string{"sender → receiver"}
	}
	heads := make([]string, len(r.By))
	for i, name := range r.By {
		heads[i] = printable.Line(name)
	}
	return heads
}

// Keys are a cell's values under the heads.
func (c *Cell) Keys() []string {
	if c.By == nil {
		return []string{c.Name()}
	}
	return c.By
}

// Name is what the first columns say, in one text.
func (c *Cell) Name() string {
	if c.By == nil {
		return c.TX + " → " + c.RX
	}
	return strings.Join(c.By, ", ")
}

// label is the name with what tells the cell from others of that name.
func (c *Cell) label() string {
	if c.Differs == "" {
		return c.Name()
	}
	return c.Name() + " (" + c.Differs + ")"
}
