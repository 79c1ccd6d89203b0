package reports

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"zcbench/results"
)

//go:embed page.html.tmpl
var pageTemplate string

// HTML writes one page that needs nothing but itself: charts, the table, what
// did not run and why, every run, and the hosts.
func HTML(w io.Writer, records []results.Record) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("parse the page's template: %w", err)
	}
	return t.Execute(w, newPage(records))
}

type page struct {
	Started, Ended string
	Runs, Cells    int
	Hosts          []string
	Best           []best
	Charts         []chart
	Heads          []column
	Rows           []tableRow
	Legend         string
	Notes          []pageNote
	Missing        []missing
	Common         []results.Fact
	Log            []logRow
	Environment    []factGroup
}

// best is a figure worth a headline.
type best struct{ Label, Value, Unit, Who string }

type tableRow struct {
	Name, Differs string
	Figures       []string
	Marks         string
	Missing       string
}

type pageNote struct{ Mark, Text, On string }

type missing struct{ Name, Differs, Status, Reason string }

// logRow is one run.
type logRow struct {
	Name, Differs, Run, Started, Status, Gbps, CPUTX, CPURX, ROI, ZeroTX, ZeroRX, Remark, ID string
}

type factGroup struct {
	Name    string
	Varies  bool
	Entries []factRow
}

type factRow struct {
	Name   string
	TX, RX []string // more than one: it changed between runs
	Same   bool
}

func newPage(records []results.Record) page {
	cells := group(records)
	p := page{Runs: len(records), Cells: len(cells), Hosts: hostLines(records), Legend: legend(cells)}
	p.Started, p.Ended = span(records)
	if len(cells) == 0 {
		return p
	}
	p.Charts = charts(cells)
	all := notes(cells)
	p.Heads = figures(cells)
	for i, c := range cells {
		row := tableRow{Name: c.name(), Differs: c.differs, Marks: marks(c, all)}
		if len(c.runs) == 0 {
			status, why := c.unmeasured()
			row.Missing = string(status)
			p.Missing = append(p.Missing, missing{c.name(), c.differs, string(status), why})
		}
		for _, h := range p.Heads {
			row.Figures = append(row.Figures, h.cells[i])
		}
		p.Rows = append(p.Rows, row)
	}
	number := 0
	for _, n := range all {
		if n.every {
			p.Notes = append(p.Notes, pageNote{Text: n.text, On: "every pair"})
			continue
		}
		number++
		var on []string
		for _, c := range n.cells {
			on = append(on, c.label())
		}
		p.Notes = append(p.Notes, pageNote{Mark: fmt.Sprint(number), Text: n.text, On: strings.Join(on, ", ")})
	}
	p.Best = bests(cells)
	names, _ := split(cells)
	for _, k := range names {
		p.Common = append(p.Common, results.Fact{Name: k, Value: cells[0].flat[k]})
	}
	p.Log = runLog(cells)
	p.Environment = environment(records)
	return p
}

// span is the time of the first and of the last run.
func span(records []results.Record) (first, last string) {
	var from, to time.Time
	for i := range records {
		t := started(&records[i])
		if t.IsZero() {
			continue
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
	first, last = from.Format(minute), to.Format(minute)
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		last = to.Format("15:04")
	}
	if from.Format(minute) == to.Format(minute) {
		last = ""
	}
	return first, last
}

// started is zero for a time that is none.
func started(r *results.Record) time.Time {
	t, err := time.Parse(time.RFC3339Nano, r.Started)
	if err != nil {
		return time.Time{}
	}
	return t
}

func bests(cells []*cell) []best {
	type contest struct {
		label, unit string
		of          metric
		places      int
	}
	contests := []contest{{"Highest throughput", "Gbit/s", gbps, decimals(each(cells, gbps)...)}}
	// ROI has a winner only where all CPU time was counted in one way.
	if len(scopesOf(cells, txEnd, rxEnd)) == 1 {
		const unit = "(Gbit/s)² per CPU %"
		places := decimals(each(cells, roiTX, roiRX, roiTotal)...)
		contests = append(contests, contest{"Highest ROI, both ends", unit, roiTotal, places},
			contest{"Highest ROI, sender", unit, roiTX, places}, contest{"Highest ROI, receiver", unit, roiRX, places})
	}
	var list []best
	for _, b := range contests {
		var who *cell
		var top figure
		for _, c := range cells {
			if f := over(c.runs, b.of); f.n > 0 && (who == nil || f.mean > top.mean) {
				who, top = c, f
			}
		}
		if who != nil {
			list = append(list, best{b.label, top.text(b.places), b.unit, who.label()})
		}
	}
	return list
}

// runLog lists every run in order of time.
func runLog(cells []*cell) []logRow {
	type entry struct {
		c *cell
		r *results.Record
	}
	var all []entry
	for _, c := range cells {
		for _, r := range c.records() {
			all = append(all, entry{c, r})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return started(a.r).Compare(started(b.r)) })
	var rows []logRow
	for _, e := range all {
		row := logRow{
			Name: e.c.name(), Differs: e.c.differs, Run: fmt.Sprint(e.r.Repeat + 1), Status: clean(string(e.r.Status)),
			ID: clean(e.r.ID), Remark: clean(cmp.Or(e.r.Reason, e.r.Dropped)),
		}
		if t := started(e.r); !t.IsZero() {
			row.Started = t.Format(time.DateTime)
		}
		if e.r.Status == results.OK {
			one := []*results.Record{e.r}
			speed, roi := over(one, gbps), over(one, roiTotal)
			row.Gbps, row.ROI = speed.text(decimals(speed)), roi.text(decimals(roi))
			row.CPUTX, row.CPURX = over(one, cpu(txEnd)).text(1), over(one, cpu(rxEnd)).text(1)
			row.ZeroTX, row.ZeroRX = shareText(over(one, zeroCopied(txEnd))), shareText(over(one, zeroCopied(rxEnd)))
		}
		rows = append(rows, row)
	}
	return rows
}

// environment sets the facts of both hosts side by side. A fact that was not
// the same in all runs shows every value it had.
func environment(records []results.Record) []factGroup {
	values := map[string]*factRow{}
	var names []string
	collect := func(facts results.Facts, to func(*factRow) *[]string) {
		for _, f := range facts.Flat() {
			row := values[f.Name]
			if row == nil {
				row = &factRow{}
				values[f.Name] = row
				names = append(names, f.Name)
			}
			if list := to(row); !slices.Contains(*list, clean(f.Value)) {
				*list = append(*list, clean(f.Value))
			}
		}
	}
	for i := range records {
		collect(records[i].Facts.TX, func(r *factRow) *[]string { return &r.TX })
		collect(records[i].Facts.RX, func(r *factRow) *[]string { return &r.RX })
	}
	slices.Sort(names)
	var groups []factGroup
	for _, name := range names {
		head, rest, ok := strings.Cut(name, ".")
		if !ok {
			head, rest = "other", name
		}
		if len(groups) == 0 || groups[len(groups)-1].Name != clean(head) {
			groups = append(groups, factGroup{Name: clean(head)})
		}
		g := &groups[len(groups)-1]
		row := values[name]
		row.Name = clean(rest)
		row.Same = slices.Equal(row.TX, row.RX)
		g.Varies = g.Varies || len(row.TX) > 1 || len(row.RX) > 1
		g.Entries = append(g.Entries, *row)
	}
	return groups
}
