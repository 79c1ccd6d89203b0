package tx

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/egress"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/ring"
	"zcbench/internal/uring"
)

// SendZC sends by reference through an io_uring: chains of linked zero-copy
// sends from a registered buffer, or one message of as many pieces. The kernel
// says of each send, in a notification when it no longer needs the memory,
// whether it had to copy after all; the bytes are counted then. Of sends that
// share a packet it says that of the first: what is known of others, stack finds.
//
// It cannot send from a dma-buf, for as of Linux 7.3 neither operation can:
// rings register no dma-buf as a buffer (io_uring/rsrc.c), and a message that
// names one (SCM_DEVMEM_DMABUF) gets EINVAL when it comes with a notification of
// the ring's (tcp_sendmsg_locked). IORING_OP_SENDMSG with MSG_ZEROCOPY is left,
// whose completions come by the socket's error queue: that would be the engine
// devmem, submitted another way.
func SendZC() endpoint.Engine { return sendZCEngine{} }

type sendZCEngine struct{}

func (sendZCEngine) Name() string { return "sendzc" }

// Elements of sendZCEngine's Counters.Extra.
const (
	sendZCCQEs = iota
	sendZCNotifs
	sendZCNotifsCopied
	sendZCShort
	sendZCOverflows
	sendZCOutstandingMax
)

func (sendZCEngine) Layout() endpoint.Layout {
	return endpoint.Layout{
		Syscalls: []string{"io_uring_enter"},
		Extra: []string{
			sendZCCQEs:           "cqes",
			sendZCNotifs:         "notifs",
			sendZCNotifsCopied:   "notifs_copied",
			sendZCShort:          "short_sends",
			sendZCOverflows:      "cq_overflows",
			sendZCOutstandingMax: "outstanding_max",
		},
		ZeroCopy: true,
		Copied:   egress.Delivery,
		Unknown: "sends shared packets, and of each packet the kernel tells the fate of the first send only (Linux 6.10): --length 64K or " +
			"more has packets of its own, and --tx-opt call=sendmsg sends a batch as one",
	}
}

func (sendZCEngine) Options() []endpoint.Option {
	return []endpoint.Option{
		batchOption(),
		{Name: "call", Default: sendZCCalls[0], Words: sendZCCalls, Doc: "send: a request (IORING_OP_SEND_ZC) for each of a batch, linked; " +
			"sendmsg: one (IORING_OP_SENDMSG_ZC, Linux 6.15) that gathers the batch; neither can send from a dma-buf as of Linux 7.3 (that is tx " +
			"devmem)"},
		{Name: "huge", Default: "auto", Words: []string{"off", "on", "auto"}, Doc: "buffer in reserved huge pages (sysctl vm.nr_hugepages); " +
			"auto: where enough are free"},
		{Name: "outstanding", Default: "1024", Min: 1, Max: 32768, Doc: "requests whose memory the kernel may still read, rounded up to a " +
			"power of two and at least those of two batches"},
	}
}

// sendZCCalls are the words of the option call.
var sendZCCalls = []string{"send", "sendmsg"}

func (sendZCEngine) Probe(iface string) feature.Verdict {
	return limited(uring.ProbeSendZC(), iface, egress.Delivery)
}

// Memory has each payload in whole huge pages, which it may be in.
func (e sendZCEngine) Memory(p endpoint.Params) (int64, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return 0, err
	}
	slots := powerOfTwo(max(o.Int("outstanding"), 2*o.Int("batch")))
	// a slot, what its copies are known by, and two completions
	each := (p.Pattern.Period+abi.HugePageSize-1)&^(abi.HugePageSize-1) + 128*slots
	return endpoint.Bytes(p.Flows, each), nil
}

func (e sendZCEngine) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	if err := usable(e); err != nil {
		return nil, err
	}
	batch := chainOf(o.Int("batch"), p.Length)
	p.Took("batch", batch)
	proto := zcSender{batch: batch, requests: batch, fill: (*zcSender).sends}
	if sendZCCalls[o.Int("call")] == "sendmsg" {
		if v := uring.ProbeMessage(); v.Answer == feature.No {
			return nil, fault.Errorf(fault.Unsupported, "sendzc with call=sendmsg: %s (to change it: %s)", v.Reason, v.Fix)
		}
		proto.requests, proto.fill = 1, (*zcSender).message
	}
	slots := powerOfTwo(max(o.Int("outstanding"), 2*proto.requests))
	p.Took("outstanding", slots)
	s := &sendZCSession{huge: o.Int("huge")}
	s.Session = endpoint.PerFlow(p.Flows, func(i int) (endpoint.Worker, error) {
		w := proto
		w.slots, w.stack = make([]zcSlot, slots), newStack()
		if err := w.open(s, p, i); err != nil {
			return nil, errors.Join(err, w.Close())
		}
		return &w, nil
	})
	return s, nil
}

