package instrument

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/cpuclock"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Names that Prepare.Counters may have instead of counters'.
const (
	AllCounters = "all"
	NoCounters  = "none"
)

// chosen gives the counters that names ask for. Without names it is those that
// are cheap.
func (in *Instruments) chosen(names []string) ([]Counter, error) {
	var list []Counter
	for _, m := range in.Counters {
		if slices.Contains(names, m.Name) || slices.Contains(names, AllCounters) || len(names) == 0 && !m.Costly {
			list = append(list, m)
		}
	}
	for _, n := range names {
		if n != AllCounters && n != NoCounters && !slices.ContainsFunc(in.Counters, func(m Counter) bool { return m.Name == n }) {
			return nil, fault.Errorf(fault.Usage, "no counters %q; there are: %s", wire.Clip(n), in.names())
		}
	}
	return list, nil
}

func (in *Instruments) names() string {
	var names []string
	for _, m := range in.Counters {
		names = append(names, m.Name)
	}
	return strings.Join(names, " ")
}

// Set are the open counters of one end and what they have shown in its window.
type Set struct {
	list    []*openCounter
	series  []string  // names, as in results.Sample.Series
	joins   []join    // for each of series
	rows    []float64 // a value for each of series, for each interval
	row     []float64 // of the interval that is taken
	missing map[string]string
	absent  []string // of those that all asked for
}

type openCounter struct {
	Counter
	reader  Reader
	columns []column
	now     []uint64
	err     error // why it is not read any more
}

// column is one quantity over the window.
type column struct {
	Quantity
	before uint64
	total  float64 // growth so far, in the quantity's unit
	sum    float64 // of a gauge's values
	n      int
	series int // -1: none
	peers  int // columns of that series
}

// Open opens what names ask for. A counter that was asked for by its own
// name must open; of the others the facts say why not, and where the user wants
// all, a note which.
func Open(in *Instruments, names []string, site Place) (_ *Set, err error) {
	chosen, err := in.chosen(names)
	if err != nil {
		return nil, err
	}
	m := &Set{missing: map[string]string{}}
	defer func() {
		if err != nil {
			_ = m.Close()
		}
	}()
	for _, c := range chosen {
		r, err := c.Open(site)
		switch {
		case err == nil:
			m.add(c, r)
		case slices.Contains(names, c.Name):
			return nil, fmt.Errorf("counters %s: %w", c.Name, err)
		default:
			m.missing["counters."+c.Name] = err.Error()
			if slices.Contains(names, AllCounters) {
				m.absent = append(m.absent, c.Name)
			}
		}
	}
	return m, nil
}

func (m *Set) add(c Counter, r Reader) {
	o := &openCounter{Counter: c, reader: r}
	for _, q := range r.Quantities() {
		if q.Scale == 0 {
			q.Scale = 1
		}
		col := column{Quantity: q, series: -1}
		if name := q.series(); name != "" && !c.Edges {
			if col.series = slices.Index(m.series, name); col.series < 0 {
				col.series = len(m.series)
				m.series = append(m.series, name)
				m.joins = append(m.joins, q.join())
			}
		}
		o.columns = append(o.columns, col)
	}
	for i := range o.columns {
		for _, other := range o.columns {
			if other.series == o.columns[i].series {
				o.columns[i].peers++
			}
		}
	}
	o.now = make([]uint64, len(o.columns))
	m.list = append(m.list, o)
}

// series is the quantity's name in samples, "" for none.
func (q *Quantity) series() string {
	if q.Quiet {
		return ""
	}
	switch q.Form {
	case Total:
		return q.Name + "_per_second"
	case CPUState:
		return "cpu_" + q.Name + "_percent"
	case IdleState:
		return "cstate_" + strings.ReplaceAll(q.Name, " ", "_") + "_percent"
	case Clock:
		return "cpu_mhz"
	}
	return q.Name
}

// join makes the value of two intervals of those of each.
type join func(first, second float64) float64

func (q *Quantity) join() join {
	switch {
	case !q.gauge():
		return func(first, second float64) float64 { return first + second }
	case endpoint.IsMax(q.Name):
		return func(first, second float64) float64 { return max(first, second) }
	}
	return func(_, second float64) float64 { return second } // as it is at the end
}

// Width is how many series there are.
func (m *Set) Width() int { return len(m.series) }

// Expect makes room for the window's intervals.
func (m *Set) Expect(intervals int) {
	m.rows, m.row = make([]float64, 0, intervals*len(m.series)), make([]float64, len(m.series))
}

// Begin takes the readings that the window opens with.
func (m *Set) Begin() {
	for _, o := range m.list {
		if o.read() {
			for i := range o.columns {
				c := &o.columns[i]
				c.before = o.now[i]
				if c.gauge() {
					c.add(o.now[i])
				}
			}
		}
	}
}

