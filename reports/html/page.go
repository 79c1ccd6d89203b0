// Package html writes a report as one page for the browser, which needs nothing but
// itself.
package html

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	// Go's html/template without calls of methods: those keep every exported
	// method of the program's types in it, 3 MB.
	template "github.com/DataDog/datadog-agent/pkg/template/html"

	"zcbench/analysis"
	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// The page's parts. What it runs is named by its hash in the page's policy, so
// that nothing else runs in it.
var (
	//go:embed page/page.html.tmpl
	pageTemplate string
	//go:embed page/page.css
	pageStyle string
	//go:embed page/page.js
	pageScript string
)

// Write writes the page: charts, the table, what did not run and why, every run, and
// the hosts.
func Write(w io.Writer, r *analysis.Report) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("parse the page's template: %w", err)
	}
	return t.Execute(w, pageOf(r))
}

type page struct {
	Style          template.CSS
	Script         template.JS
	ScriptHash     string // as a policy names it
	Title          string
	Started, Ended string
	Runs, Cells    int
	Hosts          []string
	Best           []best
	Charts         []chart
	Cut            bool // some interval goes on beyond its axis
	ChartNotes     []string
	Key, Explain   string
	Over           []overHead
	Heads          []string
	Rows           []tableRow
	Legend         string
	Notes          []pageNote
	Missing        []missing
	Common         []results.Fact
	Varying        *grid
	Syscalls       *grid
	Commands       []command
	Published      []published
	Detail         *detail
	Log            []logRow
	LogLeft        int
	Environment    []analysis.FactGroup
	Plan, Problems []string
}

// overHead is a heading over some columns.
type overHead struct {
	Text string
	Span int
}

// best is a figure worth a headline.
type best struct {
	Label, Value, Unit, Who string
	Sure                    string // how sure it is that no other is higher
}

type tableRow struct {
	Cell          int
	Name, Differs string
	Figures       []tableFigure
	Marks         string
	Missing       string
}

// tableFigure is a figure as it is shown, and with all its digits, as CSV has
// them.
type tableFigure struct {
	Text, Around         string
	Metric, Mean, Lo, Hi string
	N                    int
}

// grid is a small table with a line for each cell.
type grid struct {
	Heads []string
	Rows  []gridRow
	Left  int // columns there was no room for
}

type gridRow struct {
	Name, Differs string
	Values        []string
}

// command is what repeats a cell.
type command struct {
	Cell          int
	Name, Differs string
	Lines         []string
	Changed       []string // on the hosts, for its runs alone
}

// published is a study beside the report's own figures.
type published struct {
	analysis.Study
	Rows    []publishedRow
	Differs []string
}

type publishedRow struct{ What, Value, Here string }

type pageNote struct{ Mark, Text, On string }

type missing struct{ Name, Differs, Status, Reason string }

// logRow is one run.
type logRow struct {
	Name, Differs, Run, Started, Status, Gbps, CPUTX, CPURX, ROI, ZeroTX, ZeroRX, Remark, ID string
}

func pageOf(r *analysis.Report) page {
	cells := r.Cells
	hash := sha256.Sum256([]byte(pageScript))
	p := page{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript), ScriptHash: "sha256-" + base64.StdEncoding.EncodeToString(hash[:]),
		Title: titleOf(r), Runs: len(r.Runs), Cells: len(cells), Hosts: r.Hosts(), Plan: r.Plan, Problems: r.Problems,
	}
	p.Started, p.Ended = span(r.Runs)
	if len(cells) == 0 {
		return p
	}
	draw := drawingOf(r)
	l := arrange(r)
	p.Charts = draw.charts(l)
	p.Cut = slices.ContainsFunc(p.Charts, chart.cut)
	if l.bars != "" && l.bars != "gro" && l.bars != "bigtcp" {
		p.ChartNotes = append(p.ChartNotes, "The bars of a group are values of "+printable.Line(l.bars)+".")
	}
	if l.left > 0 {
		p.ChartNotes = append(p.ChartNotes,
			fmt.Sprintf("The charts show the first %d of %d cells; the table has all, and --filter or --group-by chooses others.",
				len(cells)-l.left, len(cells)))
	}
	p.table(r)
	p.notes(r)
	p.Best = bests(r)
	p.Common = r.Common()
	p.Varying = varyingGrid(r)
	p.Syscalls = syscallGrid(r)
	p.Commands = commandsOf(r)
	for _, ref := range r.References {
		one := published{Study: ref.Study, Differs: ref.Differing}
		for _, p := range ref.Points {
			one.Rows = append(one.Rows, publishedRow{p.Text, p.Value, p.Here})
		}
		p.Published = append(p.Published, one)
	}
	p.Detail = draw.detail()
	p.Log, p.LogLeft = runLog(r)
	p.Environment = r.Environment()
	return p
}

