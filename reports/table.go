package reports

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"zcbench/analysis"
)

// Table writes a line for each cell: means with their 95% intervals, and
// below them what cannot be seen in a mean. It fits 100 columns.
func Table(w io.Writer, r *analysis.Report) error {
	if len(r.Runs) == 0 {
		_, err := io.WriteString(w, "no runs\n")
		return err
	}
	var b strings.Builder
	for _, text := range r.Plan {
		b.WriteString(wrap("! ", text+"."))
	}
	for _, line := range r.Hosts() {
		b.WriteString(wrap("", line))
	}
	if common := r.Common(); len(common) > 0 {
		var parts []string
		for _, f := range common {
			if f.Value != "" && f.Value != "false" && f.Value != "null" && f.Value != "[]" {
				parts = append(parts, f.Name+" "+f.Value)
			}
		}
		b.WriteString(wrap("", "Every run: "+strings.Join(parts, ", ")))
	}
	writeGrid(&b, r)
	b.WriteByte('\n')
	b.WriteString(wrap("", r.Legend()))
	for _, n := range r.Notes {
		if n.Every {
			b.WriteString(wrap("Note: ", n.Text+" (all)"))
		} else {
			b.WriteString(wrap(fmt.Sprintf("[%d] ", n.Mark), n.Text))
		}
	}
	for _, one := range r.References {
		study(&b, one)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGrid writes the aligned part, in blocks of columns that fit the line.
func writeGrid(b *strings.Builder, r *analysis.Report) {
	heads := r.Heads()
	keys := make([]int, len(heads)) // widths
	for i, h := range heads {
		keys[i] = utf8.RuneCountInString(h)
		for _, c := range r.Cells {
			keys[i] = max(keys[i], utf8.RuneCountInString(c.Keys()[i]))
		}
	}
	name := func(values []string) string {
		line := ""
		for i, v := range values {
			if i > 0 {
				line += "  "
			}
			line += pad(v, keys[i], false)
		}
		return line
	}
	left := utf8.RuneCountInString(name(heads))
	marks := make([]string, len(r.Cells))
	markWidth := 0
	for i, c := range r.Cells {
		if m := r.Marks(c); m != "" {
			marks[i] = " [" + m + "]"
			markWidth = max(markWidth, utf8.RuneCountInString(marks[i]))
		}
	}
	columns := r.Columns()
	for block := 0; len(columns) > 0; block++ {
		room := lineWidth - left
		if block == 0 {
			room -= markWidth
		}
		var shown []drawn
		shown, columns = fit(columns, room)
		writeHeads(b, shown, left, name(heads))
		for i, c := range r.Cells {
			line := name(c.Keys())
			if len(c.Runs) == 0 {
				if block > 0 {
					continue
				}
				status, reason := c.Unmeasured()
				b.WriteString(wrap(line+"  ", string(status)+": "+reason))
			} else {
				for _, d := range shown {
					line += d.text(i)
				}
				if block == 0 {
					line += marks[i]
				}
				b.WriteString(strings.TrimRight(line, " ") + "\n")
			}
			if c.Differs != "" {
				b.WriteString(wrap("  ", c.Differs))
			}
		}
	}
}

// writeHeads writes two lines of headings, those that columns share and their own,
// behind the names of what cells are told apart by, and a rule.
func writeHeads(b *strings.Builder, shown []drawn, left int, names string) {
	shared, own := pad("", left, false), names
	for i := 0; i < len(shown); {
		k, width := i, 0
		for ; k < len(shown) && (k == i || shown[k].Over != "" && shown[k].Over == shown[i].Over); k++ {
			width += shown[k].width
			own += pad(shown[k].Head, shown[k].width, true)
		}
		shared += pad(shown[i].Over, width, true)
		i = k
	}
	b.WriteByte('\n')
	if over := strings.TrimRight(shared, " "); over != "" {
		b.WriteString(over + "\n")
	}
	b.WriteString(own + "\n" + strings.Repeat("─", utf8.RuneCountInString(own)) + "\n")
}

// drawn is a column with the width it takes, and in it the figures and the
// intervals each at their own.
type drawn struct {
	analysis.Column
	width, value, around int
}

func (d drawn) text(i int) string {
	c := d.Entries[i]
	text := pad(c.Text, d.value, true)
	if d.around > 0 {
		text += " " + pad(c.Around, d.around, false)
	}
	return pad(text, d.width, true)
}

// fit takes from columns the groups that fit the room; of one that is wider
// than any room, a part.
func fit(columns []analysis.Column, room int) (shown []drawn, rest []analysis.Column) {
	for i := 0; i < len(columns); {
		var group []drawn
		width := 0
		for k := i; k < len(columns) && (k == i || columns[k].Over != "" && columns[k].Over == columns[i].Over); k++ {
			d := drawn{Column: columns[k]}
			for _, c := range d.Entries {
				d.value = max(d.value, utf8.RuneCountInString(c.Text))
				d.around = max(d.around, utf8.RuneCountInString(c.Around))
			}
			d.width = d.value
			if d.around > 0 {
				d.width += 1 + d.around
			}
			d.width = max(d.width, utf8.RuneCountInString(d.Head)) + 2
			if len(shown) == 0 && len(group) > 0 && width+d.width > room {
				break
			}
			group = append(group, d)
			width += d.width
		}
		if extra := utf8.RuneCountInString(columns[i].Over) + 2 - width; extra > 0 {
			group[0].width += extra
			width += extra
		}
		if len(shown) > 0 && width > room {
			return shown, columns[i:]
		}
		shown = append(shown, group...)
		room -= width
		i += len(group)
	}
	return shown, nil
}

// study lists published figures, each beside the report's own of the same axes
// where there is one.
func study(b *strings.Builder, one analysis.Reference) {
	s := one.Study
	b.WriteByte('\n')
	b.WriteString(wrap("", fmt.Sprintf("Published (%s): %s. Set-up: %s. Source: %s. Other hosts and NICs: for orientation.", s.Name,
		s.Title, s.Setup, s.Source)))
	width := 0
	for _, p := range one.Points {
		width = max(width, utf8.RuneCountInString(p.Text))
	}
	fmt.Fprintf(b, "%s%14s%14s\n", pad("", width, false), "Gbit/s", "here")
	for _, p := range one.Points {
		fmt.Fprintf(b, "%s%s%s\n", pad(p.Text, width, false), pad(p.Value, 14, true), pad(p.Here, 14, true))
	}
	for _, text := range one.Differing {
		b.WriteString(wrap("", text))
	}
}
