package rx

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/ring"
	"zcbench/internal/uring"
)

// Uring receives by copying through an io_uring: one multishot receive that
// the kernel repeats into provided buffers for as long as data comes.
func Uring() endpoint.Engine { return uringEngine{} }

type uringEngine struct{}

func (uringEngine) Name() string { return "uring" }

// Elements of uringEngine's Counters.Extra.
const (
	uringCQEs = iota
	uringRearms
	uringNoBuffers
	uringOverflows
)

func (uringEngine) Layout() endpoint.Layout {
	return endpoint.Layout{
		Syscalls: []string{"io_uring_enter"},
		Extra: []string{
			uringCQEs:      "cqes",
			uringRearms:    "rearms",
			uringNoBuffers: "enobufs",
			uringOverflows: "cq_overflows",
		},
	}
}

func (uringEngine) Options() []endpoint.Option {
	return []endpoint.Option{
		{Name: "buffers", Default: "8", Min: 1, Max: 4096, Doc: "receive buffers of --length bytes each, rounded up to a power of two; fewer " +
			"where they are over 64M together"},
		{Name: "wait-nr", Default: "8", Min: 1, Max: 4096, Doc: "completions to wait for before waking up (more than one: Linux 6.12)"},
		{Name: "min-wait-us", Default: "100", Min: 1, Max: 100000, Doc: "with wait-nr, microseconds after which one completion is enough"},
		busyPollOption,
	}
}

func (uringEngine) Probe(string) feature.Verdict {
	return uring.Probe(abi.IORING_OP_RECV, "IORING_OP_RECV", "5.6")
}

// maxUringBuffers bounds what one flow's buffers take together.
const maxUringBuffers = 64 << 20 // bytes

// uringBuffers is how many each flow has.
func uringBuffers(o endpoint.Values, p endpoint.Params) int {
	n := powerOfTwo(o.Int("buffers"))
	for n > 1 && n*p.Length > maxUringBuffers {
		n /= 2
	}
	return n
}

func (e uringEngine) Memory(p endpoint.Params) (int64, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return 0, err
	}
	return endpoint.Bytes(p.Flows, uringBuffers(o, p)*p.Length) + endpoint.Bytes(p.Flows, ringMemory(64, 2*powerOfTwo(o.Int("buffers")))), nil
}

// ringMemory bounds a ring's own: 64 bytes an entry, and 16 a completion, in a
// number that is rounded up to a power of two.
func ringMemory(entries, completions int) int {
	return 64*powerOfTwo(entries) + 16*powerOfTwo(completions)
}

func (e uringEngine) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	if err := usable(e); err != nil {
		return nil, err
	}
	c := uringReceiver{count: uringBuffers(o, p), size: p.Length, want: uint32(o.Int("wait-nr"))}
	var minWait time.Duration
	if c.want > 1 {
		minWait = time.Duration(o.Int("min-wait-us")) * time.Microsecond
	}
	p.Took("buffers", c.count)
	busyPoll := time.Duration(o.Int("busy-poll")) * time.Microsecond
	return endpoint.PerFlow(p.Flows, func(int) (endpoint.Worker, error) {
		w, err := c.open(minWait, busyPoll)
		if err != nil {
			return nil, err
		}
		p.Took("wait-nr", int(w.want))
		if w.want <= 1 {
			p.Took("min-wait-us", 0)
		}
		return w, nil
	}), nil
}

// usable refuses an engine that its own Probe knows to be impossible.
func usable(e endpoint.Engine) error { return unsupported(e.Probe("")) }

// unsupported is the error of an engine that cannot work here; nil when it may.
func unsupported(v feature.Verdict) error {
	if v.Answer == feature.No {
		return fault.Errorf(fault.Unsupported, "%s (to change it: %s)", v.Reason, v.Fix)
	}
	return nil
}

// powerOfTwo rounds up.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p <<= 1
	}
	return p
}

type uringReceiver struct {
	count, size int
	want        uint32
	ring        *ring.Ring
	bufs        *ring.BufRing
	bundle      bool
}

func (w uringReceiver) open(minWait, busyPoll time.Duration) (*uringReceiver, error) {
	var err error
	// A receive that takes several buffers at once still completes once; room
	// for a completion a buffer, and some, keeps the queue from overflowing.
	config := uring.Config{Entries: 1, CQEntries: uint32(max(64, 2*w.count)), MinWait: minWait, BusyPoll: busyPoll}
	w.ring, err = ring.New(config)
	if err != nil {
		return nil, err
	}
	if !w.ring.CanBatch() {
		w.want = 1
	}
	w.bundle = w.ring.CanBundle()
	if w.bufs, err = w.ring.BufRing(w.count, w.size); err != nil {
		return nil, errors.Join(err, w.ring.Close())
	}
	return &w, nil
}

func (w *uringReceiver) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	c := conns[0]
	if err := w.ring.RegisterFiles([]int32{int32(c.FD)}); err != nil {
		return err
	}
	if err := w.receive(c); err != nil {
		return err
	}
	return w.ring.UnregisterFiles() // the ring holds the socket open until this
}

func (w *uringReceiver) receive(c endpoint.Conn) error {
	n := c.Counters
	var pacer endpoint.Pacer
	for armed := false; ; pacer.Tick() {
		if !armed {
			w.ring.SQE().Recv(0, 0, w.bundle)
			armed = true
		}
		if e := w.ring.Enter(w.want); e != 0 {
			return fmt.Errorf("receive on flow %d: io_uring_enter: %w", c.Index+1, e)
		}
		n.Syscalls[0].Store(w.ring.Enters)
		if w.ring.Overflowed() {
			n.Extra[uringOverflows].Add(1)
		}
		ready := w.ring.Ready()
		n.Extra[uringCQEs].Add(uint64(ready))
		taken, bytes := 0, 0
		var end bool
		var failed unix.Errno
		for i := range ready {
			cqe := w.ring.CQE(i)
			got := int(cqe.Res)
			switch {
			case got > 0:
				id, _ := cqe.Buffer()
				head, tail := w.bufs.Bytes(id, got)
				c.Consume(head)
				if len(tail) > 0 {
					c.Consume(tail)
				}
				taken += w.bufs.Count(got)
				bytes += got
			case got == 0:
				end = true
			case unix.Errno(-got) == unix.ENOBUFS:
				n.Extra[uringNoBuffers].Add(1)
			default:
				failed = unix.Errno(-got)
			}
			armed = cqe.More()
		}
		w.ring.Seen(ready)
		w.bufs.Return(taken)
		n.Copied.Add(uint64(bytes))
		switch {
		case failed != 0:
			return fmt.Errorf("receive on flow %d through io_uring: %w", c.Index+1, failed)
		case end:
			return nil
		case ready > 0 && !armed:
			n.Extra[uringRearms].Add(1)
		}
	}
}

func (w *uringReceiver) Close() error {
	return errors.Join(w.ring.Close(), w.bufs.Close())
}
