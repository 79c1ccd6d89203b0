// Package reports turns records into what people read: the block at the end
// of a run, tables and comparisons for the terminal and for other programs, a
// page for the browser. All of them show the figures of one Report.
package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/caveat"
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

// plain is the report on records at hand, as a first look shows them.
func plain(records []results.Record) *Report {
	r, err := Of(records).Report(Options{})
	if err != nil {
		panic(err) // no options, no error
	}
	return r
}

// heads are the headings over what cells are told apart by.
func (r *Report) heads() []string {
	if r.by == nil {
		return []string{"sender → receiver"}
	}
	heads := make([]string, len(r.by))
	for i, name := range r.by {
		heads[i] = printable.Line(name)
	}
	return heads
}

// keys are a cell's values under the heads.
func (c *cell) keys() []string {
	if c.by == nil {
		return []string{c.name()}
	}
	return c.by
}

// note is a remark on some cells, or on all that were measured.
type note struct {
	text  string
	every bool // of those that were measured
	mark  int  // a number, from 1, where not every cell has it
	cells []*cell
	runs  int // that say it
}

// sameKind are codes whose warnings say one thing of different sizes, times and
// culprits: of many the worst is enough.
var sameKind = []caveat.Code{
	caveat.CPUForeign, caveat.CPUSteal, caveat.CPUThrottled, caveat.CPUHot, caveat.SoftirqElsewhere, caveat.SMTSibling,
	caveat.SamplerLate, caveat.FlowStalled, caveat.PayloadWaited, caveat.BytesCoarse, caveat.BuffersEmpty,
}

// likeness makes one of the notes that have one such code and are of one end: the
// one whose first share, else number, is largest, with how many it stands for.
func likeness(list []note) (merged []note) {
	at := map[string]int{}
	count := map[string]int{}
	size := func(n note) float64 {
		text := cmp.Or(shares.FindString(n.text), regexp.MustCompile(`\d+(?:\.\d+)?`).FindString(n.text))
		if _, high, ok := strings.Cut(text, "–"); ok {
			text = high
		}
		v, _ := strconv.ParseFloat(strings.TrimRight(text, " %"), 64) // 0 where it says no number
		return v
	}
	for _, n := range list {
		code := caveat.CodeOf(n.text)
		end, _, _ := strings.Cut(n.text, ":")
		key := string(code) + " " + end
		if !slices.Contains(sameKind, code) || end != "rx" && end != "tx" {
			key = n.text // by itself
		}
		count[key]++
		i, ok := at[key]
		if !ok {
			at[key] = len(merged)
			merged = append(merged, n)
			continue
		}
		m := &merged[i]
		if size(n) > size(*m) {
			m.text = n.text
		}
		m.runs += n.runs
		for _, c := range n.cells {
			if !slices.Contains(m.cells, c) {
				m.cells = append(m.cells, c)
			}
		}
	}
	for key, i := range at {
		if code := caveat.CodeOf(merged[i].text); count[key] > 1 {
			tail := " [" + string(code) + "]"
			merged[i].text = fmt.Sprintf("%s; the worst of %d such%s", strings.TrimSuffix(merged[i].text, tail), merged[i].runs, tail)
		}
	}
	return merged
}

// notes gathers the warnings of all runs, what was left out, and what the
// figures themselves do not show, once each.
func notesOf(cells []*cell) []note {
	var list []note
	index := map[string]int{}
	add := func(c *cell, text string) {
		key := skeleton(text)
		i, ok := index[key]
		if !ok {
			i = len(list)
			index[key] = i
			list = append(list, note{text: text})
		} else {
			list[i].text = widen(list[i].text, text)
		}
		list[i].runs++
		if !slices.Contains(list[i].cells, c) {
			list[i].cells = append(list[i].cells, c)
		}
	}
	controls := controlsOf(cells)
	asked := !slices.ContainsFunc(cells, func(c *cell) bool { return c.flat["congestion"] == "" })
	measured := 0
	for _, c := range cells {
		if len(c.runs) == 0 {
			continue // its status says why
		}
		measured++
		if own := controlsOf([]*cell{c}); len(controls) > 1 && len(own) == 1 && !asked {
			add(c, fmt.Sprintf("congestion control %s, and others here have %s: beside them it is compared too", own[0], strings.Join(shorten(without(controls, own[0])), "; ")))
		}
		for _, r := range c.runs {
			for _, w := range slices.Concat(r.Notes, r.Warnings) {
				add(c, printable.Line(w))
			}
		}
		for _, text := range slices.Concat(c.drift(), c.doubts()) {
			add(c, text)
		}
		for _, left := range []struct {
			what   string
			runs   []*run
			reason func(*run) string
		}{
			{"failed", c.failed, reason},
			{"skipped", c.skipped, reason},
			{"left out of the means", c.dropped, func(r *run) string { return r.Dropped }},
		} {
			if len(left.runs) > 0 {
				add(c, fmt.Sprintf("%d of %s %s: %s", len(left.runs), printable.Count(len(c.records()), "run"), left.what, reasons(left.runs, left.reason)))
			}
		}
	}
	list = likeness(list)
	for i := range list {
		list[i].every = measured > 1 && len(list[i].cells) == measured
	}
	// What holds for all comes first; the rest keeps its order.
	slices.SortStableFunc(list, func(a, b note) int {
		switch {
		case a.every == b.every:
			return 0
		case a.every:
			return -1
		}
		return 1
	})
	mark := 0
	for i := range list {
		if !list[i].every {
			mark++
			list[i].mark = mark
		}
	}
	return list
}

