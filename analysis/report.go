// Package analysis makes figures and findings of records: which runs belong together,
// what they come to, what must be known to read it, what changed, and what limited them.
package analysis

import (
	"fmt"

	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/filter"
)

// Options choose what a report shows.
type Options struct {
	// GroupBy names what runs of one group share; see README. None: the cell.
	GroupBy []string
	// Filter has the conditions that a run must meet, as filter.Parse reads them.
	// Empty: all runs.
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
	set *Set
	// Plan and Problems are the set's.
	Plan, Problems []string

	By         []string // what cells are told apart by; nil: the engines
	Runs       []*Run   // those that the filter let through
	Cells      []*Cell
	Metrics    []Metric
	Asked      bool // metrics were named
	Notes      []Note
	References []Reference
	// CPU time was counted in several ways.
	scopesDiffer bool
}

// Report groups and checks the runs of a set. An error is about o.
func (s *Set) Report(o Options) (*Report, error) {
	r := &Report{set: s, Plan: s.Plan, Problems: s.Problems, Runs: s.runs, Asked: len(o.Metrics) > 0}
	if o.Filter != "" {
		conditions, err := filter.Parse(o.Filter, func(name string) bool { return s.check(name) == nil })
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		for _, c := range conditions {
			if err := s.check(c.Name); err != nil {
				return nil, fmt.Errorf("filter: %w", err)
			}
		}
		if r.Runs = s.filter(conditions); len(r.Runs) == 0 {
			return nil, fault.Errorf(fault.Usage, "filter: none of %s meets %s", printable.Count(len(s.runs), "run"), o.Filter)
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
	if r.Metrics, err = choose(o.Metrics, r.Runs); err != nil {
		return nil, fmt.Errorf("metric: %w", err)
	}
	r.Cells, r.By = s.group(r.Runs, o.GroupBy)
	r.Notes = notesOf(r.Cells)
	for _, study := range studies {
		r.References = append(r.References, r.beside(study))
	}
	r.scopesDiffer = len(scopesOf(r.Cells, txEnd, rxEnd)) > 1
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
