package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"time"

	"zcbench/endpoint/driver"
	"zcbench/internal/fault"
	"zcbench/results"
	"zcbench/results/filter"
)

// Plan is a spec on hosts that are known.
type Plan struct {
	Spec  *Spec
	Cells []Cell // in the order of the spec
	part  part
}

// part is a shard of a plan that had all cells.
type part struct {
	shard, of int // from 1; 0: the plan is whole
	all       int
	whole     string // digest
}

// Cell is one trial on one pair.
type Cell struct {
	ID    string // a hash of Trial.Settings
	Pair  *Pair
	Axes  []Label // in the order of the spec
	Trial Trial
	// Missing is what the hosts lack for it; nothing: it can run.
	Missing []string
}

// Label is a cell's place on an axis.
type Label struct{ Axis, Value string }

// Run is one repeat of a cell.
type Run struct {
	Cell    *Cell
	Repeat  int    // from 0
	Dropped string // why it is left out of figures, or ""
}

// overhead is what a run takes beside warm-up and window, for estimates.
const overhead = 1500 * time.Millisecond

// String names the cell for people: "mode=devmem gro=hw", on which pair where
// there are several.
func (c *Cell) String() string {
	var words []string
	if c.Pair.Name != "" {
		words = append(words, c.Pair.Name+":")
	}
	for _, l := range c.Axes {
		words = append(words, l.Axis+"="+l.Value)
	}
	if len(c.Axes) == 0 {
		words = append(words, c.Trial.TX.Engine+" → "+c.Trial.RX.Engine)
	}
	return strings.Join(words, " ")
}

// alone is the command that runs this cell and no other of a spec.
func (c *Cell) alone(path string) string {
	var terms []string
	if c.Pair.Name != "" {
		terms = append(terms, "pair="+c.Pair.Name)
	}
	for _, l := range c.Axes {
		terms = append(terms, l.Axis+"="+l.Value)
	}
	command := "zcbench run '" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	if len(terms) > 0 {
		command += " --only '" + strings.Join(terms, ",") + "'" // names have no quotes
	}
	return command
}

// key tells a cell from all others of the plan.
func (c *Cell) key() string { return c.Pair.Name + "/" + c.ID }

// draft is a cell before it meets its hosts.
type draft struct {
	labels []Label
	flags  []Flags // later ones override
}

// Expand gives the cells of the spec on pairs whose hosts were surveyed, by
// name of pair. It is pure. Cells that the hosts cannot run are there, with
// what is missing.
func (s *Spec) Expand(at map[string]results.Pair[Survey], resolve Resolver) (*Plan, error) {
	drafts, err := s.drafts()
	if err != nil {
		return nil, err
	}
	p := &Plan{Spec: s, Cells: make([]Cell, 0, len(drafts)*len(s.Pairs))}
	for i := range s.Pairs {
		pair := &s.Pairs[i]
		survey, ok := at[pair.Name]
		if !ok {
			return nil, fault.Errorf(fault.Usage, "nothing is known of pair %q: the facts are those of other pairs", pair.Name)
		}
		rx, tx := lacking{map[string]string{}, &survey.RX}, lacking{map[string]string{}, &survey.TX}
		seen := map[string]*Cell{}
		for _, d := range drafts {
			c := Cell{Pair: pair, Axes: d.labels}
			flags, err := s.fill(d.flags, pair)
			if err == nil {
				c.Trial, err = resolve(*pair, flags, survey)
			}
			if err != nil {
				return nil, fmt.Errorf("cell %s: %w", c.String(), err)
			}
			if c.Trial.Command == "" {
				c.Trial.Command = c.alone(s.path)
			}
			c.ID = driver.CellID(c.Trial.Settings)
			c.Missing = append(rx.of(&c.Trial.RX), tx.of(&c.Trial.TX)...)
			slices.Sort(c.Missing)
			if other := seen[c.ID]; other != nil {
				return nil, fault.Errorf(fault.Usage, "cells %s and %s are the same run: what sets them apart changes nothing, so exclude one", other,
					c.String())
			}
			p.Cells = append(p.Cells, c)
			seen[c.ID] = &p.Cells[len(p.Cells)-1]
		}
	}
	return p, nil
}

