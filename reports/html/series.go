package html

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"zcbench/analysis"
	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// detail is what the page knows of single runs, as JSON that its script draws.
// Of many long runs there is room for some only: one of each cell first, that
// with the median throughput, then the others.
type detail struct {
	Shown, Runs int // with details, and in all
	Failed      []string
	JSON        any
}

const (
	// mostDetail bounds the JSON, mostReread what is read again for it, and
	// mostPoints the samples that one run's series keep.
	mostDetail = 3 << 20
	mostReread = 64 << 20
	mostPoints = 120
	fewPoints  = 50 // of a page of more than manyRuns
	manyRuns   = 100
)

type detailPage struct {
	Cells []detailCell      `json:"cells"`
	Runs  []json.RawMessage `json:"runs"` // detailRun
}

type detailCell struct {
	Name  string `json:"name"`
	First int    `json:"first"` // the run to show first, -1: none
}

type detailRun struct {
	Cell    int                   `json:"cell"`
	Name    string                `json:"name"`
	ID      string                `json:"id"`
	Gbps    string                `json:"gbps"`
	Dropped string                `json:"dropped,omitempty"`
	Ends    map[string]*detailEnd `json:"ends"`
}

type detailEnd struct {
	Times    string             `json:"t,omitempty"` // ends of the samples, in ms
	Series   map[string]columnJ `json:"s,omitempty"`
	Merged   int                `json:"merged,omitempty"` // samples to a point, when more than one
	Frames   []histogram        `json:"frames,omitempty"`
	Syscalls []detailCall       `json:"calls,omitempty"`
	Profile  *detailProfile     `json:"profile,omitempty"`
	CPUs     []detailCPU        `json:"cpus,omitempty"`
}

// columnJ is a column of numbers: steps of K, each as the difference to the one
// before. "5 -1*3" is 5 4 3 2; "x" is no value.
type columnJ struct {
	K float64 `json:"k"`
	V string  `json:"v"`
}

type histogram struct {
	Title string   `json:"title"`
	Note  string   `json:"note,omitempty"`
	Names []string `json:"names"`
	Count []uint64 `json:"count"`
}

type detailCall struct {
	Name   string  `json:"name"`
	Calls  uint64  `json:"calls"`
	PerGB  float64 `json:"per_gb"`
	Errors uint64  `json:"errors,omitempty"`
	Total  float64 `json:"ms,omitempty"`
	Min    float64 `json:"min,omitempty"`
	Mean   float64 `json:"mean,omitempty"`
	Max    float64 `json:"max,omitempty"`
}

type detailProfile struct {
	About   string           `json:"about"`
	Symbols []results.Symbol `json:"symbols"`
	Stacks  []string         `json:"stacks"`
}

type detailCPU struct {
	CPU    int                `json:"cpu"`
	States map[string]float64 `json:"states"`
	Idle   map[string]float64 `json:"idle,omitempty"`
	MHz    float64            `json:"mhz,omitempty"`
}

// candidates are the runs in the order in which the page takes them.
func (r *drawing) candidates() []*analysis.Run {
	var first, others []*analysis.Run
	for _, c := range r.Cells {
		list := c.Runs
		if len(list) == 0 {
			list = c.Dropped
		}
		if len(list) == 0 {
			continue
		}
		byGbps := slices.SortedStableFunc(slices.Values(list), func(a, b *analysis.Run) int { return cmp.Compare(a.Gbps, b.Gbps) })
		middle := byGbps[(len(byGbps)-1)/2]
		first = append(first, middle)
		for _, one := range c.Measured() {
			if one != middle {
				others = append(others, one)
			}
		}
	}
	return slices.Concat(first, others)
}

// detail gathers what there is room for.
func (r *drawing) detail() *detail {
	of := map[*analysis.Run]int{}
	d := &detail{}
	for i, c := range r.Cells {
		for _, one := range c.Measured() {
			of[one] = i
			d.Runs++
		}
	}
	points := mostPoints
	if d.Runs > manyRuns {
		points = fewPoints
	}
	page := detailPage{Cells: make([]detailCell, len(r.Cells)), Runs: []json.RawMessage{}}
	for i, c := range r.Cells {
		page.Cells[i] = detailCell{Name: r.Labelled(c), First: -1}
	}
	plan := r.candidates()
	read := 0
	for i, one := range plan {
		if read += one.Size; read > mostReread {
			plan = plan[:i]
			break
		}
	}
	// Several read at once, in order, until there is enough: what is shown does
	// not depend on who was faster.
	type made struct {
		text []byte
		err  error
	}
	all := make([]made, len(plan))
	var next, sum atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for sum.Load() <= mostDetail {
				i := int(next.Add(1)) - 1
				if i >= len(plan) {
					return
				}
				all[i].text, all[i].err = embed(plan[i], of[plan[i]], points)
				sum.Add(int64(len(all[i].text)))
			}
		})
	}
	workers.Wait()
	written := 0
	for i, m := range all {
		if m.err != nil {
			if len(d.Failed) < 5 {
				d.Failed = append(d.Failed, printable.Line(m.err.Error()))
			}
			continue
		}
		if written += len(m.text); m.text == nil || written > mostDetail {
			break
		}
		if c := &page.Cells[of[plan[i]]]; c.First < 0 {
			c.First = len(page.Runs)
		}
		page.Runs = append(page.Runs, m.text)
	}
	d.Shown, d.JSON = len(page.Runs), page
	if d.Shown == 0 && len(d.Failed) == 0 {
		return nil
	}
	return d
}

