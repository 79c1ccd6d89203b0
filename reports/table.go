package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"zcbench/results"
)

// Table writes one line for each cell: mean over its runs, their range, and
// what cannot be seen in a mean as notes below. It fits 100 columns.
func Table(w io.Writer, records []results.Record) error {
	if len(records) == 0 {
		_, err := io.WriteString(w, "no runs\n")
		return err
	}
	var b strings.Builder
	for _, line := range hostLines(records) {
		b.WriteString(wrap("", line))
	}
	cells := group(records)
	if common, _ := split(cells); len(common) > 0 {
		var parts []string
		for _, k := range common {
			if v := cells[0].flat[k]; v != "" && v != "false" && v != "null" && v != "[]" {
				parts = append(parts, k+" "+v)
			}
		}
		b.WriteString(wrap("", "Every run: "+strings.Join(parts, ", ")))
	}
	b.WriteByte('\n')
	all := notes(cells)
	grid(&b, cells, all)
	b.WriteByte('\n')
	b.WriteString(wrap("", "Means of n runs. ROI is throughput² / CPU, (Gbit/s)² per CPU %: more is better. CPU: 100 % is one CPU; "+legend(cells)))
	number := 0
	for _, n := range all {
		if n.every {
			b.WriteString(wrap("Note: ", n.text+" (every pair)"))
			continue
		}
		number++
		b.WriteString(wrap(fmt.Sprintf("[%d] ", number), n.text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// marks are the numbers of the notes on a cell.
func marks(c *cell, all []note) string {
	var out []string
	number := 0
	for _, n := range all {
		if n.every {
			continue
		}
		number++
		if slices.Contains(n.cells, c) {
			out = append(out, fmt.Sprint(number))
		}
	}
	if len(out) > 4 {
		out = append(out[:3], "…")
	}
	return strings.Join(out, ",")
}

// column is one column of figures under a heading that some share.
type column struct {
	over, head string
	cells      []string
}

// grid writes the aligned part.
func grid(b *strings.Builder, cells []*cell, all []note) {
	columns := figures(cells)
	var notes []string
	for _, c := range cells {
		notes = append(notes, marks(c, all))
	}
	names := utf8.RuneCountInString("sender → receiver")
	for _, c := range cells {
		names = max(names, utf8.RuneCountInString(c.name()))
	}
	last := 0
	for i, m := range notes {
		if m != "" {
			notes[i] = " [" + m + "]"
			last = max(last, utf8.RuneCountInString(notes[i]))
		}
	}
	widths, total := columnWidths(columns, 2)
	if names+total+last > lineWidth {
		widths, _ = columnWidths(columns, 1)
	}
	line1, line2 := pad("", names, false), pad("sender → receiver", names, false)
	for i := 0; i < len(columns); {
		k, width := i, 0
		for ; k < len(columns) && (k == i || columns[k].over != "" && columns[k].over == columns[i].over); k++ {
			width += widths[k]
			line2 += pad(columns[k].head, widths[k], true)
		}
		line1 += pad(columns[i].over, width, true)
		i = k
	}
	b.WriteString(strings.TrimRight(line1, " ") + "\n" + line2 + "\n")
	b.WriteString(strings.Repeat("─", utf8.RuneCountInString(line2)) + "\n")
	for i, c := range cells {
		line := pad(c.name(), names, false)
		if len(c.runs) == 0 {
			status, reason := c.unmeasured()
			b.WriteString(wrap(line+"  ", string(status)+": "+reason))
		} else {
			for k := range columns {
				line += pad(columns[k].cells[i], widths[k], true)
			}
			b.WriteString(line + notes[i] + "\n")
		}
		if c.differs != "" {
			b.WriteString(wrap("  ", c.differs))
		}
	}
}

// columnWidths leave a gap before each column, and room for the heading over
// a group.
func columnWidths(columns []column, gap int) (widths []int, total int) {
	for _, c := range columns {
		width := utf8.RuneCountInString(c.head)
		for _, s := range c.cells {
			width = max(width, utf8.RuneCountInString(s))
		}
		widths = append(widths, width+gap)
	}
	for i := 0; i < len(columns); {
		k, width := i, 0
		for ; k < len(columns) && (k == i || columns[k].over != "" && columns[k].over == columns[i].over); k++ {
			width += widths[k]
		}
		widths[i] += max(0, utf8.RuneCountInString(columns[i].over)+gap-width)
		i = k
	}
	for _, w := range widths {
		total += w
	}
	return widths, total
}

// figures makes the columns; a cell without runs has empty ones.
func figures(cells []*cell) []column {
	cpuMark := marker(cells)
	spread := column{head: "min–max"}
	number := column{head: "n"}
	speed := column{head: "Gbit/s"}
	cpuTX, cpuRX := column{over: "CPU %", head: "tx"}, column{over: "CPU %", head: "rx"}
	const roi = "ROI"
	rTX, rRX, rAll := column{over: roi, head: "tx"}, column{over: roi, head: "rx"}, column{over: roi, head: "both"}
	const zc = "zero-copy %"
	zTX, zRX := column{over: zc, head: "tx"}, column{over: zc, head: "rx"}
	speeds, rois := each(cells, gbps), each(cells, roiTX, roiRX, roiTotal)
	speedDecimals, roiDecimals := decimals(speeds...), decimals(rois...)
	for i, c := range cells {
		if len(c.runs) == 0 {
			for _, col := range []*column{&speed, &spread, &number, &cpuTX, &cpuRX, &rTX, &rRX, &rAll, &zTX, &zRX} {
				col.cells = append(col.cells, "")
			}
			continue
		}
		speed.cells = append(speed.cells, speeds[i].text(speedDecimals))
		spread.cells = append(spread.cells, speeds[i].spread(speedDecimals))
		number.cells = append(number.cells, fmt.Sprint(len(c.runs)))
		cpuTX.cells = append(cpuTX.cells, over(c.runs, cpu(txEnd)).text(1)+cpuMark(c, txEnd))
		cpuRX.cells = append(cpuRX.cells, over(c.runs, cpu(rxEnd)).text(1)+cpuMark(c, rxEnd))
		rTX.cells = append(rTX.cells, rois[3*i].text(roiDecimals))
		rRX.cells = append(rRX.cells, rois[3*i+1].text(roiDecimals))
		rAll.cells = append(rAll.cells, rois[3*i+2].text(roiDecimals))
		zTX.cells = append(zTX.cells, shareText(over(c.runs, zeroCopied(txEnd))))
		zRX.cells = append(zRX.cells, shareText(over(c.runs, zeroCopied(rxEnd))))
	}
	return []column{speed, spread, number, cpuTX, cpuRX, rTX, rRX, rAll, zTX, zRX}
}

func shareText(f figure) string {
	if f.n == 0 {
		return "–"
	}
	return percent(f.mean)
}

// scopesOf are the ways in which an end's CPU was counted, sorted.
func scopesOf(cells []*cell, ends ...func(*results.Record) *results.End) []string {
	var list []string
	for _, c := range cells {
		for _, r := range c.runs {
			for _, end := range ends {
				if e := end(r); e != nil && e.CPUPercent != nil && !slices.Contains(list, e.CPUScope) {
					list = append(list, e.CPUScope)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// legend says how CPU time was counted.
func legend(cells []*cell) string {
	list := scopesOf(cells, txEnd, rxEnd)
	switch len(list) {
	case 0:
		return "it was not measured."
	case 1:
		return "counted for each end over " + scope(list[0]) + "."
	}
	var parts []string
	for _, s := range list {
		parts = append(parts, letter(s)+" over "+scope(s))
	}
	return "counted for an end: " + strings.Join(parts, "; ") + ". These do not compare."
}

// marker gives the letters behind CPU figures, which are needed only when
// they were not all counted in one way.
func marker(cells []*cell) func(*cell, func(*results.Record) *results.End) string {
	if len(scopesOf(cells, txEnd, rxEnd)) < 2 {
		return func(*cell, func(*results.Record) *results.End) string { return "" }
	}
	return func(c *cell, end func(*results.Record) *results.End) string {
		out := ""
		for _, s := range scopesOf([]*cell{c}, end) {
			out += letter(s)
		}
		return out
	}
}

func letter(scope string) string {
	if _, ok := scopes[scope]; ok {
		return scope[:1]
	}
	return "?"
}
