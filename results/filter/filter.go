// Package filter is how runs and cells are chosen by what they are: mode=devmem|iouring,gro!=sw.
package filter

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"zcbench/internal/fault"
)

// Condition is that what stands under a name is one of some values, or is none of them.
type Condition struct {
	Name   string
	Values []string
	Not    bool
}

// Parse reads conditions with commas between: name=value, name!=value and
// name=value|value. A cell as plan prints it is a filter too, with blanks between
// conditions and its pair first: "here: mode=devmem gro=hw". Blanks may also be part of
// a value: they separate conditions where each begins with a name that known knows. An
// error is of kind Usage.
func Parse(text string, known func(name string) bool) ([]Condition, error) {
	var list []Condition
	for _, term := range Terms(text, known) {
		name, value, ok := strings.Cut(term, "=")
		if pair, named := strings.CutSuffix(term, ":"); named && !ok {
			name, value, ok = "pair", pair, true
		}
		not := strings.HasSuffix(name, "!")
		name = strings.TrimSpace(strings.TrimSuffix(name, "!"))
		if !ok || name == "" {
			return nil, fault.Errorf(fault.Usage, "%q is no condition: name=value, name!=value or name=value|value", term)
		}
		c := Condition{Name: name, Not: not}
		for v := range strings.SplitSeq(value, "|") {
			c.Values = append(c.Values, strings.TrimSpace(v))
		}
		list = append(list, c)
	}
	return list, nil
}

// Terms are the parts between commas, and between blanks where all that stands between
// two is a term: a known name with its value, or a pair.
func Terms(text string, known func(name string) bool) (terms []string) {
	term := func(word string) bool {
		name, _, ok := strings.Cut(word, "=")
		return ok && known(strings.TrimSuffix(name, "!")) || !ok && strings.HasSuffix(word, ":")
	}
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) < 2 || slices.ContainsFunc(words, func(w string) bool { return !term(w) }) {
			words = []string{strings.TrimSpace(part)}
		}
		terms = append(terms, words...)
	}
	return terms
}

// Holds says whether a value meets the condition.
func (c Condition) Holds(value string) bool {
	return slices.ContainsFunc(c.Values, func(v string) bool { return Same(v, value) }) != c.Not
}

// Same says whether two texts are one value: the same, or sizes of the same number of
// bytes, 128K and 131072.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	m, ok := size(a)
	n, also := size(b)
	return ok && also && m == n
}

// size reads a size as flags take it, or as reports show it: 64K, 64 KiB.
func size(text string) (uint64, bool) {
	text = strings.TrimSuffix(strings.TrimSuffix(strings.ReplaceAll(text, " ", ""), "B"), "i")
	shift := 0
	if n := len(text); n > 0 {
		shift = 10 * (1 + strings.IndexByte("kmg", text[n-1]|0x20))
		if shift > 0 {
			text = text[:n-1]
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return n << shift, err == nil && n <= math.MaxInt64>>shift
}
