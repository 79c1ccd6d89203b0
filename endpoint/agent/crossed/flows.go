// Package crossed follows what crossed the data connections of one end: how many bytes by
// when, what of them was copied, and which connection stood still.
package crossed

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/results/caveat"
)

// Flows follow how far each data connection has come, by its TCP: a receiver's
// by the bytes that arrived in order, a sender's by those that the peer
// acknowledged. That is what crossed at that moment, whatever an engine waits
// for before it counts: a whole --length, a chunk of pages, a notification.
type Flows struct {
	role     endpoint.Role
	list     []flow
	counters []*endpoint.Counters
	info     unix.TCPInfo
	// coarse says that this kernel tells nothing of it: an engine's own count
	// serves then.
	coarse bool
	opened int64 // when the window opens, CLOCK_MONOTONIC
	looked int64 // when it was last looked at them, ns after that
	late   int64 // by how much a look may be late before what it missed is not known, ns
	edge         // of the last look
	first  edge  // as the window opened
	curve  curve
	unsure uint64 // of how many bytes of the window the order that they were copied in decides
	// waits are a receiver's where TCP tells of them, else of no flow.
	waits waits
}

// edge is what one look leaves open.
type edge struct {
	doubt uint64 // by how much its positions may be off, together
	held  uint64 // how many bytes the receivers held then, behind a loss
}

// flow is one connection. Positions are bytes since it was made.
type flow struct {
	fd       int
	counters *endpoint.Counters
	base     uint64 // what TCP had counted of a sender before any payload: the SYN
	last     uint64 // position when TCP last answered
	seen     int64  // when that was, ns after the window opened
	here     uint64 // position when that was asked
	first    uint64 // position as the window opened

	moved   int64  // when it was last seen to move: no later than it stands still since
	still   uint64 // position then
	limited uint64 // for how long the peer's window had held it back at the last look, µs
	longest int64  // that it stood still in the window, ns, at least
	since   int64  // when that began
	unseen  int64  // the longest that it moved on in while nobody looked who was to, ns

	strays        uint32 // segments that had come out of order when it last moved
	again, resent uint32 // retransmitted segments, as the window opened and at the last look
	rtt           uint64 // sum of the smoothed round trips, µs
	rtts          uint64
	minRTT        uint32 // µs; 0: none was measured
}

// How often few flows are looked at in the window, and from when on one that
// stands still is worth a word. A stall is known at both its ends to a look, so
// that none of half a second is missed.
const (
	lookEvery  = int64(50 * time.Millisecond)
	standstill = int64(500*time.Millisecond) - 2*lookEvery
	// fewFlows may be looked at so often, more of them in proportion less: to ask
	// TCP of one takes some microseconds of a CPU. Of closeFlows it is worth them
	// while one stands still.
	fewFlows   = 16
	closeFlows = 64
)

// Follow begins to follow the flows of a window that opens at a time of CLOCK_MONOTONIC,
// by what TCP and what the engine counts. It is called before any payload is sent, and
// nothing that is called until the window has closed allocates or waits for a lock. A
// look may be late by so much, in ns, before what a flow did meanwhile is not known.
func Follow(role endpoint.Role, fds []int, counters []*endpoint.Counters, opened, late int64) (*Flows, error) {
	f := &Flows{role: role, list: make([]flow, len(fds)), counters: counters, opened: opened, looked: wire.Monotonic() - opened, late: late,
		curve: newCurve()}
	for i, fd := range fds {
		c := &f.list[i]
		c.fd, c.counters, c.seen = fd, counters[i], f.looked
		known, e := abi.TCPInfo(fd, &f.info)
		if e != 0 {
			return nil, fmt.Errorf("TCP_INFO of flow %d: %w", i+1, e)
		}
		f.coarse = f.coarse || known < abi.TCPInfoBytes
		if role == endpoint.TX {
			c.base = f.info.Bytes_acked
		}
	}
	if role == endpoint.RX && !f.coarse {
		f.waits = newWaits(fds)
	}
	return f, nil
}

