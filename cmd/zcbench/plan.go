package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"zcbench/experiment"
	"zcbench/experiment/site"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
)

// runPlan shows what run would do, and measures nothing.
func runPlan(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "plan", "plan SPEC [flags]\n\n"+specHelp())
	var choice experiment.Choice
	choiceFlags(f, &choice)
	f.StringVar(&choice.Shard, "shard", "", "the part that run --shard I/N would run")
	shards := f.Int("shards", 0, "show how run --shard I/N would split it over N machines or jobs")
	facts := f.String("facts", "", "file of plan --save-facts: plan for the hosts of that time instead of looking at them")
	save := f.String("save-facts", "", "file to write what was seen of the hosts to")
	asJSON := f.BoolP("json", "J", false, "print JSON")
	if err := parse(f, args); err != nil {
		return err
	}
	spec, err := loadSpec(ctx, f.Args(), "plan")
	if err != nil {
		return err
	}
	if err := choose(f, spec, choice); err != nil {
		return err
	}
	var at map[string]results.Pair[experiment.Survey]
	var open site.Sites // none where the facts were saved
	if *facts != "" {
		at, err = readFacts(*facts)
	} else {
		open, at, err = surveyed(ctx, c, spec)
	}
	if err != nil {
		return err
	}
	defer open.Close()
	if *save != "" {
		if err := writeFacts(*save, at); err != nil {
			return err
		}
	}
	plan, err := spec.Expand(at, known().Resolve)
	if err != nil {
		return err
	}
	if *shards != 0 && choice.Shard != "" {
		return fault.Errorf(fault.Usage, "--shards shows all parts, --shard is one of them: give one")
	}
	if err := choice.Apply(plan); err != nil {
		return err
	}
	if open != nil { // else nobody is there to ask
		if err := open.CheckMeters(ctx, plan); err != nil {
			return err
		}
	}
	var parts []part
	for i := range *shards {
		p := *plan
		if err := p.Shard(i+1, *shards); err != nil {
			return err
		}
		parts = append(parts, newPart(fmt.Sprintf("%d/%d", i+1, *shards), &p))
	}
	if *shards < 0 {
		return fault.Errorf(fault.Usage, "--shards is %d; it must be above zero", *shards)
	}
	if *asJSON {
		return planJSON(c.stdout, plan, parts)
	}
	return planText(c.stdout, plan, parts)
}

// part is one shard in plan --json.
type part struct {
	Shard   string  `json:"shard"`
	Cells   int     `json:"cells"`
	Runs    int     `json:"runs"`
	Seconds float64 `json:"seconds"`
}

func newPart(name string, p *experiment.Plan) part {
	runs := p.Runs()
	return part{name, len(p.Cells), able(runs), p.Time(runs).Seconds()}
}

// able counts the runs that hosts can run.
func able(runs []experiment.Run) int {
	n := 0
	for _, r := range runs {
		if len(r.Cell.Missing) == 0 {
			n++
		}
	}
	return n
}

// plannedCell and plannedRun are those of plan --json.
type plannedCell struct {
	ID       string            `json:"id"`
	Pair     string            `json:"pair,omitempty"`
	Axes     map[string]string `json:"axes"`
	Missing  []string          `json:"missing"`
	Command  string            `json:"command"`
	Settings map[string]any    `json:"settings"`
}

type plannedRun struct {
	Cell    int    `json:"cell"` // of cells, from 0
	Repeat  int    `json:"repeat"`
	Dropped string `json:"dropped,omitempty"`
}

func planJSON(w io.Writer, p *experiment.Plan, parts []part) error {
	cells, at := []plannedCell{}, map[*experiment.Cell]int{}
	for i := range p.Cells {
		cell := &p.Cells[i]
		at[cell] = i
		axes := map[string]string{}
		for _, l := range cell.Axes {
			axes[l.Axis] = l.Value
		}
		missing := cell.Missing
		if missing == nil {
			missing = []string{}
		}
		cells = append(cells, plannedCell{cell.ID, cell.Pair.Name, axes, missing, cell.Trial.Command, cell.Trial.Settings})
	}
	runs := p.Runs()
	order := []plannedRun{}
	for _, r := range runs {
		order = append(order, plannedRun{at[r.Cell], r.Repeat, r.Dropped})
	}
	missing := p.Missing()
	if missing == nil {
		missing = []experiment.Lack{}
	}
	v := map[string]any{
		"schema": "zcbench-plan/1", "experiment": p.Spec.Name, "seed": p.Spec.Seed, "repeats": p.Spec.Repeats,
		"cells": cells, "order": order, "runs": able(runs), "seconds": p.Time(runs).Seconds(), "missing": missing,
	}
	if parts != nil {
		v["shards"] = parts
	}
	return printJSON(w, v)
}

func planText(out io.Writer, p *experiment.Plan, parts []part) error {
	runs := p.Runs()
	fmt.Fprintf(out, "experiment %s: %s × %s, %d of these %d can run here, about %s, seed %d\n",
		p.Spec.Name, printable.Count(len(p.Cells), "cell"), printable.Count(p.Spec.Repeats,
			"run"), able(runs), len(runs), p.Time(runs).Round(time.Second), p.Spec.Seed)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\n#\tcell\tsender → receiver\tid\n")
	for i := range p.Cells {
		c := &p.Cells[i]
		fmt.Fprintf(w, "%d\t%s\t%s → %s\t%s", i+1, c, c.Trial.TX.Engine, c.Trial.RX.Engine, c.ID)
		if len(c.Missing) > 0 {
			fmt.Fprintf(w, "\tcannot: %s", printable.Line(strings.Join(c.Missing, "; ")))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missing := p.Missing(); len(missing) > 0 {
		fmt.Fprint(out, "\nmissing here:\n")
		showMissing(out, missing)
	}
	number := map[*experiment.Cell]int{}
	for i := range p.Cells {
		number[&p.Cells[i]] = i + 1
	}
	fmt.Fprint(out, "\norder:")
	repeat := -1
	for _, r := range runs {
		if r.Repeat != repeat {
			repeat = r.Repeat
			fmt.Fprintf(out, "\n  run %d", repeat+1)
			if r.Dropped != "" {
				fmt.Fprint(out, " (not in the figures)")
			}
			fmt.Fprint(out, ":")
		}
		if len(r.Cell.Missing) == 0 {
			fmt.Fprintf(out, " %d", number[r.Cell])
		}
	}
	fmt.Fprintln(out)
	if len(parts) > 0 {
		fmt.Fprint(out, "\nshards, each for run --shard:\n")
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, s := range parts {
			fmt.Fprintf(w, "  %s\t%s\t%s\tabout %s\n", s.Shard, printable.Count(s.Cells, "cell"), printable.Count(s.Runs, "run"),
				time.Duration(s.Seconds*float64(time.Second)).Round(time.Second))
		}
		return w.Flush()
	}
	return nil
}

func showMissing(w io.Writer, missing []experiment.Lack) {
	for _, m := range missing {
		pair := ""
		if m.Pair != "" {
			pair = m.Pair + ": "
		}
		fmt.Fprintf(w, "  %s%s [%s]\n", pair, printable.Line(m.What), printable.Count(m.Cells, "cell"))
	}
}
