package tx

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/egress"
	"zcbench/internal/fault"
)

// Elements of Counters.Syscalls and Counters.Extra of the engines that send
// with MSG_ZEROCOPY.
const (
	zcSend = iota
	zcRecvmsg
	zcPoll
)
const (
	zcCompletions = iota
	zcRanges
	zcENOBUFS
	zcShort
	zcFull
	zcOutstanding
)

// zcLayout is the layout of such an engine.
func zcLayout(send string) endpoint.Layout {
	return endpoint.Layout{
		Syscalls: []string{zcSend: send, zcRecvmsg: "recvmsg", zcPoll: "poll"},
		Extra: []string{
			zcCompletions: "completions",
			zcRanges:      "completion_ranges",
			zcENOBUFS:     "enobufs",
			zcShort:       "short_sends",
			zcFull:        "window_full",
			zcOutstanding: "outstanding_max",
		},
		ZeroCopy: true,
		Copied:   egress.Delivery,
		Unknown: "the kernel tells of many sends at once, and copying began or ended among these, or the connection ended before it had told: " +
			"see whether packets were captured for a while (/proc/net/packet), and take a longer --time",
	}
}

// zcWindow is the most sends without a completion: far more than
// net.core.optmem_max admits by default, and a power of two.
const zcWindow = 1 << 14

// flight is a connection's sends with MSG_ZEROCOPY, from the call to its
// completion on the error queue.
type flight struct {
	queue *abi.ErrQueue
	poll  [1]unix.PollFd

	// The kernel numbers the sends that took data from 0, modulo 2³².
	id      uint32           // of the next send
	lengths [zcWindow]uint32 // of the sends in flight, by id; 0: completed
	flying  int              // how many there are

	// Of the last completion: what it says of sends after its first, which
	// what comes next has to confirm.
	merged uint64 // bytes
	copied bool

	draining bool // no more is sent

	// ended says that the connection is no more: completions are of sends that
	// went nowhere, too, of which the kernel says that they were not copied.
	ended bool
	// sure says that no CPU can copy what is sent, whatever becomes of it.
	sure bool
}

// flightMemory is what a flight takes.
const flightMemory = 4*zcWindow + 64<<10

func newFlight() *flight { return &flight{queue: abi.NewErrQueue()} }

// full says that another send must wait for a completion.
func (f *flight) full() bool { return f.lengths[f.id%zcWindow] != 0 }

// launch notes a send that took n bytes, at most MAX_RW_COUNT, 2³¹ and less.
func (f *flight) launch(n int) {
	f.lengths[f.id%zcWindow] = uint32(n)
	f.id++
	f.flying++
}

// landed is an error while the kernel may still read what was sent.
func (f *flight) landed() error {
	if f.flying > 0 {
		return fmt.Errorf("%d sends with MSG_ZEROCOPY were never completed (%w)", f.flying, unix.ECANCELED)
	}
	return nil
}

// makeRoom is for a send that had no room for another notification, or for
// more locked pages: both come back with completions.
func (f *flight) makeRoom(c endpoint.Conn) error {
	c.Counters.Extra[zcENOBUFS].Add(1)
	if f.flying == 0 {
		return noRoom(c)
	}
	return f.await(c)
}

// noRoom is the error of a socket that cannot send at all.
func noRoom(c endpoint.Conn) error {
	optmem, err := os.ReadFile("/proc/sys/net/core/optmem_max")
	if err != nil {
		optmem = []byte("unknown")
	}
	return fault.Errorf(fault.Failed,
		"send with MSG_ZEROCOPY on flow %d: %w with nothing in flight: raise net.core.optmem_max, now %s (sysctl net.core.optmem_max=131072), "+
			"or the limit on locked memory (ulimit -l)",
		c.Index+1, unix.ENOBUFS, strings.TrimSpace(string(optmem)))
}

// await reaps at least one completion, or returns after a while without.
func (f *flight) await(c endpoint.Conn) error {
	if n, err := f.reap(c); n > 0 || err != nil {
		return err
	}
	// Completions show as POLLERR, which is always asked for. The time limit
	// is for the caller to look at its stop flag.
	f.poll[0] = unix.PollFd{Fd: int32(c.FD)}
	ready, err := unix.Poll(f.poll[:], 100)
	c.Counters.Syscalls[zcPoll].Add(1)
	if ready <= 0 {
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("poll on flow %d: %w", c.Index+1, err)
		}
		return nil
	}
	n, err := f.reap(c)
	if n == 0 && err == nil {
		// An error or a hang-up that is no completion, and will not go away.
		return fmt.Errorf("wait for completions on flow %d: %w", c.Index+1, unix.EPIPE)
	}
	return err
}

