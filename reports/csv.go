package reports

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// csvWriter writes lines of CSV that a spreadsheet takes for text and numbers, and
// never for formulas.
type csvWriter struct{ *csv.Writer }

func newCSV(w io.Writer) csvWriter { return csvWriter{csv.NewWriter(w)} }

func (w csvWriter) Write(line []string) error {
	line = slices.Clone(line)
	for i, cell := range line {
		line[i] = inert(cell)
	}
	return w.Writer.Write(line)
}

// inert puts a ' before what a spreadsheet would work out, and shows as text then.
// A number is one.
func inert(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return cell
	}
	if _, err := strconv.ParseFloat(cell, 64); err == nil {
		return cell
	}
	return "'" + cell
}

// csvHead are the columns of writeCSV after those that name the cell.
var csvHead = []string{"source", "cell", "tx", "rx", "tx_cpu_scope", "rx_cpu_scope", "tx_power_scope", "rx_power_scope", "metric", "unit",
	"better", "n", "dropped", "failed", "skipped", "mean", "lo95", "hi95", "sd", "median", "min", "max", "warnings"}

// writeCSV writes a line for each cell and metric, with all digits.
func writeCSV(w io.Writer, r *Report) error {
	c := newCSV(w)
	by := r.by
	head := slices.Concat(r.heads(), []string{"differs"}, csvHead)
	if by == nil {
		head = head[1:] // the engines have columns of their own
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, k := range r.cells {
		tx, rx := k.conditions("tx"), k.conditions("rx")
		warnings := strings.Join(k.warnings(), "; ")
		for _, m := range r.metrics {
			f := m.over(k.runs)
			line := slices.Concat(k.by, []string{k.differs, "measured", printable.Line(k.id), k.tx, k.rx, tx.cpuScope, rx.cpuScope, tx.powerScope,
				rx.powerScope, m.name, m.unit, strconv.Itoa(m.better),
				strconv.Itoa(f.n), strconv.Itoa(len(k.dropped)), strconv.Itoa(len(k.failed)), strconv.Itoa(len(k.skipped))})
			for _, v := range []float64{f.mean, f.lo, f.hi, f.sd, f.median, f.min, f.max} {
				line = append(line, optionally(v, f.n > 0))
			}
			if err := c.Write(append(line, warnings)); err != nil {
				return err
			}
		}
	}
	for _, one := range r.references {
		s := one.study
		for _, p := range one.points {
			line := make([]string, len(by), len(head))
			for i, name := range by {
				line[i] = p.Axes[name]
			}
			upper := p.Gbps
			if p.Upper > 0 {
				upper = p.Upper
			}
			line = append(line, p.what, s.Name, "", p.Axes["tx"], p.Axes["rx"], "", "", "", "", "gbps", known("gbps").unit, "1", "", "", "", "",
				optionally((p.Gbps+upper)/2, p.Upper == 0), "", "", "", "", optionally(p.Gbps, p.Upper > 0), optionally(upper, p.Upper > 0), s.Source)
			if err := c.Write(line); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// writeRuns writes a line of CSV for each run, whether it counts or not, with all
// digits.
func writeRuns(w io.Writer, r *Report) error {
	c := newCSV(w)
	head := slices.Concat(r.heads(), []string{"differs", "cell", "tx", "rx", "id", "repeat", "started", "status", "dropped", "reason"})
	if r.by == nil {
		head = head[1:] // the engines have columns of their own
	}
	for _, m := range r.metrics {
		head = append(head, m.name)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, k := range r.cells {
		for _, one := range k.records() {
			line := slices.Concat(k.by, []string{k.differs, printable.Line(one.Cell), k.tx, k.rx, printable.Line(one.ID), strconv.Itoa(one.Repeat), printable.Line(one.Started),
				printable.Line(string(one.Status)), printable.Line(one.Dropped), printable.Line(one.Reason)})
			for _, m := range r.metrics {
				v := m.of(one.Record)
				if v == nil || one.Status != results.OK {
					line = append(line, "")
				} else {
					line = append(line, digits.Exact(*v))
				}
			}
			if err := c.Write(line); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// optionally are the digits of a number where there is one.
func optionally(v float64, has bool) string {
	if !has {
		return ""
	}
	return digits.Exact(v)
}
