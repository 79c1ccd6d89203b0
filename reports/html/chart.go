package html

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"zcbench/analysis"
	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// chart is a bar chart as the template draws it: panels that share one scale.
// Heights are pixels, places percent of the plot, so that a panel fits any
// width with text of the same size.
type chart struct {
	ID, Title, Unit, Note string
	Columns               int // of panels, where there is room
	Panels                []panel
}

// panel is one drawing.
type panel struct {
	ID, Title, Desc string
	Gutter          int // pixels left of the plot, for names
	Height, Plot    int // of the drawing, and of its part above the axis
	Ticks           []tick
	Labels          []label
	Slots           []slot
}

type tick struct {
	X     string // percent
	Label string
}

type label struct {
	Class, Text, Differs string
	DX, Y                int
	End                  bool // the text ends at the place rather than starts there
}

// slot is the place of one cell.
type slot struct {
	Cell           int // its number in the report
	Y, Height      int // of what the mouse finds
	Text           string
	TextX          string // percent
	TextY          int
	Missing        bool
	Tip            string // lines; the first is what it is of
	Class, Pattern string
	BarY, BarH     int
	Width          string // percent; empty: nothing measured
	Idle           *reach // iowait, which is no use of a CPU
	Interval       *reach
	Mid            int
	Dots           []dot
	Marks          []dot  // published
	Rest           string // percent: power before the run
}

// reach is from one place to another; an end that is off the plot has an
// arrow for a cap.
type reach struct {
	From, To   string
	Length     string
	FromIn, In bool
}

// beyond is how much farther than the highest value an axis goes for the sake
// of intervals: those of two runs would make all bars short.
const beyond = 1.25

// dot is one run.
type dot struct {
	X     string // percent
	Y     float64
	Class string
}

// facet is one metric of a chart.
type facet struct {
	title string
	of    analysis.Metric
	idle  *analysis.Metric // drawn after the bar
}

// What a chart takes, in pixels.
const (
	barHeight  = 18
	thinBar    = 14 // one of several in a group
	barGap     = 3
	groupGap   = 13
	lineHeight = 20
	axisHeight = 26
	charWidth  = 7 // of the widest system fonts at this size, about
	boldWidth  = 9
	widest     = 20 // name beside the bars, in characters; longer ones are above
	longest    = 44 // name above them, on a narrow screen

	mostSeriesName = 14
)

// draw makes a chart with a panel for each facet and panel of the layout.
func (r *drawing) draw(id, title string, l layout, facets []facet, top float64) chart {
	c := chart{ID: id, Title: title, Unit: facets[0].of.Unit, Columns: len(facets)}
	if len(facets) == 1 {
		c.Columns = min(len(l.panels), 2)
	}
	highest, farthest := 0.0, 0.0
	for _, k := range l.at {
		for _, f := range facets {
			if shown := f.of.Over(k.Measured()); shown.N > 0 {
				highest = max(highest, shown.Max)
			}
			if m := f.of.Over(k.Runs); m.N > 1 {
				farthest = max(farthest, m.Hi)
			}
		}
		if id == "throughput" {
			for _, p := range r.points[k] {
				highest = max(highest, p.Gbps, p.Upper)
			}
		}
	}
	if top == 0 {
		top = max(highest, min(farthest, beyond*highest))
	}
	for p, name := range l.panels {
		for f, one := range facets {
			d := panel{ID: fmt.Sprintf("%s-%d-%d", id, p, f), Title: strings.Join(nonEmpty(one.title, name), ", ")}
			r.fill(&d, l, p, one, top, r.Places(one.of))
			c.Panels = append(c.Panels, d)
		}
	}
	return c
}

// cut says whether some interval goes on beyond the axis.
func (c chart) cut() bool {
	return slices.ContainsFunc(c.Panels, func(p panel) bool {
		return slices.ContainsFunc(p.Slots, func(s slot) bool { return s.Interval != nil && !(s.Interval.FromIn && s.Interval.In) })
	})
}

func nonEmpty(texts ...string) []string {
	var list []string
	for _, t := range texts {
		if t != "" {
			list = append(list, t)
		}
	}
	return list
}

