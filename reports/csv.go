package reports

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"
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
