package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"zcbench/experiment"
	"zcbench/experiment/site"
	"zcbench/experiments"
	"zcbench/internal/bounded"
	"zcbench/internal/fault"
	"zcbench/results"
)

// choiceFlags are those of plan and run alike: which part of a spec, and how.
func choiceFlags(f *pflag.FlagSet, c *experiment.Choice) {
	f.StringVar(&c.Only, "only", "", "only the cells that match, as in 'mode=devmem|iouring,gro=hw'; pair is an axis too")
	f.IntVar(&c.Repeats, "repeats", 0, "runs of each cell, instead of the spec's")
	f.Uint64Var(&c.Seed, "shuffle-seed", 0, "seed of the order, instead of the spec's")
}

// loadSpec reads one that zcbench comes with by its name, or one of the user's
// by its path.
func loadSpec(ctx context.Context, args []string, command string) (*experiment.Spec, error) {
	if len(args) != 1 {
		return nil, fault.Errorf(fault.Usage, "%s wants one SPEC: the path of a file, or one of %s", command, strings.Join(shippedSpecs(), ", "))
	}
	name := args[0]
	var text []byte
	var err error
	if strings.ContainsAny(name, "/.") {
		err = interruptible(ctx, func() (err error) { // it may be a pipe
			text, err = bounded.ReadFile(name, bounded.Small)
			return err
		})
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
	} else if text, err = experiments.Files.ReadFile(name + ".yaml"); err != nil {
		return nil, fault.Errorf(fault.Usage, "no experiment is called %q; there are %s, and yours by a path such as ./mine.yaml", name,
			strings.Join(shippedSpecs(), ", "))
	}
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "read the experiment: %w", err)
	}
	return experiment.Load(name, text, known().SpecFields())
}

func specHelp() string {
	return "SPEC is the path of a file (experiments/ has examples), or one of\n" + strings.Join(shippedSpecs(), " ")
}

func shippedSpecs() []string {
	files, err := fs.Glob(experiments.Files, "*.yaml")
	if err != nil {
		panic(err) // the pattern is right
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return files
}

// choose changes a spec as a choice says, before it is expanded.
func choose(f *pflag.FlagSet, s *experiment.Spec, c experiment.Choice) error {
	for _, name := range []string{"repeats", "shuffle-seed"} {
		if f.Lookup(name).Value.String() != "0" { // which stands for what was not given
			continue
		}
		if err := refuse(f, idle{name, "it is a number above zero; left out, the spec's is taken"}); err != nil {
			return err
		}
	}
	if c.Seed != 0 {
		s.Seed = c.Seed
	}
	if c.Repeats != 0 {
		return s.SetRepeats(c.Repeats)
	}
	return nil
}

// savedFacts are what plan --save-facts writes: surveys by name of pair.
type savedFacts struct {
	Schema string                                     `json:"schema"`
	Pairs  map[string]results.Pair[experiment.Survey] `json:"pairs"`
}

const factsSchema = "zcbench-facts/1"

func readFacts(path string) (map[string]results.Pair[experiment.Survey], error) {
	b, err := bounded.ReadFile(path, bounded.Large)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "read the facts: %w", err)
	}
	var f savedFacts
	if err := json.Unmarshal(b, &f); err != nil || f.Schema != factsSchema {
		return nil, fault.Errorf(fault.Usage, "%s does not hold facts that plan --save-facts of this version wrote", path)
	}
	return f.Pairs, nil
}

func writeFacts(path string, at map[string]results.Pair[experiment.Survey]) error {
	b, err := json.MarshalIndent(savedFacts{factsSchema, at}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the facts: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("save the facts: %w", err)
	}
	return nil
}

// surveyed opens the pairs of a spec and looks at them.
func surveyed(ctx context.Context, c *cli, s *experiment.Spec) (site.Sites, map[string]results.Pair[experiment.Survey], error) {
	if err := becomeRoot(ctx, c); err != nil {
		return nil, nil, err
	}
	open, err := thisProgram(c).Open(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	at, err := open.Survey(ctx)
	if err != nil {
		open.Close()
		return nil, nil, err
	}
	return open, at, nil
}

// openPlan opens the pairs of a spec and makes its plan for them.
func openPlan(ctx context.Context, c *cli, s *experiment.Spec) (site.Sites, *experiment.Plan, error) {
	open, at, err := surveyed(ctx, c, s)
	if err != nil {
		return nil, nil, err
	}
	plan, err := s.Expand(at, known().Resolve)
	if err != nil {
		open.Close()
		return nil, nil, err
	}
	return open, plan, nil
}

// defaultOutput is where run leaves its results.
func defaultOutput(s *experiment.Spec) string { return filepath.Base(s.Name) + "-results" }
