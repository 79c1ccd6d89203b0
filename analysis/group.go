package analysis

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/filter"
)

// Cell is all runs of the same settings, or of one group, in order of time.
type Cell struct {
	ID       string   // as in the records; empty where runs of several are pooled
	By       []string // values of the report's by
	TX, RX   string   // engines
	Differs  string   // what tells it from other cells of the same by; often nothing
	Apart    facts    // the same, one by one
	Settings map[string]string
	Runs     []*Run // ok and not dropped: what the figures are made of
	Dropped  []*Run // ok, but left out of the figures
	Failed   []*Run
	Skipped  []*Run
	mixed    []string // settings that are not the same in all of its runs, with their values
	pooled   map[string]bool
}

// Records are all runs of the cell, those that count first.
func (c *Cell) Records() []*Run {
	return slices.Concat(c.Runs, c.Dropped, c.Failed, c.Skipped)
}

// Measured are the runs that ended well, whether they count or not.
func (c *Cell) Measured() []*Run { return slices.Concat(c.Runs, c.Dropped) }

// engine is what the end itself reported, else what was asked of it.
func engine(r *results.Record, e *results.End, role string) string {
	if e != nil && e.Engine != "" {
		return printable.Clip(printable.Line(e.Engine), 24)
	}
	if s, ok := r.Settings[role].(string); ok && s != "" {
		return printable.Clip(printable.Line(s), 24)
	}
	return "(raw)"
}

type pairOfEngines struct{ name, tx, rx string }

// modes are pairs of engines with a name, as --mode has them.
var modes = []pairOfEngines{
	{"baseline", "baseline", "baseline"}, {"msgzc", "msgzc", "mmap"}, {"devmem", "devmem", "devmem"}, {"iouring", "sendzc", "zcrx"},
}

func mode(r *results.Record) string {
	tx, rx := engine(r, r.TX, "tx"), engine(r, r.RX, "rx")
	for _, m := range modes {
		if m.tx == tx && m.rx == rx {
			return m.name
		}
	}
	return ""
}

// attribute is what a run has under a name: among its axes, then among its
// settings, then what it is, then among the facts of its ends, where rx. or
// tx. before the name asks for one end. It is empty where there is none.
func (s *Set) attribute(r *Run, name string) string {
	if v, ok := r.Axes[name]; ok {
		return printable.Line(v)
	}
	switch name {
	case "rx":
		return engine(r.Record, r.RX, "rx")
	case "tx":
		return engine(r.Record, r.TX, "tx")
	}
	if v := r.flat.settings.value(name); v != "" {
		return v
	}
	switch name {
	case "mode":
		return mode(r.Record)
	case "cell":
		return printable.Line(r.Cell)
	case "command":
		return printable.Line(r.Command)
	case "experiment":
		return printable.Line(r.Experiment)
	case "pair":
		return printable.Line(r.Pair)
	case "status":
		return printable.Line(string(r.Status))
	case "repeat":
		return strconv.Itoa(r.Repeat)
	}
	if rest, ok := strings.CutPrefix(name, "rx."); ok {
		return r.flat.rx.value(rest)
	}
	if rest, ok := strings.CutPrefix(name, "tx."); ok {
		return r.flat.tx.value(rest)
	}
	tx, rx := r.flat.tx.value(name), r.flat.rx.value(name)
	if tx == rx || rx == "" {
		return tx
	}
	if tx == "" {
		return rx
	}
	return tx + " → " + rx
}

