// Package printable makes text of others, a peer's, a driver's, a file's, harmless
// to show: it can neither drive a terminal nor turn the direction of what is read,
// nor be taken for more lines than one.
package printable

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Count is a number of things, "1 flow" or "3 flows".
func Count[N int | uint64](n N, thing string) string {
	return fmt.Sprintf("%d %s", n, Plural(n, thing, thing+"s"))
}

// Plural is the word that goes with a number.
func Plural[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Line makes one line of s, in which only what can be seen is left.
func Line(s string) string {
	if plain(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// Clip cuts s to n characters, the last of which then says that there was more.
func Clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// Shorten leaves the start of a long list, with a sign that it goes on.
func Shorten(list []string) []string {
	const most = 40
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), "…")
}

// To writes to w what is written to it, with only what can be seen left, and the ends
// of lines. Each write must end with a whole letter.
func To(w io.Writer) io.Writer { return filter{w} }

type filter struct{ io.Writer }

func (f filter) Write(b []byte) (int, error) {
	_, err := f.Writer.Write(bytes.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, b))
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Word is s as a shell reads it back as one word, which can be seen whole.
func Word(s string) string {
	switch {
	case plainWord.MatchString(s):
		return s
	case strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) < 0:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	word := "$'"
	for _, c := range []byte(s) {
		switch {
		case c == '\'' || c == '\\':
			word += `\` + string(c)
		case c >= ' ' && c <= '~':
			word += string(c)
		default:
			word += fmt.Sprintf(`\%03o`, c)
		}
	}
	return word + "'"
}

// plain says that Line has nothing to do, which is nearly always so.
func plain(s string) bool {
	last := byte(' ')
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' || c == ' ' && last == ' ' {
			return false
		}
		last = c
	}
	return last != ' ' || s == ""
}

// JSON writes in valid JSON what cannot be seen by its number. It says the same.
func JSON(b []byte) []byte {
	ascii := func(c byte) bool { return c < utf8.RuneSelf && c != 0x7f }
	if bytes.IndexFunc(b, func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }) < 0 {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for len(b) > 0 {
		if ascii(b[0]) {
			out, b = append(out, b[0]), b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		switch {
		case unicode.IsPrint(r) || r == utf8.RuneError && n == 1:
			out = append(out, b[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}
