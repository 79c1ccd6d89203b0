package analysis

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// CompareOptions choose what is compared.
type CompareOptions struct {
	GroupBy []string // as in Options
	Filter  string   // as in Options
	// Metrics are as in Options, and all of them can be losses. None: those of
	// a first look, of which throughput and total ROI can be losses: more CPU
	// is none where it buys throughput.
	Metrics []string
	// Threshold is the change, in percent, up to which a loss is none.
	Threshold float64
}

// Comparison is two sets of runs, cell by cell.
type Comparison struct {
	Threshold float64
	Metrics   []Compared
	pairs     []pairing
	onlyOld   []*Cell
	onlyNew   []*Cell
	hosts     []string // what changed on the hosts
	plan      []string // what is not all there
}

// Compared is a metric in all cells that are in both sets.
type Compared struct {
	Metric
	gate    bool // it can be a loss
	Changes []Change
}

// pairing is a cell of both sets.
type pairing struct {
	old, new *Cell
	differs  string // settings in which they do
}

// Change is what became of a metric in a cell. The test is Mann and
// Whitney's, as in benchstat; the interval is that of the shift which belongs
// to it (Hodges and Lehmann), of ratios where all values are above zero.
type Change struct {
	Cell        string // its name in the old set
	Differs     string // settings in which the two sets do
	Old, New    Figure
	Percent     float64 // of the medians; NaN where there is none
	Lo, Hi      float64 // in percent, 95%; infinite with too few runs
	P           float64
	Significant bool   // significant at 5%
	Loss        bool   // that, for the worse, and beyond the threshold
	Why         string // why it cannot be compared; often nothing
}

const alpha = 1 - confidence

// firstLook are the metrics that are compared when none is named, and whether
// each can be a loss.
var firstLook = []struct {
	name string
	gate bool
}{
	{"gbps", true}, {"tx.cpu_percent", false}, {"rx.cpu_percent", false}, {"tx.watts", false}, {"rx.watts", false},
	{"roi.cpu.tx", false}, {"roi.cpu.rx", false}, {"roi.cpu.total", true}, {"roi.power.total", true},
}

// Compare pairs the cells of two sets, by their id, else by their axes, else
// by their engines and the least difference in settings. An error is about o,
// or says that no cell is in both.
func Compare(before, after *Set, o CompareOptions) (*Comparison, error) {
	options := Options{GroupBy: o.GroupBy, Filter: o.Filter, Metrics: o.Metrics}
	a, err := before.Report(options)
	if err != nil {
		return nil, fmt.Errorf("old: %w", err)
	}
	b, err := after.Report(options)
	if err != nil {
		return nil, fmt.Errorf("new: %w", err)
	}
	c := &Comparison{Threshold: o.Threshold}
	c.match(a, b, len(o.GroupBy) > 0)
	if len(c.pairs) == 0 {
		return nil, errNothingToCompare
	}
	if len(o.Metrics) > 0 {
		for _, m := range a.Metrics {
			c.Metrics = append(c.Metrics, Compared{Metric: m, gate: m.Better != 0})
		}
	} else {
		for _, f := range firstLook {
			if m := Known(f.name); a.has(m) && b.has(m) {
				c.Metrics = append(c.Metrics, Compared{Metric: m, gate: f.gate})
			}
		}
	}
	for i := range c.Metrics {
		m := &c.Metrics[i]
		for _, p := range c.pairs {
			d := compare(p.old, p.new, m.Metric)
			d.Cell, d.Differs = p.old.label(), p.differs
			d.Loss = m.gate && d.Significant && d.Why == "" && d.Percent*float64(m.Better) < -c.Threshold
			m.Changes = append(m.Changes, d)
		}
	}
	c.environment()
	for _, side := range []struct {
		name string
		set  *Set
	}{{"old", before}, {"new", after}} {
		for _, text := range side.set.Plan {
			c.plan = append(c.plan, side.name+": "+text)
		}
	}
	return c, nil
}

// has says whether some run that counts has the metric.
func (r *Report) has(m Metric) bool {
	return slices.ContainsFunc(r.Cells, func(c *Cell) bool { return m.Over(c.Runs).N > 0 })
}

// errNothingToCompare says that two sets have no cell in common.
var errNothingToCompare = errors.New(
	"no cell of the one is in the other: neither by id, nor by axes, nor by engines; --group-by names what to match by")

