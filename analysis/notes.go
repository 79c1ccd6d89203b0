package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Note is a remark on some cells, or on all that were measured.
type Note struct {
	Text  string
	Every bool // of those that were measured
	Mark  int  // a number, from 1, where not every cell has it
	Cells []*Cell

	remark remark
	runs   int  // that say it
	worst  bool // others of its kind say less
}

// add counts a run of a cell that says it.
func (n *Note) add(runs int, cells ...*Cell) {
	n.runs += runs
	for _, c := range cells {
		if !slices.Contains(n.Cells, c) {
			n.Cells = append(n.Cells, c)
		}
	}
}

// notesOf gathers the warnings of all runs, what was left out, and what the
// figures themselves do not show, once each.
func notesOf(cells []*Cell) []Note {
	var list []Note
	index := map[string]int{}
	add := func(c *Cell, text string) {
		r := remarkOf(text)
		i, ok := index[r.key()]
		if !ok {
			i = len(list)
			index[r.key()] = i
			list = append(list, Note{remark: r})
		}
		list[i].remark.widen(r)
		list[i].add(1, c)
	}
	controls := controlsOf(cells)
	asked := !slices.ContainsFunc(cells, func(c *Cell) bool { return c.Settings["congestion"] == "" })
	measured := 0
	for _, c := range cells {
		if len(c.Runs) == 0 {
			continue // its status says why
		}
		measured++
		if own := controlsOf([]*Cell{c}); len(controls) > 1 && len(own) == 1 && !asked {
			add(c, fmt.Sprintf("congestion control %s, and others here have %s: beside them it is compared too", own[0],
				strings.Join(printable.Shorten(without(controls, own[0])), "; ")))
		}
		for _, r := range c.Runs {
			for _, w := range slices.Concat(r.Notes, r.Warnings) {
				add(c, printable.Line(w))
			}
		}
		for _, text := range slices.Concat(c.drift(), c.doubts(), c.leftOut()) {
			add(c, text)
		}
	}
	list = worstOfEachKind(list)
	for i := range list {
		list[i].Every = measured > 1 && len(list[i].Cells) == measured
	}
	// What holds for all comes first; the rest keeps its order.
	slices.SortStableFunc(list, func(a, b Note) int {
		switch {
		case a.Every == b.Every:
			return 0
		case a.Every:
			return -1
		}
		return 1
	})
	mark := 0
	for i := range list {
		n := &list[i]
		if !n.Every {
			mark++
			n.Mark = mark
		}
		if n.Text = n.remark.text(); n.worst {
			n.Text = n.remark.worstOf(n.runs)
		}
	}
	return list
}

// worstOfEachKind makes one of the notes that are of one kind and end: that of the
// largest size, for all of their runs.
func worstOfEachKind(list []Note) (left []Note) {
	type kind struct {
		code caveat.Code
		end  string
	}
	at := map[kind]int{}
	for _, n := range list {
		k := kind{n.remark.code, n.remark.end}
		i, ok := at[k]
		switch {
		case !n.remark.hasKind():
			left = append(left, n)
		case !ok:
			at[k] = len(left)
			left = append(left, n)
		default:
			if n.remark.size() > left[i].remark.size() {
				left[i].remark = n.remark
			}
			left[i].worst = true
			left[i].add(n.runs, n.Cells...)
		}
	}
	return left
}

// leftOut are the runs of a cell that do not count, and why.
func (c *Cell) leftOut() (texts []string) {
	for _, left := range []struct {
		what   string
		runs   []*Run
		reason func(*Run) string
	}{
		{"failed", c.Failed, reason},
		{"skipped", c.Skipped, reason},
		{"left out of the means", c.Dropped, func(r *Run) string { return r.Dropped }},
	} {
		if len(left.runs) > 0 {
			texts = append(texts, fmt.Sprintf("%d of %s %s: %s", len(left.runs), printable.Count(len(c.Records()), "run"), left.what,
				reasons(left.runs, left.reason)))
		}
	}
	return texts
}

// Warnings are the notes on a cell, with its own numbers alone.
func (c *Cell) Warnings() []string {
	var list []string
	for _, n := range notesOf([]*Cell{c}) {
		list = append(list, n.Text)
	}
	return list
}

