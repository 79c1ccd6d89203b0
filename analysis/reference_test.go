package analysis

import (
	"reflect"
	"testing"

	"zcbench/analysis/analysistest"
)

// Every study is whole, and what it shows beside it is of the same axes.
func TestReferences(t *testing.T) {
	for _, name := range References() {
		s, err := reference(name)
		if err != nil || s.Title == "" || s.Setup == "" || s.Source == "" || len(s.Points) == 0 {
			t.Errorf("%s: %+v %v", name, s, err)
		}
		seen := map[string]bool{}
		for _, q := range s.Points {
			if q.Gbps <= 0 || q.Upper != 0 && q.Upper <= q.Gbps || seen[q.text()] {
				t.Errorf("%s: %+v", name, q)
			}
			seen[q.text()] = true
			for k := range q.Axes {
				if axisOrder(k) < 0 {
					t.Errorf("%s: axis %q", name, k)
				}
			}
		}
	}
	records := analysistest.Matrix()
	for i := range records {
		records[i].Axes["cpus"] = "2"
		analysistest.AsTheMode(&records[i])
	}
	r, err := Of(records).Report(Options{References: []string{"netdev-0x19"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range r.References[0].Points {
		c := q.Cell
		if want := q.What == "" && q.Axes["cpus"] == "2"; (c != nil) != want {
			t.Errorf("%s: beside it %v", q.text(), c)
		}
		if c != nil && !reflect.DeepEqual(c.Runs[0].Axes, q.Axes) {
			t.Errorf("%s: beside it %v", q.text(), c.Runs[0].Axes)
		}
	}
}