// Begin opens the window: positions count from here on. With whole, so does what
// came before.
func (f *Flows) Begin(whole bool) (crossed uint64, at int64, err error) {
	f.curve.add(f.counters)
	if _, at, err = f.look(); err != nil {
		return 0, 0, err
	}
	for i := range f.list {
		c := &f.list[i]
		if whole {
			c.last, c.here = 0, 0
		}
		c.first, c.again = c.here, c.resent
		c.moved, c.still, c.longest, c.since, c.unseen = at, c.last, 0, at, 0
		crossed += c.here
	}
	f.first = f.edge
	f.waits.begin(at)
	return crossed, at, nil
}

// patience is for how long a socket may keep a look waiting before that matters.
const patience = int64(time.Millisecond)

// Look gives how many bytes have crossed, and when that was, ns after the window
// opened.
func (f *Flows) Look() (crossed uint64, at int64, err error) {
	f.curve.add(f.counters)
	return f.look()
}

// ZeroCopied is how many of the bytes that the engine had counted at the last look were
// zero-copied.
func (f *Flows) ZeroCopied() uint64 { return f.curve.last().zero }

// look asks TCP. A worker that holds its socket and does not run, because it shares a
// CPU with others, keeps a look waiting: then the position is taken back, at the
// rate since the look before, to when it was asked for.
func (f *Flows) look() (crossed uint64, at int64, err error) {
	at = wire.Monotonic() - f.opened
	f.edge = edge{}
	missed := at-f.looked > f.gap()+f.late
	for i := range f.list {
		c := &f.list[i]
		position, err := f.position(i)
		if err != nil {
			return 0, 0, err
		}
		now := wire.Monotonic() - f.opened
		c.resent = f.info.Total_retrans
		if f.info.Rtt > 0 {
			c.rtt += uint64(f.info.Rtt)
			c.rtts++
		}
		if f.info.Min_rtt != ^uint32(0) {
			c.minRTT = f.info.Min_rtt
		}
		quiet := f.info.Last_data_recv
		if f.role == endpoint.TX {
			quiet = f.info.Last_ack_recv
		}
		if position > c.last {
			c.strays = f.info.Rcv_ooopack
		}
		f.held += f.strayed(c)
		if missed && position > c.last {
			c.unseen = max(c.unseen, now-c.seen)
		}
		f.doubt += c.move(position, f.trifle(c, now), at, now, int64(quiet)*int64(time.Millisecond))
		if f.role == endpoint.RX && f.info.State != abi.TCP_ESTABLISHED {
			c.moved = now // it ended
		}
		crossed += c.here
	}
	f.looked = at
	if len(f.waits.list) > 0 {
		f.waits.look(f.list)
	}
	return crossed, at, nil
}

// position asks TCP about flow i. What it says stays in info.
func (f *Flows) position(i int) (uint64, error) {
	c := &f.list[i]
	if _, e := abi.TCPInfo(c.fd, &f.info); e != 0 {
		return 0, fmt.Errorf("TCP_INFO of flow %d: %w", i+1, e)
	}
	switch {
	case f.coarse:
		f.info.Last_data_recv, f.info.Last_ack_recv = 0, 0
		return counted(c.counters), nil
	case f.role == endpoint.TX:
		return f.info.Bytes_acked - c.base, nil
	}
	return f.info.Bytes_received, nil
}

// Swallowed reports a sender of which the peer's TCP has acknowledged nothing at
// all, on any flow, however often it was sent again.
func (f *Flows) Swallowed() bool {
	if f.role != endpoint.TX || f.coarse {
		return false
	}
	for i := range f.list {
		if c := &f.list[i]; c.last > 0 || c.resent == 0 {
			return false
		}
	}
	return true
}

