// Package reports writes as text, for people and for other programs, what analysis
// found in records, and what one run came to.
package reports

import (
	"io"

	"zcbench/analysis"
)

// Format is one that a report is written in, here or elsewhere.
type Format struct {
	Name      string
	TellsPlan bool // it says what of a plan is not there
	Write     func(io.Writer, *analysis.Report) error
}

// Formats are those of text.
func Formats() []Format {
	return []Format{
		{"table", true, Table},
		{"markdown", true, writeMarkdown},
		{"csv", false, writeCSV},
		{"runs", false, writeRuns},
		{"json", true, writeJSON},
		{"benchfmt", false, writeBenchfmt},
		{"records", false, writeRecords},
	}
}
