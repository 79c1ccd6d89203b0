package results

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// Fact is one scalar of Facts under its dotted name.
type Fact struct{ Name, Value string }

// Flat lists the scalars in order of their names.
func (f Facts) Flat() []Fact {
	flat := flatten(nil, "", f)
	slices.SortFunc(flat, func(a, b Fact) int { return cmp.Compare(a.Name, b.Name) })
	return flat
}

func flatten(to []Fact, prefix string, m map[string]any) []Fact {
	for k, v := range m {
		switch v := v.(type) {
		case map[string]any:
			to = flatten(to, prefix+k+".", v)
		case Facts:
			to = flatten(to, prefix+k+".", v)
		case string:
			to = append(to, Fact{prefix + k, v})
		default:
			// As JSON has it, so that a number reads the same before it is
			// stored and after.
			b, err := json.Marshal(v)
			if err != nil {
				b = []byte(fmt.Sprint(v))
			}
			to = append(to, Fact{prefix + k, string(b)})
		}
	}
	return to
}

// Difference is a fact that two hosts, or two times, do not share.
type Difference struct {
	Name string
	A, B string // empty where the fact is absent
}

// Diff lists what differs between a and b in order of name.
func Diff(a, b Facts) []Difference {
	var out []Difference
	x, y := a.Flat(), b.Flat()
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(y) == 0 || len(x) > 0 && x[0].Name < y[0].Name:
			out = append(out, Difference{Name: x[0].Name, A: x[0].Value})
			x = x[1:]
		case len(x) == 0 || y[0].Name < x[0].Name:
			out = append(out, Difference{Name: y[0].Name, B: y[0].Value})
			y = y[1:]
		default:
			if x[0].Value != y[0].Value {
				out = append(out, Difference{x[0].Name, x[0].Value, y[0].Value})
			}
			x, y = x[1:], y[1:]
		}
	}
	return out
}
