package analysis

import (
	"fmt"
	"slices"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
)

func TestMetrics(t *testing.T) {
	records := analysistest.Matrix()
	for i := range records {
		records[i].RX.Counters = map[string]float64{"tcp_rtt_us": 12}
		records[i].RX.Syscalls = map[string]uint64{"recvmsg": 50}
		records[i].RX.Bytes = 2e9
	}
	r,
		err := Of(records).Report(Options{Metrics: []string{"rx.counters", "roi.cpu", "rx.syscalls.recvmsg", "rx.syscalls_per_gb.rec*",
		"roi.cpu.rx"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range r.Metrics {
		got = append(got, fmt.Sprintf("%s %.4g", m.Name, m.Over(r.Cells[0].Runs).Mean))
	}
	roi := Known("roi.cpu.rx").Over(r.Cells[0].Runs).Mean
	want := []string{"rx.counters.tcp_rtt_us 12", fmt.Sprintf("roi.cpu.tx %.4g", roi*90/80), fmt.Sprintf("roi.cpu.rx %.4g", roi),
		fmt.Sprintf("roi.cpu.total %.4g", roi*90/170), "rx.syscalls.recvmsg 50", "rx.syscalls_per_gb.recvmsg 25"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What has no sum has none in a report.
func TestEnergyOfBothEnds(t *testing.T) {
	rx, tx := 160.0, 80.0
	r := results.Record{
		RX: &results.End{Power: &results.Power{Scope: "wall", JoulesPerG: &rx}},
		TX: &results.End{Power: &results.Power{Scope: "wall", JoulesPerG: &tx}},
	}
	if got := totalJoules(&r); got == nil || *got != 240 {
		t.Errorf("%v J/GB of both ends, want 240", got)
	}
	r.TX.Power.Scope = "package"
	if got := totalJoules(&r); got != nil {
		t.Errorf("%v J/GB of the wall and a package", *got)
	}
}

// A zero-copied share is no firm figure where of some payload nobody can tell.
func TestUnknownShareIsABound(t *testing.T) {
	runs := []*Run{{Record: &results.Record{
		TX: &results.End{Bytes: 1000, ZeroCopiedBytes: 5, CopiedBytes: 995, UnknownBytes: 900},
		RX: &results.End{Bytes: 1000, ZeroCopiedBytes: 1000},
	}}}
	for name, want := range map[string]bool{"tx.zero_copied_percent": true, "rx.zero_copied_percent": false, "gbps": false} {
		if got := Known(name).Over(runs).atLeast; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