// total is where all flows have come by now, whether or not the window is over.
func (f *Flows) total() (uint64, error) {
	var sum uint64
	for i := range f.list {
		n, err := f.position(i)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// strayed is how many bytes of a flow, by info, have arrived out of order: of
// those that the peer has not acknowledged, the part that it acknowledged
// selectively; on the receiving side the segments of that kind since the last in
// order.
func (f *Flows) strayed(c *flow) uint64 {
	i := &f.info
	if f.role == endpoint.RX {
		return uint64(i.Rcv_ooopack-c.strays) * uint64(i.Rcv_mss)
	}
	flying := i.Bytes_sent - i.Bytes_retrans - (i.Bytes_acked - c.base)
	if i.Unacked == 0 || i.Sacked > i.Unacked || i.Bytes_sent < i.Bytes_retrans+i.Bytes_acked-c.base {
		return 0
	}
	// What a qdisc of this host drops was sent all the same, and makes it more.
	return min(flying/uint64(i.Unacked), uint64(i.Snd_mss)) * uint64(i.Sacked)
}

// bound is by how much bytes at both edges of the window may be off where TCP
// does not tell: two calls and what a socket holds, for each flow.
func (f *Flows) bound(length int) uint64 {
	if !f.coarse {
		return 0
	}
	option, sum := unix.SO_RCVBUF, 0
	if f.role == endpoint.TX {
		option = unix.SO_SNDBUF
	}
	for i := range f.list {
		n, err := unix.GetsockoptInt(f.list[i].fd, unix.SOL_SOCKET, option)
		if err != nil {
			n = 0 // cannot fail on a socket
		}
		sum += n + 2*length
	}
	return uint64(sum)
}

// trifle is up to how many bytes do not count as movement of a flow, by info. A
// sender whose peer has no room for a segment sends what there is room for as a
// probe, a fifth of a second on: the peer takes nothing all the same.
func (f *Flows) trifle(c *flow, now int64) uint64 {
	limited := f.info.Rwnd_limited - c.limited // µs
	c.limited = f.info.Rwnd_limited
	if f.coarse || f.role != endpoint.TX || now-c.seen > 2*1000*int64(limited) {
		return 0
	}
	return uint64(f.info.Snd_mss)
}

// move notes a position that was asked for at one time and seen at another, when
// TCP had heard nothing for quiet. It gives by how much its guess of where the
// flow was when it was asked may be off.
func (c *flow) move(position, trifle uint64, asked, now, quiet int64) (doubt uint64) {
	position = max(position, c.last) // of a reset connection
	if wait := now - asked; wait > patience {
		doubt = uint64(float64(position-c.last) * min(1, float64(wait)/float64(now-c.seen)))
	}
	if position > c.still+trifle {
		c.moved, c.still = max(c.seen, now-quiet), position
	}
	if now-c.moved > c.longest {
		c.longest, c.since = now-c.moved, c.moved
	}
	c.last, c.seen, c.here = position, now, position-doubt
	return doubt
}

// gap is how long after a look the next is due, where no flow stands still.
func (f *Flows) gap() int64 { return lookEvery * int64(1+len(f.list)/(fewFlows+1)) }

// Next is when to look again, ns after the window opened.
func (f *Flows) Next() int64 {
	gap := f.gap()
	if len(f.list) <= closeFlows {
		for i := range f.list {
			// Once it has stood for long, how long matters less.
			if age := f.looked - f.list[i].moved; age >= 2*lookEvery && age < int64(time.Second) {
				gap = lookEvery
			}
		}
	}
	return f.looked + gap
}

// report is what each flow did in the window, and how far all had come at its
// end. TCP counts the end of a stream as a byte, which the engine does not; of a
// run that was cut off the engine's count is no limit.
func (f *Flows) report(cut bool) (all []wire.FlowResult, last uint64) {
	for i := range f.list {
		c := &f.list[i]
		if !cut {
			c.here = max(c.first, min(c.here, counted(c.counters)))
		}
		last += c.here
		r := wire.FlowResult{
			Bytes: c.here - c.first, Retransmits: uint64(c.resent - c.again), MinRTT: float64(c.minRTT),
			Stall: c.longest, StallAt: c.since, StallUnknown: c.unseen > c.longest && c.longest < standstill,
		}
		if c.rtts > 0 {
			r.RTT = float64(c.rtt) / float64(c.rtts)
		}
		all = append(all, r)
	}
	return all, last
}

// counted is what the engine has counted.
func counted(c *endpoint.Counters) uint64 { return c.ZeroCopied.Load() + c.Copied.Load() }

// Count says in the result of a window how much crossed in it and what of that was
// copied; crossed are the bytes at each of its samples. The engine's own counts run
// behind or ahead of what crosses; which of the two kinds a byte was is taken from when
// they reached it.
func (f *Flows) Count(res *wire.Result, crossed []uint64, e endpoint.Engine, cut bool) error {
	role, layout, end := f.role, e.Layout(), f.curve.add(f.counters)
	res.Total = end.all
	if role == endpoint.RX && !cut && !f.coarse {
		got, err := f.total()
		if err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
		// TCP counts the end of a stream, too.
		if got < end.all || got > end.all+uint64(len(f.list)) {
			return fault.Errorf(fault.Failed, "%s: engine %s counted %d bytes over the whole run and TCP %d: one of them is wrong",
				role, e.Name(), end.all, got)
		}
	}
	var last uint64
	if res.Flows, last = f.report(cut); role == endpoint.RX && end.all == 0 && last > 0 {
		return fault.Errorf(fault.Failed, "%s: engine %s took none of the %d bytes that arrived", role, e.Name(), last)
	}
	f.unsure = 0
	for i := range res.Samples {
		v := &res.Samples[i]
		n := min(crossed[i], last)
		zero, unknown, d := f.curve.at(n)
		if i == 0 || i == len(res.Samples)-1 {
			f.unsure += d
		}
		switch {
		case n <= end.all:
		case layout.ZeroCopy:
			unknown += n - end.all
		case end.zero == end.all:
			zero = n // it copies nothing
		}
		v.ZeroCopied, v.Copied, v.Unknown = zero, n-zero, unknown
	}
	return nil
}

// Warnings tell what is not known of the bytes of a window that were counted, in calls
// of up to length bytes, and which flows stood still.
func (f *Flows) Warnings(res *wire.Result, length int) (warnings []string) {
	role := f.role
	a, b := res.Edges()
	window := b.Bytes() - a.Bytes()
	share := func(n uint64) float64 { return 100 * float64(n) / float64(window) }
	// This bound is for the worst order that copies can have come in.
	if f.unsure > window/20 && b.ZeroCopied > a.ZeroCopied {
		warnings = append(warnings, caveat.Warn(caveat.CopiesUnknown, "%s: how much of the payload was copied is known to %d bytes (%.1f%% of "+
			"the window) only, for the kernel tells of many bytes at once: take a longer --time or a smaller --length", role, f.unsure,
			share(f.unsure)))
	}
	if off := f.bound(length); off > 0 {
		warnings = append(warnings, caveat.Warn(caveat.BytesCoarse, "%s: this kernel does not tell what crossed a connection (TCP_INFO without "+
			"tcpi_bytes_received): bytes count when a call is done, so those of the window may be off by %d (%.1f%%): take a longer --time", role,
			off, share(off)))
	}
	if off := f.first.doubt + f.doubt; off > max(window/100, summary.FewBytes) {
		warnings = append(warnings, caveat.Warn(caveat.BytesCoarse, "%s: bytes of the window may be off by %d (%.1f%%): as it opened or "+
			"closed, TCP could not be asked at once, for a worker held its socket and had no CPU, or this process had none; give this end more "+
			"CPUs (-A), or a longer --time", role, off, share(off)))
	}
	if held := max(f.first.held, f.held) - min(f.first.held, f.held); held > max(window/100, summary.FewBytes) {
		warnings = append(warnings, caveat.Warn(caveat.BytesCoarse, "%s: bytes of the window are off by about %d (%.1f%%) against what the "+
			"interfaces count: so many more or fewer waited behind a loss, out of order, as it closed than as it opened, and they count once the "+
			"loss is repaired; take a longer --time", role, held, share(held)))
	}
	for _, warning := range []string{stalled(role, res.Flows), f.waits.warning()} {
		if warning != "" && res.Total > 0 {
			warnings = append(warnings, warning)
		}
	}
	return warnings
}
