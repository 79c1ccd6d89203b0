package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"zcbench/internal/printable"
	"zcbench/results"
)

func rxFacts(r *Run) facts { return r.flat.rx }

func txFacts(r *Run) facts { return r.flat.tx }

// Hosts describe in a line each what the runs were made on.
func (r *Report) Hosts() []string {
	tx, rx := hostLine(r.Runs, txFacts), hostLine(r.Runs, rxFacts)
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
	if c := strings.Join(controlsOf([]*Cell{{Runs: r.Runs}}), "; "); c != "" {
		lines = append(lines, "Congestion control: "+c)
	}
	return lines
}

// hostLine is about the first host that says something of itself, with all
// values that it had, and how many others there are.
func hostLine(runs []*Run, of func(*Run) facts) string {
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

// Environment sets the facts of both hosts side by side. A fact that was not
// the same in all runs shows every value it had.
func (r *Report) Environment() []FactGroup {
	values := map[string]*FactRow{}
	var names []string
	collect := func(seen map[*results.Fact]bool, list facts, to func(*FactRow) *[]string) {
		if len(list) == 0 || seen[&list[0]] {
			return
		}
		seen[&list[0]] = true
		for _, f := range list {
			row := values[f.Name]
			if row == nil {
				row = &FactRow{}
				values[f.Name] = row
				names = append(names, f.Name)
			}
			if list := to(row); !slices.Contains(*list, f.Value) {
				*list = append(*list, f.Value)
			}
		}
	}
	seenTX, seenRX := map[*results.Fact]bool{}, map[*results.Fact]bool{}
	for _, r := range r.Runs {
		collect(seenTX, r.flat.tx, func(r *FactRow) *[]string { return &r.TX })
		collect(seenRX, r.flat.rx, func(r *FactRow) *[]string { return &r.RX })
	}
	slices.Sort(names)
	var groups []FactGroup
	for _, name := range names {
		head, rest, ok := strings.Cut(name, ".")
		if !ok {
			head, rest = "other", name
		}
		if len(groups) == 0 || groups[len(groups)-1].Name != printable.Line(head) {
			groups = append(groups, FactGroup{Name: printable.Line(head)})
		}
		g := &groups[len(groups)-1]
		row := values[name]
		row.Name = printable.Line(rest)
		row.Same = slices.Equal(row.TX, row.RX)
		g.Varies = g.Varies || len(row.TX) > 1 || len(row.RX) > 1
		g.Entries = append(g.Entries, *row)
	}
	return groups
}

// FactGroup are the facts of both hosts under one head: kernel, cpu, nic.
type FactGroup struct {
	Name    string
	Varies  bool
	Entries []FactRow
}

// FactRow is one fact at both ends.
type FactRow struct {
	Name   string
	TX, RX []string // more than one: it changed between runs
	Same   bool
}
