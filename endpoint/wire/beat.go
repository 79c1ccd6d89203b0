package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/alarm"
	"zcbench/internal/netif"
)

// Once hands are shaken both ends of a link send each other a line a second, from
// before a run is prepared until the link closes. An end that is stopped, or whose
// network is cut, closes nothing: without these lines the other would take it for
// one that measures.
//
// An end that is slow, because it tunes a NIC, opens meters or calibrates its
// clock, beats meanwhile: a thread that does nothing else does it. Its beats say
// that it is busy, each step of such work for no longer than that may take: an end
// whose beats do not, and that owes the other a word, is stuck.

// These are what crosses. They are not decoded: over a run of a day that would be
// memory that no collector takes back.
var (
	beatLine = []byte(`{"beat":{}}` + "\n")
	busyLine = []byte(`{"beat":{"busy":true}}` + "\n")
)

const (
	beatEvery = time.Second
	// beatsMissed in a row are the end of a link. The other end may be stopped
	// for a little less and go on.
	beatsMissed = 4
)

// Silence is the end of a link on which nothing is heard any more.
type Silence struct {
	Since time.Time
	After time.Duration
	down  string // what this host itself shows to be why; "": nothing
}

// Error says since when, and why as far as that is known.
func (s *Silence) Error() string {
	why := "it is stopped, or it or its host has died, or the network between is cut"
	if s.down != "" {
		why = s.down
	}
	return fmt.Sprintf("nothing was heard from it since %s, for %.0f s: %s", s.Since.Format("15:04:05"), s.After.Seconds(), why)
}

// heart is the threads that serve a link beside the payload, and what they know.
type heart struct {
	tids    [2]atomic.Int32 // of the thread that beats, and of the one that reads
	heard   atomic.Int64    // when something came, CLOCK_MONOTONIC
	hearing atomic.Bool     // the reader waits for more
	// busy is until when this end is, at most, and told when the other last said that
	// it is; both CLOCK_MONOTONIC.
	busy, told atomic.Int64
	// gap is for how long this process itself did not run, at the longest, ns, and
	// until when.
	gap, until atomic.Int64
	next       atomic.Int64 // when the thread that beats is to wake, CLOCK_MONOTONIC
}

// Quiet is the silence of an end of which nothing was heard for more than two beats;
// nil before its beats began, and while the reader waits for its own side to take what
// came.
func (l *Link) Quiet() *Silence {
	heard := l.heart.heard.Load()
	if heard == 0 || !l.heart.hearing.Load() {
		return nil
	}
	quiet := time.Duration(Monotonic() - heard)
	if quiet <= 2*beatEvery {
		return nil
	}
	return &Silence{time.Now().Add(-quiet), quiet, l.down()}
}

// Read is the link's reader.
func (l *Link) Read(p []byte) (int, error) {
	l.heart.hearing.Store(true)
	n, err := l.rw.Read(p)
	l.heart.hearing.Store(false)
	if n > 0 {
		l.heart.heard.Store(Monotonic())
	}
	return n, err
}

// Within says that both ends of the link are in this process: they stop and run
// together.
func (l *Link) Within() bool {
	c, ok := l.rw.(net.Conn)
	return ok && c.LocalAddr().Network() == "pipe"
}