// Take ends an interval; joined, it is a part of the one before.
func (m *Set) Take(joined bool) {
	clear(m.row)
	for _, o := range m.list {
		if !o.Edges {
			o.take(m.row)
		}
	}
	if !joined {
		m.rows = append(m.rows, m.row...)
		return
	}
	m.join(m.rows[len(m.rows)-len(m.row):], m.row)
}

// join adds the row of an interval to that of the one before.
func (m *Set) join(to, row []float64) {
	for i, join := range m.joins {
		to[i] = join(to[i], row[i])
	}
}

// Halve makes one interval of every two.
func (m *Set) Halve() {
	n := len(m.series)
	to := m.rows[:0]
	for rest := m.rows; len(rest) > 0; rest = rest[2*n:] {
		m.join(rest[:n], rest[n:2*n])
		to = append(to, rest[:n]...)
	}
	m.rows = to
}

// End closes the window for the counters that are read at its edges only.
func (m *Set) End() {
	for _, o := range m.list {
		if o.Edges {
			o.take(nil)
		}
	}
}

func (o *openCounter) read() bool {
	if o.err == nil {
		o.err = o.reader.Read(o.now)
	}
	return o.err == nil
}

func (o *openCounter) take(row []float64) {
	if !o.read() {
		return
	}
	for i := range o.columns {
		c := &o.columns[i]
		v := c.add(o.now[i])
		if c.series < 0 {
			continue
		}
		switch to := &row[c.series]; {
		case !c.gauge():
			*to += v
		case endpoint.IsMax(c.Name):
			*to = max(*to, v)
		default:
			*to += v / float64(c.peers)
		}
	}
}

func (q *Quantity) gauge() bool { return q.Form == Gauge || q.Form == Clock }

// add takes a reading and gives what it adds to its interval.
func (c *column) add(now uint64) float64 {
	if c.gauge() {
		v := float64(int64(now)) * c.Scale
		if endpoint.IsMax(c.Name) {
			c.sum = max(c.sum, v)
			c.n = 1
			return v
		}
		c.sum += v
		c.n++
		return v
	}
	delta := now - c.before
	c.before = now
	if c.Wrap != 0 {
		delta &= c.Wrap
	}
	// A counter that does not wrap may run backwards: iowait does (proc(5)), and
	// those of a NIC that is reset.
	v := float64(int64(delta)) * c.Scale
	c.total += v
	return v
}

