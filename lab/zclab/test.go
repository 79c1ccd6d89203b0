package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"zcbench/lab/internal/image"
	"zcbench/lab/internal/vm"
	"zcbench/lab/internal/wire"
)

// goPackage is what go list says about a package.
type goPackage struct {
	ImportPath   string
	Dir          string
	Module       struct{ Path string }
	TestGoFiles  []string
	XTestGoFiles []string

	run string // only tests that match this; "": all
}

// runTests runs the tests of packages in the VM. Its output is that of go test.
func (o options) runTests(ctx context.Context, patterns []string) (int, error) {
	if len(patterns) == 0 {
		return statusUsage, errors.New("test: no packages")
	}
	m, err := o.prepare(ctx)
	if err != nil {
		return 0, err
	}
	pkgs, err := o.listPackages(ctx, patterns)
	if err != nil {
		return 0, err
	}
	tmp, err := os.MkdirTemp("", "zclab")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(tmp)

	var tests []goPackage
	var steps []wire.Step
	for _, p := range pkgs {
		if len(p.TestGoFiles)+len(p.XTestGoFiles) == 0 {
			fmt.Printf("?   \t%s\t[no test files]\n", p.ImportPath)
			continue
		}
		step, err := o.addTest(ctx, tmp, p)
		if err != nil {
			return 0, err
		}
		tests = append(tests, p)
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return 0, nil
	}
	return o.runSteps(ctx, m, tests, steps)
}

// listPackages finds the packages of patterns, each of which may end with =TESTS.
func (o options) listPackages(ctx context.Context, patterns []string) ([]goPackage, error) {
	var all []goPackage
	for _, p := range patterns {
		pattern, run, own := strings.Cut(p, "=")
		pkgs, err := list(ctx, pattern)
		if err != nil {
			return nil, err
		}
		if !own {
			run = o.run
		}
		for _, pkg := range pkgs {
			pkg.run = run
			all = append(all, pkg)
		}
	}
	return all, nil
}

func list(ctx context.Context, pattern string) ([]goPackage, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Dir,Module,TestGoFiles,XTestGoFiles", pattern)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var pkgs []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		pkgs = append(pkgs, p)
	}
}

// addTest builds a test program and puts it where it will find its testdata.
func (o options) addTest(ctx context.Context, tmp string, p goPackage) (wire.Step, error) {
	dir := path.Join("/src", strings.TrimPrefix(p.ImportPath, p.Module.Path))
	name := path.Base(p.ImportPath) + ".test"
	bin := filepath.Join(tmp, dir, name)
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", bin, p.ImportPath)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return wire.Step{}, fmt.Errorf("build the tests of %s: %w\n%s", p.ImportPath, err, out)
	}
	o.add[path.Join(dir, name)] = bin
	data := filepath.Join(p.Dir, "testdata")
	if _, err := os.Stat(data); err == nil {
		o.add[path.Join(dir, "testdata")] = data
	}
	argv := []string{path.Join(dir, name), "-test.v", "-test.timeout=" + o.testTimeout.String()}
	if p.run != "" {
		argv = append(argv, "-test.run="+p.run)
	}
	return wire.Step{Argv: argv, Dir: dir}, nil
}

// runSteps boots the VM and prints each package's verdict as go test does. A
// test that is skipped fails: the lab is there so that none has to be. So does
// one during which the kernel complained.
func (o options) runSteps(ctx context.Context, m machine, tests []goPackage, steps []wire.Step) (int, error) {
	out := &skipWatcher{w: os.Stdout}
	begun := time.Now()
	failed := 0
	verdict := func(i int, ok bool) {
		word := "ok  "
		if !ok {
			word = "FAIL"
			failed++
		}
		fmt.Printf("%s\t%s\t%.3fs\n", word, tests[i].ImportPath, time.Since(begun).Seconds())
		begun = time.Now()
	}
	done := func(i, status int, trouble []string) {
		skipped := out.take()
		if len(skipped) > 0 {
			fmt.Printf("lab: skipped, which no test may be here: %s\n", strings.Join(skipped, " "))
		}
		printLines(os.Stdout, "the guest's kernel complained during this test", trouble)
		verdict(i, status == 0 && len(skipped) == 0 && len(trouble) == 0)
	}
	sig, stop := signals()
	defer stop()
	job := wire.Job{Steps: steps, Env: o.env}
	res, err := m.boot(ctx, o, job, vm.Streams{Stdout: out, Stderr: os.Stderr, Signal: sig, StepDone: done})
	if o.dmesg {
		printLines(os.Stderr, "kernel log", res.Log)
	}
	fmt.Printf("lab: Linux %s, %s pair, booted in %.1fs, %s\n", m.img.Release, res.Pair, res.Boot.Seconds(), m.accel)
	if err != nil {
		printLines(os.Stdout, "the guest's kernel, before it died", res.Trouble)
		for i := len(res.Status); i < len(tests); i++ {
			verdict(i, false)
		}
		return statusFailed, err
	}
	if failed > 0 {
		return statusFailed, nil
	}
	return 0, nil
}

// skipWatcher passes test output on and remembers the tests that were skipped.
type skipWatcher struct {
	w       io.Writer
	line    []byte
	skipped []string
}

var skipLine = regexp.MustCompile(`^\s*--- SKIP: (\S+)`)

func (s *skipWatcher) Write(p []byte) (int, error) {
	s.line = append(s.line, p...)
	for {
		i := bytes.IndexByte(s.line, '\n')
		if i < 0 {
			break
		}
		if m := skipLine.FindSubmatch(s.line[:i]); m != nil {
			s.skipped = append(s.skipped, string(m[1]))
		}
		s.line = s.line[i+1:]
	}
	return s.w.Write(p)
}

// take returns the tests skipped since it was last called.
func (s *skipWatcher) take() []string {
	out := s.skipped
	s.line, s.skipped = nil, nil
	return out
}

// testKernels are the kernels to test on, oldest first: one from before all
// zero-copy receive, one with parts of it, and those the module builds for. Of
// each group the first that the archive has is taken.
func testKernels() [][]string {
	groups := [][]string{{"6.1", "6.12"}, {"6.18"}}
	for _, line := range slices.Backward(image.Lines) {
		groups = append(groups, []string{line})
	}
	return groups
}

// runKernels runs tests on one kernel after the other.
func (o options) runKernels(ctx context.Context, patterns []string) (int, error) {
	status := 0
	for _, group := range testKernels() {
		var err error
		var s int
		for _, spec := range group {
			fmt.Printf("=== KERNEL %s\n", spec)
			k := o
			k.kernel = spec
			k.add = maps.Clone(o.add)
			if s, err = k.runTests(ctx, patterns); !errors.Is(err, image.ErrNoKernel) {
				break
			}
			fmt.Printf("lab: passed over: %v\n", err)
			err = nil
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "lab: %v\n", err)
			s = max(s, statusFailed)
		}
		status = max(status, s)
	}
	return status, nil
}