// table fills in the figures of all cells, and why some have none.
func (p *page) table(r *analysis.Report) {
	p.Key, p.Explain = strings.Join(r.Heads(), ", "), r.Legend()
	columns := r.Columns()
	for i := 0; i < len(columns); {
		k := i
		for ; k < len(columns) && (k == i || columns[k].Over != "" && columns[k].Over == columns[i].Over); k++ {
			p.Heads = append(p.Heads, columns[k].Head)
		}
		p.Over = append(p.Over, overHead{columns[i].Over, k - i})
		i = k
	}
	for i, c := range r.Cells {
		row := tableRow{Cell: i, Name: r.Named(c), Differs: c.Differs, Marks: r.Marks(c)}
		if len(c.Runs) == 0 {
			status, why := c.Unmeasured()
			row.Missing = string(status)
			p.Missing = append(p.Missing, missing{r.Named(c), c.Differs, string(status), why})
		}
		for _, h := range columns {
			one := h.Entries[i]
			f := tableFigure{Text: one.Text, Around: one.Around, Metric: h.Of.Name, N: one.Figure.N}
			if f.N > 0 {
				f.Mean, f.Lo, f.Hi = digits.Exact(one.Figure.Mean), digits.Exact(one.Figure.Lo), digits.Exact(one.Figure.Hi)
			} else if h.Of.Name == "" && one.Text != "" {
				f.Mean = fmt.Sprint(len(c.Runs))
			}
			row.Figures = append(row.Figures, f)
		}
		p.Rows = append(p.Rows, row)
	}
}

// notes fills in what must be known to read the figures.
func (p *page) notes(r *analysis.Report) {
	for _, n := range r.Notes {
		if n.Every {
			p.Notes = append(p.Notes, pageNote{Text: n.Text, On: "all"})
			continue
		}
		var on []string
		for _, c := range n.Cells {
			on = append(on, r.Labelled(c))
		}
		p.Notes = append(p.Notes, pageNote{Mark: fmt.Sprint(n.Mark), Text: n.Text, On: strings.Join(on, ", ")})
	}
}

// titleOf says what was measured.
func titleOf(r *analysis.Report) string {
	name := ""
	for i, one := range r.Runs {
		if e := printable.Line(one.Experiment); i == 0 {
			name = e
		} else if e != name {
			name = ""
		}
	}
	what := printable.Plural(len(r.Cells), "engine pair", "engine pairs")
	if r.By != nil {
		what = printable.Plural(len(r.Cells), "cell", "cells")
	}
	text := fmt.Sprintf("%d %s, %d %s", len(r.Cells), what, len(r.Runs), printable.Plural(len(r.Runs), "run", "runs"))
	if name != "" {
		return printable.Clip(name, 60) + ": " + text
	}
	return "Zero-copy TCP: " + text
}

