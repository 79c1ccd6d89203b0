package reports

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"

	"zcbench/analysis"
	"zcbench/internal/printable"
)

// writeBenchfmt writes each run that counts as a line of Go's benchmark format,
// which benchstat reads.
func writeBenchfmt(w io.Writer, r *analysis.Report) error {
	b := benchfmt.NewWriter(w)
	for _, m := range r.Metrics {
		better := map[int]string{1: "higher", -1: "lower"}[m.Better]
		if better == "" {
			continue
		}
		if err := b.Write(&benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: benchUnit(m), Key: "better"},
			OrigUnit: benchUnit(m), Value: better}); err != nil {
			return err
		}
	}
	names := benchNames(r)
	for i, c := range r.Cells {
		for _, one := range c.Runs {
			res := benchfmt.Result{Name: benchfmt.Name(names[i]), Iters: 1}
			for _, m := range r.Metrics {
				if v := m.Of(one.Record); v != nil && finite(*v) != nil {
					res.Values = append(res.Values, benchfmt.Value{Value: *v, Unit: benchUnit(m)})
				}
			}
			if len(res.Values) == 0 {
				continue // a line without a value is none
			}
			if err := b.Write(&res); err != nil {
				return err
			}
		}
	}
	return nil
}

// benchNames are the cells' names as benchmarks have them, no two alike:
// /key=value for what tells a cell from others.
func benchNames(r *analysis.Report) []string {
	names := make([]string, len(r.Cells))
	count := map[string]int{}
	for i, c := range r.Cells {
		name := "TCP"
		add := func(key, value string) {
			name += "/" + benchWord(key) + "=" + benchWord(value)
		}
		if r.By == nil {
			add("tx", c.TX)
			add("rx", c.RX)
		}
		for k, key := range r.By {
			add(key, c.By[k])
		}
		for _, f := range c.Apart {
			add(f.Name, f.Value)
		}
		names[i] = name
		count[name]++
	}
	for i, c := range r.Cells {
		if count[names[i]] > 1 {
			names[i] += "/cell=" + benchWord(cmp.Or(c.ID, strconv.Itoa(i)))
		}
		// A number at the end would be read as GOMAXPROCS.
		if at := strings.LastIndexByte(names[i], '-'); at >= 0 && at < len(names[i])-1 &&
			strings.Trim(names[i][at+1:], "0123456789") == "" {
			names[i] = names[i][:at] + "%2D" + names[i][at+1:]
		}
	}
	return names
}

// benchWord is text without what would end a name or a part of it, each such
// byte in the escape of URLs: what differs before does so after.
func benchWord(s string) string {
	var b strings.Builder
	for _, c := range []byte(printable.Line(s)) {
		if c <= ' ' || strings.IndexByte(`/="%`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// benchUnit is the metric's name and unit as one word; benchstat makes a
// table of each.
func benchUnit(m analysis.Metric) string {
	if m.Name == "gbps" {
		return m.Unit
	}
	return benchWord(m.Name)
}