// Watch beats, and calls silent once when the other end no longer does. The result
// ends it.
func (l *Link) Watch(silent func(*Silence)) (stop func(), err error) {
	if l.Within() {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := alarm.New(ctx, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	l.heart.heard.Store(Monotonic())
	l.by = l.behind()
	l.reached = l.by != nil && l.cut() == ""
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with it
		defer a.Close()
		l.heart.tids[0].Store(int32(unix.Gettid()))
		defer l.heart.tids[0].Store(0)
		if s := l.beat(ctx, a); s != nil {
			silent(s)
		}
	}()
	return cancel, nil
}

// behind is the interface that the peer is behind, where every thread of this process
// would find it.
func (l *Link) behind() *net.Interface {
	c, ok := l.rw.(net.Conn)
	if !ok {
		return nil
	}
	name, err := netif.From(c)
	if err != nil {
		return nil
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	found := make(chan bool)
	go func() {
		same, err := net.InterfaceByIndex(i.Index)
		found <- err == nil && same.Name == i.Name
	}()
	if !<-found {
		return nil
	}
	return i
}

// down says why nothing can come from the peer, as far as this host shows it.
func (l *Link) down() string {
	if l.by == nil {
		return ""
	}
	if down := netif.Down(l.by.Index, l.by.Name); down != "" || !l.reached {
		return down
	}
	return l.cut()
}

// cut says why this host itself reaches the peer no more.
func (l *Link) cut() string {
	c, ok := l.rw.(net.Conn)
	if !ok {
		return ""
	}
	return netif.Cut(AddrOf(c.LocalAddr()), AddrOf(c.RemoteAddr()))
}

// beat returns when ctx ends, or the link does, or has long been silent. Missed
// beats are counted in waits of this thread: however long this process itself was
// stopped, that is one.
func (l *Link) beat(ctx context.Context, a *alarm.Alarm) *Silence {
	h := &l.heart
	last, missed := h.heard.Load(), 0
	for {
		begun := Monotonic()
		next := begun + int64(beatEvery)
		h.next.Store(next)
		for now := begun; now < next && ctx.Err() == nil; now = Monotonic() {
			a.Wait(next - now)
		}
		if ctx.Err() != nil {
			return nil
		}
		now := Monotonic()
		if gap := now - next; gap > h.gap.Load() {
			h.gap.Store(gap)
			h.until.Store(now)
		}
		if heard := h.heard.Load(); heard != last {
			last, missed = heard, 0
		} else if !h.hearing.Load() {
			// A reader that waits for its own side to take what came hears nothing: that
			// is no missed beat, and none that came.
		} else if missed++; missed >= beatsMissed {
			quiet := time.Duration(now - heard)
			return &Silence{time.Now().Add(-quiet), quiet, l.down()}
		}
		if !l.mu.TryLock() {
			continue // something longer goes out
		}
		line := beatLine
		if now < h.busy.Load() {
			line = busyLine
		}
		l.setWriteDeadline(beatsMissed * beatEvery)
		_, err := l.rw.Write(line)
		l.setWriteDeadline(0)
		l.mu.Unlock()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			quiet := time.Duration(Monotonic() - last)
			return &Silence{time.Now().Add(-quiet), quiet, l.down()}
		}
		if err != nil {
			return nil // the reader says why
		}
	}
}

// setWriteDeadline bounds writes on links that can be bounded; reads have their
// own.
func (l *Link) setWriteDeadline(d time.Duration) {
	if c, ok := l.rw.(interface{ SetWriteDeadline(time.Time) error }); ok {
		t := time.Time{}
		if d > 0 {
			t = time.Now().Add(d)
		}
		_ = c.SetWriteDeadline(t) // a closed link shows at the next write
	}
}

// Excuse tells of this process itself, and its host, what may be why a link was closed.
func (l *Link) Excuse() string {
	gap, until := l.heart.gap.Load(), l.heart.until.Load()
	if next, now := l.heart.next.Load(), Monotonic(); next != 0 && now-next > gap {
		gap, until = now-next, now // the thread that beats has not seen it yet
	}
	if down := l.down(); down != "" {
		return fmt.Sprintf(" (%s)", down)
	}
	if gap < int64(beatEvery) {
		return ""
	}
	ago := time.Duration(Monotonic() - until)
	return fmt.Sprintf(" (this process itself did not run for %.1f s until %s: it was stopped, or had no CPU)", float64(gap)/1e9,
		time.Now().Add(-ago).Format("15:04:05"))
}

// Reads makes the calling goroutine the one that reads the link: on a thread of
// its own, so that what it takes is known and can be kept off the CPUs of others.
func (l *Link) Reads() {
	if !l.Within() {
		runtime.LockOSThread() // never unlocked
		l.heart.tids[1].Store(int32(unix.Gettid()))
	}
}

// KeepOff lets the link's threads run on no CPU of these, if there are others.
func (l *Link) KeepOff(cpus []int) {
	var set unix.CPUSet
	if len(cpus) == 0 || unix.SchedGetaffinity(os.Getpid(), &set) != nil {
		return
	}
	for _, n := range cpus {
		set.Clear(n)
	}
	if set.Count() == 0 {
		return
	}
	for i := range l.heart.tids {
		if tid := l.heart.tids[i].Load(); tid != 0 {
			_ = unix.SchedSetaffinity(int(tid), &set) // it only is better
		}
	}
}

// Cost is the CPU time that the link's threads have used, in seconds.
func (l *Link) Cost() (seconds float64) {
	for i := range l.heart.tids {
		if tid := l.heart.tids[i].Load(); tid != 0 {
			// The clock of one thread by its number, CPUCLOCK_SCHED and
			// CPUCLOCK_PERTHREAD_MASK (linux/posix-timers.h).
			var ts unix.Timespec
			if unix.ClockGettime(^tid<<3|2|4, &ts) == nil {
				seconds += float64(ts.Nano()) / 1e9
			}
		}
	}
	return seconds
}

// isBeat reports a line that only says that the other end is there.
func isBeat(line []byte) bool { return bytes.Equal(line, beatLine) || bytes.Equal(line, busyLine) }

// Busy has the beats say, for so long at most, that this end is at work that keeps it
// from saying anything else.
func (l *Link) Busy(most time.Duration) { l.heart.busy.Store(Monotonic() + int64(most)) }

// Owes is how much longer the other end may owe a word that it was to say within wait
// from a time on.
func (l *Link) Owes(from int64, wait time.Duration) time.Duration {
	return time.Duration(max(from+int64(wait), l.heart.told.Load()+int64(OwedWait)) - Monotonic())
}