// doubts are what the statistics of a cell warn of.
func (c *Cell) doubts() []string {
	var texts []string
	if n := len(c.Runs); n == 1 {
		texts = append(texts, "only one run counts: nothing is known of how much runs differ")
	} else if n < fewRuns {
		texts = append(texts,
			fmt.Sprintf("fewer than %d runs count: the intervals rest on few runs, and a comparison may miss a real difference", fewRuns))
	}
	if f := Known("gbps").Over(c.Runs); f.bimodal {
		d := Places(f)
		texts = append(texts,
			fmt.Sprintf(
				"the runs are bimodal, near %s and near %s Gbit/s: their mean is typical of neither; look for what switches",
				digits.Fixed(f.lowMode, d), digits.Fixed(f.upper, d)))
	}
	texts = append(texts, c.mixes()...)
	var partly []string
	for _, m := range metrics {
		if f := m.Over(c.Runs); f.N > 0 && f.N < len(c.Runs) && !strings.HasPrefix(m.Name, "roi.") && !strings.HasPrefix(m.Name, "total.") {
			partly = append(partly, fmt.Sprintf("%s in %d", m.Name, f.N))
		}
	}
	if len(partly) > 0 {
		texts = append(texts, fmt.Sprintf("not all was measured in each of %s: %s", printable.Count(len(c.Runs), "run"),
			strings.Join(partly, ", ")))
	}
	if len(c.mixed) > 0 {
		texts = append(texts, "pools runs of different settings: "+strings.Join(c.mixed, "; "))
	}
	wrong := 0
	for _, r := range c.Runs {
		if !derived(r.Record) {
			wrong++
		}
	}
	if wrong > 0 {
		texts = append(texts,
			fmt.Sprintf("the sums or the ROI of %s cannot follow from throughput, CPU and power: somebody changed the records",
				printable.Count(wrong, "run")))
	}
	return texts
}

// mixes are what was not found in one way, or not under one condition, in all runs
// of a cell.
func (c *Cell) mixes() (texts []string) {
	for _, e := range []struct {
		name string
		of   func(*results.Record) *results.End
	}{{"sender", txEnd}, {"receiver", rxEnd}} {
		if list := powerScopesOf([]*Cell{c}, e.of); len(list) > 1 {
			texts = append(texts, fmt.Sprintf("the %s's power was not measured of one thing in all runs (%s): its mean and ROI mix them",
				e.name, printable.Line(strings.Join(list, ", "))))
		}
		if list := metersOf([]*Cell{c}, e.of); len(list) > 1 {
			texts = append(texts, fmt.Sprintf("the %s's power was not measured by one meter in all runs (%s): its mean and ROI mix them",
				e.name, strings.Join(printable.Shorten(list), ", ")))
		}
		if list := clocksOf([]*Cell{c}, e.of); len(list) > 1 && len(scopesOf([]*Cell{c}, e.of)) == 1 {
			texts = append(texts, fmt.Sprintf("the %s's CPU was not counted by one clock in all runs (%s): its mean and ROI mix them",
				e.name, strings.Join(printable.Shorten(list), ", ")))
		}
		if list := scopesOf([]*Cell{c}, e.of); len(list) > 1 {
			texts = append(texts, fmt.Sprintf("the %s's CPU was not counted in one way in all runs (%s): its mean and ROI mix them", e.name,
				strings.Join(list, ", ")))
		}
	}
	if list := totalPowerScopesOf([]*Cell{c}); len(list) > 1 {
		texts = append(texts,
			fmt.Sprintf("the power of both ends was not measured of one thing in all runs (%s): its mean and ROI mix them",
				printable.Line(strings.Join(list, ", "))))
	}
	if list := controlsOf([]*Cell{c}); len(list) > 1 {
		texts = append(texts, fmt.Sprintf("the congestion control was not one in all runs (%s): they are no repeats of each other",
			strings.Join(printable.Shorten(list), "; ")))
	}
	return texts
}

func reason(r *Run) string { return cmp.Or(r.Reason, "no reason given") }

// reasons are joined, each said once.
func reasons(runs []*Run, of func(*Run) string) string {
	var list []string
	for _, r := range runs {
		if text := printable.Line(of(r)); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

// drift tells what changed on a host from one run of a cell to another: such
// runs are not repeats of each other.
func (c *Cell) drift() []string {
	var texts []string
	for _, e := range []struct {
		name string
		of   func(*Run) facts
	}{{"sender", txFacts}, {"receiver", rxFacts}} {
		values := map[string][]string{}
		var seen []facts
		for _, r := range c.Runs {
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
				changed = append(changed, name+" "+strings.Join(printable.Shorten(v), ", then "))
			}
		}
		if len(changed) > 0 {
			texts = append(texts, "the "+e.name+"'s host changed between runs: "+strings.Join(printable.Shorten(changed), "; "))
		}
	}
	return texts
}

// Unmeasured says why a cell has no figures.
func (c *Cell) Unmeasured() (results.Status, string) {
	switch {
	case len(c.Failed) > 0:
		return results.Failed, reasons(c.Failed, reason)
	case len(c.Skipped) > 0:
		return results.Skipped, reasons(c.Skipped, reason)
	}
	return "dropped", reasons(c.Dropped, func(r *Run) string { return r.Dropped })
}

// Marks are the numbers of the notes on a cell.
func (r *Report) Marks(c *Cell) string {
	var out []string
	for _, n := range r.Notes {
		if !n.Every && slices.Contains(n.Cells, c) {
			out = append(out, fmt.Sprint(n.Mark))
		}
	}
	if len(out) > 4 {
		out = append(out[:3], "…")
	}
	return strings.Join(out, ",")
}