func (r *drawing) fill(d *panel, l layout, p int, f facet, top float64, places int) {
	step := tickStep(top)
	for i := range 6 {
		v := float64(i) * step
		if i > 0 && !(v <= top*(1+1e-9)) { // no number is at most NaN
			break
		}
		d.Ticks = append(d.Ticks, tick{X: at(v, top), Label: trim(v)})
	}
	name, series, above := 0, 0, false
	for _, g := range l.groups {
		name = max(name, utf8.RuneCountInString(g.name))
		above = above || g.differs != ""
	}
	for _, s := range l.series {
		series = max(series, min(mostSeriesName, utf8.RuneCountInString(s)))
	}
	above = above || name > widest
	if !above {
		d.Gutter = name*boldWidth + 12
	}
	if series > 0 {
		d.Gutter += series*charWidth + 14
	}
	height := barHeight
	if len(l.series) > 1 {
		height = thinBar
	}
	y := 4
	var words []string
	for g, group := range l.groups {
		if above {
			text := printable.Clip(group.name, longest)
			d.Labels = append(d.Labels, label{Class: "name", Text: text,
				Differs: printable.Clip(group.differs, longest+4-utf8.RuneCountInString(text)), DX: -d.Gutter, Y: y + 13})
			y += lineHeight
		}
		first := y
		for s := range max(1, len(l.series)) {
			c := l.at[[3]int{p, g, s}]
			if s < len(l.series) {
				d.Labels = append(d.Labels, label{Class: "series", Text: printable.Clip(l.series[s], mostSeriesName), DX: -8,
					Y: y + height/2 + 4, End: true})
			}
			if c != nil {
				b := r.slot(c, f, top, places, y, height)
				b.Class = fmt.Sprintf("c%d", group.colour)
				if s < len(l.series)-1 {
					b.Pattern = fmt.Sprintf("p%d", s+1)
				}
				d.Slots = append(d.Slots, b)
				words = append(words, r.Labelled(c)+": "+b.Text)
			}
			y += height + barGap
		}
		if !above {
			d.Labels = append(d.Labels, label{Class: "name", Text: group.name, DX: -d.Gutter, Y: first + height/2 + 5})
		}
		y += groupGap - barGap
	}
	d.Plot = y - groupGap + 6
	d.Height = d.Plot + axisHeight
	d.Desc = strings.Join(words, ". ") + "."
}

// slot is a cell's bar, with its interval, its runs, and what was published.
func (r *drawing) slot(c *analysis.Cell, f facet, top float64, places, y, height int) slot {
	s := slot{Cell: r.numbers[c], Y: y - 1, Height: height + 2, BarY: y, BarH: height, Mid: y + height/2, TextY: y + height/2 + 5,
		TextX: "0%"}
	head := r.Labelled(c)
	if f.title != "" {
		head += ", " + f.title
	}
	if len(c.Runs) == 0 {
		status, why := c.Unmeasured()
		s.Missing, s.Text = true, string(status)
		s.Tip = head + "\n" + string(status) + ": " + printable.Clip(why, 200)
		if status != "dropped" {
			return s
		}
	}
	m := f.of.Over(c.Runs)
	end := 0.0
	if m.N > 0 {
		s.Text, s.Width, end = m.Text(places)+r.Mark(c, f.of), at(m.Mean, top), m.Mean
		s.Tip = fmt.Sprintf("%s\n%s %s, mean of %d %s", head, s.Text, f.of.Unit, m.N, printable.Plural(m.N, "run", "runs"))
		if m.N > 1 {
			s.Interval = &reach{From: at(m.Lo, top), To: at(m.Hi, top), FromIn: m.Lo >= 0, In: m.Hi <= top}
			s.Tip += fmt.Sprintf("\n95%% interval %s to %s", digits.Fixed(m.Lo, places), digits.Fixed(m.Hi, places))
			end = max(end, min(m.Hi, top))
		}
	} else if !s.Missing {
		s.Missing, s.Text, s.Tip = true, "not measured", head+"\nnot measured"
	}
	if f.idle != nil {
		if w := f.idle.Over(c.Runs); w.N > 0 && w.Mean > 0 {
			s.Idle = &reach{From: at(m.Mean, top), Length: at(min(w.Mean, top-m.Mean), top)}
			s.Tip += fmt.Sprintf("\nand %s %% iowait, which is idle time", digits.Fixed(w.Mean, 1))
			end = max(end, min(m.Mean+w.Mean, top))
		}
	}
	end = max(end, s.dots(c, f.of, top, places))
	if f.of.Name == "gbps" {
		end = s.published(r.points[c], top, end)
	}
	if role, ok := strings.CutSuffix(f.of.Name, ".watts"); ok && role != "total" {
		if rest := resting(role).Over(c.Runs); rest.N > 0 {
			s.Rest = at(rest.Mean, top)
			s.Tip += fmt.Sprintf("\nat rest before the run: %s W", digits.Fixed(rest.Mean, 1))
		}
	}
	s.TextX = at(end, top)
	return s
}

// dots draws the runs of a cell and tells their values; it gives the largest.
func (s *slot) dots(c *analysis.Cell, of analysis.Metric, top float64, places int) (largest float64) {
	runs := c.Measured()
	var said []string
	for i, one := range runs {
		v := of.Of(one.Record)
		if v == nil {
			continue
		}
		d := dot{X: at(*v, top), Y: float64(s.BarY) + float64(s.BarH)*float64(i+1)/float64(len(runs)+1)}
		text := digits.Fixed(*v, places)
		if one.Dropped != "" {
			d.Class = "dropped"
			text = "(" + text + ")"
		}
		said = append(said, text)
		s.Dots = append(s.Dots, d)
		largest = max(largest, *v)
	}
	if len(said) > 0 {
		s.Tip += "\nruns: " + strings.Join(printable.Shorten(said), ", ")
	}
	if len(c.Dropped) > 0 && len(said) > 0 {
		s.Tip += " (in brackets: left out)"
	}
	return largest
}