// names are those that attribute knows in some run, but for the facts.
func (s *Set) names() []string {
	seen := map[string]bool{"mode": true, "tx": true, "rx": true, "cell": true, "command": true, "experiment": true, "pair": true,
		"status": true, "repeat": true}
	for _, r := range s.runs {
		for k := range r.Axes {
			seen[printable.Line(k)] = true
		}
		for _, f := range r.flat.settings {
			seen[f.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// check refuses a name that no run has anything under.
func (s *Set) check(name string) error {
	for _, r := range s.runs {
		if s.attribute(r, name) != "" {
			return nil
		}
	}
	all := s.names()
	return fault.Errorf(fault.Usage, "no run has %q%s; there are %s, and the facts of the ends, such as kernel.release or rx.nic.mtu", name,
		nearest(name, all), strings.Join(printable.Shorten(all), ", "))
}

// filter gives the runs that meet all conditions.
func (s *Set) filter(conditions []filter.Condition) []*Run {
	var runs []*Run
	for _, r := range s.runs {
		if !slices.ContainsFunc(conditions, func(c filter.Condition) bool { return !c.Holds(s.attribute(r, c.Name)) }) {
			runs = append(runs, r)
		}
	}
	return runs
}

// group sorts runs into cells: by the names given, else by the cell's id.
// What by is made of is told too; nil: the engines.
func (s *Set) group(runs []*Run, names []string) (cells []*Cell, by []string) {
	by = names
	if by == nil {
		by = axisNames(runs)
	}
	byKey := map[string]*Cell{}
	for _, r := range runs {
		tx, rx := engine(r.Record, r.TX, "tx"), engine(r.Record, r.RX, "rx")
		// Without an id, the engines are all there is to tell cells apart.
		key := cmp.Or(r.Cell, tx+"\x00"+rx) + "\x00" + r.Pair
		var values []string
		if by != nil {
			values = make([]string, len(by))
			for i, name := range by {
				values[i] = cmp.Or(s.attribute(r, name), "–")
			}
		}
		if names != nil {
			key = strings.Join(values, "\x00")
		}
		c := byKey[key]
		if c == nil {
			c = &Cell{ID: r.Cell, TX: tx, RX: rx, By: values, Settings: s.settings(r)}
			byKey[key] = c
			cells = append(cells, c)
		}
		if c.ID != r.Cell {
			c.ID = ""
		}
		switch {
		case r.Status == results.Skipped:
			c.Skipped = append(c.Skipped, r)
		case r.Status != results.OK: // a status unknown here is no success
			c.Failed = append(c.Failed, r)
		case r.Dropped != "":
			c.Dropped = append(c.Dropped, r)
		default:
			c.Runs = append(c.Runs, r)
		}
	}
	for _, c := range cells {
		for _, list := range [][]*Run{c.Runs, c.Dropped, c.Failed, c.Skipped} {
			slices.SortStableFunc(list, func(a, b *Run) int { return a.Begun.Compare(b.Begun) })
		}
		if names != nil || c.ID == "" {
			s.mix(c)
		}
	}
	if by != nil {
		slices.SortStableFunc(cells, func(a, b *Cell) int {
			return slices.CompareFunc(a.By, b.By, natural)
		})
	}
	if names == nil {
		distinguish(cells)
	}
	return cells, by
}

// axisNames are the names of the axes of a matrix, the engines first; none where
// some run belongs to no matrix.
func axisNames(runs []*Run) []string {
	seen := map[string]bool{}
	for _, r := range runs {
		if len(r.Axes) == 0 {
			return nil
		}
		for n := range r.Axes {
			seen[n] = true
		}
	}
	first := func(name string) int {
		return cmp.Compare(0, slices.Index([]string{"rx", "tx", "engines", "mode"}, name)+1)
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b string) int {
		return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(a, b))
	})
}

// natural orders values as people do: modes from plain to zero-copy, off
// before on, software before hardware, then numbers by their value, times by theirs,
// then the rest by the alphabet.
func natural(a, b string) int {
	order := []string{"baseline", "msgzc", "devmem", "iouring", "off", "on", "false", "true", "no", "yes", "sw", "hw", "software",
		"hardware"}
	rank := func(s string) (class int, value float64) {
		if d, err := time.ParseDuration(s); err == nil && s != "0" {
			return 2, d.Seconds()
		}
		if i := slices.Index(order, s); i >= 0 {
			return 0, float64(i)
		}
		digits, unit := s, 1.0
		for i, suffix := range []string{"K", "M", "G"} {
			if rest, ok := strings.CutSuffix(s, suffix); ok {
				digits, unit = rest, math.Pow(1024, float64(i+1))
			}
		}
		if v, err := strconv.ParseFloat(digits, 64); err == nil {
			return 1, v * unit
		}
		return 3, 0
	}
	i, x := rank(a)
	j, y := rank(b)
	return cmp.Or(cmp.Compare(i, j), cmp.Compare(x, y), byNumbers(a, b), strings.Compare(a, b))
}

// byNumbers orders texts by their words, and numbers in them by their value.
func byNumbers(a, b string) int {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	for a != "" && b != "" {
		i, j := len(a)-len(strings.TrimLeftFunc(a, digit)), len(b)-len(strings.TrimLeftFunc(b, digit))
		if i == 0 || j == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		x, y := strings.TrimLeft(a[:i], "0"), strings.TrimLeft(b[:j], "0")
		if n := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); n != 0 {
			return n
		}
		a, b = a[i:], b[j:]
	}
	return cmp.Compare(len(a), len(b))
}

// settings are those of a run by their flat names, but for the engines, which
// are said elsewhere, and the pair of hosts where there are several.
func (s *Set) settings(r *Run) map[string]string {
	m := map[string]string{}
	for _, f := range r.flat.settings {
		m[f.Name] = f.Value
	}
	delete(m, "tx")
	delete(m, "rx")
	if r.Pair != "" {
		m["pair"] = printable.Line(r.Pair)
	}
	return m
}

// mix finds what a group's runs do not share: settings and engines.
func (s *Set) mix(c *Cell) {
	seen := map[string][]string{}
	for _, r := range c.Measured() {
		flat := s.settings(r)
		flat["engines"] = engine(r.Record, r.TX, "tx") + " → " + engine(r.Record, r.RX, "rx")
		for k := range seen {
			if _, ok := flat[k]; !ok {
				flat[k] = "unset"
			}
		}
		for k, v := range flat {
			if list := seen[k]; !slices.Contains(list, v) {
				seen[k] = append(list, v)
			}
		}
	}
	c.mixed, c.pooled = nil, map[string]bool{}
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		if len(seen[k]) < 2 {
			continue
		}
		slices.SortFunc(seen[k], natural)
		values := strings.Join(printable.Shorten(seen[k]), " / ")
		c.mixed = append(c.mixed, k+" "+values)
		if k != "engines" {
			c.Settings[k], c.pooled[k] = values, true
		}
	}
	var tx, rx []string
	for _, r := range c.Records() {
		tx, rx = add(tx, engine(r.Record, r.TX, "tx")), add(rx, engine(r.Record, r.RX, "rx"))
	}
	slices.Sort(tx)
	slices.Sort(rx)
	c.TX, c.RX = strings.Join(printable.Shorten(tx), " / "), strings.Join(printable.Shorten(rx), " / ")
}

