package agent

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxVisitors is how many links may be there at once whose drivers have proven
// nothing, where this process may have the descriptors. Whoever comes beyond that
// takes the place of the oldest of the address that has most, so that no number of
// idle links keeps a driver out.
const maxVisitors = 256

// leastStay is what every link has to prove itself in, however many come at once: they
// wait in the kernel's queue.
const leastStay = 100 * time.Millisecond

// spare is how many descriptors of all that this process may have strangers may take,
// on the control port and again on those of the payload: most are left to runs.
func spare(most int) int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return most
	}
	return int(min(l.Cur/6, uint64(most)))
}

// maxTalkers is how many of them may be beyond the handshake, without a token and before
// they ask for a run: each has two threads. talkersStay is what they may count on to ask.
const (
	maxTalkers  = 16
	talkersStay = 2 * time.Second
)

// visitors are those links, in the order they came.
type visitors struct {
	most int
	stay time.Duration // that each has, at least
	mu   sync.Mutex
	all  []*visitor
}

// visitor is a link whose driver has proven nothing.
type visitor struct {
	conn net.Conn
	from netip.Prefix
	came time.Time
}

// enter takes a link in, and may send another away for it.
func (v *visitors) enter(c net.Conn) *visitor {
	for !v.part(v.most) {
		time.Sleep(leastStay / 10)
	}
	n := &visitor{conn: c, from: origin(c), came: time.Now()}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, n)
	return n
}

// part sends one away if there are that many, and it is time.
func (v *visitors) part(most int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.all) < most || len(v.all) == 0 {
		return true
	}
	count := map[netip.Prefix]int{}
	for _, o := range v.all {
		count[o.from]++
	}
	out := 0
	for i, o := range v.all {
		if count[o.from] > count[v.all[out].from] {
			out = i
		}
	}
	if time.Since(v.all[out].came) < v.stay {
		return false
	}
	hangUp(v.all[out].conn)
	v.all = slices.Delete(v.all, out, out+1)
	return true
}

// leave is for a driver that has proven itself, and for a link that has ended.
func (v *visitors) leave(n *visitor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := slices.Index(v.all, n); i >= 0 {
		v.all = slices.Delete(v.all, i, i+1)
	}
}

// origin is what counts as one address: of IPv6 what one host is given.
func origin(c net.Conn) netip.Prefix {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	a, bits := ap.Addr().Unmap().WithZone(""), 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // of an address that is one
	return p
}

// hangUp closes a link at once, without TLS saying goodbye.
func hangUp(c net.Conn) {
	for {
		under, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = under.NetConn()
	}
	c.Close()
}
