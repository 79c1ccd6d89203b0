package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"zcbench/endpoint"
	"zcbench/reports"
	"zcbench/results"
)

// demoPairs are what a first look shows, sender first.
var demoPairs = [][2]string{
	{"baseline", "baseline"}, {"baseline", "trunc"}, {"msgzc", "mmap"}, {"sendfile", "baseline"},
	{"uring", "uring"}, {"sendzc", "uring"}, {"sendzc", "zcrx"},
}

// runDemo runs every pair over one veth pair and leaves a table and a page.
func runDemo(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "demo", "demo [flags]")
	dir := f.StringP("output", "o", "demo-results", "directory for results.jsonl and report.html")
	repeats := f.Int("repeats", 3, "runs of each pair")
	measured, omit := seconds(2*time.Second), seconds(500*time.Millisecond)
	f.VarP(&measured, "time", "t", "measured time of a run")
	f.VarP(&omit, "omit", "O", "warm-up of a run")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 || *repeats < 1 || measured <= 0 || omit < 0 {
		return endpoint.Errorf(endpoint.Usage, "demo wants --repeats and --time above zero and no argument")
	}
	as := "as root"
	if !canMakeNamespaces() {
		fmt.Fprintln(c.stderr, "zcbench demo: not root, so it runs in an unprivileged user namespace")
		if err := becomeRoot(ctx, c); err != nil {
			return err
		}
	} else if os.Getenv(delegated) != "" {
		as = "in an unprivileged user namespace"
	}
	host, err := openHost([]string{"veth"}, c.stderr)
	if err != nil {
		return err
	}
	defer host.Close()
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return fmt.Errorf("make the output directory: %w", err)
	}
	store := filepath.Join(*dir, "results.jsonl")
	if err := os.Remove(store); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the results of the last demo: %w", err)
	}
	total := *repeats * len(demoPairs)
	fmt.Fprintf(c.stdout, "%d engine pairs × %d runs × %s over a veth pair between two network namespaces, %s\n", len(demoPairs), *repeats, measured.String(), as)
	p := newProgress(c.stdout, total)
	var all []results.Record
	skip := map[[2]string]bool{}
	failed := 0
	// Repetitions outside, pairs inside, so that drift hits all pairs alike.
	for repeat := range *repeats {
		for _, pair := range demoPairs {
			p.next(fmt.Sprintf("%s → %s", pair[0], pair[1]), repeat+1)
			if skip[pair] {
				continue
			}
			flags := runFlags{tx: pair[0], rx: pair[1], time: measured, omit: omit, interval: seconds(500 * time.Millisecond), flows: 1, length: 128 << 10, port: defaultPort, seed: uint64(repeat + 1)}
			rec, err := host.run(ctx, &flags, repeat, func(map[string]any) {}, p.live)
			if cause := context.Cause(ctx); cause != nil {
				p.clear()
				return cause
			}
			if rec.Status == results.Skipped {
				skip[pair] = true // the host will not learn it by trying again
			}
			if rec.Status == results.Failed {
				failed++
				p.clear()
				fmt.Fprintf(c.stderr, "zcbench demo: %s → %s: %v\n", pair[0], pair[1], err)
			}
			if err := results.Append(store, rec); err != nil {
				return err
			}
			all = append(all, rec)
		}
	}
	p.clear()
	if err := reports.Table(c.stdout, all); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	page := filepath.Join(*dir, "report.html")
	if err := writeTo(c, page, func(w io.Writer) error { return reports.HTML(w, all) }); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\nrecords: %s\npage:    %s\n", store, page)
	if failed > 0 {
		return endpoint.Errorf(endpoint.Failed, "%d of %d runs failed; their records say why", failed, len(all))
	}
	return nil
}
