package tx

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/feature"
)

// MsgZC sends by send(2) with MSG_ZEROCOPY: segments refer to the sender's
// pages, and the error queue tells when they no longer do and whether they
// were copied after all.
func MsgZC() endpoint.Engine { return msgzc{} }

type msgzc struct{}

func (msgzc) Name() string { return "msgzc" }

// Elements of msgzc's Counters.Syscalls and Counters.Extra.
const (
	msgzcSendto = iota
	msgzcRecvmsg
	msgzcPoll
)
const (
	msgzcCompletions = iota
	msgzcRanges
	msgzcENOBUFS
	msgzcShort
	msgzcFull
	msgzcOutstanding
)

func (msgzc) Layout() endpoint.Layout {
	return endpoint.Layout{
		Syscalls: []string{"sendto", "recvmsg", "poll"},
		Extra:    []string{"completions", "completion_ranges", "enobufs", "short_sends", "window_full", "outstanding_max"},
		ZeroCopy: true,
	}
}

func (msgzc) Options() []endpoint.Option {
	return []endpoint.Option{
		{Name: "batch", Default: "32", Min: 1, Max: msgzcWindow, Doc: "sends between two looks for completions"},
	}
}

func (msgzc) Probe(string) feature.Verdict {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return feature.Undecided(fmt.Sprintf("make a TCP socket: %v", err), "run it where TCP over IPv4 is allowed")
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
		return feature.Impossible(fmt.Sprintf("set SO_ZEROCOPY: %v", err), "Linux 4.14 or later")
	}
	return feature.Verdict{Answer: feature.Yes, Reason: "over loopback and veth the payload is copied on delivery"}
}

func (e msgzc) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	if err := usable(e); err != nil {
		return nil, err
	}
	return endpoint.PerFlow(p.Flows, func(i int) (endpoint.Worker, error) {
		r, err := newRegion(p, i)
		if err != nil {
			return nil, err
		}
		return &msgzcWorker{region: r, batch: o.Int("batch"), queue: abi.NewErrQueue()}, nil
	}), nil
}

// msgzcWindow is the most sends without a completion: far more than
// net.core.optmem_max admits by default, and a power of two.
const msgzcWindow = 1 << 14

type msgzcWorker struct {
	region region
	batch  int
	queue  *abi.ErrQueue
	poll   [1]unix.PollFd

	// The kernel numbers the sends that took data from 0, modulo 2³².
	id      uint32              // of the next send
	lengths [msgzcWindow]uint32 // of the sends in flight, by id; 0: completed
	flying  int                 // how many there are
}

func (w *msgzcWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	if err := unix.SetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
		return fmt.Errorf("set SO_ZEROCOPY on flow %d: %w", c.Index+1, err)
	}
	err := w.send(c, stop)
	if e := w.drain(c); err == nil {
		err = e
	}
	return err
}

func (w *msgzcWorker) send(c endpoint.Conn, stop *endpoint.Stop) error {
	var pacer endpoint.Pacer
	for since := 0; !stop.Requested(); {
		slot := &w.lengths[w.id%msgzcWindow]
		if *slot != 0 {
			c.Counters.Extra[msgzcFull].Add(1)
			if err := w.await(c); err != nil {
				return err
			}
			continue
		}
		piece := w.region.next()
		n, e := abi.Send(c.FD, piece, unix.MSG_ZEROCOPY|unix.MSG_NOSIGNAL)
		c.Counters.Syscalls[msgzcSendto].Add(1)
		switch e {
		case 0:
			*slot = uint32(n) // at most MAX_RW_COUNT, 2³¹ and less
			w.id++
			w.flying++
			w.region.advance(n)
			if n < len(piece) {
				c.Counters.Extra[msgzcShort].Add(1)
			}
			if since++; since >= w.batch {
				since = 0
				if _, err := w.reap(c); err != nil {
					return err
				}
			}
		case unix.EINTR:
		case unix.ENOBUFS:
			// No room for another notification, or for more locked pages:
			// both come back with completions.
			c.Counters.Extra[msgzcENOBUFS].Add(1)
			if w.flying == 0 {
				return noRoom(c)
			}
			if err := w.await(c); err != nil {
				return err
			}
		default:
			return fmt.Errorf("send with MSG_ZEROCOPY on flow %d: %w", c.Index+1, e)
		}
		pacer.Tick()
	}
	return nil
}

