package rx

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
)

// TestPace: at a steady rate the sleep settles where it brings what is wanted,
// or what the receive buffer has room for, or at the longest.
func TestPace(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10); err != nil {
		t.Fatal(err)
	}
	buffer, err := unix.GetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		t.Fatal(err)
	}
	conns := []endpoint.Conn{{FD: fds[0]}}
	const longest = 5 * time.Millisecond
	for name, c := range map[string]struct {
		want   uint32
		size   float64 // bytes of a piece
		rate   float64 // pieces a second
		settle time.Duration
	}{
		"wanted":       {8, 4096, 8000, time.Millisecond},
		"buffer":       {1000, 4096, float64(buffer) / 4 / 4096 / 0.0005, 500 * time.Microsecond},
		"longest":      {256, 100, 1000, longest},
		"faster still": {1, 1, 1e9, time.Microsecond},
	} {
		p := newPace(c.want, longest)
		p.begin(conns)
		wait := p.wait
		for range 100 {
			pieces := max(1, c.rate*wait.Seconds())
			wait = p.next(conns, uint32(pieces), uint64(pieces*c.size))
		}
		if wait < c.settle*8/10 || wait > c.settle*12/10 {
			t.Errorf("%s: the sleep settles at %v, want about %v", name, wait, c.settle)
		}
	}
	p := newPace(1, 0)
	p.begin(conns)
	if d := p.next(conns, 1, 1); d != 0 {
		t.Errorf("a sleep of %v, want none", d)
	}
	q := newPace(100, longest)
	q.begin(conns)
	if n := testing.AllocsPerRun(100, func() { q.begin(conns); q.next(conns, 3, 3) }); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}