// warnings are the notes on a cell, with its own numbers alone.
func (c *cell) warnings() []string {
	var list []string
	for _, n := range notesOf([]*cell{c}) {
		list = append(list, n.text)
	}
	return list
}

// doubts are what the statistics of a cell warn of.
func (c *cell) doubts() []string {
	var texts []string
	if n := len(c.runs); n == 1 {
		texts = append(texts, "only one run counts: nothing is known of how much runs differ")
	} else if n < fewRuns {
		texts = append(texts, fmt.Sprintf("fewer than %d runs count: the intervals rest on few runs, and a comparison may miss a real difference", fewRuns))
	}
	if f := over(c.runs, known("gbps")); f.bimodal {
		d := decimals(f)
		texts = append(texts, fmt.Sprintf("the runs fall into two heaps, near %s and near %s Gbit/s: their mean is typical of neither; look for what switches", digits.Fixed(f.lowMode, d), digits.Fixed(f.upper, d)))
	}
	for _, e := range []struct {
		name string
		of   func(*results.Record) *results.End
	}{{"sender", txEnd}, {"receiver", rxEnd}} {
		if list := powerScopesOf([]*cell{c}, e.of); len(list) > 1 {
			texts = append(texts, fmt.Sprintf("the %s's power was not measured of one thing in all runs (%s): its mean and ROI mix them", e.name, printable.Line(strings.Join(list, ", "))))
		}
		if list := metersOf([]*cell{c}, e.of); len(list) > 1 {
			texts = append(texts, fmt.Sprintf("the %s's power was not measured by one meter in all runs (%s): its mean and ROI mix them", e.name, strings.Join(shorten(list), ", ")))
		}
		if list := clocksOf([]*cell{c}, e.of); len(list) > 1 && len(scopesOf([]*cell{c}, e.of)) == 1 {
			texts = append(texts, fmt.Sprintf("the %s's CPU was not counted by one clock in all runs (%s): its mean and ROI mix them", e.name, strings.Join(shorten(list), ", ")))
		}
		if list := scopesOf([]*cell{c}, e.of); len(list) > 1 {
			texts = append(texts, fmt.Sprintf("the %s's CPU was not counted in one way in all runs (%s): its mean and ROI mix them", e.name, strings.Join(list, ", ")))
		}
	}
	if list := totalPowerScopesOf([]*cell{c}); len(list) > 1 {
		texts = append(texts, fmt.Sprintf("the power of both ends was not measured of one thing in all runs (%s): its mean and ROI mix them", printable.Line(strings.Join(list, ", "))))
	}
	if list := controlsOf([]*cell{c}); len(list) > 1 {
		texts = append(texts, fmt.Sprintf("the congestion control was not one in all runs (%s): they are no repeats of each other", strings.Join(shorten(list), "; ")))
	}
	var partly []string
	for _, m := range metrics {
		if f := over(c.runs, m); f.n > 0 && f.n < len(c.runs) && !strings.HasPrefix(m.name, "roi.") && !strings.HasPrefix(m.name, "total.") {
			partly = append(partly, fmt.Sprintf("%s in %d", m.name, f.n))
		}
	}
	if len(partly) > 0 {
		texts = append(texts, fmt.Sprintf("not all was measured in each of %s: %s", printable.Count(len(c.runs), "run"), strings.Join(partly, ", ")))
	}
	if len(c.mixed) > 0 {
		texts = append(texts, "pools runs of different settings: "+strings.Join(c.mixed, "; "))
	}
	wrong := 0
	for _, r := range c.runs {
		if !derived(r.Record) {
			wrong++
		}
	}
	if wrong > 0 {
		texts = append(texts, fmt.Sprintf("the sums or the ROI of %s cannot follow from throughput, CPU and power: somebody changed the records", printable.Count(wrong, "run")))
	}
	return texts
}

func reason(r *run) string { return cmp.Or(r.Reason, "no reason given") }

