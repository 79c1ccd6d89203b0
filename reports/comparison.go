package reports

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"zcbench/analysis"
	"zcbench/internal/digits"
)

// delta is what benchstat has in its column.
func delta(d analysis.Change) string {
	switch {
	case d.Why != "":
		return d.Why
	case !d.Significant:
		return "~"
	}
	return digits.Signed(d.Percent)
}

// interval is that of the change.
func interval(d analysis.Change) string {
	switch {
	case d.Why != "":
		return ""
	case math.IsInf(d.Lo, 0):
		return "unknown: too few runs"
	}
	return digits.Signed(d.Lo) + " to " + digits.Signed(d.Hi)
}

// WriteComparison writes a comparison in the named format, one of CompareFormats.
func WriteComparison(w io.Writer, c *analysis.Comparison, format string) error {
	switch format {
	case "table":
		return compareTable(w, c)
	case "markdown":
		return compareMarkdown(w, c)
	case "csv":
		return compareCSV(w, c)
	case "json":
		return compareJSON(w, c)
	}
	return fmt.Errorf("no format %q; there are %s", format, strings.Join(compareFormats, ", "))
}

// compareFormats are those of a Comparison.
var compareFormats = []string{"table", "markdown", "csv", "json"}

// CompareFormats are those that WriteComparison knows.
func CompareFormats() []string { return slices.Clone(compareFormats) }

const compareLegend = "Medians, with their 95% interval as benchstat has it (∞: fewer than 6 runs). ~: " +
	"no significant difference (Mann-Whitney U, p ≥ 0.05). The interval is that of the change, 95%."

// changeRows are a metric's lines: cell, old, new, change, interval, p, n, and
// whether it is a loss.
func changeRows(m *analysis.Compared) [][]string {
	var figures []analysis.Figure
	for _, d := range m.Changes {
		figures = append(figures, d.Old, d.New)
	}
	places := analysis.Places(figures...)
	center := func(f analysis.Figure) string {
		if f.N == 0 {
			return "–"
		}
		return digits.Fixed(f.Median, places) + " ±" + f.MedianRange()
	}
	var rows [][]string
	for _, d := range m.Changes {
		if d.Old.N+d.New.N == 0 {
			continue // it never ran, in neither
		}
		p, n := "", ""
		if d.Why == "" {
			p, n = fmt.Sprintf("%.3f", d.P), fmt.Sprintf("%d+%d", d.Old.N, d.New.N)
			if d.P < 0.0005 {
				p = "<0.001"
			}
		}
		mark := ""
		if d.Loss {
			mark = "loss"
		}
		rows = append(rows, []string{d.Cell, center(d.Old), center(d.New), delta(d), interval(d), p, n, mark})
	}
	if a, b, n := m.Geomean(); n > 1 {
		rows = append(rows, []string{"geomean", digits.Fixed(a, places), digits.Fixed(b, places), digits.Signed(100 * (b/a - 1)), "", "",
			"", ""})
	}
	return rows
}

