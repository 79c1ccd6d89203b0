package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Formats are those that Write knows.
func Formats() []string {
	return []string{"table", "markdown", "csv", "runs", "json", "benchfmt", "html", "records"}
}

// TellsPlan says whether reports in a format have Set.Plan in them.
func TellsPlan(format string) bool {
	return slices.Contains([]string{"table", "markdown", "json", "html"}, format)
}

// Write writes the report in the named format, one of Formats.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.Table(w)
	case "markdown":
		return r.writeMarkdown(w)
	case "csv":
		return r.writeCSV(w)
	case "runs":
		return r.writeRuns(w)
	case "json":
		return r.writeJSON(w)
	case "benchfmt":
		return r.writeBenchfmt(w)
	case "html":
		return r.HTML(w)
	case "records":
		return r.writeRecords(w)
	}
	return fmt.Errorf("no format %q%s; there are %s", format, nearest(format, Formats()), strings.Join(Formats(), ", "))
}