// match pairs the cells of a and b.
func (c *Comparison) match(a, b *Report, grouped bool) {
	olds, news := slices.Clone(a.Cells), slices.Clone(b.Cells)
	take := func(i, j int, differs string) {
		c.pairs = append(c.pairs, pairing{olds[i], news[j], differs})
		olds[i], news[j] = nil, nil
	}
	// Those that are the same in only one way.
	exact := func(same func(x, y *Cell) bool) {
		for i, x := range olds {
			if x == nil {
				continue
			}
			j, n := one(news, func(y *Cell) bool { return same(x, y) })
			if n != 1 {
				continue
			}
			if _, n := one(olds, func(z *Cell) bool { return same(z, news[j]) }); n == 1 {
				take(i, j, differences(x, news[j]))
			}
		}
	}
	sameBy := func(x, y *Cell) bool { return slices.Equal(x.By, y.By) }
	if !grouped {
		exact(func(x, y *Cell) bool { return x.ID != "" && x.ID == y.ID })
	}
	alike := a.By != nil && slices.Equal(a.By, b.By)
	if alike {
		exact(func(x, y *Cell) bool { return sameBy(x, y) && x.Differs == y.Differs })
		exact(sameBy)
	}
	// The nearest in settings, of the same engines and axes, where each is the
	// other's nearest.
	nearest := func(x *Cell, list []*Cell) int {
		best, least, twice := -1, math.MaxInt, false
		for j, y := range list {
			if y == nil || x.TX != y.TX || x.RX != y.RX || alike && !sameBy(x, y) {
				continue
			}
			_, varying := split([]*Cell{x, y})
			switch d := len(varying); {
			case d < least:
				best, least, twice = j, d, false
			case d == least:
				twice = true
			}
		}
		if twice {
			return -1
		}
		return best
	}
	for i, x := range olds {
		if x == nil || grouped {
			continue
		}
		if j := nearest(x, news); j >= 0 && nearest(news[j], olds) == i {
			take(i, j, differences(x, news[j]))
		}
	}
	gone := func(c *Cell) bool { return c == nil }
	c.onlyOld, c.onlyNew = slices.DeleteFunc(olds, gone), slices.DeleteFunc(news, gone)
	slices.SortStableFunc(c.pairs, func(x, y pairing) int {
		return slices.Index(a.Cells, x.old) - slices.Index(a.Cells, y.old)
	})
}

// one is where a cell of a list is that passes, and how many do.
func one(list []*Cell, pass func(*Cell) bool) (at, n int) {
	for i, c := range list {
		if c != nil && pass(c) {
			at, n = i, n+1
		}
	}
	return at, n
}

// differences are the settings that are not the same in two cells.
func differences(x, y *Cell) string {
	var parts []string
	_, varying := split([]*Cell{x, y})
	for _, k := range varying {
		parts = append(parts, fmt.Sprintf("%s %s → %s", k, orUnset(x.Settings, k), orUnset(y.Settings, k)))
	}
	return strings.Join(parts, ", ")
}

func orUnset(m map[string]string, k string) string {
	if v, ok := m[k]; ok {
		return v
	}
	return "unset"
}

// compare tests one metric.
func compare(x, y *Cell, m Metric) Change {
	c := Change{Old: m.Over(x.Runs), New: m.Over(y.Runs), Percent: math.NaN(), Lo: math.Inf(-1), Hi: math.Inf(1), P: 1}
	if c.Why = incomparable(x, y, m, c); c.Why != "" {
		return c
	}
	t := benchmath.DefaultThresholds
	t.CompareAlpha = alpha
	result := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(c.Old.values), &t),
		benchmath.NewSample(slices.Clone(c.New.values), &t))
	c.P, c.Significant = result.P, result.P < alpha
	if c.Old.Median != 0 {
		c.Percent = 100 * (c.New.Median - c.Old.Median) / math.Abs(c.Old.Median)
	}
	c.Lo, c.Hi = shift(c.Old.values, c.New.values, c.Old.Median)
	return c
}

// incomparable says why a metric of two cells cannot be compared; often nothing.
func incomparable(x, y *Cell, m Metric, c Change) string {
	if c.Old.N == 0 || c.New.N == 0 {
		return "not measured"
	}
	ends := []func(*results.Record) *results.End{txEnd, rxEnd}
	if m.Unit == unitCPU || m.Unit == unitROICPU {
		for _, end := range ends {
			if !slices.Equal(scopesOf([]*Cell{x}, end), scopesOf([]*Cell{y}, end)) {
				return "CPU counted in another way"
			}
			if !clocksCompare(clocksOf([]*Cell{x, y}, end)) {
				return "CPU by another clock"
			}
		}
	}
	if c.Old.atLeast || c.New.atLeast {
		return "copies not known"
	}
	if m.Unit == unitWatts || m.Unit == unitROIPower || m.Unit == unitEnergy {
		for _, end := range ends {
			if !slices.Equal(powerScopesOf([]*Cell{x}, end), powerScopesOf([]*Cell{y}, end)) {
				return "power of another thing"
			}
		}
		if strings.Contains(m.Name, "total") && !slices.Equal(totalPowerScopesOf([]*Cell{x}), totalPowerScopesOf([]*Cell{y})) {
			return "power of another thing"
		}
	}
	return ""
}