// embed is the JSON of a run.
func embed(r *analysis.Run, cell, points int) ([]byte, error) {
	rec, err := r.Full()
	if err != nil {
		return nil, err
	}
	d := detailRun{Cell: cell, Name: fmt.Sprint(r.Repeat + 1), ID: printable.Line(r.ID), Gbps: digits.Fixed(r.Gbps, digits.Places(r.Gbps)),
		Dropped: printable.Line(r.Dropped), Ends: map[string]*detailEnd{}}
	for role, e := range map[string]*results.End{"tx": rec.TX, "rx": rec.RX} {
		if e != nil {
			d.Ends[role] = end(e, role, rec.Samples, points)
		}
	}
	return json.Marshal(d)
}

func end(e *results.End, role string, samples []results.Sample, points int) *detailEnd {
	d := &detailEnd{}
	var mine []results.Sample
	for _, s := range samples {
		if s.End == role {
			mine = append(mine, s)
		}
	}
	d.series(mine, points)
	if e.Verify != nil {
		d.Frames = append(d.Frames, frames("received", &e.Verify.Received)...)
		d.Frames = append(d.Frames, frames("sent", &e.Verify.Sent)...)
	}
	d.Frames = append(d.Frames, fragments(e)...)
	for _, name := range slices.Sorted(maps.Keys(e.Syscalls)) {
		if e.Syscalls[name] == 0 {
			continue
		}
		c := detailCall{Name: printable.Line(name), Calls: e.Syscalls[name]}
		if e.Bytes > 0 {
			c.PerGB = round(float64(c.Calls) / (float64(e.Bytes) / 1e9))
		}
		d.Syscalls = append(d.Syscalls, c)
	}
	for _, cost := range e.SyscallCosts {
		name := printable.Line(cost.Name)
		i := slices.IndexFunc(d.Syscalls, func(c detailCall) bool { return c.Name == name })
		if i < 0 {
			i = len(d.Syscalls)
			d.Syscalls = append(d.Syscalls, detailCall{Name: name, Calls: cost.Calls})
			if e.Bytes > 0 {
				d.Syscalls[i].PerGB = round(float64(cost.Calls) / (float64(e.Bytes) / 1e9))
			}
		}
		c := &d.Syscalls[i]
		c.Errors, c.Total, c.Min, c.Mean, c.Max = cost.Errors, round(cost.Total), round(cost.Min), round(cost.Mean), round(cost.Max)
	}
	slices.SortStableFunc(d.Syscalls,
		func(a, b detailCall) int { return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(b.Calls, a.Calls)) })
	if p := e.Profile; p != nil && len(p.Stacks)+len(p.Symbols) > 0 {
		about := fmt.Sprintf("%s of %s, %d a second and CPU", printable.Count(p.Samples, "sample"), printable.Line(p.Event), p.Hz)
		if p.Lost > 0 {
			about += fmt.Sprintf("; %d lost", p.Lost)
		}
		d.Profile = &detailProfile{About: about}
		for _, s := range p.Symbols[:min(15, len(p.Symbols))] {
			d.Profile.Symbols = append(d.Profile.Symbols,
				results.Symbol{Name: printable.Line(s.Name), Module: printable.Line(s.Module), Percent: round(s.Percent)})
		}
		for _, s := range p.Stacks[:min(600, len(p.Stacks))] {
			d.Profile.Stacks = append(d.Profile.Stacks, printable.Line(s))
		}
	}
	for _, c := range e.CPUs[:min(64, len(e.CPUs))] {
		d.CPUs = append(d.CPUs, detailCPU{c.CPU, tidy(c.States), tidy(c.Idle), round(c.MHz)})
	}
	return d
}

// tidy rounds values, and leaves out what is nothing.
func tidy(m map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for k, v := range m {
		if v = round(v); v != 0 {
			out[printable.Line(k)] = v
		}
	}
	return out
}

// round keeps seven digits; what is no number becomes 0.
func round(v float64) float64 {
	if v == 0 || !finite(v) {
		return 0
	}
	v, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 7, 64), 64)
	if err != nil {
		return 0
	}
	return v
}

