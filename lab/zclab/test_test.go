package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestSkipWatcher(t *testing.T) {
	var out bytes.Buffer
	s := &skipWatcher{w: &out}
	text := "=== RUN   TestA\n    a_test.go:1: why\n--- SKIP: TestA (0.00s)\n--- PASS: TestB (1s)\n    --- SKIP: TestB/c (0.00s)\nsays --- " +
		"SKIP: no\n"
	for i := range text { // torn at every byte
		if _, err := s.Write([]byte{text[i]}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := s.take(), []string{"TestA", "TestB/c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("skipped %v, want %v", got, want)
	}
	if got := s.take(); got != nil {
		t.Errorf("taken twice: %v", got)
	}
	if out.String() != text {
		t.Errorf("changed the output to %q", out.String())
	}
}

// TestOfOnePackage: what follows a package chooses tests of it alone.
func TestOfOnePackage(t *testing.T) {
	pkgs, err := options{run: "All"}.listPackages(t.Context(), []string{"zcbench/lab/internal/w...=Lab|ZCRX", "zcbench/lab/zclab"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range pkgs {
		got[p.ImportPath] = p.run
	}
	if want := map[string]string{"zcbench/lab/internal/wire": "Lab|ZCRX", "zcbench/lab/zclab": "All"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestPathList(t *testing.T) {
	l := pathList{}
	for _, bad := range []string{"", "a", ":b", "a:"} {
		if l.Set(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if err := l.Set("here:/there"); err != nil || l["/there"] != "here" {
		t.Errorf("%v, %v", l, err)
	}
}

// TestBadFlags: what is wrong with the flags is found before anything is fetched.
func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-nic", "e1000", "run", "true"}, "it has igb, e1000e, vmxnet3, virtio"},
		{[]string{"-nic", "igb", "-module-args", "queues=2", "run", "true"}, "give one of them"},
		{[]string{"-nic", "igb", "-like", "mlx5", "run", "true"}, "give one of them"},
		{[]string{"-like", "none.jsonl", "run", "true"}, "none.jsonl: no such file"},
		{[]string{"-like", "test_test.go", "run", "true"}, "test_test.go is no capture of zcbench probe --capture"},
		{[]string{"-cpu", "2", "run", "true"}, "not defined"},
		{[]string{"walk"}, `no command "walk"`},
	} {
		if status, err := lab(c.args); status != statusUsage || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %d, %v; want %q", c.args, status, err, c.want)
		}
	}
}
