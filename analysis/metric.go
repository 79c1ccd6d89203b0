package analysis

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
)

// Metric is a figure of a run, by the name that the record's JSON has for it.
type Metric struct {
	Name  string
	Title string
	Unit  string
	// better is +1 where more is better, -1 where less is, 0 where neither.
	Better int
	Of     func(*results.Record) *float64 // nil: not measured
}

const (
	unitSpeed    = "Gbit/s"
	unitCPU      = "% of one CPU"
	unitWatts    = "W"
	unitEnergy   = "J/GB"
	unitROICPU   = "(Gbit/s)² per CPU %"
	unitROIPower = "(Gbit/s)² per W"
	unitShare    = "% of payload"
)

// ends are the two of a run, by role.
var ends = map[string]func(*results.Record) *results.End{"tx": txEnd, "rx": rxEnd}

func rxEnd(r *results.Record) *results.End { return r.RX }
func txEnd(r *results.Record) *results.End { return r.TX }

// metrics are those that every record may have, in the order in which they
// are told.
var metrics = []Metric{
	{"gbps", "Throughput", unitSpeed, 1, func(r *results.Record) *float64 { return &r.Gbps }},
	{"tx.cpu_percent", "CPU, sender", unitCPU, -1, endMetric(txEnd, func(e *results.End) *float64 { return e.CPUPercent })},
	{"rx.cpu_percent", "CPU, receiver", unitCPU, -1, endMetric(rxEnd, func(e *results.End) *float64 { return e.CPUPercent })},
	{"total.cpu_percent", "CPU, both ends", unitCPU, -1, func(r *results.Record) *float64 { return r.Total.CPUPercent }},
	{"tx.iowait_percent", "iowait, sender", unitCPU, 0, endMetric(txEnd, func(e *results.End) *float64 { return e.IowaitPercent })},
	{"rx.iowait_percent", "iowait, receiver", unitCPU, 0, endMetric(rxEnd, func(e *results.End) *float64 { return e.IowaitPercent })},
	{"tx.watts", "Power, sender", unitWatts, -1, endMetric(txEnd, func(e *results.End) *float64 { return e.Watts })},
	{"rx.watts", "Power, receiver", unitWatts, -1, endMetric(rxEnd, func(e *results.End) *float64 { return e.Watts })},
	{"total.watts", "Power, both ends", unitWatts, -1, func(r *results.Record) *float64 { return r.Total.Watts }},
	{"tx.power.joules_per_gb", "Energy, sender", unitEnergy, -1, endMetric(txEnd, joules)},
	{"rx.power.joules_per_gb", "Energy, receiver", unitEnergy, -1, endMetric(rxEnd, joules)},
	{"total.power.joules_per_gb", "Energy, both ends", unitEnergy, -1, totalJoules},
	{"roi.cpu.tx", "ROI per CPU, sender", unitROICPU, 1, func(r *results.Record) *float64 { return r.ROI.CPU.TX }},
	{"roi.cpu.rx", "ROI per CPU, receiver", unitROICPU, 1, func(r *results.Record) *float64 { return r.ROI.CPU.RX }},
	{"roi.cpu.total", "ROI per CPU, both ends", unitROICPU, 1, func(r *results.Record) *float64 { return r.ROI.CPU.Total }},
	{"roi.power.tx", "ROI per watt, sender", unitROIPower, 1, func(r *results.Record) *float64 { return r.ROI.Power.TX }},
	{"roi.power.rx", "ROI per watt, receiver", unitROIPower, 1, func(r *results.Record) *float64 { return r.ROI.Power.RX }},
	{"roi.power.total", "ROI per watt, both ends", unitROIPower, 1, func(r *results.Record) *float64 { return r.ROI.Power.Total }},
	{"tx.zero_copied_percent", "Zero-copied, sender", unitShare, 1, endMetric(txEnd, share)},
	{"rx.zero_copied_percent", "Zero-copied, receiver", unitShare, 1, endMetric(rxEnd, share)},
}

func endMetric(end func(*results.Record) *results.End, of func(*results.End) *float64) func(*results.Record) *float64 {
	return func(r *results.Record) *float64 {
		if e := end(r); e != nil {
			return of(e)
		}
		return nil
	}
}

// totalJoules is of a meter that saw both ends, or of each end's own.
func totalJoules(r *results.Record) *float64 {
	if p := r.Total.Power; p != nil {
		return p.JoulesPerG
	}
	if r.RX == nil || r.TX == nil {
		return nil
	}
	rx, tx := joules(r.RX), joules(r.TX)
	if rx == nil || tx == nil || r.RX.Power.Scope != r.TX.Power.Scope {
		return nil // joules of the wall and of a package have no sum
	}
	sum := *rx + *tx
	return &sum
}

func joules(e *results.End) *float64 {
	if e.Power == nil {
		return nil
	}
	return e.Power.JoulesPerG
}

