package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// details writes what was read and recorded beside the payload: what each CPU
// did, what the hardware counted, profiles, and costs of system calls.
func details(b *strings.Builder, r *results.Record) {
	ends := []namedEnd{{"sender", r.TX}, {"receiver", r.RX}}
	connections(b, r)
	cpuTimes(b, ends)
	for _, e := range ends {
		if s := e.hardware(); s != "" {
			b.WriteString(wrap("Hardware, "+e.name+": ", s))
		}
	}
	for _, e := range ends {
		if e.end != nil && e.end.Profile != nil {
			profile(b, e.name, e.end.Profile)
		}
	}
	for _, e := range ends {
		if e.end != nil && len(e.end.SyscallCosts) > 0 {
			syscalls(b, e.name, e.end.SyscallCosts)
		}
	}
}

// connections is a line for each data connection, where there are several.
func connections(b *strings.Builder, r *results.Record) {
	if len(r.Flows) < 2 || r.Window <= 0 {
		return
	}
	unknown := func(v *float64) string {
		if v == nil {
			return "–"
		}
		return digits.Fixed(*v, 0)
	}
	rows := [][]string{{"flow", " sent Gbit/s", " received Gbit/s", " retransmits", " rtt µs", " stood still s"}}
	for i, f := range r.Flows[:min(len(r.Flows), mostFlows)] {
		row := []string{strconv.Itoa(i + 1), "–", "–", "–", "–"}
		var still *float64
		if e := f.TX; e != nil {
			row[1], row[3], row[4] = digits.Fixed(float64(e.Bytes)*8/1e9/r.Window, 3), strconv.FormatUint(e.Retransmits, 10), unknown(e.RTT)
			still = e.Stall
		}
		if e := f.RX; e != nil {
			row[2] = digits.Fixed(float64(e.Bytes)*8/1e9/r.Window, 3)
			if e.Stall != nil && (still == nil || *e.Stall > *still) {
				still = e.Stall
			}
		}
		stood := "–"
		if still != nil {
			stood = digits.Fixed(*still, 2)
		}
		rows = append(rows, append(row, stood))
	}
	b.WriteString("\nData connections, and the longest time that nothing came by each:\n")
	columns(b, rows, 0)
	if n := len(r.Flows) - mostFlows; n > 0 {
		fmt.Fprintf(b, "  and %s; the record (-J) has all\n", printable.Count(n, "other"))
	}
}

type namedEnd struct {
	name string
	end  *results.End
}

// Most lines that a run prints of one thing; the record has all.
const (
	mostCPUs     = 8
	mostSymbols  = 12
	mostSyscalls = 12
	mostFlows    = 8
)

// stateNames are those of /proc/stat in the order of its columns, idle last.
var stateNames = []string{"user", "nice", "system", "irq", "softirq", "steal", "iowait", "idle"}

// cpuTimes is a line for each CPU: states, then C-states. Columns of zeros are
// left out.
func cpuTimes(b *strings.Builder, ends []namedEnd) {
	shown, some := cpuColumnsOf(ends)
	if !some {
		return
	}
	rows := [][]string{shown.heads()}
	left := 0
	apart := tickGap{}
	for _, e := range ends {
		if e.end == nil {
			continue
		}
		order := slices.SortedFunc(slices.Values(e.end.CPUs), func(a, b results.CPUTime) int {
			return cmp.Or(cmp.Compare(b.AtMost(), a.AtMost()), cmp.Compare(a.CPU, b.CPU))
		})
		most := order[:min(len(order), mostCPUs)]
		left += len(order) - len(most)
		slices.SortFunc(most, func(a, b results.CPUTime) int { return cmp.Compare(a.CPU, b.CPU) })
		for _, c := range most {
			apart.note(e.name, c)
			rows = append(rows, shown.row(e.name, c))
		}
	}
	heading := "Time of each CPU in % of the window"
	if shown.busy {
		heading += ": busy by the run's clock, states by timer ticks"
	}
	if len(shown.cstates) > 0 {
		heading += ", and in which C-states it was idle"
	}
	b.WriteString("\n" + wrap("", heading+":"))
	columns(b, rows, 1)
	if text := apart.text(); text != "" {
		b.WriteString(wrap("  ", text))
	}
	if left > 0 {
		fmt.Fprintf(b, "  and %d CPUs that did less; the record (-J) has them\n", left)
	}
}

// cpuColumns are what is shown of each CPU.
type cpuColumns struct {
	states, cstates []string
	busy, clock     bool
}

// cpuColumnsOf are those that are not zero in all CPUs; some says whether there is
// any CPU.
func cpuColumnsOf(ends []namedEnd) (shown cpuColumns, some bool) {
	states, idle := map[string]bool{}, map[string]bool{}
	for _, e := range ends {
		if e.end == nil {
			continue
		}
		for _, c := range e.end.CPUs {
			some = true
			shown.clock = shown.clock || c.MHz > 0
			shown.busy = shown.busy || c.Busy != nil
			for name, v := range c.States {
				states[name] = states[name] || v >= 0.05
			}
			for name, v := range c.Idle {
				idle[name] = idle[name] || v >= 0.05
			}
		}
	}
	for _, name := range stateNames {
		if states[name] {
			shown.states = append(shown.states, name)
		}
	}
	shown.cstates = slices.SortedFunc(maps.Keys(idle), byDepth)
	shown.cstates = slices.DeleteFunc(shown.cstates, func(name string) bool { return !idle[name] })
	return shown, some
}

func (s *cpuColumns) heads() []string {
	heads := []string{"", "CPU"}
	if s.busy {
		heads = append(heads, "busy")
	}
	heads = append(heads, s.states...)
	for _, name := range s.cstates {
		heads = append(heads, printable.Clip(printable.Line(name), 12))
	}
	if s.clock {
		heads = append(heads, "MHz")
	}
	return heads
}

