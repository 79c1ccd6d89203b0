package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"zcbench/internal/printable"
	"zcbench/results"
)

// scopes tells how CPU time was counted, for readers who must not compare one
// way with another.
var scopes = map[string]string{
	"host":   "all CPUs of its host",
	"cpuset": "the CPUs it was pinned to",
	"thread": "its own threads",
}

// CPUScope is a scope of CPU time in words: what it was counted over.
func CPUScope(s string) string {
	if text, ok := scopes[s]; ok {
		return text
	}
	return "scope " + printable.Clip(printable.Line(s), 24)
}

// scopesOf are the ways in which an end's CPU was counted, sorted.
func scopesOf(cells []*Cell, ends ...func(*results.Record) *results.End) []string {
	var list []string
	for _, c := range cells {
		for _, r := range c.Runs {
			for _, end := range ends {
				if e := end(r.Record); e != nil && e.CPUPercent != nil && !slices.Contains(list, e.CPUScope) {
					list = append(list, e.CPUScope)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// powerScopes tells what a meter saw, as scopes does of CPU time.
var powerScopes = map[string]string{
	"wall":    "whole hosts, at the wall",
	"package": "CPU packages, which is not the wall",
	"gpu":     "GPUs",
	"other":   "what their meters do not say",
}

// powerScopesOf are what the meters of an end saw, sorted; empty of a record
// that does not say.
func powerScopesOf(cells []*Cell, ends ...func(*results.Record) *results.End) []string {
	var list []string
	for _, c := range cells {
		for _, r := range c.Runs {
			for _, end := range ends {
				e := end(r.Record)
				if e == nil || e.Watts == nil {
					continue
				}
				scope := ""
				if e.Power != nil {
					scope = e.Power.Scope
				}
				if !slices.Contains(list, scope) {
					list = append(list, scope)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// totalPowerScopesOf are the same of meters that see both ends.
func totalPowerScopesOf(cells []*Cell) []string {
	return distinct(cells, func(r *results.Record) string {
		if r.Total.Power == nil {
			return ""
		}
		return cmp.Or(printable.Line(r.Total.Power.Scope), "unknown")
	})
}

// byTicks is the clock of records that name none: the columns of /proc/stat,
// which miss short bursts.
const byTicks = "ticks"

// clocksOf are the clocks that CPU time was counted by, sorted.
func clocksOf(cells []*Cell, ends ...func(*results.Record) *results.End) []string {
	var list []string
	for _, end := range ends {
		for _, v := range distinct(cells, func(r *results.Record) string {
			e := end(r)
			switch {
			case e == nil || e.CPUPercent == nil:
				return ""
			case e.CPUMethod == "" && e.CPUScope == "thread":
				return "threads"
			}
			return cmp.Or(printable.Clip(printable.Line(e.CPUMethod), 24), byTicks)
		}) {
			list = add(list, v)
		}
	}
	slices.Sort(list)
	return list
}

// clockError says how far figures by a clock may be off at worst, in percent of one
// CPU, and of how many that is not known; "" where no record says so.
func clockError(cells []*Cell, name string) string {
	most, unknown := 0.0, 0
	for _, c := range cells {
		for _, r := range c.Runs {
			for _, e := range []*results.End{r.TX, r.RX} {
				switch {
				case e == nil || printable.Clip(printable.Line(e.CPUMethod), 24) != name:
				case e.CPUError == nil:
					unknown++
				default:
					most = max(most, *e.CPUError)
				}
			}
		}
	}
	switch {
	case most == 0:
		return ""
	case unknown > 0:
		return fmt.Sprintf(" (± %.1f %%, of %d figures not known)", most, unknown)
	}
	return fmt.Sprintf(" (± %.1f %%)", most)
}

// clocksCompare says whether figures by these clocks compare: all that were
// calibrated do, ticks with nothing but ticks.
func clocksCompare(clocks []string) bool {
	return len(clocks) < 2 || !slices.Contains(clocks, byTicks)
}

// clockLegend names the clocks where records do, or where they are several.
func clockLegend(cells []*Cell) string {
	list := clocksOf(cells, txEnd, rxEnd)
	if len(list) == 0 || len(list) == 1 && list[0] == byTicks || len(list) == 1 && list[0] == "threads" {
		return ""
	}
	known := make([]string, len(list))
	for i, name := range list {
		known[i] = name + clockError(cells, name)
	}
	text := " By the clock " + strings.Join(known, ", by the clock ") + "."
	if !clocksCompare(list) {
		text += " Ticks miss short bursts: they do not compare with the others."
	}
	return text
}

// metersOf are the meters that an end's power is of.
func metersOf(cells []*Cell, end func(*results.Record) *results.End) []string {
	return distinct(cells, func(r *results.Record) string {
		if e := end(r); e != nil && e.Power != nil {
			return printable.Clip(printable.Line(e.Power.Meter), 80)
		}
		return ""
	})
}

// controlsOf are the congestion controls that connections had.
func controlsOf(cells []*Cell) []string { return distinct(cells, Congestion) }

// distinct are the texts that the runs of cells have, sorted; what is empty is
// not known.
func distinct(cells []*Cell, of func(*results.Record) string) []string {
	var list []string
	for _, c := range cells {
		for _, r := range c.Runs {
			if v := of(r.Record); v != "" {
				list = add(list, v)
			}
		}
	}
	slices.Sort(list)
	return list
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(v string) bool { return v == one })
}

// PowerLegend says what power is of; nothing where it was not measured, or
// the records do not say.
func (r *Report) PowerLegend() string {
	list := powerScopesOf(r.Cells, txEnd, rxEnd)
	var parts []string
	for _, s := range list {
		parts = append(parts, cmp.Or(powerScopes[s], printable.Clip(printable.Line(s), 24), "unknown"))
	}
	switch {
	case len(list) == 0 || len(list) == 1 && list[0] == "":
		return ""
	case len(list) == 1:
		return " W: power of " + parts[0] + "."
	}
	return " W: power of " + strings.Join(parts, "; of ") + ". These do not compare."
}

// CPULegend says how CPU time was counted.
func (r *Report) CPULegend() string {
	list := scopesOf(r.Cells, txEnd, rxEnd)
	switch len(list) {
	case 0:
		return "it was not measured."
	case 1:
		return "counted for each end over " + CPUScope(list[0]) + "." + clockLegend(r.Cells)
	}
	var parts []string
	for _, s := range list {
		parts = append(parts, letter(s)+" over "+CPUScope(s))
	}
	return "counted for an end: " + strings.Join(parts, "; ") + ". These do not compare." + clockLegend(r.Cells)
}

// Mark has the letters behind a figure of CPU time, which are needed only where it
// was not all counted in one way.
func (r *Report) Mark(c *Cell, of Metric) string {
	end := map[string]func(*results.Record) *results.End{"tx.cpu_percent": txEnd, "rx.cpu_percent": rxEnd}[of.Name]
	if end == nil || !r.scopesDiffer {
		return ""
	}
	out := ""
	for _, s := range scopesOf([]*Cell{c}, end) {
		out += letter(s)
	}
	return out
}

func letter(scope string) string {
	if _, ok := scopes[scope]; ok {
		return scope[:1]
	}
	return "?"
}

// Congestion is the congestion control of a run, of both ends where they differ.
func Congestion(r *results.Record) string {
	of := func(e *results.End) string {
		if e == nil {
			return ""
		}
		return printable.Line(e.Congestion)
	}
	tx, rx := of(r.TX), of(r.RX)
	if tx != "" && rx != "" && tx != rx {
		return "sender " + tx + ", receiver " + rx
	}
	if tx == "" && rx != "" {
		return "receiver " + rx + "; the sender's, which counts, is not in this record"
	}
	return tx
}

// Conditions are how CPU time and power of an end were found in a cell's runs.
type Conditions struct {
	CPUScope, PowerScope string
	Clocks               []string
}

// Conditions are those of an end, rx or tx.
func (c *Cell) Conditions(role string) Conditions {
	end, one := ends[role], []*Cell{c}
	join := func(list []string) string { return printable.Line(strings.Join(list, "+")) }
	return Conditions{join(scopesOf(one, end)), join(powerScopesOf(one, end)), clocksOf(one, end)}
}

// CPUCompares says whether CPU time was found in one way in all runs, by clocks that
// compare.
func (r *Report) CPUCompares() bool {
	return len(scopesOf(r.Cells, txEnd, rxEnd)) == 1 && clocksCompare(clocksOf(r.Cells, txEnd, rxEnd))
}

// Legend says what the figures are.
func (r *Report) Legend() string {
	text := "Means of n runs ± the half of their 95% interval (Student's t); 3/5: 3 of 5 runs count."
	if r.Asked {
		return text
	}
	text += " ROI is throughput² / cost, in (Gbit/s)² per CPU % and per W: more is better. CPU: 100 % is one CPU; " + r.CPULegend()
	return text + r.PowerLegend()
}