// sendZCSession knows, beyond its flows, what memory they send from.
type sendZCSession struct {
	endpoint.Session
	huge              int // option: off, on, auto
	inHuge, inRegular atomic.Uint64
}

// buffer takes a flow's memory. In huge pages the kernel describes it with a
// five-hundredth of the entries; transparent ones, which Map asks for, are next
// best.
func (s *sendZCSession) buffer(size int) ([]byte, error) {
	if s.huge != 0 {
		mem, err := abi.Map(size, true)
		switch {
		case err == nil:
			s.inHuge.Add(uint64(len(mem)))
			return mem, nil
		case s.huge == 1:
			return nil, fault.Errorf(fault.Unsupported, "sendzc with huge=on: %w", err)
		}
	}
	mem, err := abi.Map(size, false)
	s.inRegular.Add(uint64(len(mem)))
	return mem, err
}

func (s *sendZCSession) Begin() error { return nil }

func (s *sendZCSession) End() (map[string]float64, []string, error) {
	return map[string]float64{
		"buffer_huge_bytes":    float64(s.inHuge.Load()),
		"buffer_regular_bytes": float64(s.inRegular.Load()),
	}, nil, nil
}

// zcSender sends one connection's stream.
type zcSender struct {
	batch    int             // pieces of --length bytes sent at once
	requests int             // that they are sent with
	fill     func(*zcSender) // prepares these
	ring     *ring.Ring
	region   region
	msg      *uring.Message // where a request has several pieces
	next     uint64         // number of requests prepared

	// slots describe the requests that have not ended; request s has slot s
	// modulo their number.
	slots       []zcSlot
	outstanding int // requests that owe a notification
	stack       stack

	// Of those that were prepared together:
	left   int // requests that have not completed
	failed unix.Errno
}

type zcSlot struct {
	length int  // asked for
	bytes  int  // sent, from the first completion
	busy   bool // until the last completion
	owed   bool // that is a notification
}

// drainCheck is how often a sender that only waits for notifications looks
// whether the connection was shut down under it.
const drainCheck = 50 * time.Millisecond

func (w *zcSender) open(s *sendZCSession, p endpoint.Params, flow int) error {
	var err error
	// Two completions for each request.
	if w.ring, err = ring.New(uring.Config{Entries: uint32(powerOfTwo(w.requests)), CQEntries: uint32(2 * len(w.slots)),
		Timeout: drainCheck}); err != nil {
		return err
	}
	if w.msg, err = uring.NewMessage(w.batch); err != nil {
		return err
	}
	mem, err := s.buffer(p.Pattern.Period)
	if err != nil {
		return err
	}
	w.region = region{mem: mem[:p.Pattern.Period], length: p.Length}
	p.Pattern.Fill(w.region.mem, flow)
	return w.ring.RegisterBuffer(w.region.mem)
}

func (w *zcSender) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	if err := w.ring.RegisterFiles([]int32{int32(c.FD)}); err != nil {
		return err
	}
	if err := w.send(c, stop); err != nil {
		return err
	}
	// The ring holds the socket open until this. With notifications to come
	// it would wait for them before Linux 6.13, which is why an aborted run
	// leaves it to Close.
	return w.ring.UnregisterFiles()
}

func (w *zcSender) send(c endpoint.Conn, stop *endpoint.Stop) error {
	var pacer endpoint.Pacer
	for !stop.Requested() {
		// The slots come free in turn, nearly: TCP acknowledges in order.
		if !w.prepare() {
			if err := w.step(c, 1); err != nil {
				return err
			}
			pacer.Tick()
			continue
		}
		for w.left > 0 {
			// Notifications count among the completions waited for; they only
			// make it wake up early. None is waited for by itself.
			if err := w.step(c, uint32(w.left)); err != nil {
				return err
			}
			pacer.Tick()
		}
		if w.failed != 0 {
			return fmt.Errorf("send by reference on flow %d through io_uring: %w", c.Index+1, w.failed)
		}
	}
	for w.outstanding > 0 {
		before := w.outstanding
		if err := w.step(c, uint32(w.outstanding)); err != nil {
			return err
		}
		if w.outstanding == before && shutDown(c.FD) {
			return fmt.Errorf("flow %d was shut down with %d sends that the peer has not acknowledged (%w)", c.Index+1, w.outstanding,
				unix.ECANCELED)
		}
		pacer.Tick()
	}
	w.stack.end().count(c.Counters)
	return nil
}