// drafts are the product of the axes but for what is excluded, and the extra
// cells.
func (s *Spec) drafts() ([]draft, error) {
	all := []draft{{flags: []Flags{s.base}}}
	for _, a := range s.Axes {
		next := make([]draft, 0, len(all)*len(a.Values))
		for _, d := range all {
			for _, v := range a.Values {
				next = append(next, draft{append(slices.Clone(d.labels), Label{a.Name, v.Label}), append(slices.Clone(d.flags), v.flags)})
			}
		}
		all = next
	}
	all = slices.DeleteFunc(all, func(d draft) bool {
		return slices.ContainsFunc(s.exclude, func(e exclusion) bool { return e.matches(d.labels) })
	})
	for _, e := range s.include {
		d := draft{flags: []Flags{s.base}}
		for _, a := range s.Axes {
			label, ok := e.labels[a.Name]
			if !ok {
				continue
			}
			d.labels = append(d.labels, Label{a.Name, label})
			if i := slices.IndexFunc(a.Values, func(v Value) bool { return v.Label == label }); i >= 0 {
				d.flags = append(d.flags, a.Values[i].flags)
			}
		}
		d.flags = append(d.flags, e.flags)
		if slices.ContainsFunc(all, func(o draft) bool { return slices.Equal(o.labels, d.labels) }) {
			return nil, mistake(e.line, "the extra cell has the axes of another cell: give it a value of its own on one of them")
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		return nil, fault.Errorf(fault.Usage, "%s: no cell is left of the axes", s.Name)
	}
	return all, nil
}

func (e exclusion) matches(labels []Label) bool {
	n := 0
	for _, l := range labels {
		if values, ok := e[l.Axis]; ok && slices.Contains(values, l.Value) {
			n++
		}
	}
	return n == len(e)
}

// fill merges flags and puts in the variables of the pair.
func (s *Spec) fill(parts []Flags, p *Pair) (Flags, error) {
	flags := Flags{}
	for _, part := range parts {
		for name, values := range part {
			flags[name] = s.merge(name, flags[name], values)
		}
	}
	for name, values := range flags {
		for i, v := range values {
			if !strings.Contains(v, "${") {
				continue
			}
			v = variableForm.ReplaceAllStringFunc(v, func(m string) string {
				name := m[2 : len(m)-1]
				if own, ok := p.variables[name]; ok {
					return own
				}
				return s.variables[name]
			})
			if err := s.known[name].Check(v); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			values = slices.Clone(values)
			values[i] = v
			flags[name] = values
		}
	}
	return flags, nil
}

// Only keeps the cells that meet a filter of axes, of which pair is one, as filter.Parse
// reads it. Values of an axis that is there twice add up.
func (p *Plan) Only(text string) error {
	conditions, err := filter.Parse(text, func(string) bool { return true })
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	want := exclusion{}
	var not []exclusion
	for _, c := range conditions {
		for _, v := range c.Values {
			label, err := p.hasLabel(c.Name, v)
			if err != nil {
				return err
			}
			if c.Not {
				not = append(not, exclusion{c.Name: {label}})
			} else {
				want[c.Name] = append(want[c.Name], label)
			}
		}
	}
	kept := p.Cells[:0]
	for _, c := range p.Cells {
		labels := append(slices.Clone(c.Axes), Label{"pair", c.Pair.Name})
		if want.matches(labels) && !slices.ContainsFunc(not, func(e exclusion) bool { return e.matches(labels) }) {
			kept = append(kept, c)
		}
	}
	if p.Cells = kept; len(kept) == 0 {
		return fault.Errorf(fault.Usage, "--only %q leaves no cell", text)
	}
	return nil
}

// hasLabel gives a value as its axis has it: a size may have another unit.
func (p *Plan) hasLabel(axis, value string) (string, error) {
	axes, values := map[string]bool{}, map[string]bool{}
	for _, c := range p.Cells {
		for _, l := range append(slices.Clone(c.Axes), Label{"pair", c.Pair.Name}) {
			axes[l.Axis] = true
			if l.Axis == axis {
				values[l.Value] = true
				if !values[value] && filter.Same(value, l.Value) {
					value = l.Value
				}
			}
		}
	}
	for _, part := range []struct {
		what, name string
		all        map[string]bool
	}{{"axis", axis, axes}, {"value of axis " + axis, value, values}} {
		if !part.all[part.name] {
			known := slices.Sorted(maps.Keys(part.all))
			meant := ""
			if near := nearest(part.name, known); near != "" {
				meant = fmt.Sprintf(" (did you mean %q?)", near)
			}
			return "", fault.Errorf(fault.Usage, "--only: no %s is called %q%s; there are: %s", part.what, part.name, meant,
				strings.Join(known, " "))
		}
	}
	return value, nil
}

// Shard keeps part i, from 1, of n: whole cells, dealt out at random but always
// alike, so that all repeats of a cell are run by one machine.
func (p *Plan) Shard(i, n int) error {
	if n < 1 || i < 1 || i > n {
		return fault.Errorf(fault.Usage, "shard %d of %d: the first number must be from 1 to the second", i, n)
	}
	p.part = part{i, n, len(p.Cells), p.digest()}
	var kept []Cell
	for at, k := range p.deal() {
		if at%n == i-1 {
			kept = append(kept, p.Cells[k])
		}
	}
	p.Cells = kept
	return nil
}

// deal is a random order of the cells that depends on the seed alone.
func (p *Plan) deal() []int {
	return rand.New(rand.NewPCG(p.Spec.Seed, 0)).Perm(len(p.Cells))
}

// Runs are all runs in order: repeats outside, cells inside, shuffled anew for
// each repeat, so that drift of the machine hits all cells alike.
func (p *Plan) Runs() []Run {
	var runs []Run
	for repeat := range p.Spec.Repeats {
		r := rand.New(rand.NewPCG(p.Spec.Seed, uint64(repeat)+1))
		dropped := p.Spec.dropped(repeat)
		for _, i := range r.Perm(len(p.Cells)) {
			runs = append(runs, Run{&p.Cells[i], repeat, dropped})
		}
	}
	return runs
}

// Missing lists what hosts lack, each with how many cells want it.
func (p *Plan) Missing() []Lack {
	cells := map[Lack]int{}
	for i := range p.Cells {
		c := &p.Cells[i]
		for _, m := range c.Missing {
			cells[Lack{Pair: c.Pair.Name, What: m}]++
		}
	}
	var all []Lack
	for l, n := range cells {
		l.Cells = n
		all = append(all, l)
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].Pair < all[j].Pair || all[i].Pair == all[j].Pair && all[i].What < all[j].What
	})
	return all
}

