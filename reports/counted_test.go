package reports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCountersAreWritten: what explanations and reports read by a counter's name is
// what engines, counters and ends write under it. A counter that is renamed there would
// be missing here without a word.
func TestCountersAreWritten(t *testing.T) {
	read := countersRead(t, "../analysis", ".", "html")
	for _, name := range []string{"window_full", "tcp_rwnd_limited_us", "pool_empty", "cqes", "tokens", "cycles_per_byte",
		"recvmsg_frags_min"} {
		if !read[name] {
			t.Errorf("%s is read, and was not found in the source", name)
		}
	}
	written := literalsWritten(t, "../rx", "../tx", "../counters", "../endpoint", "../internal/genl/netdev")
	older := []string{"copy_unknown_bytes"} // in records from before End.UnknownBytes
	for _, name := range slices.Sorted(maps.Keys(read)) {
		base, perByte := strings.CutSuffix(name, "_per_byte")
		kernel, queue := strings.CutPrefix(name, "qstat_") // the rest is the kernel's name
		switch {
		case written[name], slices.Contains(older, name):
		case perByte && written[base] && written["_per_byte"]:
		case queue && written[strings.ReplaceAll(kernel, "_", "-")] && written["qstat_"]:
		default:
			t.Errorf("nothing is counted as %s", name)
		}
	}
	if written["no_such_counter"] || !written["refill_stalls"] {
		t.Error("what is written was not found in the source")
	}
}

// word is a counter's name, and no format and no sentence.
var word = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// countersRead are the names by which functions of some packages read an end's
// counters: as an index, in a table of a function that has such an index, or as what
// such a function is called with.
func countersRead(t *testing.T, dirs ...string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	called := map[string]bool{} // functions that index by what they are given
	files := sources(t, false, dirs...)
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			indexes, others := counterIndexes(fn)
			for _, i := range indexes {
				switch i := i.(type) {
				case *ast.BasicLit:
					names[text(i)] = true
				case *ast.Ident:
					called[fn.Name.Name] = called[fn.Name.Name] || isParameter(fn, i.Name)
					maps.Copy(names, others)
				default:
					maps.Copy(names, others)
				}
			}
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if fn, ok := call.Fun.(*ast.Ident); ok && called[fn.Name] {
					for _, a := range call.Args {
						if l, ok := a.(*ast.BasicLit); ok && l.Kind == token.STRING {
							names[text(l)] = true
						}
					}
				}
			}
			return true
		})
	}
	return names
}

// counterIndexes are what a function indexes counters by, and the other words in it.
func counterIndexes(fn *ast.FuncDecl) (indexes []ast.Expr, others map[string]bool) {
	counters := func(e ast.Expr) bool {
		s, ok := e.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "Counters"
	}
	variables := map[string]bool{} // that hold counters
	index := map[ast.Expr]bool{}
	others = map[string]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if id, ok := l.(*ast.Ident); ok && len(n.Lhs) == len(n.Rhs) && counters(n.Rhs[i]) {
					variables[id.Name] = true
				}
			}
		case *ast.IndexExpr:
			index[n.Index] = true
			if id, ok := n.X.(*ast.Ident); counters(n.X) || ok && variables[id.Name] {
				indexes = append(indexes, n.Index)
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING && !index[n] && word.MatchString(text(n)) {
				others[text(n)] = true
			}
		}
		return true
	})
	return indexes, others
}

func isParameter(fn *ast.FuncDecl, name string) bool {
	return slices.ContainsFunc(fn.Type.Params.List, func(f *ast.Field) bool {
		return slices.ContainsFunc(f.Names, func(id *ast.Ident) bool { return id.Name == name })
	})
}

// literalsWritten are the texts in packages and those below them that are more than an
// index by which something is read.
func literalsWritten(t *testing.T, dirs ...string) map[string]bool {
	t.Helper()
	written := map[string]bool{}
	for _, f := range sources(t, true, dirs...) {
		target, index := map[ast.Expr]bool{}, map[ast.Expr]bool{}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, l := range n.Lhs {
					target[l] = true
				}
			case *ast.IndexExpr:
				if !target[n] {
					index[n.Index] = true
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && !index[n] {
					written[text(n)] = true
				}
			}
			return true
		})
	}
	return written
}

// sources are the files of packages, and of those below them where deep is set, but
// for tests.
func sources(t *testing.T, deep bool, dirs ...string) (files []*ast.File) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != dir && !deep:
				return fs.SkipDir
			case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			files = append(files, f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func text(l *ast.BasicLit) string {
	s, _ := strconv.Unquote(l.Value) // the parser took it
	return s
}
