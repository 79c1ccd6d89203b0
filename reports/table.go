package reports

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table writes a line for each cell: means with their 95% intervals, and
// below them what cannot be seen in a mean. It fits 100 columns.
func Table(w io.Writer, r *Report) error {
	if len(r.runs) == 0 {
		_, err := io.WriteString(w, "no runs\n")
		return err
	}
	var b strings.Builder
	for _, text := range r.plan {
		b.WriteString(wrap("! ", text+"."))
	}
	for _, line := range r.hosts() {
		b.WriteString(wrap("", line))
	}
	if common := r.common(); len(common) > 0 {
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
	b.WriteString(wrap("", r.legend()))
	for _, n := range r.notes {
		if n.every {
			b.WriteString(wrap("Note: ", n.text+" (all)"))
		} else {
			b.WriteString(wrap(fmt.Sprintf("[%d] ", n.mark), n.text))
		}
	}
	for _, one := range r.references {
		study(&b, one)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGrid writes the aligned part, in blocks of columns that fit the line.
func writeGrid(b *strings.Builder, r *Report) {
	heads := r.heads()
	keys := make([]int, len(heads)) // widths
	for i, h := range heads {
		keys[i] = utf8.RuneCountInString(h)
		for _, c := range r.cells {
			keys[i] = max(keys[i], utf8.RuneCountInString(c.keys()[i]))
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
	marks := make([]string, len(r.cells))
	markWidth := 0
	for i, c := range r.cells {
		if m := r.marks(c); m != "" {
			marks[i] = " [" + m + "]"
			markWidth = max(markWidth, utf8.RuneCountInString(marks[i]))
		}
	}
	columns := r.columns()
	for block := 0; len(columns) > 0; block++ {
		room := lineWidth - left
		if block == 0 {
			room -= markWidth
		}
		var shown []drawn
		shown, columns = fit(columns, room)
		b.WriteByte('\n')
		line1, line2 := pad("", left, false), name(heads)
		for i := 0; i < len(shown); {
			k, width := i, 0
			for ; k < len(shown) && (k == i || shown[k].over != "" && shown[k].over == shown[i].over); k++ {
				width += shown[k].width
				line2 += pad(shown[k].head, shown[k].width, true)
			}
			line1 += pad(shown[i].over, width, true)
			i = k
		}
		if over := strings.TrimRight(line1, " "); over != "" {
			b.WriteString(over + "\n")
		}
		b.WriteString(line2 + "\n" + strings.Repeat("─", utf8.RuneCountInString(line2)) + "\n")
		for i, c := range r.cells {
			line := name(c.keys())
			if len(c.runs) == 0 {
				if block > 0 {
					continue
				}
				status, reason := c.unmeasured()
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
			if c.differs != "" {
				b.WriteString(wrap("  ", c.differs))
			}
		}
	}
}

// drawn is a column with the width it takes, and in it the figures and the
// intervals each at their own.
type drawn struct {
	column
	width, value, around int
}

func (d drawn) text(i int) string {
	c := d.cells[i]
	text := pad(c.text, d.value, true)
	if d.around > 0 {
		text += " " + pad(c.around, d.around, false)
	}
	return pad(text, d.width, true)
}

// fit takes from columns the groups that fit the room; of one that is wider
// than any room, a part.
func fit(columns []column, room int) (shown []drawn, rest []column) {
	for i := 0; i < len(columns); {
		var group []drawn
		width := 0
		for k := i; k < len(columns) && (k == i || columns[k].over != "" && columns[k].over == columns[i].over); k++ {
			d := drawn{column: columns[k]}
			for _, c := range d.cells {
				d.value = max(d.value, utf8.RuneCountInString(c.text))
				d.around = max(d.around, utf8.RuneCountInString(c.around))
			}
			d.width = d.value
			if d.around > 0 {
				d.width += 1 + d.around
			}
			d.width = max(d.width, utf8.RuneCountInString(d.head)) + 2
			if len(shown) == 0 && len(group) > 0 && width+d.width > room {
				break
			}
			group = append(group, d)
			width += d.width
		}
		if extra := utf8.RuneCountInString(columns[i].over) + 2 - width; extra > 0 {
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
func study(b *strings.Builder, one besides) {
	s := one.study
	b.WriteByte('\n')
	b.WriteString(wrap("", fmt.Sprintf("Published (%s): %s. Set-up: %s. Source: %s. Other hosts and NICs: for orientation.", s.Name, s.Title, s.Setup, s.Source)))
	width := 0
	for _, p := range one.points {
		width = max(width, utf8.RuneCountInString(p.what))
	}
	fmt.Fprintf(b, "%s%14s%14s\n", pad("", width, false), "Gbit/s", "here")
	for _, p := range one.points {
		fmt.Fprintf(b, "%s%s%s\n", pad(p.what, width, false), pad(p.value, 14, true), pad(p.here, 14, true))
	}
	for _, text := range one.differing {
		b.WriteString(wrap("", text))
	}
}