// published marks what others had; it gives the end of what is drawn, which the
// figure stands behind.
func (s *slot) published(points []point, top, end float64) float64 {
	for _, p := range points {
		for _, v := range []float64{p.Gbps, p.Upper} {
			if v > 0 {
				s.Marks = append(s.Marks, dot{X: at(v, top), Y: float64(s.Mid)})
				if v > end && v-end < top/8 { // the figure would be under it
					end = v
				}
			}
		}
		s.Tip += fmt.Sprintf("\n◇ %s published, %s", p.Value, p.study)
		if len(p.Differs) > 0 {
			s.Tip += "; here " + strings.Join(p.Differs, ", ")
		}
	}
	return end
}

// resting is an end's power before the run, where it was measured.
func resting(role string) analysis.Metric {
	return analysis.Metric{Of: func(r *results.Record) *float64 {
		e := r.TX
		if role == "rx" {
			e = r.RX
		}
		if e == nil || e.Power == nil {
			return nil
		}
		return e.Power.Baseline
	}}
}

// point is a published figure with its study's name.
type point struct {
	analysis.Beside
	study string
}

// drawing is a report with what its charts look up.
type drawing struct {
	*analysis.Report
	numbers map[*analysis.Cell]int
	points  map[*analysis.Cell][]point // of the chosen studies, at the cells of their axes
}

func drawingOf(r *analysis.Report) *drawing {
	d := &drawing{r, map[*analysis.Cell]int{}, map[*analysis.Cell][]point{}}
	for i, c := range r.Cells {
		d.numbers[c] = i
	}
	for _, ref := range r.References {
		for _, b := range ref.Points {
			if b.Cell != nil {
				d.points[b.Cell] = append(d.points[b.Cell], point{b, ref.Study.Name})
			}
		}
	}
	return d
}

// at is a place on the axis, in percent of the plot.
func at(v, top float64) string {
	if !(top > 0) || math.IsNaN(v) {
		return "0%"
	}
	return fmt.Sprintf("%.2f%%", 100*min(max(v, 0)/top, 1))
}

// tickStep divides an axis into two to five steps of 1, 2 or 5 times a power
// of ten.
func tickStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(top)))
	for _, m := range []float64{0.2, 0.5, 1, 2} {
		if top/(m*unit) <= 5 {
			return m * unit
		}
	}
	return 5 * unit
}

func trim(v float64) string { return fmt.Sprintf("%.6g", v) }

// charts are those of the talk at netdev 0x19: how fast, at what cost in CPU and
// power, and what comes of it; and whether it was zero-copy at all.
func (r *drawing) charts(l layout) []chart {
	has := func(name string) bool {
		return slices.ContainsFunc(r.Cells, func(c *analysis.Cell) bool { return analysis.Known(name).Over(c.Measured()).N > 0 })
	}
	// What no cell has takes no room.
	facets := func(prefix, suffix string, names ...string) []facet {
		titles := map[string]string{"tx": "sender", "rx": "receiver", "total": "both ends"}
		var list []facet
		for _, n := range names {
			if name := prefix + n + suffix; has(name) {
				list = append(list, facet{title: titles[n], of: analysis.Known(name)})
			}
		}
		return list
	}
	list := []chart{r.draw("throughput", "Throughput", l, []facet{{of: analysis.Known("gbps")}}, 0)}
	add := func(id, title, note string, top float64, f []facet) {
		if len(f) > 0 {
			c := r.draw(id, title, l, f, top)
			c.Note = note
			list = append(list, c)
		}
	}
	cpu, note := facets("", ".cpu_percent", "tx", "rx"), "100 % is one CPU; "+r.CPULegend()
	for i := range cpu {
		name := strings.TrimSuffix(cpu[i].of.Name, "cpu_percent") + "iowait_percent"
		if slices.ContainsFunc(r.Cells, func(c *analysis.Cell) bool { return analysis.Known(name).Over(c.Runs).Mean > 0 }) {
			m := analysis.Known(name)
			cpu[i].idle = &m
		}
	}
	if slices.ContainsFunc(cpu, func(f facet) bool { return f.idle != nil }) {
		note += " Dashed: iowait, which is idle time."
	}
	add("cpu", "CPU", note, 0, cpu)
	watts := facets("", ".watts", "tx", "rx")
	if len(watts) == 0 {
		watts = facets("", ".watts", "total") // one meter of both
	}
	note = strings.Replace(r.PowerLegend(), " W: p", "P", 1)
	if slices.ContainsFunc(r.Cells, func(c *analysis.Cell) bool { return resting("tx").Over(c.Runs).N+resting("rx").Over(c.Runs).N > 0 }) {
		note += " The gap in a bar: at rest before the run."
	}
	add("power", "Power", note, 0, watts)
	add("roi", "ROI per CPU", "Return on investment, throughput² / CPU: more is better.", 0, facets("roi.cpu.", "", "tx", "rx", "total"))
	add("roi-power", "ROI per watt", "Throughput² / power: more is better.", 0, facets("roi.power.", "", "tx", "rx", "total"))
	add("zerocopy", "Zero-copied", "Payload that no CPU copied on that end, whoever asked for it.", 100,
		facets("", ".zero_copied_percent", "tx", "rx"))
	return list
}
