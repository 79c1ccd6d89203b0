package reports

import (
	"strings"
	"unicode/utf8"

	"zcbench/internal/printable"
)

// lineWidth is what text is wrapped to.
const lineWidth = 100

// clean makes one printable line of text that came from elsewhere, so that a
// peer's message can neither break a table nor drive a terminal.
func clean(s string) string { return printable.Line(s) }

// clip cuts a name to n characters.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// pad fills s with spaces to n characters, on the left or on the right.
func pad(s string, n int, right bool) string {
	space := strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
	if right {
		return space + s
	}
	return s + space
}

// wrap breaks text between words into lines of at most lineWidth characters,
// the first after a prefix and the others under its end.
func wrap(prefix, text string) string {
	indent := utf8.RuneCountInString(prefix)
	var b strings.Builder
	b.WriteString(prefix)
	at := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > lineWidth:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	b.WriteByte('\n')
	return b.String()
}