// shift is the 95% interval of the change from a to b in percent: of ratios
// where all values are above zero, else of differences over center.
func shift(a, b []float64, center float64) (lo, hi float64) {
	ratios := min(slices.Min(a), slices.Min(b)) > 0
	if !ratios && center == 0 {
		return math.Inf(-1), math.Inf(1)
	}
	var all []float64
	for _, x := range a {
		for _, y := range b {
			if ratios {
				all = append(all, 100*(y/x-1))
			} else {
				all = append(all, 100*(y-x)/math.Abs(center))
			}
		}
	}
	slices.Sort(all)
	k := rank(len(a), len(b))
	if k == 0 {
		return math.Inf(-1), math.Inf(1)
	}
	return all[k-1], all[len(all)-k]
}

// rank is which of all pairs of n and m values, in order, bounds the shift
// that U does not reject at alpha; 0 where U can reject none.
func rank(n, m int) int {
	if n*m > 2500 { // the exact distribution costs (n·m)², and is normal by now
		z := 1.959963984540054 // of 97.5%
		return int(float64(n*m)/2 - z*math.Sqrt(float64(n*m*(n+m+1))/12))
	}
	// How many of the orders of n and m values have each U: the last value is
	// one of the n, which is above all m, or one of the m (Mann and Whitney).
	ways := make([][]float64, n+1) // by how many of the n there are, then by U
	for i := range ways {
		ways[i] = make([]float64, n*m/2+1)
	}
	for i := range ways {
		ways[i][0] = 1
	}
	for j := 1; j <= m; j++ {
		for i := 1; i <= n; i++ {
			for u := range ways[i] {
				// ways[i][u] is still that of j-1.
				if u >= j {
					ways[i][u] += ways[i-1][u-j]
				}
			}
		}
	}
	all := 1.0 // ways to choose n of n+m
	for i := 1; i <= n; i++ {
		all *= float64(m+i) / float64(i)
	}
	sum := 0.0
	for k, w := range ways[n] {
		if sum += w; sum/all > alpha/2 {
			return k
		}
	}
	return 0
}

// Losses are the significant losses beyond the threshold, and the cells that
// no longer run, in a line each.
func (c *Comparison) Losses() []string {
	var list []string
	for _, p := range c.pairs {
		if len(p.old.Runs) > 0 && len(p.new.Runs) == 0 {
			status, why := p.new.Unmeasured()
			list = append(list, fmt.Sprintf("%s: no run counts any more (%s: %s)", p.old.label(), status, why))
		}
	}
	for _, m := range c.Metrics {
		for _, d := range m.Changes {
			if d.Loss {
				list = append(list, fmt.Sprintf("%s: %s %s", d.Cell, m.Name, digits.Signed(d.Percent)))
			}
		}
	}
	return list
}

// Geomean is over the cells that have the metric above zero in both sets.
func (m *Compared) Geomean() (before, after float64, n int) {
	var a, b []float64
	for _, d := range m.Changes {
		if d.Why == "" && d.Old.Median > 0 && d.New.Median > 0 {
			a, b = append(a, d.Old.Median), append(b, d.New.Median)
		}
	}
	return stats.GeoMean(a), stats.GeoMean(b), len(a)
}