// distinguish names the settings that tell cells of the same name apart.
func distinguish(cells []*Cell) {
	same := map[string][]*Cell{}
	for _, c := range cells {
		same[c.Name()] = append(same[c.Name()], c)
	}
	for _, cs := range same {
		_, varying := split(cs)
		for _, c := range cs {
			var parts []string
			c.Apart = nil
			for _, k := range varying {
				if v, ok := c.Settings[k]; ok {
					parts = append(parts, k+" "+v)
					c.Apart = append(c.Apart, results.Fact{Name: k, Value: v})
				}
			}
			c.Differs = strings.Join(parts, ", ")
		}
	}
}

// split sorts the names of settings into those all cells share and the others.
func split(cells []*Cell) (common, varying []string) {
	names := map[string]bool{}
	for _, c := range cells {
		for k := range c.Settings {
			names[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		first, has := cells[0].Settings[k]
		if has && !slices.ContainsFunc(cells, func(c *Cell) bool { v, ok := c.Settings[k]; return !ok || v != first || c.pooled[k] }) {
			common = append(common, k)
		} else {
			varying = append(varying, k)
		}
	}
	return common, varying
}

// Common are the settings that all cells share.
func (r *Report) Common() (list []results.Fact) {
	names, _ := split(r.Cells)
	for _, k := range names {
		list = append(list, results.Fact{Name: k, Value: r.Cells[0].Settings[k]})
	}
	return list
}

// Varying are the names of the other settings, but for those that cells are told
// apart by.
func (r *Report) Varying() []string {
	_, names := split(r.Cells)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(r.By, n) })
}
