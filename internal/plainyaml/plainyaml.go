// Package plainyaml keeps from a YAML parser what was made to do it harm.
package plainyaml

import (
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

const (
	maxBytes  = 1 << 20
	maxDepth  = 32
	maxTokens = 20_000 // the parser's time grows with their square
)

// Error is about text that no parser should get.
type Error struct {
	Line int
	What string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.What) }

// Check says whether text is small and flat enough: a parser that recurses into
// a hundred thousand brackets takes minutes and gigabytes. Aliases are for who
// bounds what they stand for: nine of nine of nine … are few words. Its error is
// an *Error.
func Check(text []byte, aliases bool) error {
	if len(text) > maxBytes {
		return &Error{1, fmt.Sprintf("more than %d bytes", maxBytes)}
	}
	tokens := lexer.Tokenize(string(text))
	if len(tokens) > maxTokens {
		return &Error{tokens[maxTokens].Position.Line, fmt.Sprintf("more than %d words and signs", maxTokens)}
	}
	flow := 0        // brackets that are open
	var blocks []int // columns of the blocks that are open
	open := func(column int) {
		for len(blocks) > 0 && blocks[len(blocks)-1] >= column {
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, column)
	}
	for i, t := range tokens {
		switch t.Type {
		case token.AliasType:
			if !aliases {
				return &Error{t.Position.Line, "aliases are not read here: write the value"}
			}
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			if flow == 0 {
				open(t.Position.Column)
			}
		case token.MappingValueType:
			if flow == 0 && i > 0 {
				open(tokens[i-1].Position.Column)
			}
		}
		if flow+len(blocks) > maxDepth {
			return &Error{t.Position.Line, fmt.Sprintf("more than %d levels, one within the other", maxDepth)}
		}
	}
	return nil
}
