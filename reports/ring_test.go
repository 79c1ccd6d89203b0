package reports

import (
	"regexp"
	"strings"
	"testing"

	"zcbench/results"
)

func TestRing(t *testing.T) {
	end := func(enters uint64, counters map[string]float64) *results.End {
		return &results.End{Bytes: 2 << 30, Syscalls: map[string]uint64{"io_uring_enter": enters}, Counters: counters}
	}
	for _, c := range []struct {
		end  *results.End
		want string
	}{
		{end(100, map[string]float64{"cqes": 6400, "refill_depth_max": 500, "refill_stalls": 0, "rearms": 0}),
			"64.0 completions a call of io_uring_enter, 46.6 calls a GB, refill queue at most 500 deep"},
		{end(1000, map[string]float64{"cqes": 1500, "refill_depth_max": 16, "refill_stalls": 7, "cq_overflows": 3, "rearms": 4,
			"area_empty_events": 2}),
			"1.5 completions a call of io_uring_enter, 466 calls a GB, refill queue at most 16 deep, 7 pieces that found it full, 3 overflows of " +
				"the completion queue, 4 re-arms, 2 times no free buffer for the NIC"},
		{end(0, map[string]float64{"cqes": 1}), ""},
		{end(10, nil), ""},
		{&results.End{}, ""},
	} {
		got := ring(c.end)
		if got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		// One figure, one unit: the list of all calls has it too.
		if n := regexp.MustCompile(`([0-9.]+) calls a GB`).FindStringSubmatch(got); n != nil {
			if all := calls(c.end); !strings.HasPrefix(all, "io_uring_enter "+n[1]) {
				t.Errorf("%q beside %q", got, all)
			}
		}
	}
}
