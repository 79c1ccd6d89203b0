package rx

import (
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
)

// pace decides how long a receiver sleeps before it looks at its ring. While
// it sleeps the kernel only queues: it gives pieces out, and opens the window
// again, once the thread is awake. The longer the sleep, the fewer the wake-ups
// and their cost; but it must end before the sender has filled the window.
type pace struct {
	want    float64       // pieces that one wake-up should bring
	longest time.Duration // 0: no sleep is asked for
	wait    time.Duration

	room    float64 // bytes that may queue up before the receiver wakes up
	checked time.Time
}

// shortest is the first sleep, before anything is known.
const shortest = 50 * time.Microsecond

// roomAge is how often the receive buffers, which TCP enlarges as it finds out
// how much is taken from them, are looked at.
const roomAge = 50 * time.Millisecond

func newPace(want uint32, longest time.Duration) pace {
	return pace{want: float64(want), longest: longest, wait: min(shortest, longest)}
}

func (p *pace) begin(conns []endpoint.Conn) {
	var all int
	for i := range conns {
		// Half of it is the window, and half of that may be used up.
		n, err := unix.GetsockoptInt(conns[i].FD, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			n = 0
		}
		all += n
	}
	p.room, p.checked = float64(all)/4, time.Now()
}

// next is how long to sleep after a wake-up that brought so much.
func (p *pace) next(conns []endpoint.Conn, pieces uint32, bytes uint64) time.Duration {
	if p.longest == 0 {
		return 0
	}
	if time.Since(p.checked) > roomAge {
		p.begin(conns)
	}
	// At the same rate this would bring what is wanted. No more than a factor
	// of two at once: one wake-up says little.
	f := min(p.want/float64(pieces), p.room/float64(bytes))
	p.wait = time.Duration(float64(p.wait) * min(2, max(0.5, f)))
	p.wait = min(p.longest, max(time.Microsecond, p.wait))
	return p.wait
}