// varyingGrid has the settings that are not the same in all cells.
func varyingGrid(r *analysis.Report) *grid {
	const most = 24
	names := r.Varying()
	if len(names) == 0 || len(r.Cells) < 2 {
		return nil
	}
	g := &grid{Left: max(0, len(names)-most)}
	names = names[:len(names)-g.Left]
	for _, n := range names {
		g.Heads = append(g.Heads, printable.Line(n))
	}
	for _, c := range r.Cells {
		row := gridRow{Name: r.Named(c)}
		for _, n := range names {
			row.Values = append(row.Values, cmp.Or(printable.Line(c.Settings[n]), "–"))
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

// syscallGrid has calls over 10⁹ bytes, means of the runs that count.
func syscallGrid(r *analysis.Report) *grid {
	const most = 16
	of := r.SyscallsPerGB()
	if len(of) == 0 {
		return nil
	}
	g := &grid{Left: max(0, len(of)-most)}
	of = of[:len(of)-g.Left]
	for _, m := range of {
		end, name, _ := strings.Cut(m.Name, ".syscalls_per_gb.")
		g.Heads = append(g.Heads, end+" "+name)
	}
	for _, c := range r.Cells {
		if len(c.Runs) == 0 {
			continue
		}
		row := gridRow{Name: r.Named(c), Differs: c.Differs}
		for _, m := range of {
			f := m.Over(c.Runs)
			row.Values = append(row.Values, f.Text(max(0, analysis.Places(f)-1)))
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

// commandsOf are the command lines of all cells, and what their runs changed on
// the hosts.
func commandsOf(r *analysis.Report) []command {
	var list []command
	for i, c := range r.Cells {
		one := command{Cell: i, Name: r.Named(c), Differs: c.Differs}
		for _, run := range c.Records() {
			if v := printable.Line(run.Command); v != "" && !slices.Contains(one.Lines, v) && len(one.Lines) < 3 {
				one.Lines = append(one.Lines, v)
			}
			for _, end := range slices.Sorted(maps.Keys(run.Tuned)) {
				if v := printable.Line(end + ": " + strings.Join(run.Tuned[end], ", ")); !slices.Contains(one.Changed, v) &&
					len(one.Changed) < 6 {
					one.Changed = append(one.Changed, v)
				}
			}
		}
		if len(one.Lines)+len(one.Changed) > 0 {
			list = append(list, one)
		}
	}
	return list
}

// span is the time of the first and of the last run.
func span(runs []*analysis.Run) (first, last string) {
	var from, to time.Time
	for _, r := range runs {
		t := r.Begun
		if t.IsZero() {
			continue
		}
		if !from.IsZero() {
			t = t.In(from.Location()) // one zone for all
		}
		if from.IsZero() || t.Before(from) {
			from = t
		}
		if t.After(to) {
			to = t
		}
	}
	if from.IsZero() {
		return "", ""
	}
	const minute = "2006-01-02 15:04 Z07:00"
	to = to.In(from.Location())
	first, last = from.Format(minute), to.Format(minute)
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		last = to.Format("15:04")
	}
	if from.Format(minute) == to.Format(minute) {
		last = ""
	}
	return first, last
}

func bests(r *analysis.Report) []best {
	cells := r.Cells
	type contest struct {
		label, unit string
		of          analysis.Metric
		places      int
	}
	contests := []contest{{"Highest throughput", "Gbit/s", analysis.Known("gbps"), r.Places(analysis.Known("gbps"))}}
	// ROI has a winner only where all CPU time was counted in one way.
	if r.CPUCompares() {
		const unit = "(Gbit/s)² per CPU %"
		places := r.Places(analysis.Known("roi.cpu.tx"), analysis.Known("roi.cpu.rx"), analysis.Known("roi.cpu.total"))
		contests = append(contests, contest{"Highest ROI, both ends", unit, analysis.Known("roi.cpu.total"), places},
			contest{"Highest ROI, sender", unit, analysis.Known("roi.cpu.tx"), places},
			contest{"Highest ROI, receiver", unit, analysis.Known("roi.cpu.rx"), places})
	}
	var list []best
	for _, b := range contests {
		var who *analysis.Cell
		var top analysis.Figure
		for _, c := range cells {
			if f := b.of.Over(c.Runs); f.N > 0 && (who == nil || f.Mean > top.Mean) {
				who, top = c, f
			}
		}
		if who != nil {
			list = append(list, best{b.label, top.Text(b.places), b.unit, r.Labelled(who), howSure(r, who, top, b.of, b.places)})
		}
	}
	return list
}

// howSure says what the highest mean rests on, and which others may be as high.
func howSure(r *analysis.Report, who *analysis.Cell, top analysis.Figure, of analysis.Metric, places int) string {
	text := "one run: how much runs differ is not known"
	if top.N > 1 {
		text = fmt.Sprintf("mean of %s, 95 %% interval %s to %s", printable.Count(top.N, "run"), digits.Fixed(top.Lo, places),
			digits.Fixed(top.Hi, places))
	}
	var near []string
	for _, c := range r.Cells {
		// An interval that is not known may reach anywhere.
		if f := of.Over(c.Runs); c != who && f.N > 0 && !(top.Lo > f.Hi) {
			near = append(near, r.Labelled(c))
		}
	}
	switch {
	case len(near) == 1:
		text += "; " + near[0] + " may be as high"
	case len(near) > 1:
		text += fmt.Sprintf("; %s may be as high", printable.Count(len(near), "other"))
	}
	return text
}

// runLog lists every run in order of time.
func runLog(r *analysis.Report) (rows []logRow, left int) {
	const most = 2000
	type entry struct {
		c *analysis.Cell
		r *analysis.Run
	}
	var all []entry
	for _, c := range r.Cells {
		for _, one := range c.Records() {
			all = append(all, entry{c, one})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.r.Begun.Compare(b.r.Begun) })
	if left = len(all) - most; left > 0 {
		all = all[:most]
	}
	var zone *time.Location // that of the first, for all
	for _, e := range all {
		row := logRow{
			Name: r.Named(e.c), Differs: e.c.Differs, Run: fmt.Sprint(e.r.Repeat + 1), Status: printable.Line(string(e.r.Status)),
			ID: printable.Line(e.r.ID), Remark: printable.Line(cmp.Or(e.r.Reason, e.r.Dropped)),
		}
		if t := e.r.Begun; !t.IsZero() {
			if zone == nil {
				zone = t.Location()
			}
			row.Started = t.In(zone).Format(time.DateTime + " Z07:00")
		}
		if e.r.Status == results.OK {
			one := []*analysis.Run{e.r}
			speed, roi := analysis.Known("gbps").Over(one), analysis.Known("roi.cpu.total").Over(one)
			row.Gbps, row.ROI = speed.Text(analysis.Places(speed)), roi.Text(analysis.Places(roi))
			row.CPUTX, row.CPURX = analysis.Known("tx.cpu_percent").Over(one).Text(1), analysis.Known("rx.cpu_percent").Over(one).Text(1)
			zero := func(name string) string { return analysis.Known(name).Over(one).Text(1) }
			row.ZeroTX, row.ZeroRX = zero("tx.zero_copied_percent"), zero("rx.zero_copied_percent")
		}
		rows = append(rows, row)
	}
	return rows, max(left, 0)
}
