package caveat

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
starts with the end it holds for, where it is of one, and ends with a code in
brackets, by which scripts can know it. A code keeps its meaning; words may
change. A record's ´notes´ have codes too: they hold of every run of its kind and
are no fault of it.

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
	file, err := parser.ParseFile(token.NewFileSet(), "caveat.go", nil, parser.ParseComments)
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
	path := filepath.Join("..", "..", "docs", "warnings.md")
	if *update {
		if err := os.WriteFile(path, doc.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, doc.Bytes()) {
		t.Errorf("docs/warnings.md is not what caveat.go says (%v): go test ./results/caveat -run Documented -update", err)
	}
}

// A warning without a code, or of a code that is not in the list, cannot be
// made: what goes by the name of warnings or notes comes from Warn, by itself or
// behind other words, and Warn takes the codes of caveat.go.
func TestWarningsAreCoded(t *testing.T) {
	files := parsed(t)
	c := coder{set: files.set, functions: map[string][]bool{}, t: t}
	for _, f := range files.trees {
		c.learn(f)
	}
	for _, f := range files.trees {
		ast.Walk(c, f)
	}
	if len(c.functions) < 10 {
		t.Fatalf("%d functions were found that give warnings: they go by other names now", len(c.functions))
	}
}

// The test fails for what it is to find.
func TestCoder(t *testing.T) {
	for _, body := range []string{
		`var r R; r.Warnings = append(r.Warnings, "text")`,
		`var r R; r.Notes = append(r.Notes, fmt.Sprintf("x %d", 1))`,
		`r := R{Warnings: []string{"text"}}; _ = r`,
		`warnings = append(warnings, other()...)`,
		`for _, warning := range other() { _ = warning }`,
		`_, warnings = 1, []string{"text"}`,
		`_, warnings, _ = other()`,
		`return []string{"text"}`,
		`warnings = append(warnings, Warn("text", "words"))`,
		`warnings = append(warnings, Warn(Code("text"), "words"))`,
		`func() (n int, warnings []string) { return 1, other() }()`,
		`warnings = append(warnings, given()+" and more")`,
	} {
		if n := uncoded(t, body); n != 1 {
			t.Errorf("%s: %d faults, want 1", body, n)
		}
	}
	for _, body := range []string{
		`var r R; r.Warnings = append(r.Warnings, Warn(WindowShort, "words"))`,
		`var r R; r.Warnings = append(r.Warnings, given()...)`,
		`for _, warning := range given() { warnings = append(warnings, "rx: "+warning) }`,
		`_, warnings, _ = several()`,
		`if warning := given(); warning != "" { return []string{warning} }`,
		`return nil`,
		`return append(warnings, given()...)`,
	} {
		if n := uncoded(t, body); n != 0 {
			t.Errorf("%s: %d faults, want none", body, n)
		}
	}
}

