// Package verify looks at the headers that cross an interface, beside the settings
// that say where they are to go.
package verify

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"zcbench/internal/fault"
	"zcbench/internal/headers"
	"zcbench/results"
	"zcbench/ringcfg"
)

// Open makes ready to look at the flows of some local or remote ports. What it gives
// looks until its context ends.
func Open(iface string, first, last int) (func(context.Context) (*results.Crossing, error), error) {
	now, err := Look(iface)
	if err != nil {
		return nil, err
	}
	of := func(p netip.AddrPort) bool { return int(p.Port()) >= first && int(p.Port()) <= last }
	return func(ctx context.Context) (*results.Crossing, error) {
		return Capture(ctx, now, func(f headers.Flow) bool { return of(f.Src) || of(f.Dst) })
	}, nil
}

// Look finds out whether headers can be captured, and what they are to be
// compared with.
func Look(iface string) (ringcfg.View, error) {
	if err := headers.Allowed(); err != nil {
		return ringcfg.View{}, fault.Wrap(fault.Unsupported, err)
	}
	return ringcfg.Show(iface)
}

// Capture looks at the flows that keep wants, or all where it is nil, until
// ctx ends.
func Capture(ctx context.Context, now ringcfg.View, keep func(headers.Flow) bool) (*results.Crossing, error) {
	begun := time.Now()
	received, sent, lost, err := headers.Capture(ctx, now.Interface, max(len(now.Queues), 1), keep)
	if err != nil {
		return nil, err
	}
	c := &results.Crossing{Interface: now.Interface, Seconds: time.Since(begun).Seconds(), Lost: lost, Sent: directionOf(sent, nil)}
	c.Received = directionOf(received, func(src, dst netip.AddrPort) []uint32 {
		q, serr := ringcfg.SteeredTo(now.Settings, src, dst)
		err = errors.Join(err, serr)
		return q
	})
	return c, err
}

// directionOf keeps the flows that carry most.
func directionOf(s *headers.Summary, steered func(src, dst netip.AddrPort) []uint32) results.Direction {
	const most = 1024
	d := results.Direction{Frames: s.Frames, Bytes: s.Bytes, Other: s.Other, Sizes: s.Sizes, Segments: s.Segments,
		Headers: s.HeaderBytes, Options: s.Options, Flows: []results.Flow{}}
	flows := slices.SortedFunc(maps.Keys(s.Flows), func(a, b headers.Flow) int {
		return cmp.Or(cmp.Compare(s.Flows[b].Bytes, s.Flows[a].Bytes), cmp.Compare(a.String(), b.String()))
	})
	for _, flow := range flows[:min(most, len(flows))] {
		of := s.Flows[flow]
		v := results.Flow{Flow: flow.String(), Frames: of.Frames, Bytes: of.Bytes, Queues: of.Queues}
		if steered != nil {
			v.Steered = steered(flow.Src, flow.Dst)
		}
		for q, n := range of.Queues {
			if len(v.Steered) > 0 && (q < 0 || !slices.Contains(v.Steered, uint32(q))) {
				v.Elsewhere += n
			}
		}
		d.Flows = append(d.Flows, v)
	}
	return d
}
