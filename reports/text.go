package reports

import (
	"strings"
	"unicode/utf8"
)

// lineWidth is what text is wrapped to.
const lineWidth = 100

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
