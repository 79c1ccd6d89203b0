package reports

import (
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/reports/html"
	"zcbench/results"
)

// What the sockets used stands in the head of a run's text, of a table and of a
// page, and nothing does where records do not tell.
func TestCongestionIsTold(t *testing.T) {
	record := func(tx, rx string) results.Record {
		return results.Record{Schema: results.Schema, ID: tx + rx, Status: results.OK, Window: 1, Gbps: 1, Bytes: 1,
			TX: &results.End{Engine: "baseline", Bytes: 1, Congestion: tx}, RX: &results.End{Engine: "baseline", Bytes: 1, Congestion: rx}}
	}
	write := func(records ...results.Record) (run, table, page string) {
		var b strings.Builder
		if err := Run(&b, records[0]); err != nil {
			t.Fatal(err)
		}
		run = b.String()
		b.Reset()
		if err := Table(&b, analysis.FirstLook(records)); err != nil {
			t.Fatal(err)
		}
		table = b.String()
		b.Reset()
		if err := html.Write(&b, analysis.FirstLook(records)); err != nil {
			t.Fatal(err)
		}
		return run, table, b.String()
	}
	run, table, page := write(record("bbr", "cubic"), record("reno", "reno"))
	if !strings.Contains(run, "Congestion control: sender bbr, receiver cubic\n") {
		t.Errorf("run:\n%s", run)
	}
	for _, text := range []string{table, page} {
		if !strings.Contains(text, "Congestion control: reno; sender bbr, receiver cubic") {
			t.Errorf("head:\n%s", text[:min(len(text), 3000)])
		}
	}
	run, table, page = write(record("", ""))
	for _, text := range []string{run, table, page} {
		if strings.Contains(text, "Congestion control") {
			t.Errorf("what is not known is told:\n%s", text[:min(len(text), 3000)])
		}
	}
}
