package reports

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"

	"zcbench/analysis"
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
func writeCSV(w io.Writer, r *analysis.Report) error {
	c := newCSV(w)
	by := r.By
	head := slices.Concat(r.Heads(), []string{"differs"}, csvHead)
	if by == nil {
		head = head[1:] // the engines have columns of their own
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, k := range r.Cells {
		tx, rx := k.Conditions("tx"), k.Conditions("rx")
		warnings := strings.Join(k.Warnings(), "; ")
		for _, m := range r.Metrics {
			f := m.Over(k.Runs)
			line := slices.Concat(k.By, []string{k.Differs, "measured", printable.Line(k.ID), k.TX, k.RX, tx.CPUScope, rx.CPUScope,
				tx.PowerScope, rx.PowerScope, m.Name, m.Unit, strconv.Itoa(m.Better),
				strconv.Itoa(f.N), strconv.Itoa(len(k.Dropped)), strconv.Itoa(len(k.Failed)), strconv.Itoa(len(k.Skipped))})
			for _, v := range []float64{f.Mean, f.Lo, f.Hi, f.SD, f.Median, f.Min, f.Max} {
				line = append(line, optionally(v, f.N > 0))
			}
			if err := c.Write(append(line, warnings)); err != nil {
				return err
			}
		}
	}
	for _, one := range r.References {
		s := one.Study
		for _, p := range one.Points {
			line := make([]string, len(by), len(head))
			for i, name := range by {
				line[i] = p.Axes[name]
			}
			upper := p.Gbps
			if p.Upper > 0 {
				upper = p.Upper
			}
			line = append(line, p.Text, s.Name, "", p.Axes["tx"], p.Axes["rx"], "", "", "", "", "gbps", analysis.Known("gbps").Unit, "1",
				"", "", "", "",
				optionally((p.Gbps+upper)/2, p.Upper == 0), "", "", "", "", optionally(p.Gbps, p.Upper > 0), optionally(upper, p.Upper > 0),
				s.Source)
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
func writeRuns(w io.Writer, r *analysis.Report) error {
	c := newCSV(w)
	head := slices.Concat(r.Heads(), []string{"differs", "cell", "tx", "rx", "id", "repeat", "started", "status", "dropped", "reason"})
	if r.By == nil {
		head = head[1:] // the engines have columns of their own
	}
	for _, m := range r.Metrics {
		head = append(head, m.Name)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, k := range r.Cells {
		for _, one := range k.Records() {
			line := slices.Concat(k.By, []string{k.Differs, printable.Line(one.Cell), k.TX, k.RX, printable.Line(one.ID),
				strconv.Itoa(one.Repeat), printable.Line(one.Started),
				printable.Line(string(one.Status)), printable.Line(one.Dropped), printable.Line(one.Reason)})
			for _, m := range r.Metrics {
				v := m.Of(one.Record)
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
