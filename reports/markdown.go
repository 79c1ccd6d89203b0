package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"zcbench/analysis"
	"zcbench/internal/digits"
)

// writeMarkdown writes the table as a document's, with half intervals in the unit
// of the figure.
func writeMarkdown(w io.Writer, r *analysis.Report) error {
	var b strings.Builder
	for _, text := range r.Plan {
		b.WriteString("**" + markdown(text) + ".**\n\n")
	}
	for _, line := range r.Hosts() {
		b.WriteString(markdown(line) + "\n\n")
	}
	markdownTable(&b, r)
	b.WriteString("\n" + markdown(r.Legend()) + "\n")
	for _, n := range r.Notes {
		if n.Every {
			b.WriteString("\n- " + markdown(n.Text) + " (all)")
		} else {
			fmt.Fprintf(&b, "\n- [%d] %s", n.Mark, markdown(n.Text))
		}
	}
	if len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, one := range r.References {
		s := one.Study
		fmt.Fprintf(&b, "\nPublished, %s: %s. Set-up: %s. Source: %s. Other hosts and NICs: for orientation.\n\n",
			markdown(s.Name), markdown(s.Title), markdown(s.Setup), markdown(s.Source))
		b.WriteString("| run | Gbit/s | here |\n| --- | ---: | ---: |\n")
		for _, p := range one.Points {
			markdownRow(&b, []string{markdown(p.Text), p.Value, p.Here})
		}
		for _, text := range one.Differing {
			b.WriteString("\n" + markdown(text) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownTable(b *strings.Builder, r *analysis.Report) {
	columns := r.Columns()
	heads := slices.Clone(r.Heads())
	for _, c := range columns {
		head := strings.TrimSpace(c.Over + " " + c.Head)
		if r.Asked && c.Over != "" {
			head = c.Head + " (" + c.Over + ")"
		}
		heads = append(heads, head)
	}
	rule := make([]string, len(heads))
	for i := range heads {
		heads[i] = markdown(heads[i])
		rule[i] = "---:"
		if i < len(r.Heads()) {
			rule[i] = "---"
		}
	}
	markdownRow(b, heads)
	markdownRow(b, rule)
	for i, c := range r.Cells {
		var cells []string
		for _, k := range c.Keys() {
			cells = append(cells, markdown(k))
		}
		if c.Differs != "" {
			cells[len(cells)-1] += "<br>" + markdown(c.Differs)
		}
		if m := r.Marks(c); m != "" {
			cells[len(cells)-1] += " <sup>" + markdown(m) + "</sup>"
		}
		if len(c.Runs) == 0 {
			status, reason := c.Unmeasured()
			cells = append(cells, markdown(string(status)+": "+reason))
		}
		for _, col := range columns {
			if len(c.Runs) > 0 {
				cells = append(cells, markdown(absolute(col.Entries[i], col.Places)))
			}
		}
		for len(cells) < len(heads) {
			cells = append(cells, "")
		}
		markdownRow(b, cells)
	}
}

func markdownRow(b *strings.Builder, cells []string) {
	for _, c := range cells {
		b.WriteString("| " + c + " ")
	}
	b.WriteString("|\n")
}

// absolute is a figure with the half of its interval in its own unit.
func absolute(c analysis.Entry, places int) string {
	if c.Figure.N < 2 || c.Around == "" {
		return c.Text
	}
	if c.Figure.Share {
		return c.Text + " " + c.Around
	}
	return c.Text + " ± " + digits.Fixed(c.Figure.Hi-c.Figure.Mean, places)
}

// markdown keeps text from being taken for markup.
func markdown(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`,
		"]", `\]`).Replace(s)
}