// prepare makes the requests for a batch, unless their slots are not all free.
func (w *zcSender) prepare() bool {
	for k := range uint64(w.requests) {
		if w.slot(w.next + k).busy {
			return false
		}
	}
	w.fill(w)
	w.left = w.requests
	return true
}

// sends is one request for each piece, linked: a link holds a request back
// until the one before it has gone out in full.
func (w *zcSender) sends() {
	ahead := w.region
	for k := range w.batch {
		p := ahead.next()
		ahead.advance(len(p))
		s := w.request(len(p))
		s.SendZC(0, p)
		s.UserData = w.next
		if k < w.batch-1 {
			s.Link()
		}
		w.next++
	}
}

// message is one request for all pieces.
func (w *zcSender) message() {
	ahead := w.region
	bytes := 0
	for k := range w.batch {
		p := ahead.next()
		ahead.advance(len(p))
		w.msg.Set(k, p)
		bytes += len(p)
	}
	s := w.request(bytes)
	s.SendMsgZC(0, w.msg)
	s.UserData = w.next
	w.next++
}

// request takes the next slot, for so many bytes.
func (w *zcSender) request(bytes int) *ring.SQE {
	*w.slot(w.next) = zcSlot{length: bytes, busy: true}
	return w.ring.SQE()
}

func (w *zcSender) slot(request uint64) *zcSlot { return &w.slots[request&uint64(len(w.slots)-1)] }

// step enters the ring and takes what has completed.
func (w *zcSender) step(c endpoint.Conn, want uint32) error {
	if e := w.ring.Enter(want); e != 0 {
		return fmt.Errorf("send on flow %d: io_uring_enter: %w", c.Index+1, e)
	}
	n := c.Counters
	n.Syscalls[0].Store(w.ring.Enters)
	if w.ring.Overflowed() {
		n.Extra[sendZCOverflows].Add(1)
	}
	ready := w.ring.Ready()
	var sum fates
	var notifs, notifsCopied uint64
	for i := range ready {
		cqe := w.ring.CQE(i)
		slot := w.slot(cqe.UserData)
		if cqe.Notification() {
			if !slot.owed {
				continue // of a send that the kernel cancelled; it did not announce it
			}
			notifs++
			if cqe.WasCopied() {
				notifsCopied++
			}
			sum.add(w.stack.note(cqe.UserData, uint64(slot.bytes), cqe.WasCopied()))
			slot.busy, slot.owed = false, false
			w.outstanding--
			continue
		}
		w.left--
		if slot.owed = cqe.More(); slot.owed {
			w.outstanding++
		} else {
			slot.busy = false
		}
		switch {
		case cqe.Res >= 0:
			slot.bytes = int(cqe.Res)
			w.region.advance(slot.bytes)
			if slot.bytes < slot.length {
				n.Extra[sendZCShort].Add(1)
			}
		case unix.Errno(-cqe.Res) != unix.ECANCELED: // the rest of a broken chain
			w.failed = unix.Errno(-cqe.Res)
		}
	}
	w.ring.Seen(ready)
	sum.count(n)
	n.Extra[sendZCCQEs].Add(uint64(ready))
	n.Extra[sendZCNotifs].Add(notifs)
	n.Extra[sendZCNotifsCopied].Add(notifsCopied)
	if out := uint64(w.outstanding); out > n.Extra[sendZCOutstandingMax].Load() {
		n.Extra[sendZCOutstandingMax].Store(out)
	}
	return nil
}

// shutDown reports whether nothing more can be sent on fd.
func shutDown(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP and POLLERR are always reported
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// Close unmaps the region even when the kernel still reads it, after a run
// that was aborted: it holds the pages of a registered buffer until the last
// notification.
func (w *zcSender) Close() error {
	var err error
	if w.ring != nil {
		err = w.ring.Close()
	}
	if w.msg != nil {
		err = errors.Join(err, w.msg.Close())
	}
	return errors.Join(err, w.region.close())
}
