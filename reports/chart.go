package reports

import (
	"fmt"
	"math"
	"strings"
)

// chart is a bar chart as the template draws it. Heights are pixels and
// widths percent of the drawing, so that it fits any width with text of the
// same size.
type chart struct {
	ID, Title, Unit, Desc string
	Height, Plot          int // of the drawing, and of its part above the axis
	Ticks                 []tick
	Rows                  []chartRow
}

type tick struct {
	X     string // percent
	Label string
}

// chartRow is a cell: a line of text and its bars under it.
type chartRow struct {
	Label, Differs string
	LabelY         int
	Missing        string // in place of bars
	MissingY       int
	Bars           []bar
}

type bar struct {
	Class     string
	Y, Height int
	Width     string // percent
	Text      string // the figure and what it is of: colour alone says nothing
	TextX     string // percent
	TextY     int
	Title     string
	Dots      []dot
}

// dot is one run.
type dot struct {
	X     string // percent
	Y     float64
	R     float64
	Class string
	Title string
}

// serie is one bar in each row of a chart.
type serie struct {
	class, name string
	of          metric
}

// What a row of a chart takes, in pixels. Rows are as high in every chart,
// so that charts side by side read across.
const (
	labelHeight = 22
	bandHeight  = 50
	rowGap      = 12
	barGap      = 3
	axisHeight  = 24
	barSpace    = 72 // percent of the width; the rest is for the figure
)

// draw makes a chart of one bar for each serie and cell.
func draw(id, title, unit string, cells []*cell, series []serie, top float64, text func(figure, int) string) chart {
	c := chart{ID: id, Title: title, Unit: unit}
	var all []figure
	highest := 0.0
	for _, k := range cells {
		for _, s := range series {
			f := over(k.runs, s.of)
			all = append(all, f)
			if shown := over(k.measured(), s.of); shown.n > 0 {
				highest = max(highest, shown.max)
			}
		}
	}
	if top == 0 {
		top = highest
	}
	step := tickStep(top)
	places := decimals(all...)
	for i := range 6 {
		v := float64(i) * step
		if i > 0 && !(v <= top*(1+1e-9)) { // no number is at most NaN
			break
		}
		c.Ticks = append(c.Ticks, tick{X: at(v, top), Label: trim(v)})
	}
	y := 0
	var words []string
	for i, k := range cells {
		row := chartRow{Label: k.name(), Differs: k.differs, LabelY: y + 15}
		band := y + labelHeight
		var said []string
		if len(k.runs) == 0 {
			status, _ := k.unmeasured()
			row.Missing, row.MissingY = string(status), band+16
			said = []string{string(status)}
		}
		height := (bandHeight - barGap*(len(series)-1)) / max(2, len(series))
		for s, one := range series {
			f := all[i*len(series)+s]
			if len(k.runs) == 0 {
				continue
			}
			// A single bar sits in the middle of its band.
			used := height*len(series) + barGap*(len(series)-1)
			b := bar{Class: one.class, Y: band + (bandHeight-used)/2 + s*(height+barGap), Height: height}
			b.TextY = b.Y + height/2 + 4
			end := 0.0
			if f.n > 0 {
				end = f.mean
				value := text(f, places)
				b.Text = strings.TrimSpace(value + " " + one.name)
				b.Title = fmt.Sprintf("%s: %s %s, mean of %d", k.label(), value, unit, f.n)
				if f.n > 1 {
					b.Title += fmt.Sprintf(" (%s)", f.spread(places))
				}
			} else {
				b.Text = strings.TrimSpace(one.name + " not measured")
			}
			said = append(said, b.Text)
			b.Width = at(end, top)
			b.Dots, end = dots(k, one, b, top, end, places)
			b.TextX = at(end, top)
			row.Bars = append(row.Bars, b)
		}
		words = append(words, k.label()+": "+strings.Join(said, ", "))
		c.Rows = append(c.Rows, row)
		y = band + bandHeight + rowGap
	}
	c.Plot = y
	c.Height = y + axisHeight
	c.Desc = strings.Join(words, ". ") + "."
	return c
}

// dots places each run over its bar, in order of time from top to bottom, and
// gives the end of the rightmost.
func dots(k *cell, s serie, b bar, top, end float64, places int) ([]dot, float64) {
	var list []dot
	runs := k.measured()
	for i, r := range runs {
		v := s.of.of(r.Record)
		if v == nil {
			continue
		}
		d := dot{
			X: at(*v, top), Y: float64(b.Y) + float64(b.Height)*float64(i+1)/float64(len(runs)+1), R: 2.5,
			Title: fmt.Sprintf("run %d: %s", r.Repeat+1, fixed(*v, places)),
		}
		if r.Dropped != "" {
			d.Class = "dropped"
			d.Title += ", left out: " + clean(r.Dropped)
		}
		list = append(list, d)
		end = max(end, *v)
	}
	return list, end
}

// at is a place on the axis, in percent of the drawing.
func at(v, top float64) string {
	if top <= 0 {
		return "0%"
	}
	return fmt.Sprintf("%.1f%%", barSpace*min(max(v, 0)/top, 1))
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

// charts are those of a first look: how fast, at what cost, what comes of
// it, and whether it was zero-copy at all.
func charts(cells []*cell) []chart {
	tx, rx := "tx", "rx"
	plain := func(f figure, places int) string { return f.text(places) }
	return []chart{
		draw("throughput", "Throughput", "Gbit/s", cells, []serie{{"speed", "", known("gbps")}}, 0, plain),
		draw("cpu", "CPU by end", "% of one CPU", cells, []serie{{tx, "sender", known("tx.cpu_percent")}, {rx, "receiver", known("rx.cpu_percent")}}, 0,
			func(f figure, _ int) string { return f.text(1) }),
		draw("roi", "ROI: throughput² per CPU", "(Gbit/s)² per CPU %", cells,
			[]serie{{tx, "sender", known("roi.cpu.tx")}, {rx, "receiver", known("roi.cpu.rx")}, {"both", "both", known("roi.cpu.total")}}, 0, plain),
		draw("zerocopy", "Payload that no CPU copied", "% of payload", cells,
			[]serie{{tx, "sender", known("tx.zero_copied_percent")}, {rx, "receiver", known("rx.zero_copied_percent")}}, 100,
			func(f figure, _ int) string { return percent(f.mean) }),
	}
}