// reasons are joined, each said once.
func reasons(runs []*run, of func(*run) string) string {
	var list []string
	for _, r := range runs {
		if text := printable.Line(of(r)); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

// share of something in a text, which may differ from run to run.
var shares = regexp.MustCompile(`(?:\d+(?:\.\d+)?–)?\d+(?:\.\d+)? ?%`)

// skeleton is a text without its shares; its code stays.
func skeleton(text string) string { return shares.ReplaceAllString(text, "\x00") }

// widen says both of two texts that differ in their shares alone: 3%, 5% and
// 4% become 3–5%.
func widen(a, b string) string {
	values := shares.FindAllString(b, -1)
	ends := func(text string) (low, high string) {
		low, high, ok := strings.Cut(strings.TrimRight(text, " %"), "–")
		if !ok {
			high = low
		}
		return low, high
	}
	value := func(text string) float64 {
		v, _ := strconv.ParseFloat(text, 64) // the expression takes numbers alone
		return v
	}
	return shares.ReplaceAllStringFunc(a, func(old string) string {
		low, high := ends(old)
		l, h := ends(values[0])
		values = values[1:]
		if value(l) < value(low) {
			low = l
		}
		if value(h) > value(high) {
			high = h
		}
		unit := old[len(strings.TrimRight(old, " %")):]
		if low == high {
			return low + unit
		}
		return low + "–" + high + unit
	})
}

// drift tells what changed on a host from one run of a cell to another: such
// runs are not repeats of each other.
func (c *cell) drift() []string {
	var texts []string
	for _, e := range []struct {
		name string
		of   func(*run) facts
	}{{"sender", txFacts}, {"receiver", rxFacts}} {
		values := map[string][]string{}
		var seen []facts
		for _, r := range c.runs {
			list := e.of(r)
			if len(list) == 0 || slices.ContainsFunc(seen, func(o facts) bool { return &o[0] == &list[0] }) {
				continue
			}
			seen = append(seen, list)
			has := map[string]bool{}
			for _, f := range list {
				has[f.Name] = true
				if len(seen) > 1 && values[f.Name] == nil {
					values[f.Name] = []string{"unknown"}
				}
				if !slices.Contains(values[f.Name], f.Value) {
					values[f.Name] = append(values[f.Name], f.Value)
				}
			}
			for name, v := range values {
				if !has[name] && !slices.Contains(v, "unknown") {
					values[name] = append(v, "unknown")
				}
			}
		}
		var changed []string
		for _, name := range slices.Sorted(maps.Keys(values)) {
			// Another command may well ask for the same cell.
			if v := values[name]; len(v) > 1 && name != "process.command" {
				changed = append(changed, name+" "+strings.Join(shorten(v), ", then "))
			}
		}
		if len(changed) > 0 {
			texts = append(texts, "the "+e.name+"'s host changed between runs: "+strings.Join(shorten(changed), "; "))
		}
	}
	return texts
}

func rxFacts(r *run) facts { return r.flat.rx }
func txFacts(r *run) facts { return r.flat.tx }

// unmeasured says why a cell has no figures.
func (c *cell) unmeasured() (results.Status, string) {
	switch {
	case len(c.failed) > 0:
		return results.Failed, reasons(c.failed, reason)
	case len(c.skipped) > 0:
		return results.Skipped, reasons(c.skipped, reason)
	}
	return "dropped", reasons(c.dropped, func(r *run) string { return r.Dropped })
}

// scopes tells how CPU time was counted, for readers who must not compare one
// way with another.
var scopes = map[string]string{
	"host":   "all CPUs of its host",
	"cpuset": "the CPUs it was pinned to",
	"thread": "its own threads",
}

func scope(s string) string {
	if text, ok := scopes[s]; ok {
		return text
	}
	return "scope " + printable.Clip(printable.Line(s), 24)
}

// scopesOf are the ways in which an end's CPU was counted, sorted.
func scopesOf(cells []*cell, ends ...func(*results.Record) *results.End) []string {
	var list []string
	for _, c := range cells {
		for _, r := range c.runs {
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
func powerScopesOf(cells []*cell, ends ...func(*results.Record) *results.End) []string {
	var list []string
	for _, c := range cells {
		for _, r := range c.runs {
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
func totalPowerScopesOf(cells []*cell) []string {
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
func clocksOf(cells []*cell, ends ...func(*results.Record) *results.End) []string {
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
func clockError(cells []*cell, name string) string {
	most, unknown := 0.0, 0
	for _, c := range cells {
		for _, r := range c.runs {
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
func clockLegend(cells []*cell) string {
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
func metersOf(cells []*cell, end func(*results.Record) *results.End) []string {
	return distinct(cells, func(r *results.Record) string {
		if e := end(r); e != nil && e.Power != nil {
			return printable.Clip(printable.Line(e.Power.Meter), 80)
		}
		return ""
	})
}

// controlsOf are the congestion controls that connections had.
func controlsOf(cells []*cell) []string { return distinct(cells, used) }

// distinct are the texts that the runs of cells have, sorted; what is empty is
// not known.
func distinct(cells []*cell, of func(*results.Record) string) []string {
	var list []string
	for _, c := range cells {
		for _, r := range c.runs {
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

// powerLegend says what power is of; nothing where it was not measured, or
// the records do not say.
func powerLegend(cells []*cell) string {
	list := powerScopesOf(cells, txEnd, rxEnd)
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

// legend says how CPU time was counted.
func legend(cells []*cell) string {
	list := scopesOf(cells, txEnd, rxEnd)
	switch len(list) {
	case 0:
		return "it was not measured."
	case 1:
		return "counted for each end over " + scope(list[0]) + "." + clockLegend(cells)
	}
	var parts []string
	for _, s := range list {
		parts = append(parts, letter(s)+" over "+scope(s))
	}
	return "counted for an end: " + strings.Join(parts, "; ") + ". These do not compare." + clockLegend(cells)
}

// mark has the letters behind a figure of CPU time, which are needed only where it
// was not all counted in one way.
func (r *Report) mark(c *cell, of metric) string {
	end := map[string]func(*results.Record) *results.End{"tx.cpu_percent": txEnd, "rx.cpu_percent": rxEnd}[of.name]
	if end == nil || !r.scopesDiffer {
		return ""
	}
	out := ""
	for _, s := range scopesOf([]*cell{c}, end) {
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

// hosts describe in a line each what the runs were made on.
func (r *Report) hosts() []string {
	tx, rx := hostLine(r.runs, txFacts), hostLine(r.runs, rxFacts)
	var lines []string
	if tx == rx && tx != "" {
		lines = append(lines, "Both ends: "+tx)
	} else {
		if tx != "" {
			lines = append(lines, "Sender: "+tx)
		}
		if rx != "" {
			lines = append(lines, "Receiver: "+rx)
		}
	}
	if c := strings.Join(controlsOf([]*cell{{runs: r.runs}}), "; "); c != "" {
		lines = append(lines, "Congestion control: "+c)
	}
	return lines
}

// used is the congestion control of a run, of both ends where they differ.
func used(r *results.Record) string {
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

// hostLine is about the first host that says something of itself, with all
// values that it had, and how many others there are.
func hostLine(runs []*run, of func(*run) facts) string {
	hosts, name := map[string]bool{}, ""
	about := []struct {
		format string
		of     func(facts) string
		values []string
	}{
		{"%s", func(f facts) string { return f.value("machine.hostname") }, nil},
		{"Linux %s", func(f facts) string { return f.value("kernel.release") }, nil},
		{"%s", func(f facts) string { return f.value("cpu.model") }, nil},
		{"%s CPUs", func(f facts) string { return f.value("cpu.threads") }, nil},
		{"%s", func(f facts) string { return cmp.Or(f.value("nic.driver"), f.value("nic.name")) }, nil},
		{"MTU %s", func(f facts) string { return f.value("nic.mtu") }, nil},
	}
	var last facts
	for _, r := range runs {
		facts := of(r)
		if len(facts) == 0 || len(last) > 0 && &facts[0] == &last[0] {
			continue
		}
		last = facts
		host := facts.value("machine.hostname")
		if len(hosts) == 0 {
			name = host
		}
		hosts[host] = true
		if host != name {
			continue
		}
		for i := range about {
			if v := about[i].of(facts); v != "" {
				about[i].values = add(about[i].values, v)
			}
		}
	}
	const most = 4
	var parts []string
	for _, a := range about {
		slices.SortStableFunc(a.values, natural)
		if n := len(a.values); n > most {
			a.values = append(a.values[:most:most], "…")
		}
		if len(a.values) > 0 {
			parts = append(parts, fmt.Sprintf(a.format, strings.Join(a.values, " / ")))
		}
	}
	first := strings.Join(parts, ", ")
	if n := len(hosts) - 1; n > 0 && first != "" {
		first += fmt.Sprintf("; and %d other %s", n, printable.Plural(n, "host", "hosts"))
	}
	return first
}

// common are the settings that all cells share.
func (r *Report) common() (list []results.Fact) {
	names, _ := split(r.cells)
	for _, k := range names {
		list = append(list, results.Fact{Name: k, Value: r.cells[0].flat[k]})
	}
	return list
}

// varying are the names of the other settings, but for those that cells are told
// apart by.
func (r *Report) varying() []string {
	_, names := split(r.cells)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(r.by, n) })
}

// finite is a number as JSON has it: nothing where there is none.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