// reap takes the completions there are, without waiting.
func (f *flight) reap(c endpoint.Conn) (n int, err error) {
	if most := &c.Counters.Extra[zcOutstanding]; uint64(f.flying) > most.Load() {
		most.Store(uint64(f.flying))
	}
	for {
		ee, e := f.queue.Read(c.FD)
		c.Counters.Syscalls[zcRecvmsg].Add(1)
		switch {
		case e == unix.EAGAIN:
			return n, nil
		case e == unix.EINTR || e == 0 && ee.Origin != unix.SO_EE_ORIGIN_ZEROCOPY:
			continue
		case e != 0:
			return n, fmt.Errorf("read the error queue of flow %d: %w", c.Index+1, e)
		}
		f.ended = f.ended || f.draining && !f.sure && hungUp(c.FD)
		k, err := f.complete(c.Counters, ee.Info, ee.Data, ee.Code&unix.SO_EE_CODE_ZEROCOPY_COPIED != 0)
		if err != nil {
			return n, fmt.Errorf("flow %d: %w", c.Index+1, err)
		}
		n += k
	}
}

// complete accounts for the sends lo to hi, both included. The kernel merges
// completions that wait in the queue into one range, with the word of the first
// for all (skb_zerocopy_notify_extend): copies that began or ended meanwhile do
// not show. They show in the range that follows, so what was merged is known when
// that says the same, and never where the two differ.
func (f *flight) complete(n *endpoint.Counters, lo, hi uint32, copied bool) (int, error) {
	count := int64(hi-lo) + 1 // modulo 2³², as the numbers are
	if count > int64(f.flying) {
		return 0, fmt.Errorf("completion of sends %d to %d, but %d are in flight", lo, hi, f.flying)
	}
	first, merged := uint64(f.lengths[lo%zcWindow]), uint64(0)
	for id := lo; id != hi+1; id++ {
		slot := &f.lengths[id%zcWindow]
		if *slot == 0 {
			return 0, fmt.Errorf("completion of send %d, which is not in flight", id)
		}
		merged += uint64(*slot)
		*slot = 0
	}
	merged -= first
	f.flying -= int(count)
	if copied == f.copied {
		f.settle(n)
	} else {
		fates{unknown: f.merged}.count(n)
	}
	if f.ended && !copied {
		fates{unknown: first + merged}.count(n)
		first, merged = 0, 0
	}
	f.merged, f.copied = merged, copied
	told(first, copied).count(n)
	n.Extra[zcCompletions].Add(uint64(count))
	n.Extra[zcRanges].Add(1)
	return int(count), nil
}

// settle takes the last completion at its word: the same came after it, or
// nothing will.
func (f *flight) settle(n *endpoint.Counters) {
	told(f.merged, f.copied).count(n)
	f.merged = 0
}

// told is the fate of bytes of which the kernel has told.
func told(bytes uint64, copied bool) fates {
	if copied {
		return fates{copied: bytes}
	}
	return fates{zero: bytes}
}

// drain waits until the kernel reads the region no more. That takes as long
// as the peer does; the agent's shutdown ends it.
func (f *flight) drain(c endpoint.Conn) error {
	f.draining = true
	defer f.settle(c.Counters)
	for f.flying > 0 {
		if f.await(c) != nil {
			return f.linger(c)
		}
	}
	return nil
}

// hungUp reports a connection that is shut down both ways, or gone. An error queue
// with something in it is none.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP is always reported
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLHUP != 0
}

// linger gives a connection that hung up a little time: the last
// acknowledgements may be on their way, but poll no longer waits for them.
func (f *flight) linger(c endpoint.Conn) error {
	for range 100 {
		if _, err := f.reap(c); err != nil || f.flying == 0 {
			return err
		}
		if _, err := unix.Poll(nil, 1); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
	}
	return nil // Close reports what is still in flight
}