// noRoom is the error of a socket that cannot send at all.
func noRoom(c endpoint.Conn) error {
	optmem, err := os.ReadFile("/proc/sys/net/core/optmem_max")
	if err != nil {
		optmem = []byte("unknown")
	}
	return endpoint.Errorf(endpoint.Unsupported,
		"send with MSG_ZEROCOPY on flow %d: %w with nothing in flight: raise net.core.optmem_max, now %s (sysctl net.core.optmem_max=131072), or the limit on locked memory (ulimit -l)",
		c.Index+1, unix.ENOBUFS, strings.TrimSpace(string(optmem)))
}

// await reaps at least one completion, or returns after a while without.
func (w *msgzcWorker) await(c endpoint.Conn) error {
	if n, err := w.reap(c); n > 0 || err != nil {
		return err
	}
	// Completions show as POLLERR, which is always asked for. The time limit
	// is for the caller to look at its stop flag.
	w.poll[0] = unix.PollFd{Fd: int32(c.FD)}
	ready, err := unix.Poll(w.poll[:], 100)
	c.Counters.Syscalls[msgzcPoll].Add(1)
	if ready <= 0 {
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("poll on flow %d: %w", c.Index+1, err)
		}
		return nil
	}
	n, err := w.reap(c)
	if n == 0 && err == nil {
		// An error or a hang-up that is no completion, and will not go away.
		return fmt.Errorf("wait for completions on flow %d: %w", c.Index+1, unix.EPIPE)
	}
	return err
}

// reap takes the completions there are, without waiting.
func (w *msgzcWorker) reap(c endpoint.Conn) (n int, err error) {
	if most := &c.Counters.Extra[msgzcOutstanding]; uint64(w.flying) > most.Load() {
		most.Store(uint64(w.flying))
	}
	for {
		ee, e := w.queue.Read(c.FD)
		c.Counters.Syscalls[msgzcRecvmsg].Add(1)
		switch {
		case e == unix.EAGAIN:
			return n, nil
		case e == unix.EINTR || e == 0 && ee.Origin != unix.SO_EE_ORIGIN_ZEROCOPY:
			continue
		case e != 0:
			return n, fmt.Errorf("read the error queue of flow %d: %w", c.Index+1, e)
		}
		k, err := w.complete(c.Counters, ee.Info, ee.Data, ee.Code&unix.SO_EE_CODE_ZEROCOPY_COPIED != 0)
		if err != nil {
			return n, fmt.Errorf("flow %d: %w", c.Index+1, err)
		}
		n += k
	}
}

// complete accounts for the sends lo to hi, both included. The kernel merges
// completions that wait in the queue together into one range, which says
// copied when any payload of the first of them was.
func (w *msgzcWorker) complete(n *endpoint.Counters, lo, hi uint32, copied bool) (int, error) {
	count := int64(hi-lo) + 1 // modulo 2³², as the numbers are
	if count > int64(w.flying) {
		return 0, fmt.Errorf("completion of sends %d to %d, but %d are in flight", lo, hi, w.flying)
	}
	var bytes uint64
	for id := lo; id != hi+1; id++ {
		slot := &w.lengths[id%msgzcWindow]
		if *slot == 0 {
			return 0, fmt.Errorf("completion of send %d, which is not in flight", id)
		}
		bytes += uint64(*slot)
		*slot = 0
	}
	w.flying -= int(count)
	if copied {
		n.Copied.Add(bytes)
	} else {
		n.ZeroCopied.Add(bytes)
	}
	n.Extra[msgzcCompletions].Add(uint64(count))
	n.Extra[msgzcRanges].Add(1)
	return int(count), nil
}

// drain waits until the kernel reads the region no more. That takes as long
// as the peer does; the agent's shutdown ends it.
func (w *msgzcWorker) drain(c endpoint.Conn) error {
	for w.flying > 0 {
		if w.await(c) != nil {
			return w.linger(c)
		}
	}
	return nil
}

// linger gives a connection that hung up a little time: the last
// acknowledgements may be on their way, but poll no longer waits for them.
func (w *msgzcWorker) linger(c endpoint.Conn) error {
	for range 100 {
		if _, err := w.reap(c); err != nil || w.flying == 0 {
			return err
		}
		if _, err := unix.Poll(nil, 1); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
	}
	return nil // Close reports what is still in flight
}

// Close leaves the region mapped while the kernel may still read it: the
// worker never learns when it no longer does.
func (w *msgzcWorker) Close() error {
	if w.flying > 0 {
		return fmt.Errorf("%d sends with MSG_ZEROCOPY were never completed: their %d bytes of memory stay mapped (%w)", w.flying, len(w.region.mem), unix.ECANCELED)
	}
	return w.region.close()
}