func (s *cpuColumns) row(end string, c results.CPUTime) []string {
	row := []string{end, strconv.Itoa(c.CPU)}
	if s.busy {
		row = append(row, optional(c.Busy, ""))
	}
	for _, name := range s.states {
		row = append(row, percentOf(c.States, name))
	}
	for _, name := range s.cstates {
		row = append(row, percentOf(c.Idle, name))
	}
	if s.clock {
		mhz := "–"
		if c.MHz > 0 {
			mhz = digits.Fixed(c.MHz, 0)
		}
		row = append(row, mhz)
	}
	return row
}

// tickGap is the CPU whose states add up least to what it was busy.
type tickGap struct {
	end         string
	cpu         int
	busy, ticks float64
}

func (g *tickGap) note(end string, c results.CPUTime) {
	if c.Busy == nil {
		return
	}
	ticks := 0.0
	for _, name := range stateNames[:len(stateNames)-2] { // all but iowait and idle
		ticks += c.States[name]
	}
	if len(c.States) > 0 && math.Abs(ticks-*c.Busy) > math.Abs(g.ticks-g.busy) {
		*g = tickGap{end, c.CPU, *c.Busy, ticks}
	}
}

// text tells of the gap where it is more than rounding.
func (g *tickGap) text() string {
	const much = 3 // percent of a CPU
	if math.Abs(g.ticks-g.busy) < much {
		return ""
	}
	return fmt.Sprintf(
		"The states do not add up to busy: the kernel samples them, as mpstat and top show them, and misses short bursts. "+
			"Of the %s's CPU %d they make %s %%, and it was busy for %s %%.",
		g.end, g.cpu, digits.Fixed(g.ticks, 1), digits.Fixed(g.busy, 1))
}

func percentOf(m map[string]float64, name string) string {
	v, ok := m[name]
	if !ok {
		return "–"
	}
	return digits.Fixed(v, 1)
}

// byDepth orders C-states as hardware does: POLL, C1, C1E, C6, C10.
func byDepth(a, b string) int {
	depth := func(s string) int {
		if s == "POLL" {
			return -1
		}
		i := strings.IndexFunc(s, func(r rune) bool { return r >= '0' && r <= '9' })
		if i < 0 {
			return 0
		}
		n := 0
		for _, r := range s[i:] {
			if r < '0' || r > '9' || n > 1000 {
				break
			}
			n = n*10 + int(r-'0')
		}
		return n
	}
	return cmp.Or(cmp.Compare(depth(a), depth(b)), cmp.Compare(a, b))
}

// hardware is a line of what the end's hardware counted, where it did.
func (e namedEnd) hardware() string {
	if e.end == nil {
		return ""
	}
	c := e.end.Counters
	var parts []string
	put := func(name, format string) {
		if v, ok := c[name]; ok && v > 0 && !math.IsInf(v, 0) {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	put("cycles_per_byte", "%.3f cycles and")
	put("instructions_per_byte", "%.3f instructions a payload byte")
	put("cache_misses_per_byte", "%.5f cache misses a byte")
	if cycles, instructions := c["cycles"], c["instructions"]; cycles > 0 && instructions > 0 {
		parts = append(parts, fmt.Sprintf("%.2f instructions a cycle", instructions/cycles))
	}
	put("host_memory_read_bytes_per_byte", "memory of the host: %.2f bytes read and")
	put("host_memory_write_bytes_per_byte", "%.2f written for each payload byte")
	put("cpu_temperature_celsius_max", "CPU at %.0f °C at most")
	return strings.ReplaceAll(strings.Join(parts, ", "), " and, ", " and ")
}

func profile(b *strings.Builder, end string, p *results.Profile) {
	fmt.Fprintf(b, "\nWhere the CPU time of the %s went (%s, %s", end, printable.Line(p.Event), printable.Count(p.Samples, "sample"))
	if p.Lost > 0 {
		fmt.Fprintf(b, ", %d lost", p.Lost)
	}
	b.WriteString("):\n")
	rows := [][]string{}
	for _, s := range p.Symbols[:min(len(p.Symbols), mostSymbols)] {
		rows = append(rows, []string{digits.Fixed(s.Percent, 1) + " %", printable.Clip(printable.Line(s.Name), 60),
			printable.Clip(printable.Line(s.Module), 24)})
	}
	columns(b, rows, 3, 0)
}

func syscalls(b *strings.Builder, end string, costs []results.SyscallCost) {
	fmt.Fprintf(b, "\nSystem calls of the %s's payload threads, waiting included:\n", end)
	rows := [][]string{{"", "calls", "errors", "total ms", "min µs", "mean µs", "max µs"}}
	for _, c := range costs[:min(len(costs), mostSyscalls)] {
		rows = append(rows, []string{printable.Clip(printable.Line(c.Name), 24), strconv.FormatUint(c.Calls, 10),
			strconv.FormatUint(c.Errors, 10),
			digits.Fixed(c.Total, 1), digits.Fixed(c.Min, 2), digits.Fixed(c.Mean, 2), digits.Fixed(c.Max, 1)})
	}
	columns(b, rows, 1)
	if n := len(costs) - mostSyscalls; n > 0 {
		fmt.Fprintf(b, "  and %s that took less\n", printable.Count(n, "other"))
	}
}

// columns writes rows in columns, the first left of them to the left and the
// others to the right; right, when given, are to the right although they come
// first.
func columns(b *strings.Builder, rows [][]string, left int, right ...int) {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			line += " " + pad(cell, width[i], i >= left || slices.Contains(right, i))
			if i < len(row)-1 && i < left {
				line += " "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}
