package tx

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/ring"
	"zcbench/internal/uring"
)

// Uring sends by copying through an io_uring: chains of linked sends, one
// system call a chain. A link holds a send back until the one before it has
// gone out in full, which keeps the stream in order.
func Uring() endpoint.Engine { return uringEngine{} }

type uringEngine struct{}

func (uringEngine) Name() string { return "uring" }

// Elements of uringEngine's Counters.Extra.
const (
	uringCQEs = iota
	uringShort
	uringOverflows
)

func (uringEngine) Layout() endpoint.Layout {
	return endpoint.Layout{
		Syscalls: []string{"io_uring_enter"},
		Extra:    []string{uringCQEs: "cqes", uringShort: "short_sends", uringOverflows: "cq_overflows"},
	}
}

func (uringEngine) Options() []endpoint.Option {
	return []endpoint.Option{
		batchOption(),
	}
}

// batchOption is that of both senders on a ring.
func batchOption() endpoint.Option {
	return endpoint.Option{Name: "batch", Default: "16", Min: 1, Max: 256, Doc: "sends of --length bytes linked into one chain and " +
		"submitted by one call, of 4M at most"}
}

// chainOf is the number of sends in a chain: it must not be so long that a
// sender goes on for seconds after it was asked to stop.
func chainOf(batch, length int) int { return min(batch, max(1, 4<<20/length)) }

func (uringEngine) Probe(string) feature.Verdict {
	return uring.Probe(abi.IORING_OP_SEND, "IORING_OP_SEND", "5.6")
}

func (e uringEngine) Memory(p endpoint.Params) (int64, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return 0, err
	}
	return regions(p) + endpoint.Bytes(p.Flows, ringMemory(powerOfTwo(o.Int("batch")), 2*powerOfTwo(o.Int("batch")))), nil
}

// ringMemory bounds a ring's own: 64 bytes an entry, and 16 a completion.
func ringMemory(entries, completions int) int { return 64*entries + 16*completions }

func (e uringEngine) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	if err := usable(e); err != nil {
		return nil, err
	}
	batch := chainOf(o.Int("batch"), p.Length)
	p.Took("batch", batch)
	return endpoint.PerFlow(p.Flows, func(i int) (endpoint.Worker, error) {
		w := &uringSender{batch: batch}
		var err error
		if w.ring, err = ring.New(uring.Config{Entries: uint32(powerOfTwo(batch))}); err != nil {
			return nil, err
		}
		if w.region, err = newRegion(p, i); err != nil {
			return nil, errors.Join(err, w.ring.Close())
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

type uringSender struct {
	batch  int
	ring   *ring.Ring
	region region
}

func (w *uringSender) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	if err := w.ring.RegisterFiles([]int32{int32(c.FD)}); err != nil {
		return err
	}
	if err := w.send(c, stop); err != nil {
		return err
	}
	return w.ring.UnregisterFiles() // the ring holds the socket open until this
}

func (w *uringSender) send(c endpoint.Conn, stop *endpoint.Stop) error {
	n := c.Counters
	var pacer endpoint.Pacer
	for !stop.Requested() {
		ahead := w.region
		for k := range w.batch {
			p := ahead.next()
			ahead.advance(len(p))
			s := w.ring.SQE()
			s.Send(0, p)
			s.UserData = uint64(len(p))
			if k < w.batch-1 {
				s.Link()
			}
		}
		var failed unix.Errno
		for left := uint32(w.batch); left > 0; pacer.Tick() {
			if e := w.ring.Enter(left); e != 0 {
				return fmt.Errorf("send on flow %d: io_uring_enter: %w", c.Index+1, e)
			}
			n.Syscalls[0].Store(w.ring.Enters)
			if w.ring.Overflowed() {
				n.Extra[uringOverflows].Add(1)
			}
			ready := w.ring.Ready()
			bytes := 0
			for i := range ready {
				cqe := w.ring.CQE(i)
				switch {
				case cqe.Res >= 0:
					w.region.advance(int(cqe.Res))
					bytes += int(cqe.Res)
					if uint64(cqe.Res) < cqe.UserData {
						n.Extra[uringShort].Add(1)
					}
				case unix.Errno(-cqe.Res) != unix.ECANCELED: // the rest of a broken chain
					failed = unix.Errno(-cqe.Res)
				}
			}
			w.ring.Seen(ready)
			n.Extra[uringCQEs].Add(uint64(ready))
			n.Copied.Add(uint64(bytes))
			left -= ready
		}
		if failed != 0 {
			return fmt.Errorf("send on flow %d through io_uring: %w", c.Index+1, failed)
		}
	}
	return nil
}

func (w *uringSender) Close() error { return errors.Join(w.ring.Close(), w.region.close()) }
