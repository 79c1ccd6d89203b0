package tx

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/genl"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netif"
	"zcbench/udmabuf"
)

// Devmem sends by device memory TCP: segments refer to a dma-buf, and the NIC
// reads the payload out of it; no CPU could.
func Devmem() endpoint.Engine { return devmem{} }

type devmem struct{}

func (devmem) Name() string { return "devmem" }

func (devmem) Layout() endpoint.Layout {
	l := zcLayout("sendmsg")
	l.Unreadable = true
	return l
}

func (devmem) Options() []endpoint.Option {
	return append(endpoint.MemoryOptions("0", "bytes of the dma-buf that all flows share; 0 is what they need"),
		endpoint.Option{Name: "batch", Default: "32", Min: 1, Max: zcWindow, Doc: "sends between two looks for completions"},
		endpoint.Option{Name: "iovecs", Default: "1", Min: 1, Max: 1024, Doc: "pieces of --length bytes to send in one call"},
	)
}

func (e devmem) Probe(iface string) feature.Verdict { return e.ProbeFrom(nil, iface) }

// ProbeFrom makes it an endpoint.Asker.
func (devmem) ProbeFrom(from *answers.Source, iface string) feature.Verdict {
	nd, v := dialDevmem(from, iface)
	if nd == nil {
		return v
	}
	defer nd.Close()
	if _, err := from.Ask("udmabuf", "", func() (answers.Reply, error) { return answers.Reply{}, udmabuf.Probe() }); err != nil {
		return feature.Refused(err, "another dma-buf: --mem heap:system")
	}
	if iface == "" {
		return feature.Undecided("it depends on the NIC", "zcbench probe -i IFACE")
	}
	d, err := netif.Look(from, iface)
	if err != nil {
		return feature.Undecided(err.Error(), "")
	}
	// A page shows it; the binding ends with the socket.
	err = nd.OfferTX(d.Index(), netdev.Offer{Kind: [4]byte{'p', 'a', 'g', 'e'}, Open: func() (genl.File, error) {
		return udmabuf.New(unix.Getpagesize(), false)
	}})
	if _, refused := errors.AsType[*genl.Error](err); refused {
		return refusedTX(iface, err)
	}
	if err != nil {
		return feature.Undecided(err.Error(), "")
	}
	return feature.Possible()
}

// dialDevmem opens the socket of a binding, or says why there can be none,
// whatever the memory. iface may be empty.
func dialDevmem(from *answers.Source, iface string) (*netdev.Conn, feature.Verdict) {
	nd, err := netdev.DialFrom(from)
	if err != nil {
		return nil, feature.Refused(err, "Linux 6.16 or later")
	}
	v := feature.Possible()
	if !nd.CanBindTX() {
		v = feature.Impossible("this kernel cannot send from a dma-buf", "Linux 6.16 or later with CONFIG_NET_DEVMEM")
	} else if iface != "" {
		v = askTX(from, nd, iface)
	}
	if v.Answer == feature.No {
		nd.Close()
		return nil, v
	}
	return nd, v
}

// askTX offers to bind what is no dma-buf: a device that could not send from
// one either is refused before that is looked at.
func askTX(from *answers.Source, nd *netdev.Conn, iface string) feature.Verdict {
	d, err := netif.Look(from, iface)
	if err != nil {
		return feature.Undecided(err.Error(), "")
	}
	return refusedTX(iface, nd.OfferTX(d.Index(), netdev.Nothing))
}

// refusedTX is the verdict that the kernel's answer to BindTX amounts to.
func refusedTX(iface string, err error) feature.Verdict {
	reason := fmt.Sprintf("bind a dma-buf to %s: %v", iface, err)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return feature.Impossible(reason, "a NIC whose driver has netmem TX, and a kernel with CONFIG_NET_DEVMEM")
	case errors.Is(err, unix.EPERM):
		return feature.Impossible(reason, "needs CAP_NET_ADMIN: run as root")
	}
	return feature.Undecided(reason, "")
}

func (e devmem) Memory(p endpoint.Params) (int64, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return 0, err
	}
	return (max(endpoint.Bytes(1, o.Int("mem-size")), regions(p))+abi.HugePageSize-1)&^(abi.HugePageSize-1) +
		endpoint.Bytes(p.Flows, flightMemory), nil
}

func (e devmem) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	if p.Interface == "" {
		return nil, fault.Errorf(fault.Usage, "devmem needs the interface it sends by: give --iface")
	}
	i, err := net.InterfaceByName(p.Interface)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "interface %s: %w", p.Interface, err)
	}
	if o.Int("iovecs") > maxDevmemSend/p.Length {
		return nil, fault.Errorf(fault.Usage, "%d pieces of %d bytes in one call are more than %d bytes: lower the option iovecs or the length",
			o.Int("iovecs"), p.Length, maxDevmemSend)
	}
	page := unix.Getpagesize()
	s := &devmemSession{
		iface: *i, params: p, batch: o.Int("batch"), iovecs: o.Int("iovecs"),
		share: (p.Pattern.Period + page - 1) / page * page,
	}
	if err := s.open(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	p.Took("mem-size", s.buffer.Size())
	return s, nil
}

// maxDevmemSend bounds one call, which returns a number of 31 bits.
const maxDevmemSend = 1 << 30

