package reports

import (
	"io"
)

// Format is one that a report is written in.
type Format struct {
	Name      string
	TellsPlan bool // it has Set.Plan in it
	Write     func(io.Writer, *Report) error
}

// Formats are all of them.
func Formats() []Format {
	return []Format{
		{"table", true, Table},
		{"markdown", true, writeMarkdown},
		{"csv", false, writeCSV},
		{"runs", false, writeRuns},
		{"json", true, writeJSON},
		{"benchfmt", false, writeBenchfmt},
		{"html", true, HTML},
		{"records", false, writeRecords},
	}
}
