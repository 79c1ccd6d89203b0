package html

import (
	"fmt"
	"reflect"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/results"
)

func TestArrange(t *testing.T) {
	matrix := func(axes ...string) (records []results.Record) {
		sets := []map[string]string{{}}
		for i := 0; i < len(axes); i += 2 {
			var next []map[string]string
			for _, s := range sets {
				for v := range len(axes[i+1]) {
					one := map[string]string{axes[i]: axes[i+1][v : v+1]}
					for k, v := range s {
						one[k] = v
					}
					next = append(next, one)
				}
			}
			sets = next
		}
		for i, s := range sets {
			r := analysistest.OK(fmt.Sprint(i), 1, 1, 1)
			r.Axes = s
			records = append(records, r)
		}
		return records
	}
	for _, c := range []struct {
		name           string
		records        []results.Record
		panels, series []string
		groups, bars   int
		left           int
	}{
		{"the talk's", analysistest.RichStudy(), []string{"1 CPU", "2 CPUs"}, []string{"sw GRO", "HW GRO"}, 4, 16, 0},
		{"none", []results.Record{analysistest.OK("a", 1, 1, 1), analysistest.OK("b", 1, 1, 1)}, []string{""}, nil, 2, 2, 0},
		{"one axis", matrix("engines", "abc"), []string{""}, nil, 3, 3, 0},
		{"CPUs alone", matrix("mode", "ab", "cpus", "12"), []string{"1 CPU", "2 CPUs"}, nil, 2, 4, 0},
		{"without engines", matrix("batch", "12345", "mtu", "19"), []string{""}, []string{"1", "9"}, 5, 10, 0},
		{"four axes", matrix("mode", "ab", "gro", "sh", "mtu", "19", "cpus", "12"),
			[]string{"1 CPU, mtu 1", "1 CPU, mtu 9", "2 CPUs, mtu 1", "2 CPUs, mtu 9"}, []string{"h", "s"}, 2, 16, 0},
		{"too many", matrix("mode", "ab", "a", "1234567", "b", "1234567"), []string{""}, nil, mostRows, mostRows, 98 - mostRows},
	} {
		r := analysis.FirstLook(c.records)
		l := arrange(r)
		if !reflect.DeepEqual(l.panels, c.panels) || !reflect.DeepEqual(l.series, c.series) || len(l.groups) != c.groups ||
			len(l.at) != c.bars || l.left != c.left {
			t.Errorf("%s: panels %q, series %q, %d groups, %d bars, %d left", c.name, l.panels, l.series, len(l.groups), len(l.at), l.left)
		}
		colours := map[int]bool{}
		for _, g := range l.groups {
			colours[g.colour] = true
		}
		if len(l.groups) <= 8 && len(colours) != len(l.groups) {
			t.Errorf("%s: groups share colours: %v", c.name, l.groups)
		}
	}
}