// finite says whether JSON has such a number.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// series puts the samples into columns of at most so many points, each the
// mean over the time of its samples.
func (d *detailEnd) series(samples []results.Sample, points int) {
	if len(samples) == 0 {
		return
	}
	merge := (len(samples) + points - 1) / points
	if merge > 1 {
		d.Merged = merge
	}
	names := map[string]bool{}
	for _, s := range samples {
		for k := range s.Series {
			names[k] = true
		}
	}
	const most = 60
	of := map[string]func(*results.Sample) (float64, bool){
		"gbps":        func(s *results.Sample) (float64, bool) { return s.Gbps, true },
		"cpu_percent": func(s *results.Sample) (float64, bool) { return value(s.CPUPercent) },
		"watts":       func(s *results.Sample) (float64, bool) { return value(s.Watts) },
	}
	for _, k := range slices.Sorted(maps.Keys(names))[:min(most, len(names))] {
		if of[k] == nil && k != "cpu_idle_percent" {
			of[k] = func(s *results.Sample) (float64, bool) { v, ok := s.Series[k]; return v, ok }
		}
	}
	var times []float64
	for chunk := range slices.Chunk(samples, merge) {
		last := chunk[len(chunk)-1]
		times = append(times, last.Start+last.Seconds)
	}
	d.Times = encode(times, 0.001)
	d.Series = map[string]columnJ{}
	for name, get := range of {
		var values []float64
		largest, some := 0.0, false
		for chunk := range slices.Chunk(samples, merge) {
			sum, seconds := 0.0, 0.0
			for i := range chunk {
				if v, ok := get(&chunk[i]); ok && finite(v) {
					t := max(chunk[i].Seconds, 1e-9)
					sum, seconds = sum+v*t, seconds+t
				}
			}
			v := sum / seconds // not a number where there is none
			if finite(v) {
				largest, some = max(largest, math.Abs(v)), true
			}
			values = append(values, v)
		}
		if some {
			// Three digits of the largest value.
			k := 1.0
			if largest > 0 {
				k = math.Pow(10, math.Floor(math.Log10(largest))-2)
			}
			if largest > 1e300 || !finite(k) || k == 0 {
				continue
			}
			d.Series[printable.Line(name)] = columnJ{k, encode(values, k)}
		}
	}
}

func value(v *float64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return *v, true
}

// encode writes values as a columnJ does.
func encode(values []float64, k float64) string {
	var b strings.Builder
	last, repeats, before := "", 0, int64(0)
	flush := func() {
		if repeats == 0 {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(last)
		if repeats > 1 {
			fmt.Fprintf(&b, "*%d", repeats)
		}
	}
	for _, v := range values {
		text := "x"
		if finite(v) && math.Abs(v/k) < 1e15 {
			step := int64(math.Round(v / k))
			text = strconv.FormatInt(step-before, 10)
			before = step
		}
		if text != last {
			flush()
			last, repeats = text, 0
		}
		repeats++
	}
	flush()
	return b.String()
}

// frames are the histograms of what crossed an interface in one direction.
func frames(name string, d *results.Direction) []histogram {
	if d.Bytes == 0 {
		return nil
	}
	var list []histogram
	for _, h := range []struct {
		title, up string
		of        map[int]uint64
	}{{"Frames " + name + ", by bytes of payload", "up to ", d.Sizes}, {"Segments " + name + ", by bytes of payload", "", d.Segments}} {
		const most = 16
		one := histogram{Title: h.title}
		keys := slices.SortedFunc(maps.Keys(h.of), func(a, b int) int { return cmp.Or(cmp.Compare(h.of[b], h.of[a]), cmp.Compare(a, b)) })
		if n := len(keys) - most; n > 0 {
			one.Note = fmt.Sprintf("%d rarer sizes left out", n)
			keys = keys[:most]
		}
		slices.Sort(keys)
		for _, k := range keys {
			one.Names, one.Count = append(one.Names, h.up+strconv.Itoa(k)), append(one.Count, h.of[k])
		}
		if len(keys) > 0 {
			list = append(list, one)
		}
	}
	return list
}

// fragments is the histogram of what devmem receivers count.
func fragments(e *results.End) []histogram {
	c := e.Counters
	counts := []float64{c["recvmsg_frags_below_512"], c["recvmsg_frags_512_to_1024"], c["recvmsg_frags_above_1024"]}
	sum := 0.0
	h := histogram{Title: "Fragments of a recvmsg", Names: []string{"below 512", "512 to 1024", "above 1024"}}
	for _, v := range counts {
		if !(v >= 0 && v < 1e18) {
			return nil
		}
		sum += v
		h.Count = append(h.Count, uint64(v))
	}
	if sum == 0 {
		return nil
	}
	h.Note = fmt.Sprintf("mean %.1f, min %.0f, max %.0f", c["tokens"]/sum, c["recvmsg_frags_min"], c["recvmsg_frags_max"])
	return []histogram{h}
}