func uncoded(t *testing.T, body string) int {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "x.go", `package x
func given() (warnings []string)
func several() (n int, warnings []string, err error)
func other() []string
func f() (warnings []string) { `+body+` }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	c := coder{set: set, functions: map[string][]bool{}, found: &n}
	c.learn(f)
	ast.Walk(c, f)
	return n
}

// coder walks a file and finds warnings that may have no code.
type coder struct {
	set       *token.FileSet
	functions map[string][]bool // by name, which results are warnings; of any package
	results   []bool            // of the function that is walked
	t         *testing.T
	found     *int // instead of t
}

func (c coder) fault(n ast.Node, what string) {
	if c.t == nil {
		*c.found++
		return
	}
	c.t.Errorf("%s: %s", c.set.Position(n.Pos()), what)
}

// called is the last name of an expression, "" where it has none.
func called(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// isWarning goes by names.
func isWarning(e ast.Expr) bool {
	return regexp.MustCompile(`^((?i)[a-z]*(warnings?|notes))$|^(note|warned)$`).MatchString(called(e))
}

// learn finds the functions and methods that give warnings.
func (c coder) learn(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			c.keep(n.Name.Name, n.Type)
		case *ast.InterfaceType:
			for _, m := range n.Methods.List {
				if fn, ok := m.Type.(*ast.FuncType); ok && len(m.Names) == 1 {
					c.keep(m.Names[0].Name, fn)
				}
			}
		}
		return true
	})
}

func (c coder) keep(name string, fn *ast.FuncType) {
	if r := warned(fn); slices.Contains(r, true) {
		c.functions[name] = r
	}
}

// warned says which results of a function are warnings.
func warned(fn *ast.FuncType) (list []bool) {
	if fn.Results == nil {
		return nil
	}
	for _, field := range fn.Results.List {
		for _, name := range field.Names {
			list = append(list, isWarning(name))
		}
		if len(field.Names) == 0 {
			list = append(list, false)
		}
	}
	return list
}

func (c coder) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.FuncDecl:
		c.results = warned(n.Type)
	case *ast.FuncLit:
		c.results = warned(n.Type)
	case *ast.ReturnStmt:
		c.flows(n, c.results, n.Results)
	case *ast.AssignStmt:
		var to []bool
		for _, left := range n.Lhs {
			to = append(to, isWarning(left))
		}
		c.flows(n, to, n.Rhs)
	case *ast.RangeStmt:
		if n.Value != nil && isWarning(n.Value) {
			c.flows(n, []bool{true}, []ast.Expr{n.X})
		}
	case *ast.KeyValueExpr:
		if isWarning(n.Key) {
			c.flows(n, []bool{true}, []ast.Expr{n.Value})
		}
	case *ast.CallExpr:
		if called(n.Fun) == "Warn" && len(n.Args) > 0 && called(n.Args[0]) == "" {
			c.fault(n, "a code that caveat.go does not have")
		}
	}
	return c
}

// flows checks what comes to where warnings are meant to be.
func (c coder) flows(n ast.Node, to []bool, from []ast.Expr) {
	if call := ast.Expr(nil); len(from) == 1 && len(to) > 1 {
		if x, ok := from[0].(*ast.CallExpr); ok {
			call = x.Fun
		}
		gives := c.functions[called(call)]
		for i := range to {
			if to[i] && (i >= len(gives) || !gives[i]) {
				c.fault(n, "this function does not say that it gives warnings: name that result so")
			}
		}
		return
	}
	for i, e := range from {
		if i < len(to) && to[i] && !c.coded(e) {
			c.fault(e, "this may be a warning without a code: take one of Warn")
		}
	}
}

func (c coder) coded(e ast.Expr) bool {
	all := func(list []ast.Expr) bool {
		return !slices.ContainsFunc(list, func(e ast.Expr) bool { return !c.coded(e) })
	}
	switch e := e.(type) {
	case *ast.Ident, *ast.SelectorExpr:
		return isWarning(e) || called(e) == "nil"
	case *ast.BasicLit:
		return e.Value == `""`
	case *ast.BinaryExpr: // the code is at the end
		return c.coded(e.Y)
	case *ast.IndexExpr:
		return c.coded(e.X)
	case *ast.CompositeLit:
		return all(e.Elts)
	case *ast.CallExpr:
		switch name := called(e.Fun); name {
		case "Warn":
			return true
		case "append":
			return all(e.Args)
		case "TrimPrefix":
			return c.coded(e.Args[0])
		default:
			return slices.Contains(c.functions[name], true)
		}
	}
	return false
}

// source is the code of the program, without its tests and without analysis
// and reports, which show the warnings of records: those may be of older versions.
type source struct {
	set   *token.FileSet
	trees []*ast.File
}

func parsed(t *testing.T) source {
	s := source{set: token.NewFileSet()}
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		shows := path == filepath.Join("..", "..", "analysis") || path == filepath.Join("..", "..", "reports")
		if err != nil || d.IsDir() && shows {
			return cmp.Or(err, fs.SkipDir)
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(s.set, path, nil, parser.SkipObjectResolution)
		s.trees = append(s.trees, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
