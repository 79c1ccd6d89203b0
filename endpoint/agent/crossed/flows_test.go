package crossed

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/abi"
	"zcbench/results/caveat"
)

// What an engine counts late tells of bytes that crossed before.
func TestCurve(t *testing.T) {
	whole := curve{{}, {all: 16 << 20}, {zero: 16 << 20, all: 32 << 20}} // 16 MiB at once: copied, then not
	mixed := curve{{}, {50, 40, 100}, {90, 60, 200}}
	for _, c := range []struct {
		name        string
		curve       curve
		n           uint64
		zero, doubt uint64
	}{
		{"start", whole, 0, 0, 0},
		{"all of one kind so far", whole, 7 << 20, 0, 0},
		{"a point", whole, 16 << 20, 0, 0},
		{"all of the other kind since", whole, 20 << 20, 4 << 20, 0},
		{"the end", whole, 32 << 20, 16 << 20, 0},
		{"never counted", whole, 40 << 20, 16 << 20, 0},
		{"between two points of a mixture", mixed, 150, 70, 20},
		{"near a point", mixed, 101, 50, 1},
		{"nothing was counted", newCurve(), 10, 0, 0},
		{"numbers that a product overflows", curve{{}, {zero: 1 << 62, all: 1 << 63}}, 1 << 62, 1 << 61, 1 << 61},
	} {
		if zero, _, doubt := c.curve.at(c.n); zero != c.zero || doubt != c.doubt {
			t.Errorf("%s: %d of %d bytes, off by up to %d; want %d and %d", c.name, zero, c.n, doubt, c.zero, c.doubt)
		}
	}
	// Neither kind ever runs backwards.
	var before point
	for n := range uint64(201) {
		zero, unknown, _ := mixed.at(n)
		if zero < before.zero || unknown < before.unknown || unknown > n-zero || n-zero < before.all-before.zero {
			t.Fatalf("at %d: %d zero-copied after %d of %d", n, zero, before.zero, before.all)
		}
		before = point{zero, unknown, n}
	}
}

// What is rounded off of payload of which none is known to be copied is no copy,
// and what is read while a worker counts is none either.
func TestCurveKnowsNoCopy(t *testing.T) {
	k := curve{{}, {zero: 84, unknown: 16, all: 100}, {zero: 84, unknown: 17, all: 101}}
	for n := range uint64(102) {
		if zero, unknown, _ := k.at(n); zero+unknown != n {
			t.Errorf("of %d bytes %d are zero-copied and %d unknown", n, zero, unknown)
		}
	}
	c := &endpoint.Counters{}
	k = newCurve()
	c.Copied.Add(10) // known
	k.add([]*endpoint.Counters{c})
	c.Unknown.Add(5)
	k.add([]*endpoint.Counters{c}) // a worker is at it
	c.Copied.Add(5)
	if p := k.add([]*endpoint.Counters{c}); p != (point{0, 5, 15}) {
		t.Errorf("%+v", p)
	}
	c.Unknown.Add(7)
	c.Copied.Add(8)
	if p := k.add([]*endpoint.Counters{c}); p != (point{0, 12, 23}) || len(k) != 4 {
		t.Errorf("%+v after %v", p, k)
	}
}

func TestCurveIsBounded(t *testing.T) {
	c := &endpoint.Counters{}
	k := newCurve()
	for i := range 5 * maxCurve {
		c.ZeroCopied.Add(1)
		c.Copied.Add(uint64(i % 2))
		k.add([]*endpoint.Counters{c})
		k.add([]*endpoint.Counters{c}) // nothing new
	}
	if len(k) > maxCurve || k[0] != (point{}) || k.last() != (point{zero: 5 * maxCurve, all: 5*maxCurve + 5*maxCurve/2}) {
		t.Errorf("%d points from %v to %v", len(k), k[0], k.last())
	}
	if zero, _, doubt := k.at(3 * maxCurve / 2 * 3); zero < 3*maxCurve-8 || zero > 3*maxCurve+8 || doubt > 64 {
		t.Errorf("%d zero-copied, off by %d", zero, doubt)
	}
}

const ms = int64(time.Millisecond)

