package experiment

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"zcbench/internal/fault"
	"zcbench/internal/plainyaml"
)

// node is a piece of YAML with its place: what the library decodes into maps
// has lost the order of keys and the lines to name in errors.
type node struct {
	line int
	kind kind
	text string // of a scalar, as it was written: on stays on, 0x10 stays 0x10
	list []node
	keys []pair // of a mapping, in order
}

type pair struct {
	key   node
	value node
}

type kind string

const (
	empty   kind = "nothing"
	scalar  kind = "a single value"
	list    kind = "a list"
	mapping kind = "a mapping"
)

func parseYAML(text []byte) (node, error) {
	if err := plainyaml.Check(text, true); err != nil {
		return node{}, fault.Wrap(fault.Usage, err)
	}
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return node{}, mistake(at.GetToken().Position.Line, "%s", at.GetMessage())
		}
		return node{}, fault.Wrap(fault.Usage, err)
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		return node{}, mistake(1, "one YAML document is wanted, there are %d", len(f.Docs))
	}
	return (&converter{anchors: map[string]node{}}).node(f.Docs[0].Body)
}

// maxNodes bounds what a few aliases of aliases can stand for.
const maxNodes = 100_000

// converter knows the anchors met so far.
type converter struct {
	anchors map[string]node
	nodes   int // that the text stands for, so far
}

// size is how many nodes it is.
func (n node) size() int {
	all := 1
	for _, v := range n.list {
		all += v.size()
	}
	for _, p := range n.keys {
		all += p.value.size()
	}
	return all
}

func (c *converter) node(a ast.Node) (node, error) {
	n := node{line: lineOf(a)}
	if c.nodes++; c.nodes > maxNodes {
		return n, mistake(n.line, "its aliases stand for more than %d values", maxNodes)
	}
	switch v := a.(type) {
	case nil:
		n.kind = empty
	case *ast.NullNode:
		n.kind = empty
		if t := a.GetToken(); t != nil && t.Type == token.NullType { // it is written down
			n.text = t.Value
		}
	case *ast.AnchorNode:
		value, err := c.node(v.Value)
		if err != nil {
			return n, err
		}
		c.anchors[v.Name.GetToken().Value] = value
		return value, nil
	case *ast.AliasNode:
		value, ok := c.anchors[v.Value.GetToken().Value]
		if !ok {
			return n, mistake(n.line, "no anchor is called %q before this line", v.Value.GetToken().Value)
		}
		c.nodes += value.size()
		return value, nil
	case *ast.TagNode:
		return c.node(v.Value)
	case ast.MapNode:
		n.kind = mapping
		for i := v.MapRange(); i.Next(); {
			kv := i.KeyValue()
			key := node{line: lineOf(kv.Key), kind: scalar, text: scalarText(kv.Key)}
			if kv.Key.IsMergeKey() {
				return n, mistake(key.line, "merge keys (<<) are not read here: name the values")
			}
			if slices.ContainsFunc(n.keys, func(p pair) bool { return p.key.text == key.text }) {
				return n, mistake(key.line, "%q is there twice", key.text)
			}
			value, err := c.node(kv.Value)
			if err != nil {
				return n, err
			}
			n.keys = append(n.keys, pair{key, value})
		}
	case *ast.SequenceNode:
		n.kind = list
		for _, item := range v.Values {
			value, err := c.node(item)
			if err != nil {
				return n, err
			}
			n.list = append(n.list, value)
		}
	case ast.ScalarNode:
		n.kind, n.text = scalar, scalarText(v)
	default:
		return n, mistake(n.line, "%s is not read here", a.Type())
	}
	return n, nil
}

func lineOf(a ast.Node) int {
	if a == nil || a.GetToken() == nil {
		return 0
	}
	return a.GetToken().Position.Line
}

func scalarText(a ast.Node) string {
	switch v := a.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return v.Value.Value
	case *ast.MappingKeyNode:
		return scalarText(v.Value)
	}
	return a.GetToken().Value
}

// mistake is an error in the file, with its line.
func mistake(line int, format string, args ...any) error {
	return fault.Errorf(fault.Usage, "line %d: %s", line, fmt.Errorf(format, args...))
}

// want says that a key holds another kind of thing than it should.
func (p pair) want(k kind) error {
	if p.value.kind == k {
		return nil
	}
	return mistake(max(p.value.line, p.key.line), "%s wants %s, not %s", p.key.text, k, p.value.kind)
}

// unknown is the error for a key that is none of some.
func unknown(key node, what string, known []string) error {
	if near := nearest(key.text, known); near != "" {
		return mistake(key.line, "no %s is called %q; did you mean %q?", what, key.text, near)
	}
	known = slices.Sorted(slices.Values(known))
	return mistake(key.line, "no %s is called %q; there are: %s", what, key.text, strings.Join(known, " "))
}

// nearest is the name that is fewest edits away, or "" when none is close.
func nearest(name string, known []string) string {
	best, least := "", max(len(name)/3, 1)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's, with a swap of neighbours as one edit.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
