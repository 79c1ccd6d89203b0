package reports

import (
	"bytes"
	"strings"
	"testing"

	"zcbench/analysis/analysistest"
)

func TestCompare(t *testing.T) {
	before, after := analysistest.BeforeAfter()
	c, err := Compare(Of(before), Of(after), CompareOptions{Threshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	for format, file := range map[string]string{"table": "compare.table", "markdown": "compare.md", "csv": "compare.csv", "json": "compare.json"} {
		var b bytes.Buffer
		if err := WriteComparison(&b, c, format); err != nil {
			t.Fatal(err)
		}
		analysistest.Golden(t, file, b.Bytes())
	}
	if err := WriteComparison(broken{}, c, "table"); err == nil {
		t.Error("a failed write went unnoticed")
	}
	if err := WriteComparison(&bytes.Buffer{}, c, "html"); err == nil {
		t.Error("a format that is none")
	}
	if l := c.Losses(); len(l) != 2 || !strings.HasPrefix(l[0], "sendfile → mmap: gbps -6.") || !strings.HasPrefix(l[1], "sendfile → mmap: roi.cpu.total -") {
		t.Errorf("losses %q", l)
	}
	for _, o := range []struct {
		options CompareOptions
		losses  int
	}{
		{CompareOptions{Threshold: 20}, 0},
		{CompareOptions{Threshold: 8}, 1},                                       // ROI has the square
		{CompareOptions{Metrics: []string{"gbps"}}, 1},                          // without a threshold
		{CompareOptions{Metrics: []string{"rx.cpu_percent"}}, 0},                // no change
		{CompareOptions{Metrics: []string{"roi.cpu"}, Threshold: 2}, 3},         // each that is named
		{CompareOptions{Filter: "rx=zcrx"}, 0},                                  // it gained
		{CompareOptions{GroupBy: []string{"tx"}, Metrics: []string{"gbps"}}, 0}, // pooled, it is not significant
	} {
		c, err := Compare(Of(before), Of(after), o.options)
		if err != nil {
			t.Fatal(err)
		}
		if l := c.Losses(); len(l) != o.losses {
			t.Errorf("%+v: %q", o.options, l)
		}
	}
}
