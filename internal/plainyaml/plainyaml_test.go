package plainyaml

import (
	"errors"
	"strings"
	"testing"

	"zcbench/experiments"
)

func TestDeepTextIsRefused(t *testing.T) {
	const n = 1000
	var indented strings.Builder
	for i := range 2 * maxDepth {
		indented.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, text := range map[string]string{
		"brackets":   strings.Repeat("[", n),
		"braces":     strings.Repeat("{a: ", n),
		"entries":    strings.Repeat("- ", n) + "a",
		"questions":  strings.Repeat("? ", n) + "a",
		"tags":       strings.Repeat("!a ", n) + "a",
		"anchors":    strings.Repeat("&a ", n) + "a",
		"colons":     strings.Repeat("a: ", n),
		"indents":    indented.String(),
		"many keys":  strings.Repeat("a: 1\n", maxTokens),
		"many bytes": strings.Repeat("#\n", maxBytes),
	} {
		var e *Error
		if err := Check([]byte(text), true); !errors.As(err, &e) || e.Line < 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlainTextPasses(t *testing.T) {
	texts := map[string]string{
		"siblings": strings.Repeat("- a: {b: [1, 2]}\n  c:\n  - !x &y d\n", 200),
		"none":     "",
		"quoted":   `a: "` + strings.Repeat("[", 1000) + `"`,
		"literal":  "a: |\n" + strings.Repeat("  - [\n", 1000),
	}
	files, err := experiments.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := experiments.Files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		texts[f.Name()] = string(b)
	}
	for name, text := range texts {
		if err := Check([]byte(text), true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAliases(t *testing.T) {
	text := []byte("a: &x 1\nb: *x\n")
	var e *Error
	if err := Check(text, false); !errors.As(err, &e) || e.Line != 2 {
		t.Error(err)
	}
	if err := Check(text, true); err != nil {
		t.Error(err)
	}
}