// How long a flow stood is known well enough to miss nothing of half a second,
// even where the peer lets a probe of its window through meanwhile.
func TestStalls(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to int64 // it stands still, ms
		quiet    bool  // TCP tells when it last heard
		probe    bool  // that window has room for 10 bytes, which a probe brings
		least    int64 // the stall that must be seen, ms
	}{
		{"half a second that TCP knows the begin of", 310, 810, true, false, 450},
		{"three quarters", 499, 1250, false, false, 650},
		{"half a second behind a window", 320, 820, false, true, 400},
		{"half a second from just before a look", 349, 849, false, false, 400},
		{"too short to matter", 310, 690, true, false, 0},
		{"to the end", 1100, 3000, true, false, 1800},
		{"from the start", 0, 900, false, false, 800},
		{"never", 0, 0, true, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &Flows{role: endpoint.RX, list: make([]flow, 1)}
			fl := &f.list[0]
			position := func(now int64) uint64 { // a byte a millisecond
				switch {
				case now <= c.from:
					return uint64(now)
				case now <= c.to:
					return uint64(c.from)
				}
				return uint64(now - (c.to - c.from))
			}
			looks := 0
			for now := int64(0); now <= 3000; looks++ {
				quiet := int64(0)
				if c.quiet && now > c.from && now <= c.to {
					quiet = now - c.from
				}
				at, trifle := position(now), uint64(0)
				if c.probe && now > c.from+200 && now <= c.to {
					at, trifle = at+10, 1448
				}
				fl.move(at, trifle, now*ms, now*ms, quiet*ms)
				f.looked = now * ms
				now = f.Next() / ms
			}
			all, _ := f.report(true)
			if got := all[0].Stall / ms; got < c.least || got > c.to-c.from {
				t.Errorf("%d ms seen, it stood %d to %d", got, c.from, c.to)
			}
			if w := stalled(endpoint.RX, all); (w != "") != (c.least > 0) {
				t.Errorf("warning %q", w)
			}
			if looks > 61 {
				t.Errorf("%d looks in 3 s", looks)
			}
		})
	}
}

// A look that had to wait tells where the flow was when it was asked.
func TestLookThatWaits(t *testing.T) {
	c := flow{}
	c.move(1000, 0, 0, 0, 0)
	if doubt := c.move(2000, 0, 100*ms, 100*ms+patience, 0); doubt != 0 || c.here != 2000 {
		t.Errorf("answered at once: at %d, off by %d", c.here, doubt)
	}
	if doubt := c.move(4000, 0, 200*ms, 301*ms, 0); doubt == 0 || c.here < 2980 || c.here > 3020 || c.here+doubt != 4000 {
		t.Errorf("answered half way: at %d, off by %d", c.here, doubt)
	}
	if doubt := c.move(3000, 0, 400*ms, 400*ms, 0); doubt != 0 || c.here != 4000 {
		t.Errorf("ran backwards: at %d", c.here)
	}
}

func TestStalledNamesFlows(t *testing.T) {
	all := make([]wire.FlowResult, 9)
	for i := range 6 {
		all[i] = wire.FlowResult{Stall: 2e9, StallAt: int64(i) * 1e9}
	}
	w := stalled(endpoint.TX, all)
	if caveat.CodeOf(w) != caveat.FlowStalled || !strings.HasPrefix(w, "tx: 6 of 9 flows") ||
		!strings.Contains(w, "flow 3 for 2.00 s from 2.00 s into the window on") || strings.Contains(w, "flow 5") {
		t.Error(w)
	}
}

// An engine that takes nothing though there is something to take is told of;
// one that waits for more is not, nor one that takes all.
func TestWaits(t *testing.T) {
	fds := socketPair(t)
	f, err := Follow(endpoint.RX, fds[:1], []*endpoint.Counters{{}}, wire.Monotonic(), 0)
	if err != nil {
		t.Fatal(err)
	}
	look := func(seen int64) wait {
		t.Helper()
		if f.list[0].last, err = f.position(0); err != nil {
			t.Fatal(err)
		}
		f.list[0].seen = seen
		f.waits.look(f.list)
		return f.waits.list[0]
	}
	send := func(n int) {
		t.Helper()
		if _, err := unix.Write(fds[1], make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		endpointtest.Eventually(t, "they are there", func() bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}, 0)
			return err == nil && n == 1
		})
	}
	f.waits.begin(0)
	look(900 * ms)
	if w := f.waits.warning(); w != "" {
		t.Errorf("there was nothing to take: %s", w)
	}
	send(1000)
	f.waits.begin(1000 * ms)
	for at := 1000 * ms; at <= 1600*ms; at += 50 * ms {
		if at == 1300*ms {
			if _, err := unix.Read(fds[0], make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
		}
		look(at)
	}
	if v := f.waits.list[0]; v.longest != 300*ms || f.waits.warning() != "" {
		t.Errorf("10 bytes were taken half way: %+v", v)
	}
	if v := look(1750 * ms); v.longest != 450*ms || v.at != 1300*ms || caveat.CodeOf(f.waits.warning()) != caveat.PayloadWaited {
		t.Errorf("nothing was taken since: %+v, %q", v, f.waits.warning())
	}
	f.waits.begin(2000 * ms)
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_RCVLOWAT, 5000); err != nil {
		t.Fatal(err)
	}
	if v := look(3000 * ms); v.longest != 0 {
		t.Errorf("it waits for 5000 bytes: %+v", v)
	}
}

