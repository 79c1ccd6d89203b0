// Package reports turns records into what people read: the block at the end
// of a run, tables and comparisons for the terminal and for other programs, a
// page for the browser. All of them show the figures of one Report.
package reports

import (
	"fmt"

	"zcbench/internal/printable"
	"zcbench/results"
)

// Options choose what a report shows.
type Options struct {
	// GroupBy names what runs of one group share; see README. None: the cell.
	GroupBy []string
	// Filter is a list of conditions that a run must meet: name=value,
	// name!=value or name=value|value, with commas between. Empty: all runs.
	Filter string
	// Metrics are names of figures, such as gbps, roi.cpu or
	// rx.counters.tcp_rtt_us. None: those that every record may have.
	Metrics []string
	// References are names of published studies to list beside the figures.
	References []string
}

// Report is what all formats show: cells, their figures, and what must be
// known to read them.
type Report struct {
	set        *Set
	plan       []string // as Set's, and so are
	problems   []string
	by         []string // what cells are told apart by; nil: the engines
	runs       []*run   // those that the filter let through
	cells      []*cell
	metrics    []metric
	asked      bool // metrics were named
	notes      []note
	references []besides
	// CPU time was counted in several ways.
	scopesDiffer bool
}

// Report groups and checks the runs of a set. An error is about o.
func (s *Set) Report(o Options) (*Report, error) {
	r := &Report{set: s, plan: s.Plan, problems: s.Problems, runs: s.runs, asked: len(o.Metrics) > 0}
	if o.Filter != "" {
		conditions, err := parseFilter(o.Filter)
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		for _, c := range conditions {
			if err := s.check(c.name); err != nil {
				return nil, fmt.Errorf("filter: %w", err)
			}
		}
		if r.runs = s.filter(conditions); len(r.runs) == 0 {
			return nil, fmt.Errorf("filter: none of %s meets %s", printable.Count(len(s.runs), "run"), o.Filter)
		}
	}
	for _, name := range o.GroupBy {
		if err := s.check(name); err != nil {
			return nil, fmt.Errorf("group by: %w", err)
		}
	}
	var studies []Study
	for _, name := range o.References {
		study, err := reference(name)
		if err != nil {
			return nil, err
		}
		studies = append(studies, study)
	}
	var err error
	if r.metrics, err = choose(o.Metrics, r.runs); err != nil {
		return nil, fmt.Errorf("metric: %w", err)
	}
	r.cells, r.by = s.group(r.runs, o.GroupBy)
	r.notes = notesOf(r.cells)
	for _, study := range studies {
		r.references = append(r.references, r.beside(study))
	}
	r.scopesDiffer = len(scopesOf(r.cells, txEnd, rxEnd)) > 1
	return r, nil
}

// FirstLook is the report on records at hand that nobody asked more of.
func FirstLook(records []results.Record) *Report {
	r, err := Of(records).Report(Options{})
	if err != nil {
		panic(err) // no options, no error
	}
	return r
}