// environment gathers what changed on the hosts between the sets.
func (c *Comparison) environment() {
	for _, e := range []struct {
		name string
		of   func(*Run) facts
	}{{"sender", txFacts}, {"receiver", rxFacts}} {
		var texts []string
		for _, p := range c.pairs {
			if len(p.old.Runs) == 0 || len(p.new.Runs) == 0 {
				continue
			}
			x, y := factsOf(p.old.Runs, e.of), factsOf(p.new.Runs, e.of)
			if len(x) == 0 || len(y) == 0 {
				continue
			}
			names := slices.Collect(maps.Keys(x))
			for name := range y {
				names = add(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				if !slices.Equal(x[name], y[name]) && !strings.HasPrefix(name, "process.") {
					texts = add(texts, fmt.Sprintf("%s %s → %s", name, or(strings.Join(x[name], " / "), "unknown"),
						or(strings.Join(y[name], " / "), "unknown")))
				}
			}
		}
		if len(texts) > 0 {
			c.hosts = append(c.hosts, "the "+e.name+"'s host is not the same: "+strings.Join(printable.Shorten(texts), "; "))
		}
	}
}

// factsOf are the values that facts had in some run, sorted.
func factsOf(runs []*Run, of func(*Run) facts) map[string][]string {
	values := map[string][]string{}
	var last facts
	for _, r := range runs {
		list := of(r)
		if len(list) == 0 || len(last) > 0 && &list[0] == &last[0] {
			continue
		}
		last = list
		for _, f := range list {
			values[f.Name] = add(values[f.Name], f.Value)
		}
	}
	for _, v := range values {
		slices.Sort(v)
	}
	return values
}

func add(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Blind names the cells with too few runs for a loss to show; empty: none.
func (c *Comparison) Blind() string {
	var few []string
	for _, p := range c.pairs {
		x, y := len(p.old.Runs), len(p.new.Runs)
		if x > 0 && y > 0 && rank(x, y) == 0 {
			few = append(few, fmt.Sprintf("%s (%d and %d)", p.old.label(), x, y))
		}
	}
	if len(few) == 0 {
		return ""
	}
	return "too few runs for any difference to be significant (4 and 4 are enough): " + strings.Join(printable.Shorten(few), "; ")
}

// Missing names the cells of the old set that the new one does not have: whatever
// became of them shows in no figure.
func (c *Comparison) Missing() (names []string) {
	for _, k := range c.onlyOld {
		names = append(names, k.label())
	}
	return printable.Shorten(names)
}

// Remarks are what must be known to read the figures.
func (c *Comparison) Remarks() []string {
	list := slices.Clone(c.plan)
	var bimodal []string
	for _, p := range c.pairs {
		if p.differs != "" {
			list = append(list, p.old.label()+" is not the same in both: "+p.differs)
		}
		if a, b := controlsOf([]*Cell{p.old}), controlsOf([]*Cell{p.new}); len(a) > 0 && len(b) > 0 && !slices.Equal(a, b) {
			list = append(list, fmt.Sprintf("%s has another congestion control: %s → %s", p.old.label(),
				strings.Join(printable.Shorten(a), " / "), strings.Join(printable.Shorten(b), " / ")))
		}
		for _, e := range []struct {
			name string
			of   func(*results.Record) *results.End
		}{{"sender", txEnd}, {"receiver", rxEnd}} {
			if a, b := clocksOf([]*Cell{p.old}, e.of), clocksOf([]*Cell{p.new}, e.of); len(a) > 0 && len(b) > 0 && !slices.Equal(a, b) {
				list = append(list, fmt.Sprintf("%s: the %s's CPU is by another clock: %s → %s", p.old.label(), e.name,
					strings.Join(printable.Shorten(a), " / "), strings.Join(printable.Shorten(b), " / ")))
			}
			if a, b := metersOf([]*Cell{p.old}, e.of), metersOf([]*Cell{p.new}, e.of); len(a) > 0 && len(b) > 0 && !slices.Equal(a, b) {
				list = append(list, fmt.Sprintf("%s: the %s's power is of another meter: %s → %s", p.old.label(), e.name,
					strings.Join(printable.Shorten(a), " / "), strings.Join(printable.Shorten(b), " / ")))
			}
		}
		if Known("gbps").Over(p.old.Runs).bimodal || Known("gbps").Over(p.new.Runs).bimodal {
			bimodal = append(bimodal, p.old.label())
		}
	}
	if blind := c.Blind(); blind != "" {
		list = append(list, blind)
	}
	if len(bimodal) > 0 {
		list = append(list, "bimodal runs, of which a median is typical of neither: "+strings.Join(printable.Shorten(bimodal), "; "))
	}
	for _, side := range []struct {
		name  string
		cells []*Cell
	}{{"old", c.onlyOld}, {"new", c.onlyNew}} {
		var names []string
		for _, k := range side.cells {
			names = append(names, k.label())
		}
		if len(names) > 0 {
			list = append(list, "only in "+side.name+": "+strings.Join(printable.Shorten(names), "; "))
		}
	}
	list = append(list, c.hosts...)
	tests := 0
	for _, m := range c.Metrics {
		for _, d := range m.Changes {
			if d.Why == "" && m.gate {
				tests++
			}
		}
	}
	if tests >= 10 {
		list = append(list, fmt.Sprintf("%d tests at 5%%: about %.0f would look significant by chance alone", tests, float64(tests)*alpha))
	}
	return list
}