// Lack is something that the hosts of a pair do not have.
type Lack struct {
	Pair  string `json:"pair"`
	What  string `json:"what"`
	Cells int    `json:"cells"` // that want it
}

// Time is how long runs take, pairs side by side. What cannot be run takes
// none.
func (p *Plan) Time(runs []Run) time.Duration {
	queues, longest := p.queues(), time.Duration(0)
	sum := make([]time.Duration, len(queues))
	for _, r := range runs {
		if len(r.Cell.Missing) > 0 {
			continue
		}
		i := slices.IndexFunc(queues, func(q []string) bool { return slices.Contains(q, r.Cell.Pair.Name) })
		sum[i] += r.Cell.Trial.expected() + overhead + p.Spec.Cooldown
		longest = max(longest, sum[i])
	}
	return longest
}

// queues are the pairs, by name, that run one after the other because they
// share a host; the queues run side by side.
func (p *Plan) queues() [][]string {
	var queues [][]string
	var hosts []map[string]bool
	for _, pair := range p.Spec.Pairs {
		names, mine := []string{pair.Name}, map[string]bool{pair.TX.machine(): true, pair.RX.machine(): true}
		for i := 0; i < len(queues); {
			shared := false
			for h := range mine {
				shared = shared || hosts[i][h]
			}
			if !shared {
				i++
				continue
			}
			names = append(queues[i], names...)
			maps.Copy(mine, hosts[i])
			queues, hosts = slices.Delete(queues, i, i+1), slices.Delete(hosts, i, i+1)
		}
		queues, hosts = append(queues, names), append(hosts, mine)
	}
	return queues
}

// digest changes when the runs, their order or what becomes of them do.
func (p *Plan) digest() string {
	h := sha256.New()
	e := json.NewEncoder(h)
	_ = e.Encode([]any{p.Spec.Name, p.Spec.Repeats, p.Spec.Drop, p.Spec.Seed}) // a hash takes all
	for i := range p.Cells {
		c := &p.Cells[i]
		_ = e.Encode([]any{c.key(), c.Axes})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