// Report adds the window's figures to the result.
func (m *Set) Report(role endpoint.Role, res *wire.Result, busy func(cpu int) *float64) {
	a, b := res.Edges()
	seconds := float64(b.At-a.At) / 1e9
	bytes := float64(b.Bytes() - a.Bytes())
	if len(m.absent) > 0 {
		res.Notes = append(res.Notes, caveat.Warn(caveat.CountersMissing, "%s: this host has not all counters, and not %s: zcbench probe says "+
			"why, and what it would take", role, strings.Join(m.absent, ", ")))
	}
	if len(m.missing) > 0 {
		res.Missing = m.missing
	}
	cpus := map[int]*results.CPUTime{}
	for _, o := range m.list {
		if o.err != nil {
			res.Warnings = append(res.Warnings, caveat.Warn(caveat.CountersMissing, "%s: counters %s are missing: %v", role, o.Name, o.err))
			continue
		}
		o.counters(role, res, bytes)
		if r, ok := o.reader.(Warner); ok {
			for _, warning := range r.Warnings() {
				res.Warnings = append(res.Warnings, fmt.Sprintf("%s: counters %s: ", role, o.Name)+warning)
			}
		}
		for i := range o.columns {
			if c := &o.columns[i]; seconds > 0 {
				c.perCPU(cpus, seconds)
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(cpus)) {
		c := cpus[n]
		c.Busy = busy(n)
		if !wasIdle(c) {
			res.CPUs = append(res.CPUs, *c)
		}
	}
	if res.CPUMethod == cpuclock.Ticks {
		if w := gap(res.CPUs, seconds); w != "" {
			res.Warnings = append(res.Warnings, caveat.Warn(caveat.ClockCoarse, "%s: %s", role, w))
		}
	}
	m.intervals(res)
}

// counters adds the totals and the means of the window, those of one name
// together.
func (o *openCounter) counters(role endpoint.Role, res *wire.Result, bytes float64) {
	type figure struct {
		*Quantity
		total, sum float64
		n          int
	}
	figures := map[string]*figure{}
	for i := range o.columns {
		c := &o.columns[i]
		if c.Form != Total && c.Form != Gauge {
			continue
		}
		f := figures[c.Name]
		if f == nil {
			f = &figure{Quantity: &c.Quantity}
			figures[c.Name] = f
		}
		f.total += c.total
		f.n += c.n
		if endpoint.IsMax(c.Name) {
			f.sum = max(f.sum, c.sum)
			f.n = 1
		} else {
			f.sum += c.sum
		}
	}
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		f := figures[name]
		switch {
		case f.Form == Gauge && f.n > 0:
			res.Counters[name] = f.sum / float64(f.n)
		case f.Form == Total && f.total < 0:
			res.Warnings = append(res.Warnings, caveat.Warn(caveat.CountersReset, "%s: %s of counters %s ran backwards in the window (something "+
				"was reset) and is left out", role, name, o.Name))
		case f.Form == Total && !(f.Sparse && f.total == 0):
			res.Counters[name] = f.total
			if f.PerByte && bytes > 0 {
				res.Counters[name+"_per_byte"] = f.total / bytes
			}
			if f.Code != "" && f.total > 0 {
				res.Warnings = append(res.Warnings, caveat.Warn(f.Code, "%s: %s (%s: %.0f in the window)", role, f.Means, name, f.total))
			}
		}
	}
}

// perCPU adds what the column says of its CPU.
func (c *column) perCPU(cpus map[int]*results.CPUTime, seconds float64) {
	if c.Form != CPUState && c.Form != IdleState && c.Form != Clock {
		return
	}
	t := cpus[c.CPU]
	if t == nil {
		t = &results.CPUTime{CPU: c.CPU, States: map[string]float64{}, Idle: map[string]float64{}}
		cpus[c.CPU] = t
	}
	share := results.Round(max(0, c.total) / seconds * 100)
	switch c.Form {
	case CPUState:
		t.States[c.Name] = share
	case IdleState:
		t.Idle[c.Name] = share
	case Clock:
		if c.n > 0 {
			t.MHz = math.Round(c.sum / float64(c.n))
		}
	}
}

// wasIdle says that a CPU did nothing worth a line: less than half a percent of
// the window.
func wasIdle(c *results.CPUTime) bool {
	const little = 0.5
	did := 0.0
	if c.Busy != nil {
		did = *c.Busy
	}
	for state, share := range c.States {
		if state != "idle" {
			did += share
		}
	}
	return did < little
}

// gap says so when the kernel does not account for a CPU's whole time, where its
// ticks are the best clock there is. It does not where it samples busy time and
// measures idle time (CONFIG_TICK_CPU_ACCOUNTING with NO_HZ): bursts between ticks
// are missed.
func gap(cpus []results.CPUTime, seconds float64) string {
	worst, sum := -1, 100.0
	for i, c := range cpus {
		total := 0.0
		for _, share := range c.States {
			total += share
		}
		if len(c.States) > 0 && math.Abs(total-100) > math.Abs(sum-100) {
			worst, sum = i, total
		}
	}
	const tolerated, ticks = 5, 3 // percent, and what rounding to ticks can do
	if worst < 0 || math.Abs(sum-100) < tolerated+ticks*100.0/procfile.Hz/seconds {
		return ""
	}
	return fmt.Sprintf("the times of CPU %d in /proc/stat add up to %.1f%% of the window: the kernel samples busy time by timer ticks and "+
		"missed bursts between them, or a hypervisor took time unseen; busy figures may be off by as much", cpus[worst].CPU, sum)
}

// intervals makes the samples' series. One that stayed at zero is left out.
func (m *Set) intervals(res *wire.Result) {
	n := len(m.series)
	if n == 0 || len(m.rows) != n*(len(res.Samples)-1) {
		return
	}
	scale := make([]func(v, seconds float64) float64, n) // nil: nothing to show
	for _, o := range m.list {
		for i := range o.columns {
			if c := &o.columns[i]; c.series >= 0 && o.err == nil && m.moved(c.series) {
				scale[c.series] = c.shown
			}
		}
	}
	for i := range res.Samples[1:] {
		row := map[string]float64{}
		seconds := float64(res.Samples[i+1].At-res.Samples[i].At) / 1e9
		for s, f := range scale {
			if f != nil {
				row[m.series[s]] = results.Round(f(m.rows[i*n+s], seconds))
			}
		}
		res.Series = append(res.Series, row)
	}
}

// moved says whether a series was anything but zero.
func (m *Set) moved(series int) bool {
	for i := series; i < len(m.rows); i += len(m.series) {
		if m.rows[i] != 0 {
			return true
		}
	}
	return false
}

// shown turns what an interval added into what its sample shows.
func (c *column) shown(v, seconds float64) float64 {
	switch c.Form {
	case Total:
		return max(0, v) / seconds
	case CPUState, IdleState:
		return max(0, v) / seconds * 100
	}
	return v
}

// Close closes all that are open.
func (m *Set) Close() error {
	if m == nil {
		return nil
	}
	var errs []error
	for _, o := range m.list {
		errs = append(errs, o.reader.Close())
	}
	return errors.Join(errs...)
}
