package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zcbench/experiment"
	"zcbench/results"
)

var updatePinned = flag.Bool("update", false, "write what is pinned anew")

// What people have in scripts and in stored results: the help of a run's flags,
// and of each experiment that zcbench comes with its cells, their ids (a hash of
// their settings) and commands. It changes on purpose only.
func TestPinned(t *testing.T) {
	for _, command := range []string{"rx", "tx", "local"} {
		help, err := spoken(command, "--help")
		if err != nil {
			t.Fatal(err)
		}
		pinned(t, "help-"+command+".txt", help)
	}
	var plans strings.Builder
	for _, name := range shippedSpecs() {
		spec, err := loadSpec(t.Context(), []string{name}, "plan")
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]results.Pair[experiment.Survey]{}
		for _, p := range spec.Pairs {
			at[p.Name] = threeCPUs()
		}
		p, err := spec.Expand(at, known().Resolve)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&plans, "%s\n", name)
		for i := range p.Cells {
			c := &p.Cells[i]
			fmt.Fprintf(&plans, "%s %s\n  %s\n", c.ID, c, c.Trial.Command)
		}
	}
	pinned(t, "plans.txt", plans.String())
}

func pinned(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "pinned", name)
	if *updatePinned {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s, line %d (go test ./cmd/zcbench -run Pinned -update, if it is meant):\n got %s\nwant %s", name, i+1, g[i], w[i])
			return
		}
	}
	t.Errorf("%s has %d lines, and not %d", name, len(g), len(w))
}
