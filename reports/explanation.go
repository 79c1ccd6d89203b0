package reports

import (
	"io"
	"strings"

	"zcbench/analysis"
)

// Explain writes in words what limited the runs of one cell. The cell, or one run, is
// named by its id or as a plan, a table or a page calls it.
func Explain(w io.Writer, r *analysis.Report, name string) error {
	e, err := r.Explain(name)
	if err != nil {
		return err
	}
	text := wrap("", e.Verdict)
	if e.Agreement != "" {
		text += wrap("  ", e.Agreement)
	}
	for _, part := range []struct {
		head string
		list []string
	}{{"Also seen: ", e.Also}, {"It was not: ", e.Not}, {"Not known from these records: ", e.Unknown}} {
		if len(part.list) > 0 {
			text += wrap("  ", part.head+strings.Join(part.list, "; ")+".")
		}
	}
	_, err = io.WriteString(w, text)
	return err
}
