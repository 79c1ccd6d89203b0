package reports

import (
	"io"
	"strings"
)

// Explain writes in words what limited the runs of one cell. The cell, or one run, is
// named by its id or as a plan, a table or a page calls it.
func Explain(w io.Writer, r *Report, name string) error {
	e, err := r.explain(name)
	if err != nil {
		return err
	}
	text := wrap("", e.verdict)
	if e.agreement != "" {
		text += wrap("  ", e.agreement)
	}
	for _, part := range []struct {
		head string
		list []string
	}{{"Also seen: ", e.also}, {"It was not: ", e.not}, {"Not known from these records: ", e.unknown}} {
		if len(part.list) > 0 {
			text += wrap("  ", part.head+strings.Join(part.list, "; ")+".")
		}
	}
	_, err = io.WriteString(w, text)
	return err
}
