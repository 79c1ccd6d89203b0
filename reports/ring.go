package reports

import (
	"fmt"
	"strings"

	"zcbench/results"
)

// ring tells how an io_uring end got its completions, nothing of others.
func ring(e *results.End) string {
	c, enters := e.Counters, float64(e.Syscalls["io_uring_enter"])
	if c["cqes"] == 0 || enters == 0 || e.Bytes == 0 {
		return ""
	}
	parts := []string{
		fmt.Sprintf("%.1f completions a call of io_uring_enter", c["cqes"]/enters),
		perGB(e.Syscalls["io_uring_enter"], e.Bytes) + " calls a GB",
	}
	if n, ok := c["refill_depth_max"]; ok {
		parts = append(parts, fmt.Sprintf("refill queue at most %.0f deep", n))
	}
	for _, k := range []struct{ name, what string }{
		{"refill_stalls", "pieces that found it full"},
		{"cq_overflows", "overflows of the completion queue"},
		{"rearms", "re-arms"},
		{"area_empty_events", "times no free buffer for the NIC"},
		{"area_grown", "times the area grew"},
		{"enomem", "times none to copy into"},
		{"enobufs", "times no free buffer"},
	} {
		if n := c[k.name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%.0f %s", n, k.what))
		}
	}
	return strings.Join(parts, ", ")
}
