package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"zcbench/analysis"
	"zcbench/internal/fault"
	"zcbench/reports"
	"zcbench/reports/html"
)

// runReport shows what records hold.
func runReport(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "report", "report DIR|FILE… [flags]")
	format := f.String("format", "", strings.Join(formatNames(), ", ")+" (default by -o's ending, else table)")
	output := f.StringP("output", "o", "", "file to write; .html, .md, .csv, .json, .jsonl (records) and .txt (table) say the format")
	groupBy := f.StringSlice("group-by", nil, "what runs of one group share: axes, settings, or facts such as kernel.release (default: the "+
		"cell)")
	filter := f.String("filter", "", "runs to take: 'mode=devmem|iouring,gro!=sw'")
	metrics := f.StringSlice("metric", nil, "figures to show: gbps, roi, rx.cpu_percent, rx.counters.NAME, tx.syscalls_per_gb.NAME, …")
	references := f.StringSlice("reference", nil, "published figures to list beside: "+strings.Join(analysis.References(), ", "))
	redact := f.Bool("redact", false, "leave out what tells whose records they are: names of hosts and users, addresses, serial numbers, "+
		"paths, kernel command lines")
	explain := f.String("explain", "", "say in words what limited this cell: its id, its name as plan or report has it "+
		"(mode=msgzc,length=128K), or a run's id")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return fault.Errorf(fault.Usage, "report wants directories or files with records: zcbench report out/")
	}
	if *explain != "" {
		if err := refuse(f, idle{"format metric reference", "--explain is text about one cell, and takes none"}); err != nil {
			return err
		}
		if kind := endings[filepath.Ext(*output)]; kind != "" && kind != "table" {
			return fault.Errorf(fault.Usage, "--output %s: --explain is text, not %s", *output, kind)
		}
	} else if err := formatOf(format, *output); err != nil {
		return err
	}
	*format = cmp.Or(*format, "table")
	known := slices.IndexFunc(reportFormats(), func(f reports.Format) bool { return f.Name == *format })
	if known < 0 {
		return fault.Errorf(fault.Usage, "report has no format %q; it has %s", *format, strings.Join(formatNames(), ", "))
	}
	chosen := reportFormats()[known]
	if err := refuseIdle(f, *format); err != nil {
		return err
	}
	return writeTo(ctx, c, *output, func(w io.Writer) error {
		load := analysis.Load
		if *redact {
			load = analysis.LoadRedacted
		}
		set, err := loadRecords(c, "report", load, f.Args())
		if err != nil {
			return err
		}
		r, err := set.Report(analysis.Options{GroupBy: *groupBy, Filter: *filter, Metrics: *metrics, References: *references})
		if err != nil {
			return err
		}
		if *explain != "" || !chosen.TellsPlan {
			tellPlan(c, "report", set)
		}
		if *explain == "" {
			return chosen.Write(w, r)
		}
		return reports.Explain(w, r, *explain)
	})
}

// refuseIdle finds flags that a format has no use for.
func refuseIdle(f *pflag.FlagSet, format string) error {
	switch format {
	case "runs":
		return refuse(f, idle{"group-by reference", "--format runs has a line for each run, and neither groups nor other figures"})
	case "records":
		return refuse(f, idle{"group-by reference metric", "--format records is the records themselves"})
	case "benchfmt":
		return refuse(f, idle{"reference", "--format benchfmt has runs only"})
	}
	return nil
}

// reportFormats are those that report writes: text, and the page.
func reportFormats() []reports.Format {
	list := reports.Formats()
	page := reports.Format{Name: "html", TellsPlan: true, Write: html.Write}
	return slices.Insert(list, len(list)-1, page) // the records themselves stay last
}

func formatNames() (names []string) {
	for _, f := range reportFormats() {
		names = append(names, f.Name)
	}
	return names
}

// endings of files say a format.
var endings = map[string]string{".html": "html", ".htm": "html", ".md": "markdown", ".csv": "csv", ".json": "json", ".jsonl": "records",
	".txt": "table", "": "table"}

// formatOf sets a format that was not given to what the ending of a file asks for.
func formatOf(format *string, path string) error {
	if *format != "" {
		return nil
	}
	ending := filepath.Ext(path)
	if *format = endings[ending]; *format == "" {
		return fault.Errorf(fault.Usage, "--output %s: no format is known by the ending %s: give --format", path, ending)
	}
	return nil
}

// loadRecords reads records and tells what it could not read.
func loadRecords(c *cli, command string, load func(...string) (*analysis.Set, error), paths []string) (*analysis.Set, error) {
	set, err := load(paths...)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fault.Wrap(fault.Usage, err)
		}
		return nil, err
	}
	for _, p := range set.Problems {
		fmt.Fprintf(c.stderr, "zcbench %s: %s\n", command, p)
	}
	if set.Empty() {
		tellPlan(c, command, set)
		return nil, fault.Errorf(fault.Failed, "no record could be read from %s", strings.Join(paths, ", "))
	}
	return set, nil
}

// tellPlan says what the records are not all of.
func tellPlan(c *cli, command string, set *analysis.Set) {
	for _, text := range set.Plan {
		fmt.Fprintf(c.stderr, "zcbench %s: %s\n", command, text)
	}
}
