package tx

import (
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/egress"
	"zcbench/internal/feature"
)

// MsgZC sends by send(2) with MSG_ZEROCOPY: segments refer to the sender's
// pages, and the error queue tells when they no longer do and whether they
// were copied after all.
func MsgZC() endpoint.Engine { return msgzc{} }

type msgzc struct{}

func (msgzc) Name() string { return "msgzc" }

func (msgzc) Layout() endpoint.Layout {
	return zcLayout("sendto")
}

func (msgzc) Options() []endpoint.Option {
	return []endpoint.Option{
		{Name: "batch", Default: "32", Min: 1, Max: zcWindow, Doc: "sends between two looks for completions"},
	}
}

func (msgzc) Probe(iface string) feature.Verdict {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return feature.Undecided(fmt.Sprintf("make a TCP socket: %v", err), "run it where TCP over IPv4 is allowed")
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
		return feature.Refused(fmt.Errorf("set SO_ZEROCOPY: %w", err), "Linux 4.14 or later")
	}
	return limited(feature.Possible(), iface, egress.Delivery)
}

// limited adds to a yes what becomes of payload sent by reference on the way out
// of an interface, possibly none. delivery is what becomes of it where that is to
// a socket of this machine.
func limited(v feature.Verdict, iface, delivery string) feature.Verdict {
	if v.Answer != feature.Yes {
		return v
	}
	if iface == "" {
		v.Reason = delivery
		return v
	}
	switch w, err := egress.Interface(iface); {
	case err != nil:
		v.Reason = err.Error()
	case w.Verdict == egress.Copies:
		v.Reason = "all payload is copied: " + w.Why
	case delivery != "" && egress.InMemory(iface):
		v.Reason = delivery
	case w.Verdict == egress.Hidden:
		v.Reason = "whether payload is copied is not known: " + w.Why
	}
	return v
}

func (e msgzc) Memory(p endpoint.Params) (int64, error) {
	if _, err := endpoint.ParseOptions(e.Options(), p.Options); err != nil {
		return 0, err
	}
	return regions(p) + endpoint.Bytes(p.Flows, flightMemory), nil
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
		return &msgzcWorker{region: r, batch: o.Int("batch"), flight: newFlight()}, nil
	}), nil
}

type msgzcWorker struct {
	region region
	batch  int
	flight *flight
}

func (w *msgzcWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	if err := unix.SetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
		return fmt.Errorf("set SO_ZEROCOPY on flow %d: %w", c.Index+1, err)
	}
	err := w.send(c, stop)
	if e := w.flight.drain(c); err == nil {
		err = e
	}
	return err
}

func (w *msgzcWorker) send(c endpoint.Conn, stop *endpoint.Stop) error {
	var pacer endpoint.Pacer
	for since := 0; !stop.Requested(); {
		if w.flight.full() {
			c.Counters.Extra[zcFull].Add(1)
			if err := w.flight.await(c); err != nil {
				return err
			}
			continue
		}
		piece := w.region.next()
		n, e := abi.Send(c.FD, piece, unix.MSG_ZEROCOPY|unix.MSG_NOSIGNAL)
		c.Counters.Syscalls[zcSend].Add(1)
		switch e {
		case 0:
			w.flight.launch(n)
			w.region.advance(n)
			if n < len(piece) {
				c.Counters.Extra[zcShort].Add(1)
			}
			if since++; since >= w.batch {
				since = 0
				if _, err := w.flight.reap(c); err != nil {
					return err
				}
			}
		case unix.EINTR:
		case unix.ENOBUFS:
			if err := w.flight.makeRoom(c); err != nil {
				return err
			}
		default:
			return fmt.Errorf("send with MSG_ZEROCOPY on flow %d: %w", c.Index+1, e)
		}
		pacer.Tick()
	}
	return nil
}

// Close leaves the region mapped while the kernel may still read it: the
// worker never learns when it no longer does.
func (w *msgzcWorker) Close() error {
	if err := w.flight.landed(); err != nil {
		return fmt.Errorf("%w: their %d bytes of memory stay mapped", err, len(w.region.mem))
	}
	return w.region.close()
}
