package reports

import (
	"bytes"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
)

func TestCompare(t *testing.T) {
	before, after := analysistest.BeforeAfter()
	c, err := analysis.Compare(analysis.Of(before), analysis.Of(after), analysis.CompareOptions{Threshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	for format, file := range map[string]string{"table": "compare.table", "markdown": "compare.md", "csv": "compare.csv",
		"json": "compare.json"} {
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
	if l := c.Losses(); len(l) != 2 || !strings.HasPrefix(l[0], "sendfile → mmap: gbps -6.") ||
		!strings.HasPrefix(l[1], "sendfile → mmap: roi.cpu.total -") {
		t.Errorf("losses %q", l)
	}
	for _, o := range []struct {
		options analysis.CompareOptions
		losses  int
	}{
		{analysis.CompareOptions{Threshold: 20}, 0},
		{analysis.CompareOptions{Threshold: 8}, 1},                                       // ROI has the square
		{analysis.CompareOptions{Metrics: []string{"gbps"}}, 1},                          // without a threshold
		{analysis.CompareOptions{Metrics: []string{"rx.cpu_percent"}}, 0},                // no change
		{analysis.CompareOptions{Metrics: []string{"roi.cpu"}, Threshold: 2}, 3},         // each that is named
		{analysis.CompareOptions{Filter: "rx=zcrx"}, 0},                                  // it gained
		{analysis.CompareOptions{GroupBy: []string{"tx"}, Metrics: []string{"gbps"}}, 0}, // pooled, it is not significant
	} {
		c, err := analysis.Compare(analysis.Of(before), analysis.Of(after), o.options)
		if err != nil {
			t.Fatal(err)
		}
		if l := c.Losses(); len(l) != o.losses {
			t.Errorf("%+v: %q", o.options, l)
		}
	}
}
