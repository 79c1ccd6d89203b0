package agent

import (
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/abi"
	"zcbench/internal/printable"
	"zcbench/results/caveat"
)

// flows follow how far each data connection has come, by its TCP: a receiver's
// by the bytes that arrived in order, a sender's by those that the peer
// acknowledged. That is what crossed at that moment, whatever an engine waits
// for before it counts: a whole --length, a chunk of pages, a notification.
type flows struct {
	role endpoint.Role
	list []flow
	info unix.TCPInfo
	// coarse says that this kernel tells nothing of it: an engine's own count
	// serves then.
	coarse bool
	opened int64 // when the window opens, CLOCK_MONOTONIC
	looked int64 // when it was last looked at them, ns after that
	// doubt is by how much the positions of the last look may be off, together.
	doubt uint64
	// held is how many bytes the receivers held then, behind a loss.
	held uint64
	// waits are a receiver's where TCP tells of them, else of no flow.
	waits waits
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

// newFlows is called before any payload is sent.
func newFlows(role endpoint.Role, fds []int, counters []*endpoint.Counters, opened int64) (*flows, error) {
	f := &flows{role: role, list: make([]flow, len(fds)), opened: opened, looked: wire.Monotonic() - opened}
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

// begin opens the window: positions count from here on. With whole, so does what
// came before.
func (f *flows) begin(whole bool) (crossed uint64, at int64, err error) {
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
	f.waits.begin(at)
	return crossed, at, nil
}

// patience is for how long a socket may keep a look waiting before that matters.
const patience = int64(time.Millisecond)

// look gives how many bytes have crossed, and when that was, ns after the window
// opened. A worker that holds its socket and does not run, because it shares a
// CPU with others, keeps a look waiting: then the position is taken back, at the
// rate since the look before, to when it was asked for.
func (f *flows) look() (crossed uint64, at int64, err error) {
	at = wire.Monotonic() - f.opened
	f.doubt, f.held = 0, 0
	missed := at-f.looked > f.gap()+lateMuch
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
func (f *flows) position(i int) (uint64, error) {
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

// swallowed reports a sender of which the peer's TCP has acknowledged nothing at
// all, on any flow, however often it was sent again.
func (f *flows) swallowed() bool {
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
func (f *flows) total() (uint64, error) {
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
func (f *flows) strayed(c *flow) uint64 {
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
func (f *flows) bound(length int) uint64 {
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
func (f *flows) trifle(c *flow, now int64) uint64 {
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
func (f *flows) gap() int64 { return lookEvery * int64(1+len(f.list)/(fewFlows+1)) }

// next is when to look again.
func (f *flows) next() int64 {
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
func (f *flows) report(cut bool) (all []wire.FlowResult, last uint64) {
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
	return caveat.Warn(caveat.FlowStalled, "%s: %d of %s stood still for about half a second or more: %s; nothing came in order meanwhile: look at the link, what it loses, the port and the other end", role, n, printable.Count(len(all), "flow"), which)
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

// counted is what the engine has counted.
func counted(c *endpoint.Counters) uint64 { return c.ZeroCopied.Load() + c.Copied.Load() }

// curve is how much of what an engine had counted was zero-copied, and of how
// much that is not known, point by point: what it counts at one moment tells of bytes that crossed at another,
// mostly before.
type curve []point

type point struct{ zero, unknown, all uint64 }

// copied is of how much it is known that it was copied.
func (p point) copied() uint64 { return p.all - p.zero - p.unknown }

// maxCurve bounds a curve; of a longer one every other point goes.
const maxCurve = 1 << 12

func newCurve() curve { return append(make(curve, 0, maxCurve), point{}) }

func (c curve) last() point { return c[len(c)-1] }

// add notes what the engines have counted now.
func (c *curve) add(counters []*endpoint.Counters) point {
	var p point
	for _, n := range counters {
		z := n.ZeroCopied.Load()
		p.zero += z
		p.all += z + n.Copied.Load()
		// What a worker adds to both meanwhile is here at least.
		p.unknown += n.Unknown.Load()
	}
	// And no more than leaves as copied what was known to be.
	p.unknown = min(p.unknown, p.all-p.zero-c.last().copied())
	if p.all == c.last().all {
		return p
	}
	if len(*c) == maxCurve {
		for i := 1; i < maxCurve/2; i++ {
			(*c)[i] = (*c)[2*i]
		}
		*c = (*c)[:maxCurve/2]
	}
	*c = append(*c, p)
	return p
}

// at is how many of the first n bytes were zero-copied, and of how many that is
// not known, at the rates between the two points around, and how far off the
// first may be. Of bytes that the engine never counted nothing is known; they do
// not count as zero-copied.
func (c curve) at(n uint64) (zero, unknown, doubt uint64) {
	low, high := 0, len(c)
	for low+1 < high { // c[low].all ≤ n < c[high].all
		if mid := (low + high) / 2; c[mid].all <= n {
			low = mid
		} else {
			high = mid
		}
	}
	a := c[low]
	if high == len(c) {
		return a.zero, a.unknown, 0
	}
	b := c[high]
	between := func(from, to uint64) uint64 {
		over, under := bits.Mul64(n-a.all, to-from)
		part, _ := bits.Div64(over, under, b.all-a.all)
		return from + part
	}
	zero, unknown = between(a.zero, b.zero), between(a.unknown, b.unknown)
	if a.copied() == b.copied() {
		unknown = n - zero - a.copied() // what was rounded off is no copy
	}
	// All of one kind may have come first.
	least := a.zero
	if rest := b.all - n; b.zero > rest {
		least = max(least, b.zero-rest)
	}
	most := min(b.zero, a.zero+n-a.all)
	return zero, unknown, max(zero-least, most-zero)
}
