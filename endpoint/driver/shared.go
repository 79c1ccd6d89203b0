package driver

import (
	"context"
	"fmt"

	"zcbench/endpoint/wire"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Sharing says whether two ends run on one kernel, and so on the same CPUs.
type Sharing string

// The answers. The zero value is that nobody has asked.
const (
	OneHost     Sharing = "one"
	TwoHosts    Sharing = "two"
	HostUnknown Sharing = "unknown"
)

// sureness is how unlikely an accident must be to be taken for one kernel.
const sureness = 1e-12

// between compares one end's totals with the other's before and after. chance is
// how likely it is that two kernels look like one, taking each total of a kernel
// for any number up to its size.
func between(before, middle, after []uint64) (one bool, chance float64) {
	chance = 1
	for i := range before {
		if middle[i] < before[i] || middle[i] > after[i] {
			return false, 0
		}
		chance *= float64(after[i]-before[i]+1) / float64(after[i]+1)
	}
	return true, chance
}

// Shared tells whether two agents run on one kernel.
func Shared(ctx context.Context, a, b *Client) (Sharing, error) {
	const tries = 3 // the shortest of them says most
	for range tries {
		var read [3][]uint64
		for i, c := range []*Client{a, b, a} {
			var err error
			if read[i], err = c.totals(ctx); err != nil {
				return "", err
			}
		}
		if n := len(read[0]); n == 0 || len(read[1]) != n || len(read[2]) != n {
			break // one of them cannot read its own
		}
		one, chance := between(read[0], read[1], read[2])
		if !one {
			return TwoHosts, nil
		}
		if chance <= sureness {
			return OneHost, nil
		}
	}
	// Who runs without a container shows the kernel's own boot ID.
	if id := a.Welcome.BootID; id != "" && id == b.Welcome.BootID {
		return OneHost, nil
	}
	return HostUnknown, nil
}

func (c *Client) totals(ctx context.Context) ([]uint64, error) {
	m, err := c.ask(ctx, wire.Message{Clock: &wire.Clock{Count: true}}, upTo(wire.OwedWait, "say what its kernel has counted"))
	if err != nil {
		return nil, err
	}
	if m.Clock == nil {
		return nil, c.unexpected("clock")
	}
	return m.Clock.Totals, nil
}

// unlike compares two hosts in what decides how fast their CPUs run.
func unlike(rx, tx results.Facts) (warnings []string) {
	for _, name := range []string{"governor", "turbo", "smt"} {
		a, b := rx["cpu"], tx["cpu"]
		x, _ := a.(map[string]any)
		y, _ := b.(map[string]any)
		is, other := x[name], y[name]
		if is != nil && other != nil && fmt.Sprint(is) != fmt.Sprint(other) {
			warnings = append(warnings, caveat.Warn(caveat.HostsDiffer, "the two hosts run their CPUs differently, so their CPU figures do not "+
				"compare: cpu.%s is %q at the receiver and %q at the sender", name, fmt.Sprint(is), fmt.Sprint(other)))
		}
	}
	return warnings
}
