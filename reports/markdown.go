package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"zcbench/internal/digits"
)

// writeMarkdown writes the table as a document's, with half intervals in the unit
// of the figure.
func writeMarkdown(w io.Writer, r *Report) error {
	var b strings.Builder
	for _, text := range r.plan {
		b.WriteString("**" + markdown(text) + ".**\n\n")
	}
	for _, line := range r.hosts() {
		b.WriteString(markdown(line) + "\n\n")
	}
	columns := r.columns()
	heads := slices.Clone(r.heads())
	for _, c := range columns {
		head := strings.TrimSpace(c.over + " " + c.head)
		if r.asked && c.over != "" {
			head = c.head + " (" + c.over + ")"
		}
		heads = append(heads, head)
	}
	row := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + c + " ")
		}
		b.WriteString("|\n")
	}
	for i := range heads {
		heads[i] = markdown(heads[i])
	}
	row(heads)
	rule := make([]string, len(heads))
	for i := range rule {
		rule[i] = "---:"
		if i < len(r.heads()) {
			rule[i] = "---"
		}
	}
	row(rule)
	for i, c := range r.cells {
		var cells []string
		for _, k := range c.keys() {
			cells = append(cells, markdown(k))
		}
		if c.differs != "" {
			cells[len(cells)-1] += "<br>" + markdown(c.differs)
		}
		if m := r.marks(c); m != "" {
			cells[len(cells)-1] += " <sup>" + markdown(m) + "</sup>"
		}
		if len(c.runs) == 0 {
			status, reason := c.unmeasured()
			cells = append(cells, markdown(string(status)+": "+reason))
		}
		for _, col := range columns {
			if len(c.runs) > 0 {
				cells = append(cells, markdown(absolute(col.cells[i], col.places)))
			}
		}
		for len(cells) < len(heads) {
			cells = append(cells, "")
		}
		row(cells)
	}
	b.WriteString("\n" + markdown(r.legend()) + "\n")
	for _, n := range r.notes {
		if n.every {
			b.WriteString("\n- " + markdown(n.text) + " (all)")
		} else {
			fmt.Fprintf(&b, "\n- [%d] %s", n.mark, markdown(n.text))
		}
	}
	if len(r.notes) > 0 {
		b.WriteByte('\n')
	}
	for _, one := range r.references {
		s := one.study
		fmt.Fprintf(&b, "\nPublished, %s: %s. Set-up: %s. Source: %s. Other hosts and NICs: for orientation.\n\n| run | Gbit/s | here |\n| --- | ---: | ---: |\n",
			markdown(s.Name), markdown(s.Title), markdown(s.Setup), markdown(s.Source))
		for _, p := range one.points {
			row([]string{markdown(p.what), p.value, p.here})
		}
		for _, text := range one.differing {
			b.WriteString("\n" + markdown(text) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// absolute is a figure with the half of its interval in its own unit.
func absolute(c columnCell, places int) string {
	if c.figure.n < 2 || c.around == "" {
		return c.text
	}
	if c.figure.share {
		return c.text + " " + c.around
	}
	return c.text + " ± " + digits.Fixed(c.figure.hi-c.figure.mean, places)
}

// markdown keeps text from being taken for markup.
func markdown(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`).Replace(s)
}