// Of a time in which this end did not look, nobody knows that a flow moved.
func TestStallUnseen(t *testing.T) {
	for name, c := range map[string]struct {
		longest, unseen int64
		unknown         bool
	}{
		"all was seen":         {10 * ms, 0, false},
		"did not look":         {10 * ms, 800 * ms, true},
		"saw a stall, as well": {600 * ms, 800 * ms, false}, // at least
	} {
		f := &Flows{role: endpoint.RX, list: []flow{{longest: c.longest, unseen: c.unseen}}}
		all, _ := f.report(true)
		if all[0].StallUnknown != c.unknown {
			t.Errorf("%s: unknown %t", name, all[0].StallUnknown)
		}
		rec := summary.Half(&wire.Prepare{Role: endpoint.RX}, nil, &wire.Result{Samples: make([]wire.Sample, 2), Flows: all})
		if e := rec.Flows[0].RX; (e.Stall == nil) != c.unknown {
			t.Errorf("%s: the record has %v", name, e.Stall)
		}
	}
}

// A kernel that does not tell what crossed leaves the engine's count, and says so.
func TestCoarse(t *testing.T) {
	c := &endpoint.Counters{}
	c.Copied.Add(5)
	fds := socketPair(t)
	f, err := Follow(endpoint.RX, fds[:1], []*endpoint.Counters{c}, wire.Monotonic(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if f.coarse || f.bound(1000) != 0 {
		t.Fatalf("this kernel has no TCP_INFO of %d bytes", abi.TCPInfoBytes)
	}
	f.coarse = true
	n, _, err := f.Begin(false)
	if err != nil || n != 5 || f.bound(1000) < 2000 {
		t.Errorf("%d bytes, off by %d, %v", n, f.bound(1000), err)
	}
	if _, err := Follow(endpoint.RX, []int{-1}, []*endpoint.Counters{c}, 0, 0); err == nil || !strings.Contains(fmt.Sprint(err), "flow 1") {
		t.Errorf("no socket: %v", err)
	}
}

// socketPair is the receiving and the sending end of a connection.
func socketPair(t *testing.T) [2]int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var fds [2]int
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []net.Conn{s, c} {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		t.Cleanup(func() { f.Close() })
		fds[i] = int(f.Fd())
	}
	return fds
}

// Positions are of the payload alone: neither the start nor the end of a stream
// counts, and what came before the window only where that is wanted.
func TestPositions(t *testing.T) {
	fds := socketPair(t)
	counters := []*endpoint.Counters{{}}
	opened := wire.Monotonic()
	tx, err := Follow(endpoint.TX, fds[1:], counters, opened, 0)
	if err != nil {
		t.Fatal(err)
	}
	rx, err := Follow(endpoint.RX, fds[:1], counters, opened, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := func(f *Flows) uint64 {
		n, _, err := f.look()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	send := func(n int) {
		if _, err := unix.Write(fds[1], make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if at(rx) != 0 || at(tx) != 0 {
		t.Errorf("at %d and %d before any payload", at(rx), at(tx))
	}
	send(1000)
	endpointtest.Eventually(t, "1000 bytes crossed, which nobody has read", func() bool { return at(rx) == 1000 && at(tx) == 1000 })
	if n, _, _ := tx.Begin(false); n != 1000 {
		t.Errorf("the sender's window opens at %d", n)
	}
	if n, _, _ := rx.Begin(true); n != 0 {
		t.Errorf("the receiver's, from the start, opens at %d", n)
	}
	send(500)
	if err := unix.Shutdown(fds[1], unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	endpointtest.Eventually(t, "the stream ended", func() bool { return at(rx) >= 1501 && at(tx) >= 1501 })
	counters[0].Copied.Add(1500)
	for _, c := range []struct {
		f     *Flows
		bytes uint64
	}{{tx, 500}, {rx, 1500}} {
		if all, last := c.f.report(false); len(all) != 1 || all[0].Bytes != c.bytes || last != 1500 || all[0].RTT <= 0 || all[0].MinRTT <= 0 {
			t.Errorf("%s: %+v up to %d, want %d bytes", c.f.role, all, last, c.bytes)
		}
	}
}

// A look is made within the window, by a process that does not collect its garbage.
func TestLookAllocatesNothing(t *testing.T) {
	fds := socketPair(t)
	counters := []*endpoint.Counters{{}}
	f, err := Follow(endpoint.RX, fds[:1], counters, wire.Monotonic(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Begin(false); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(2*maxCurve, func() {
		counters[0].Copied.Add(1)
		if _, _, err := f.Look(); err != nil {
			t.Fatal(err)
		}
		_, _ = f.Next(), f.ZeroCopied()
	}); n > 0 {
		t.Errorf("a look allocates %v times", n)
	}
}