// devmemSession holds what all flows share: the dma-buf, and the netlink
// socket that it is bound through, for as long as it is open.
type devmemSession struct {
	iface         net.Interface
	params        endpoint.Params
	batch, iovecs int
	share         int // of the dma-buf, in bytes: a flow's

	netdev  *netdev.Conn
	buffer  *udmabuf.Buffer
	binding uint32
}

func (s *devmemSession) open(o endpoint.Values) error {
	need := s.share * s.params.Flows
	size := o.Int("mem-size")
	if size == 0 {
		size = need
	}
	if size < need {
		return fault.Errorf(fault.Usage, "%d flows of %d bytes need a dma-buf of %d bytes, not %d: raise mem-size or lower the length",
			s.params.Flows, s.params.Pattern.Period, need, size)
	}
	var v feature.Verdict
	if s.netdev, v = dialDevmem(nil, s.iface.Name); s.netdev == nil {
		return unsupported(v)
	}
	var err error
	if s.buffer, err = endpoint.OpenMemory(o, size); err != nil {
		return err
	}
	if err := s.fill(); err != nil {
		return err
	}
	if s.binding, err = s.netdev.BindTX(s.iface.Index, s.buffer.FD()); err != nil {
		if v := refusedTX(s.iface.Name, err); v.Answer == feature.No {
			return unsupported(v)
		}
		return fmt.Errorf("bind a dma-buf to %s: %w", s.iface.Name, err)
	}
	return nil
}

// fill writes the payload before any device knows of the memory.
func (s *devmemSession) fill() error {
	mem, err := s.buffer.Map()
	if err != nil {
		return err
	}
	if e := s.buffer.Begin(udmabuf.Write); e != 0 {
		return fmt.Errorf("begin to write the dma-buf: %w", e)
	}
	for i := range s.params.Flows {
		s.params.Pattern.Fill(mem[i*s.share:][:s.params.Pattern.Period], i)
	}
	if e := s.buffer.End(udmabuf.Write); e != 0 {
		return fmt.Errorf("end writing the dma-buf: %w", e)
	}
	return nil
}

func (s *devmemSession) Workers() int { return s.params.Flows }

func (s *devmemSession) Worker(i int) (endpoint.Worker, error) {
	f := newFlight()
	f.sure = true
	return &devmemWorker{
		iface: s.iface.Name, base: i * s.share, period: s.params.Pattern.Period, length: s.params.Length,
		batch: s.batch, iovecs: s.iovecs,
		msg: abi.NewDevmemSend(s.binding, s.iovecs), flight: f,
	}, nil
}

// Close unbinds before it gives the memory back. What is still being sent holds
// both by itself.
func (s *devmemSession) Close() error {
	var err error
	if s.netdev != nil {
		err = s.netdev.Close()
	}
	if s.buffer != nil {
		err = errors.Join(err, s.buffer.Close())
	}
	return err
}

// devmemWorker sends one flow, out of period bytes of the dma-buf from base on.
type devmemWorker struct {
	iface          string
	base           int
	period, length int
	pos            int // of the next byte of the stream, in the period
	batch, iovecs  int
	msg            *abi.DevmemSend
	flight         *flight
}

func (w *devmemWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	if err := unix.SetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
		return fmt.Errorf("set SO_ZEROCOPY on flow %d: %w", c.Index+1, err)
	}
	// The dma-buf is mapped for this device; no other may carry it.
	if err := unix.BindToDevice(c.FD, w.iface); err != nil {
		return fmt.Errorf("bind flow %d to %s: %w", c.Index+1, w.iface, err)
	}
	err := w.send(c, stop)
	if e := w.flight.drain(c); err == nil {
		err = e
	}
	return err
}

func (w *devmemWorker) send(c endpoint.Conn, stop *endpoint.Stop) error {
	var pacer endpoint.Pacer
	for since := 0; !stop.Requested(); {
		if w.flight.full() {
			c.Counters.Extra[zcFull].Add(1)
			if err := w.flight.await(c); err != nil {
				return err
			}
			continue
		}
		whole := w.aim()
		n, e := w.msg.Send(c.FD)
		c.Counters.Syscalls[zcSend].Add(1)
		switch e {
		case 0:
			w.flight.launch(n)
			w.pos = (w.pos + n) % w.period
			if n < whole {
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
		case unix.ENODEV:
			return fault.Errorf(fault.Failed, "send on flow %d: %w: the route to the receiver does not leave by %s, which the dma-buf is bound to "+
				"(ip route get)", c.Index+1, e, w.iface)
		default:
			return fmt.Errorf("send from a dma-buf on flow %d: %w", c.Index+1, e)
		}
		pacer.Tick()
	}
	return nil
}

// aim sets the pieces of the next send and gives their size: the rest of a
// piece that was sent in part comes first.
func (w *devmemWorker) aim() int {
	whole, pos := 0, w.pos
	for i := range w.iovecs {
		n := w.length - pos%w.length
		w.msg.Set(i, w.base+pos, n)
		whole += n
		pos = (pos + n) % w.period
	}
	return whole
}

func (w *devmemWorker) Close() error {
	// The kernel holds the dma-buf for what is still in flight.
	return w.flight.landed()
}
