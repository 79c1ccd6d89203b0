package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"zcbench/analysis"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/reports"
)

// runCompare tells what changed from one set of records to another, and fails
// where something got worse.
func runCompare(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "compare", "compare OLD NEW [flags]")
	format := f.String("format", "", strings.Join(reports.CompareFormats(), ", ")+" (default by -o's ending, else table)")
	output := f.StringP("output", "o", "", "file to write; .md, .csv, .json and .txt (table) say the format")
	groupBy := f.StringSlice("group-by", nil, "what runs of one group share, and what groups are matched by (default: the cell)")
	filter := f.String("filter", "", "runs to take: 'mode=devmem|iouring,gro!=sw'")
	metrics := f.StringSlice("metric", nil, "figures to compare, each of which can be a loss (default: a first look, of which throughput "+
		"and total ROI can)")
	threshold := percentage(2)
	f.Var(&threshold, "threshold", "exit with 1 on a significant loss of more than this")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() != 2 {
		return fault.Errorf(fault.Usage, "compare wants two directories or files with records: zcbench compare old/ new/")
	}
	if err := formatOf(format, *output); err != nil {
		return err
	}
	if !slices.Contains(reports.CompareFormats(), *format) {
		return fault.Errorf(fault.Usage, "compare has no format %q; it has %s", *format, strings.Join(reports.CompareFormats(), ", "))
	}
	var cmp *analysis.Comparison
	err := writeTo(ctx, c, *output, func(w io.Writer) error {
		before, err := loadRecords(c, "compare", analysis.Load, f.Args()[:1])
		if err != nil {
			return err
		}
		after, err := loadRecords(c, "compare", analysis.Load, f.Args()[1:])
		if err != nil {
			return err
		}
		cmp, err = analysis.Compare(before, after, analysis.CompareOptions{GroupBy: *groupBy, Filter: *filter, Metrics: *metrics,
			Threshold: float64(threshold)})
		if err != nil {
			return err
		}
		return reports.WriteComparison(w, cmp, *format)
	})
	if err != nil {
		return err
	}
	if blind := cmp.Blind(); blind != "" {
		fmt.Fprintf(c.stderr, "zcbench compare: %s\n", blind) // a gate that cannot close must say so
	}
	var bad []string
	if losses := cmp.Losses(); len(losses) > 0 {
		bad = append(bad, fmt.Sprintf("worse, beyond %s%%: %s", threshold.String(), strings.Join(losses, "; ")))
	}
	if missing := cmp.Missing(); len(missing) > 0 {
		which := printable.Plural(len(missing), "this cell", "these cells")
		bad = append(bad, fmt.Sprintf("not compared, for NEW has no runs of %s: %s (--filter leaves cells out)", which,
			strings.Join(missing, "; ")))
	}
	if len(bad) > 0 {
		return fault.Errorf(fault.Failed, "%s", strings.Join(bad, "; "))
	}
	return nil
}

// percentage is a share with or without its sign.
type percentage float64

func (p *percentage) Set(v string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(v, "%"), 64)
	if err != nil || !(n >= 0 && n < 1e6) {
		return fmt.Errorf("%q is no share: 2 or 2%%", v)
	}
	*p = percentage(n)
	return nil
}

func (p *percentage) String() string { return strconv.FormatFloat(float64(*p), 'g', -1, 64) }
func (p *percentage) Type() string   { return "percent" }
