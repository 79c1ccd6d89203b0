// Package reports turns records into what people read: the block at the end
// of a run, a table for the terminal, a page for the browser.
package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"zcbench/results"
)

// cell is all records of the same settings, in the order they came.
type cell struct {
	tx, rx  string // engines
	differs string // what tells it from other cells; often nothing
	flat    map[string]string
	runs    []*results.Record // ok and not dropped: what the figures are made of
	dropped []*results.Record // ok, but left out of the figures
	failed  []*results.Record
	skipped []*results.Record
}

func (c *cell) name() string { return c.tx + " → " + c.rx }

// label is the name with what tells the cell from others of that name.
func (c *cell) label() string {
	if c.differs == "" {
		return c.name()
	}
	return c.name() + " (" + c.differs + ")"
}

func (c *cell) records() []*results.Record {
	return slices.Concat(c.runs, c.dropped, c.failed, c.skipped)
}

// measured are the runs that ended well, whether they count or not.
func (c *cell) measured() []*results.Record { return slices.Concat(c.runs, c.dropped) }

// group sorts records into cells, in order of first appearance.
func group(records []results.Record) []*cell {
	byID := map[string]*cell{}
	var cells []*cell
	for i := range records {
		r := &records[i]
		tx, rx := engine(r, r.TX, "tx"), engine(r, r.RX, "rx")
		// Without an id, the engines are all there is to tell cells apart.
		id := cmp.Or(r.Cell, tx+"\x00"+rx)
		c := byID[id]
		if c == nil {
			c = &cell{tx: tx, rx: rx, flat: settings(r)}
			byID[id] = c
			cells = append(cells, c)
		}
		switch {
		case r.Status == results.Skipped:
			c.skipped = append(c.skipped, r)
		case r.Status != results.OK: // a status unknown here is no success
			c.failed = append(c.failed, r)
		case r.Dropped != "":
			c.dropped = append(c.dropped, r)
		default:
			c.runs = append(c.runs, r)
		}
	}
	distinguish(cells)
	return cells
}

// engine is what the end itself reported, else what was asked of it.
func engine(r *results.Record, e *results.End, role string) string {
	if e != nil && e.Engine != "" {
		return clip(clean(e.Engine), 24)
	}
	if s, ok := r.Settings[role].(string); ok && s != "" {
		return clip(clean(s), 24)
	}
	return "(raw)"
}

func settings(r *results.Record) map[string]string {
	m := map[string]string{}
	for _, f := range results.Facts(r.Settings).Flat() {
		m[clean(f.Name)] = clean(f.Value)
	}
	delete(m, "tx") // the cell's name has them
	delete(m, "rx")
	delete(m, "command") // how it was asked, not what
	return m
}

// distinguish names the settings that tell cells of the same engines apart.
func distinguish(cells []*cell) {
	same := map[string][]*cell{}
	for _, c := range cells {
		same[c.name()] = append(same[c.name()], c)
	}
	for _, cs := range same {
		_, varying := split(cs)
		for _, c := range cs {
			var parts []string
			for _, k := range varying {
				if v, ok := c.flat[k]; ok {
					parts = append(parts, k+" "+v)
				}
			}
			c.differs = strings.Join(parts, ", ")
		}
	}
}

