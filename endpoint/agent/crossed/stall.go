package crossed

import (
	"fmt"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/printable"
	"zcbench/results/caveat"
)

// stalled says which flows stood still, nothing where none did for long.
func stalled(role endpoint.Role, all []wire.FlowResult) (warning string) {
	var times []still
	for _, r := range all {
		times = append(times, still{r.Stall, r.StallAt})
	}
	which, n := longStill(times)
	if n == 0 {
		return ""
	}
	return caveat.Warn(caveat.FlowStalled, "%s: %d of %s stood still for about half a second or more: %s; nothing came in order meanwhile: "+
		"look at the link, what it loses, the port and the other end", role, n, printable.Count(len(all), "flow"), which)
}

// still is for how long a flow stood, and from when on, ns.
type still struct{ long, from int64 }

// longStill names the flows that stood for long, and says how many did.
func longStill(all []still) (which string, n int) {
	for i, s := range all {
		if s.long < standstill {
			continue
		}
		switch n++; {
		case n <= mostNamed:
			if which != "" {
				which += "; "
			}
			which += fmt.Sprintf("flow %d for %.2f s from %.2f s into the window on", i+1, float64(s.long)/1e9, float64(s.from)/1e9)
		case n == mostNamed+1:
			which += "; …"
		}
	}
	return which, n
}

// mostNamed is how many flows a warning names; the record has all.
const mostNamed = 4