func compareTable(w io.Writer, c *analysis.Comparison) error {
	var b strings.Builder
	heads := []string{"", "old", "new", "change", "95% interval", "p", "n", ""}
	for _, m := range c.Metrics {
		rows := changeRows(&m)
		widths := make([]int, len(heads))
		for _, row := range append([][]string{heads}, rows...) {
			for k, v := range row {
				widths[k] = max(widths[k], utf8.RuneCountInString(v))
			}
		}
		title := m.Title + ", " + m.Unit
		if m.Title == m.Name {
			title = strings.TrimSuffix(title, ", ")
		}
		b.WriteString(title + "\n")
		for _, row := range append([][]string{heads}, rows...) {
			line := pad(row[0], widths[0], false)
			for k := 1; k < len(row); k++ {
				line += "  " + pad(row[k], widths[k], k < 7)
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		b.WriteByte('\n')
	}
	b.WriteString(wrap("", compareLegend))
	for _, text := range c.Remarks() {
		b.WriteString(wrap("Note: ", text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func compareMarkdown(w io.Writer, c *analysis.Comparison) error {
	var b strings.Builder
	for _, m := range c.Metrics {
		fmt.Fprintf(&b,
			"%s, %s\n\n| cell | old | new | change | 95%% interval | p | n | |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
			markdown(m.Title), markdown(m.Unit))
		for _, row := range changeRows(&m) {
			for _, v := range row {
				b.WriteString("| " + markdown(v) + " ")
			}
			b.WriteString("|\n")
		}
		b.WriteByte('\n')
	}
	b.WriteString(markdown(compareLegend) + "\n")
	for _, text := range c.Remarks() {
		b.WriteString("\n- " + markdown(text))
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// jsonChange is a change for other programs, in json and csv alike.
type jsonChange struct {
	Cell      string   `json:"cell"`
	Differs   string   `json:"differs"`
	Metric    string   `json:"metric"`
	Unit      string   `json:"unit"`
	OldN      int      `json:"old_n"`
	OldMedian *float64 `json:"old_median"`
	NewN      int      `json:"new_n"`
	NewMedian *float64 `json:"new_median"`
	Percent   *float64 `json:"change_percent"`
	Lo        *float64 `json:"lo95_percent"`
	Hi        *float64 `json:"hi95_percent"`
	P         *float64 `json:"p"`
	Differ    bool     `json:"significant"`
	Loss      bool     `json:"loss"`
	Why       string   `json:"not_compared"`
}

func changesOf(c *analysis.Comparison) []jsonChange {
	list := []jsonChange{}
	for _, m := range c.Metrics {
		for _, d := range m.Changes {
			one := jsonChange{Cell: d.Cell, Differs: d.Differs, Metric: m.Name, Unit: m.Unit,
				OldN: d.Old.N, OldMedian: finite(d.Old.Median), NewN: d.New.N, NewMedian: finite(d.New.Median),
				Percent: finite(d.Percent), Lo: finite(d.Lo), Hi: finite(d.Hi), Differ: d.Significant, Loss: d.Loss, Why: d.Why}
			if d.Why == "" {
				one.P = &d.P
			}
			list = append(list, one)
		}
	}
	return list
}

func compareCSV(w io.Writer, c *analysis.Comparison) error {
	out := newCSV(w)
	if err := out.Write([]string{"cell", "differs", "metric", "unit", "old_n", "old_median", "new_n", "new_median", "change_percent",
		"lo95_percent", "hi95_percent", "p", "significant", "loss", "not_compared"}); err != nil {
		return err
	}
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return digits.Exact(*v)
	}
	for _, d := range changesOf(c) {
		if err := out.Write([]string{d.Cell, d.Differs, d.Metric, d.Unit, fmt.Sprint(d.OldN), number(d.OldMedian), fmt.Sprint(d.NewN),
			number(d.NewMedian),
			number(d.Percent), number(d.Lo), number(d.Hi), number(d.P), fmt.Sprint(d.Differ), fmt.Sprint(d.Loss), d.Why}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func compareJSON(w io.Writer, c *analysis.Comparison) error {
	type mean struct {
		Metric  string   `json:"metric"`
		Cells   int      `json:"cells"`
		Old     *float64 `json:"old"`
		New     *float64 `json:"new"`
		Percent *float64 `json:"change_percent"`
	}
	out := struct {
		Schema    string       `json:"schema"`
		Threshold float64      `json:"threshold_percent"`
		Changes   []jsonChange `json:"changes"`
		Geomeans  []mean       `json:"geomeans"`
		Losses    []string     `json:"losses"`
		Remarks   []string     `json:"remarks"`
	}{"zcbench-compare/1", c.Threshold, changesOf(c), []mean{}, append([]string{}, c.Losses()...), append([]string{}, c.Remarks()...)}
	for _, m := range c.Metrics {
		a, b, n := m.Geomean()
		out.Geomeans = append(out.Geomeans, mean{m.Name, n, finite(a), finite(b), finite(100 * (b/a - 1))})
	}
	return writeIndented(w, out)
}
