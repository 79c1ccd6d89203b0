package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"zcbench/analysis"
	"zcbench/experiment"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/reports/html"
	"zcbench/results"
)

// runDemo runs the experiment of that name afresh and leaves a table and a
// page.
func runDemo(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "demo", "demo [flags]")
	dir := f.StringP("output", "o", "demo-results", "directory for results.jsonl and report.html")
	repeats := f.Int("repeats", 3, "runs of each pair")
	measured := f.StringP("time", "t", "2", "measured time of a run")
	omit := f.StringP("omit", "O", "0.5", "warm-up of a run")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "demo takes no argument, got %q", f.Arg(0))
	}
	spec, err := loadSpec(ctx, []string{"demo"}, "demo")
	if err != nil {
		return err
	}
	if err := errors.Join(spec.SetRepeats(*repeats), spec.SetBase("time", *measured), spec.SetBase("omit", *omit)); err != nil {
		return err
	}
	// Nothing but the records is kept, so they are of no experiment that report
	// could miss the plan of.
	spec.Name = ""
	as := "as root"
	if !canMakeNamespaces() {
		fmt.Fprintln(c.stderr, "zcbench demo: not root, so it runs in an unprivileged user namespace")
	} else if os.Getenv(delegated) != "" {
		as = "in an unprivileged user namespace"
	}
	open, plan, err := openPlan(ctx, c, spec)
	if err != nil {
		return err
	}
	defer open.Close()
	if err := experiment.Forget(*dir); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s × %s × %s s over a veth pair between two network namespaces, %s\n",
		printable.Count(len(plan.Cells), "engine pair"), printable.Count(*repeats, "run"), *measured, as)
	if err := carryOut(ctx, c, experiment.Runner{Plan: plan, Sites: open, Dir: *dir}, false); err != nil {
		return err
	}
	store := filepath.Join(*dir, experiment.StoreFile)
	all, _, err := results.Load(store)
	if err != nil {
		return err
	}
	page := filepath.Join(*dir, "report.html")
	if err := writeTo(ctx, c, page, func(w io.Writer) error { return html.Write(w, analysis.FirstLook(all)) }); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "page:    %s\n", page)
	// A demo is always begun anew.
	if err := os.Remove(filepath.Join(*dir, experiment.StateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("tidy up after the demo: %w", err)
	}
	return nil
}
