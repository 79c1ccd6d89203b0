package results

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/warnings.md anew")

func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		text string
		want Code
	}{
		{Warn(WindowShort, "rx: the window was %s", "1 s"), WindowShort},
		{"rx: ports [5301]", ""},
		{"no code", ""},
		{"[a]", ""},
		{" []", ""},
		{"", ""},
		{"two [first] [second]", "second"},
	} {
		if got := CodeOf(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

const docHead = `# Warnings

A run that ended well may still have measured something else than was asked, or
not as well as it should. Its record says so in ´warnings´: a sentence that
starts with the end it holds for, and most have a code in brackets, by which
scripts can know them. A code keeps its meaning; words may change.

´´´
jq -r 'select(.warnings | any(test("\\[flow-stalled\\]$"))) | .id' results.jsonl
´´´

A run of status ´ok´ without warnings is one in which nothing of the kind was
seen. Reports gather the warnings of a cell's runs below the figures.

| code | what it says | what to do |
|---|---|---|
`

// Every code is documented, in docs/warnings.md as in the source.
func TestWarningsAreDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "warning.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var doc bytes.Buffer
	doc.WriteString(strings.ReplaceAll(docHead, "´", "`"))
	names := map[string]string{} // by code
	cell := strings.NewReplacer("|", "\\|")
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Code" || len(v.Names) != 1 || len(v.Values) != 1 {
				continue
			}
			name := v.Names[0].Name
			code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			says, cure, _ := strings.Cut(v.Doc.Text(), "\n\n")
			text, ok := strings.CutPrefix(strings.Join(strings.Fields(says), " "), name+": ")
			if !ok || !strings.HasSuffix(text, ".") {
				t.Errorf("the comment on %s is no sentence that begins with %q", name, name+": ")
				continue
			}
			cure = strings.Join(strings.Fields(cure), " ")
			if !strings.HasSuffix(cure, ".") {
				t.Errorf("the comment on %s has no second paragraph that says what to do", name)
			}
			if CodeOf(Warn(Code(code), "x")) != Code(code) || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(code) {
				t.Errorf("%s: %q is no code of lower-case words with - between", name, code)
			}
			if other, ok := names[code]; ok {
				t.Errorf("%s and %s are both %q", other, name, code)
			}
			names[code] = name
			fmt.Fprintf(&doc, "| `%s` | %s%s | %s |\n", code, strings.ToUpper(text[:1]), cell.Replace(text[1:]), cell.Replace(cure))
		}
	}
	if len(names) == 0 {
		t.Fatal("no code was found")
	}
	path := filepath.Join("..", "docs", "warnings.md")
	if *update {
		if err := os.WriteFile(path, doc.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, doc.Bytes()) {
		t.Errorf("docs/warnings.md is not what warning.go says (%v): go test ./results -run Documented -update", err)
	}
}

// A code that is not in the list is in no warning.
func TestWarningsTakeListedCodes(t *testing.T) {
	literal := regexp.MustCompile(`\b(?:results\.)?Warn\(\s*(?:"|` + "`" + `|(?:results\.)?Code\()`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && literal.Match(text) {
			t.Errorf("%s makes a warning of a code that warning.go does not have", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
