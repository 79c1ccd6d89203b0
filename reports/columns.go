package reports

import (
	"fmt"
	"slices"
)

// column is one column of figures under a heading that some share.
type column struct {
	over, head string
	of         metric // without a name: the number of runs
	places     int    // decimals
	cells      []columnCell
}

// columnCell is empty for a cell without runs.
type columnCell struct {
	text, around string // the mean, and the half of its interval
	figure       figure
}

// firstColumns are the figures of a first look, with their headings.
var firstColumns = []struct{ over, head, name string }{
	{"", "Gbit/s", "gbps"},
	{"CPU %", "tx", "tx.cpu_percent"}, {"CPU %", "rx", "rx.cpu_percent"},
	{power, "tx", "tx.watts"}, {power, "rx", "rx.watts"}, {power, "both", "total.watts"},
	{"zero-copy %", "tx", "tx.zero_copied_percent"}, {"zero-copy %", "rx", "rx.zero_copied_percent"},
	{"ROI / CPU %", "tx", "roi.cpu.tx"}, {"ROI / CPU %", "rx", "roi.cpu.rx"}, {"ROI / CPU %", "both", "roi.cpu.total"},
	{perWatt, "tx", "roi.power.tx"}, {perWatt, "rx", "roi.power.rx"}, {perWatt, "both", "roi.power.total"},
}

// What few have takes no room where nobody measured it.
const power, perWatt = "W", "ROI / W"

// columns makes the figures of all cells: the metrics asked for, or those of
// a first look that some run has.
func (r *Report) columns() []column {
	columns := []column{{head: "n"}}
	for _, c := range r.cells {
		columns[0].cells = append(columns[0].cells, columnCell{text: c.count()})
	}
	if r.asked {
		for _, m := range r.metrics {
			columns = append(columns, r.column(m.unit, m.name, m))
		}
		return columns
	}
	measured := func(name string) bool {
		return slices.ContainsFunc(r.metrics, func(m metric) bool { return m.name == name })
	}
	for _, c := range firstColumns {
		if c.name == "total.watts" && (measured("tx.watts") || measured("rx.watts")) {
			continue // it is a sum that readers can do; not so with a meter of both
		}
		if measured(c.name) || c.over != power && c.over != perWatt {
			columns = append(columns, r.column(c.over, c.head, known(c.name)))
		}
	}
	return columns
}

// column is that of one metric.
func (r *Report) column(over, head string, of metric) column {
	col := column{over: over, head: head, of: of, places: r.places(of)}
	for _, c := range r.cells {
		f := of.over(c.runs)
		one := columnCell{figure: f}
		if len(c.runs) > 0 {
			one.text, one.around = f.text(col.places)+r.mark(c, of), f.around()
		}
		col.cells = append(col.cells, one)
	}
	return col
}

// count is how many runs count, and of how many; nothing where none does.
func (c *cell) count() string {
	switch all := len(c.records()); {
	case len(c.runs) == 0:
		return ""
	case all > len(c.runs):
		return fmt.Sprintf("%d/%d", len(c.runs), all)
	}
	return fmt.Sprint(len(c.runs))
}
