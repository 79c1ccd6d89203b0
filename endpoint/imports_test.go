package endpoint

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImports: data flows one way, and who writes an engine need know no more than
// this package. Of a package and all that it imports, as far as they are of this
// module, none is where the row says that it is not to be.
func TestImports(t *testing.T) {
	imports := moduleImports(t, "..")
	for _, rule := range []struct {
		what  string
		from  func(pkg string) bool
		never []string
	}{
		{"an engine", under("rx", "tx"), []string{"power", "analysis", "counters", "experiment", "endpoint/"}},
		{"the contract", is("endpoint"), []string{"rx", "tx", "results", "endpoint/"}},
		{"the protocol", is("endpoint/wire"), []string{"endpoint/"}},
		{"a counter", under("counters", "endpoint/instrument"), []string{"rx", "tx", "endpoint/agent", "endpoint/driver", "endpoint/summary"}},
		{"an agent", is("endpoint/agent"), []string{"rx", "tx", "counters", "endpoint/driver", "experiment", "analysis"}},
		{"a part of an agent", func(pkg string) bool { return strings.HasPrefix(pkg, "endpoint/agent/") },
			[]string{"rx", "tx", "counters", "endpoint/agent", "endpoint/driver", "endpoint/instrument"}},
		{"a driver", is("endpoint/driver"), []string{"rx", "tx", "counters", "endpoint/agent", "endpoint/instrument", "experiment", "analysis"}},
		{"a plan", is("experiment"), []string{"rx", "tx", "counters", "endpoint/agent", "experiment/", "analysis"}},
		{"the table of a run", is("experiment/ask"), []string{"rx", "tx", "counters", "endpoint/agent", "experiment/site", "analysis"}},
		{"a site", is("experiment/site"), []string{"rx", "tx", "counters", "analysis"}},
		{"a record", is("results"), []string{"endpoint", "endpoint/", "ringcfg", "power", "analysis"}},
		{"an analysis", is("analysis"), []string{"endpoint", "endpoint/", "experiment", "ringcfg", "power", "reports", "reports/"}},
		{"a text", is("reports"), []string{"endpoint", "endpoint/", "experiment", "ringcfg", "power", "reports/"}},
		{"the page", is("reports/html"), []string{"endpoint", "endpoint/", "experiment", "ringcfg", "power", "reports", "reports/"}},
		{"what is shared", func(pkg string) bool {
			return under("internal")(pkg) && !under("internal/testutil")(pkg) && !strings.HasPrefix(pkg, "internal/bench")
		}, []string{"endpoint", "endpoint/", "ringcfg"}},
	} {
		seen := 0
		for _, pkg := range slices.Sorted(maps.Keys(imports)) {
			if !rule.from(pkg) {
				continue
			}
			seen++
			for _, never := range rule.never {
				if way := leads(imports, pkg, never); way != nil {
					t.Errorf("%s may not lead to %s: %s", rule.what, never, strings.Join(way, " → "))
				}
			}
		}
		if seen == 0 {
			t.Errorf("%s: there is none", rule.what)
		}
	}
}

// TestGround: what every package may use of the module uses none of it.
func TestGround(t *testing.T) {
	if of, ok := moduleImports(t, "..")["internal/fault"]; !ok || len(of) > 0 {
		t.Errorf("internal/fault imports %q", of)
	}
}

// TestLight: what would make the program megabytes larger is not in it: gopacket's
// own layers, of which it needs five headers, and templates that may call methods,
// for which the linker keeps all exported ones.
func TestLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`,
		"zcbench/cmd/zcbench").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := false
	for line := range strings.Lines(string(out)) {
		pkg, imported, _ := strings.Cut(strings.TrimSpace(line), " ")
		without := strings.HasPrefix(pkg, "github.com/DataDog/datadog-agent/pkg/template/") // Go's, but for the calls
		seen = seen || without
		switch imported {
		case "text/template", "html/template":
			if !without && pkg != "html/template" {
				t.Errorf("%s imports %s", pkg, imported)
			}
		case "github.com/gopacket/gopacket/layers":
			t.Errorf("%s imports %s", pkg, imported)
		}
	}
	if !seen {
		t.Error("the program has no page")
	}
}

func is(pkg string) func(string) bool { return func(p string) bool { return p == pkg } }

func under(dirs ...string) func(string) bool {
	return func(p string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
	}
}

// leads is the way from a package to another one, or, where that ends with a slash,
// to one below it that is neither itself nor where the way began; nil: there is none.
func leads(imports map[string][]string, from, to string) []string {
	before := map[string]string{from: ""}
	for next := []string{from}; len(next) > 0; next = next[1:] {
		pkg := next[0]
		if pkg != from && (pkg == to || strings.HasSuffix(to, "/") && strings.HasPrefix(pkg, to)) {
			var way []string
			for ; pkg != ""; pkg = before[pkg] {
				way = append([]string{pkg}, way...)
			}
			return way
		}
		for _, p := range imports[pkg] {
			if _, known := before[p]; !known {
				before[p] = pkg
				next = append(next, p)
			}
		}
	}
	return nil
}

// moduleImports are what each package of the module imports of it, apart from its tests.
func moduleImports(t *testing.T, root string) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if p, ours := strings.CutPrefix(p, "zcbench/"); ours {
				imports[pkg] = append(imports[pkg], p)
			}
		}
		if imports[pkg] == nil {
			imports[pkg] = []string{}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}