// split sorts the names of settings into those all cells share and the others.
func split(cells []*cell) (common, varying []string) {
	names := map[string]bool{}
	for _, c := range cells {
		for k := range c.flat {
			names[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		first, has := cells[0].flat[k]
		if has && !slices.ContainsFunc(cells, func(c *cell) bool { v, ok := c.flat[k]; return !ok || v != first }) {
			common = append(common, k)
		} else {
			varying = append(varying, k)
		}
	}
	return common, varying
}

// metric is a figure of a run; nil where it was not measured.
type metric func(*results.Record) *float64

func gbps(r *results.Record) *float64 { return &r.Gbps }

func cpu(end func(*results.Record) *results.End) metric {
	return func(r *results.Record) *float64 {
		if e := end(r); e != nil {
			return e.CPUPercent
		}
		return nil
	}
}

// zeroCopied is a share in percent.
func zeroCopied(end func(*results.Record) *results.End) metric {
	return func(r *results.Record) *float64 {
		e := end(r)
		if e == nil {
			return nil
		}
		return share(e)
	}
}

func share(e *results.End) *float64 {
	if e.Bytes == 0 {
		return nil
	}
	v := 100 * float64(e.ZeroCopiedBytes) / float64(e.Bytes)
	return &v
}

func rxEnd(r *results.Record) *results.End { return r.RX }
func txEnd(r *results.Record) *results.End { return r.TX }

func rxFacts(r *results.Record) results.Facts { return r.Facts.RX }
func txFacts(r *results.Record) results.Facts { return r.Facts.TX }

func roiTX(r *results.Record) *float64    { return r.ROI.CPU.TX }
func roiRX(r *results.Record) *float64    { return r.ROI.CPU.RX }
func roiTotal(r *results.Record) *float64 { return r.ROI.CPU.Total }

// figure is a metric over the runs of a cell. ROI is averaged over runs, not
// made of averages: the square would weigh fast runs more.
type figure struct {
	n              int
	mean, min, max float64
	sd             float64 // of the sample; NaN when n < 2
}

func over(runs []*results.Record, m metric) figure {
	f := figure{min: math.Inf(1), max: math.Inf(-1), sd: math.NaN()}
	var values []float64
	for _, r := range runs {
		if v := m(r); v != nil {
			values = append(values, *v)
			f.mean += *v
			f.min, f.max = min(f.min, *v), max(f.max, *v)
		}
	}
	if f.n = len(values); f.n == 0 {
		return f
	}
	f.mean /= float64(f.n)
	if f.n > 1 {
		var ss float64
		for _, v := range values {
			ss += (v - f.mean) * (v - f.mean)
		}
		f.sd = math.Sqrt(ss / float64(f.n-1))
	}
	return f
}

// each gives the figures of all cells, cell by cell.
func each(cells []*cell, metrics ...metric) []figure {
	var list []figure
	for _, c := range cells {
		for _, m := range metrics {
			list = append(list, over(c.runs, m))
		}
	}
	return list
}

// text is the mean, or a dash where nothing was measured.
func (f figure) text(decimals int) string {
	if f.n == 0 {
		return "–"
	}
	return fixed(f.mean, decimals)
}

// spread is the range of the runs: with the few runs of a first look it says
// more than a deviation would.
func (f figure) spread(decimals int) string {
	if f.n < 2 {
		return "–"
	}
	return fixed(f.min, decimals) + "–" + fixed(f.max, decimals)
}

func fixed(v float64, decimals int) string { return fmt.Sprintf("%.*f", decimals, v) }

// percent keeps a share that is nearly nothing, or nearly all, from reading as
// exactly that.
func percent(v float64) string {
	switch {
	case v > 0 && v < 0.05:
		return "<0.1"
	case v < 100 && v >= 99.95:
		return ">99.9"
	}
	return fixed(v, 1)
}

// decimals gives the largest figure at least three digits that count, and all
// figures of a column the same number of decimals.
func decimals(figures ...figure) int {
	top := 0.0
	for _, f := range figures {
		if f.n > 0 {
			top = max(top, math.Abs(f.max))
		}
	}
	switch {
	case top >= 100:
		return 1
	case top >= 10 || top == 0:
		return 2
	case top >= 1:
		return 3
	}
	return 4
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
	return "scope " + clip(clean(s), 24)
}

// note is a remark on some cells, or on all that were measured.
type note struct {
	text  string
	every bool
	cells []*cell
}

// notes gathers the warnings of all runs, and what was left out, once each.
func notes(cells []*cell) []note {
	var list []note
	index := map[string]int{}
	add := func(c *cell, text string) {
		i, ok := index[text]
		if !ok {
			i = len(list)
			index[text] = i
			list = append(list, note{text: text})
		}
		if !slices.Contains(list[i].cells, c) {
			list[i].cells = append(list[i].cells, c)
		}
	}
	measured := 0
	for _, c := range cells {
		if len(c.runs) == 0 {
			continue
		}
		measured++
		for _, r := range c.runs {
			for _, w := range r.Warnings {
				add(c, clean(w))
			}
		}
		for _, text := range c.drift() {
			add(c, text)
		}
		for _, left := range []struct {
			what    string
			records []*results.Record
			reason  func(*results.Record) string
		}{
			{"failed", c.failed, reason},
			{"skipped", c.skipped, reason},
			{"left out of the means", c.dropped, func(r *results.Record) string { return r.Dropped }},
		} {
			if len(left.records) > 0 {
				add(c, fmt.Sprintf("%d of %d runs %s: %s", len(left.records), len(c.records()), left.what, reasons(left.records, left.reason)))
			}
		}
	}
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
	return list
}

func reason(r *results.Record) string { return cmp.Or(r.Reason, "no reason given") }

// reasons are joined, each said once.
func reasons(records []*results.Record, of func(*results.Record) string) string {
	var list []string
	for _, r := range records {
		if text := clean(of(r)); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

// drift tells what changed on a host from one run of a cell to another: such
// runs are not repeats of each other.
func (c *cell) drift() []string {
	var texts []string
	for _, e := range []struct {
		name string
		of   func(*results.Record) results.Facts
	}{{"sender", txFacts}, {"receiver", rxFacts}} {
		var changed []string
		var first results.Facts
		for _, r := range c.runs {
			if len(e.of(r)) == 0 {
				continue
			}
			if first == nil {
				first = e.of(r)
			}
			for _, d := range results.Diff(first, e.of(r)) {
				if d.Name == "process.command" {
					continue // another command may well ask for the same cell
				}
				text := fmt.Sprintf("%s %s, then %s", clean(d.Name), cmp.Or(clean(d.A), "unknown"), cmp.Or(clean(d.B), "unknown"))
				if !slices.Contains(changed, text) {
					changed = append(changed, text)
				}
			}
		}
		if len(changed) > 0 {
			texts = append(texts, "the "+e.name+"'s host changed between runs: "+strings.Join(changed, "; "))
		}
	}
	return texts
}

// unmeasured says why a cell has no figures.
func (c *cell) unmeasured() (results.Status, string) {
	switch {
	case len(c.failed) > 0:
		return results.Failed, reasons(c.failed, reason)
	case len(c.skipped) > 0:
		return results.Skipped, reasons(c.skipped, reason)
	}
	return "dropped", reasons(c.dropped, func(r *results.Record) string { return r.Dropped })
}

// hostLines describe in a line each what the runs were made on.
func hostLines(records []results.Record) []string {
	tx, rx := hostLine(records, txFacts), hostLine(records, rxFacts)
	switch {
	case tx == rx && tx == "":
		return nil
	case tx == rx:
		return []string{"Both ends: " + tx}
	}
	var lines []string
	if tx != "" {
		lines = append(lines, "Sender: "+tx)
	}
	if rx != "" {
		lines = append(lines, "Receiver: "+rx)
	}
	return lines
}

func hostLine(records []results.Record, of func(*results.Record) results.Facts) string {
	for i := range records {
		facts := map[string]string{}
		for _, f := range of(&records[i]).Flat() {
			facts[f.Name] = clean(f.Value)
		}
		var parts []string
		add := func(format, key string) {
			if v := facts[key]; v != "" {
				parts = append(parts, fmt.Sprintf(format, v))
			}
		}
		add("%s", "machine.hostname")
		add("Linux %s", "kernel.release")
		add("%s", "cpu.model")
		add("%s CPUs", "cpu.threads")
		if d := cmp.Or(facts["nic.driver"], facts["nic.name"]); d != "" {
			parts = append(parts, d)
		}
		add("MTU %s", "nic.mtu")
		if len(parts) > 0 {
			return strings.Join(parts, ", ")
		}
	}
	return ""
}