// share is what no CPU of the end copied, in percent of the payload.
func share(e *results.End) *float64 {
	if e.Bytes == 0 {
		return nil
	}
	v := 100 * float64(e.ZeroCopiedBytes) / float64(e.Bytes)
	return &v
}

// Known is a metric of the list; the name is a constant of this package.
func Known(name string) Metric {
	i := slices.IndexFunc(metrics, func(m Metric) bool { return m.Name == name })
	return metrics[i]
}

// atLeast says that a zero-copied share of these runs may be more than it is.
func (m Metric) atLeast(runs []*Run) bool {
	end := map[string]func(*results.Record) *results.End{"tx.zero_copied_percent": txEnd, "rx.zero_copied_percent": rxEnd}[m.Name]
	return end != nil && slices.ContainsFunc(runs, func(r *Run) bool {
		e := end(r.Record)
		return e != nil && e.UnknownBytes > 0
	})
}

// Places is how many decimals figures of some metrics take in the report's cells.
func (r *Report) Places(metrics ...Metric) int {
	if slices.ContainsFunc(metrics, func(m Metric) bool { return m.Unit == unitCPU || m.Unit == unitWatts }) {
		return 1
	}
	return Places(each(r.Cells, metrics...)...)
}

// SyscallsPerGB are the calls of both ends over 10⁹ bytes, a metric for each.
func (r *Report) SyscallsPerGB() []Metric {
	return slices.DeleteFunc(extra(r.Runs), func(m Metric) bool { return !strings.Contains(m.Name, ".syscalls_per_gb.") })
}

// families are metrics that only some engines and hosts have: under each end,
// a map of the record.
var families = []struct {
	name string
	all  func(*results.End) []string
	unit string
	of   func(e *results.End, name string) *float64
}{
	{"counters", func(e *results.End) []string { return slices.Collect(maps.Keys(e.Counters)) }, "",
		func(e *results.End, name string) *float64 {
			v, ok := e.Counters[name]
			return pointer(v, ok)
		}},
	{"syscalls", func(e *results.End) []string { return slices.Collect(maps.Keys(e.Syscalls)) }, "calls",
		func(e *results.End, name string) *float64 {
			v, ok := e.Syscalls[name]
			return pointer(float64(v), ok)
		}},
	{"syscalls_per_gb", func(e *results.End) []string { return slices.Collect(maps.Keys(e.Syscalls)) }, "calls/GB",
		func(e *results.End, name string) *float64 {
			v, ok := e.Syscalls[name]
			return pointer(float64(v)/(float64(e.Bytes)/1e9), ok && e.Bytes > 0)
		}},
}

func pointer(v float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &v
}

// choose gives the metrics that names mean, in order: each a metric, or the
// start of some up to a dot (roi, rx.counters) or a star (rx.counters.tcp_*). Without names they are all of
// the fixed ones that some run has.
func choose(names []string, runs []*Run) ([]Metric, error) {
	var chosen []Metric
	if len(names) == 0 {
		for _, m := range metrics {
			if slices.ContainsFunc(runs, func(r *Run) bool { return r.Status == results.OK && m.Of(r.Record) != nil }) {
				chosen = append(chosen, m)
			}
		}
		return chosen, nil
	}
	all := slices.Concat(metrics, extra(runs))
	for _, name := range names {
		found := false
		for _, m := range all {
			prefix, open := strings.CutSuffix(name, "*")
			if m.Name == name || strings.HasPrefix(m.Name, name+".") || open && strings.HasPrefix(m.Name, prefix) {
				found = true
				if !slices.ContainsFunc(chosen, func(c Metric) bool { return c.Name == m.Name }) {
					chosen = append(chosen, m)
				}
			}
		}
		if !found {
			var list []string
			for _, m := range all {
				list = append(list, m.Name)
			}
			return nil, fault.Errorf(fault.Usage, "no run has a metric %q%s; there are %s", name, nearest(name, list),
				strings.Join(printable.Shorten(list), ", "))
		}
	}
	return chosen, nil
}

// extra are the metrics of the families that some run has.
func extra(runs []*Run) []Metric {
	var list []Metric
	for _, end := range []struct {
		role string
		of   func(*results.Record) *results.End
	}{{"tx", txEnd}, {"rx", rxEnd}} {
		for _, f := range families {
			names := map[string]bool{}
			for _, r := range runs {
				if e := end.of(r.Record); e != nil {
					for _, n := range f.all(e) {
						names[n] = true
					}
				}
			}
			for _, n := range slices.Sorted(maps.Keys(names)) {
				name := printable.Line(end.role + "." + f.name + "." + n)
				list = append(list, Metric{name, name, f.unit, 0, endMetric(end.of, func(e *results.End) *float64 { return f.of(e, n) })})
			}
		}
	}
	return list
}

// nearest suggests the name of a list that was probably meant.
func nearest(name string, list []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, n := range list {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is how many bytes to insert, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := last
			if a[i] != b[j] {
				d++
			}
			last = row[j+1]
			row[j+1] = min(d, last+1, row[j]+1)
		}
	}
	return row[len(b)]
}
