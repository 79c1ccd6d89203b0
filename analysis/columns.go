package analysis

import (
	"fmt"
	"slices"
)

// Column is one column of figures under a heading that some share.
type Column struct {
	Over, Head string
	Of         Metric // without a name: the number of runs
	Places     int    // decimals
	Entries    []Entry
}

// Entry is empty for a cell without runs.
type Entry struct {
	Text, Around string // the mean, and the half of its interval
	Figure       Figure
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

// Columns makes the figures of all cells: the metrics asked for, or those of
// a first look that some run has.
func (r *Report) Columns() []Column {
	columns := []Column{{Head: "n"}}
	for _, c := range r.Cells {
		columns[0].Entries = append(columns[0].Entries, Entry{Text: c.count()})
	}
	if r.Asked {
		for _, m := range r.Metrics {
			columns = append(columns, r.column(m.Unit, m.Name, m))
		}
		return columns
	}
	measured := func(name string) bool {
		return slices.ContainsFunc(r.Metrics, func(m Metric) bool { return m.Name == name })
	}
	for _, c := range firstColumns {
		if c.name == "total.watts" && (measured("tx.watts") || measured("rx.watts")) {
			continue // it is a sum that readers can do; not so with a meter of both
		}
		if measured(c.name) || c.over != power && c.over != perWatt {
			columns = append(columns, r.column(c.over, c.head, Known(c.name)))
		}
	}
	return columns
}

// column is that of one metric.
func (r *Report) column(over, head string, of Metric) Column {
	col := Column{Over: over, Head: head, Of: of, Places: r.Places(of)}
	for _, c := range r.Cells {
		f := of.Over(c.Runs)
		one := Entry{Figure: f}
		if len(c.Runs) > 0 {
			one.Text, one.Around = f.Text(col.Places)+r.Mark(c, of), f.around()
		}
		col.Entries = append(col.Entries, one)
	}
	return col
}

// count is how many runs count, and of how many; nothing where none does.
func (c *Cell) count() string {
	switch all := len(c.Records()); {
	case len(c.Runs) == 0:
		return ""
	case all > len(c.Runs):
		return fmt.Sprintf("%d/%d", len(c.Runs), all)
	}
	return fmt.Sprint(len(c.Runs))
}
