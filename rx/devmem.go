package rx

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/genl/netdev"
	"zcbench/results/caveat"
	"zcbench/ringcfg"
	"zcbench/udmabuf"
)

// Devmem receives by device memory TCP: the NIC puts the payload of its queue
// into a dma-buf, and the kernel says where each piece lies.
func Devmem() endpoint.Engine { return devmemEngine{} }

type devmemEngine struct{}

func (devmemEngine) Name() string { return "devmem" }

// Elements of devmemEngine's Counters.Syscalls and Counters.Extra.
const (
	devmemRecvmsg = iota
	devmemSetsockopt
	devmemIoctl
)
const (
	devmemTokens = iota
	devmemRanges
	devmemPartial
	devmemLinear
	devmemPlain
	devmemControlFull
	devmemFew
	devmemSome
	devmemMany
)

func (devmemEngine) Layout() endpoint.Layout {
	return endpoint.Layout{
		ZeroCopy: true,
		Syscalls: []string{devmemRecvmsg: "recvmsg", devmemSetsockopt: "setsockopt", devmemIoctl: "ioctl"},
		Extra: []string{
			// Frags, the ranges they were recycled in, and calls that recycled
			// not all of theirs.
			devmemTokens: "tokens", devmemRanges: "token_ranges", devmemPartial: "partial_frees",
			// Bytes beside frags in the dma-buf (SCM_DEVMEM_LINEAR); bytes of
			// messages without any, which came by another queue.
			devmemLinear: "linear_bytes", devmemPlain: "plain_bytes",
			devmemControlFull: "control_full",
			// Calls of recvmsg by the frags they gave.
			devmemFew: "recvmsg_frags_below_512", devmemSome: "recvmsg_frags_512_to_1024", devmemMany: "recvmsg_frags_above_1024",
		},
	}
}

func (devmemEngine) Options() []endpoint.Option {
	return append(endpoint.MemoryOptions("64M", "bytes of the dma-buf that all queues share"),
		endpoint.Option{Name: "queue", Default: "0", Min: 0, Max: 4095, Doc: "first hardware queue, with --no-tune; else free ones are found"},
		endpoint.Option{Name: "queues", Default: "1", Min: 1, Max: 64, Doc: "hardware queues"},
		endpoint.Option{Name: "rx-buf-len", Default: "0", Min: 0, Max: 1 << 20, Doc: "bytes of one receive buffer within the dma-buf, a power " +
			"of two; 0 is a page (others: Linux 7.3, a NIC that can, and memory contiguous over as much: --mem hugepages)"},
		endpoint.Option{Name: "token-batch", Default: "1024", Min: 1, Max: abi.MAX_DONTNEED_FRAGS, Doc: "frags to recycle in one call " +
			"(SO_DEVMEM_DONTNEED), as ranges where their tokens are consecutive; at most an eighth of the dma-buf over all flows"},
		endpoint.Option{Name: "read", Default: "64M", Min: 4096, Max: 1 << 30, Doc: "bytes to ask for in one recvmsg, whatever --length is"},
		endpoint.Option{Name: "frags", Default: "0", Min: 0, Max: 1 << 20, Doc: "frags that one recvmsg has room to name in control messages; " +
			"0 is one for each buffer that the dma-buf has"},
	)
}

func (e devmemEngine) Probe(iface string) feature.Verdict { return e.ProbeFrom(nil, iface) }

// ProbeFrom makes it an endpoint.Asker.
func (e devmemEngine) ProbeFrom(from *answers.Source, iface string) feature.Verdict {
	v := probeBinding(from, iface)
	if v.Answer == feature.Yes {
		v = probeSettings(from, iface, e.Name())
	}
	if v.Answer == feature.No {
		return v
	}
	if _, err := from.Ask("udmabuf", "", func() (answers.Reply, error) { return answers.Reply{}, udmabuf.Probe() }); err != nil {
		return feature.Refused(err, "another dma-buf: --mem heap:system")
	}
	return v
}

// probeBinding says whether the kernel has a dma-buf bound to a queue of iface.
func probeBinding(from *answers.Source, iface string) feature.Verdict {
	nd, err := netdev.DialFrom(from)
	if err != nil {
		return feature.Refused(err, "Linux 6.12 or later")
	}
	defer nd.Close()
	if !nd.CanBindRX() {
		return feature.Impossible("this kernel cannot bind a dma-buf to a receive queue", "Linux 6.12 or later with CONFIG_NET_DEVMEM")
	}
	if iface == "" {
		return feature.Undecided("it depends on the NIC", "zcbench probe -i IFACE")
	}
	switch err := askForQueue(from, nd, iface); {
	case errors.Is(err, errNoQueueAPI):
		return feature.Impossible(iface+" cannot bind a dma-buf: "+err.Error(), queueAPI)
	case errors.Is(err, unix.EOPNOTSUPP):
		return feature.Impossible(iface+" cannot bind a dma-buf: "+err.Error(), "a kernel with CONFIG_NET_DEVMEM, and a NIC that does DMA by "+
			"itself")
	case errors.Is(err, unix.EPERM):
		return feature.Impossible("needs CAP_NET_ADMIN", "run as root")
	case err != nil:
		return feature.Undecided(err.Error(), "")
	}
	return feature.Possible()
}

// Needs is in force unless the run does not tune.
func (e devmemEngine) Needs(p endpoint.Params) (ringcfg.Want, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return ringcfg.Want{}, err
	}
	// Before anything is changed for what cannot be.
	if err := unsupported(probeBinding(nil, p.Interface)); err != nil {
		return ringcfg.Want{}, err
	}
	return ownQueues(o.Int("queues")), nil
}

// Memory is that of the dma-buf, of the names of its pieces, and of what comes
// beside it: no more than waits in the receive queues, which get half of the
// dma-buf.
func (e devmemEngine) Memory(p endpoint.Params) (int64, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return 0, err
	}
	size := min(o.Int("mem-size"), math.MaxInt/2)
	frags := o.Int("frags")
	if frags == 0 {
		frags = size / max(o.Int("rx-buf-len"), unix.Getpagesize())
	}
	size = (size + abi.HugePageSize - 1) &^ (abi.HugePageSize - 1)
	return endpoint.Bytes(1, size) + endpoint.Bytes(1, size/2) + endpoint.Bytes(p.Flows, min(frags, 1<<32)*abi.DevmemPiece), nil
}

func (e devmemEngine) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	if p.Interface == "" {
		return nil, fault.Errorf(fault.Usage, "devmem needs the interface whose queue it binds: give --iface")
	}
	i, err := net.InterfaceByName(p.Interface)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "interface %s: %w", p.Interface, err)
	}
	bufLen := o.Int("rx-buf-len")
	if err := checkBufLen(bufLen); err != nil {
		return nil, err
	}
	s := &devmemSession{bufLen: bufLen, asked: p.Window, flows: p.Flows, iface: *i, read: o.Int("read"), frags: o.Int("frags"),
		batch:  o.Int("token-batch"),
		bursts: make([]burst, p.Flows)}
	if s.queues = p.Queues; len(s.queues) == 0 {
		for k := range o.Int("queues") {
			s.queues = append(s.queues, uint32(o.Int("queue")+k))
		}
	}
	if err := s.open(o, p.Validate); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	p.Took("mem-size", s.buffer.Size())
	p.Took("token-batch", s.batch)
	p.Took("queue", int(s.queues[0]))
	return s, nil
}

// devmemSession holds what all flows share: the dma-buf, and the netlink
// socket that it is bound through, for as long as it is open.
type devmemSession struct {
	bufLen int // bytes of a piece, 0 is a page
	asked  int // receive buffer that the run has set, as setsockopt takes it; 0: TCP's own
	flows  int
	iface  net.Interface
	queues []uint32
	read   int
	frags  int
	batch  int

	netdev  *netdev.Conn
	buffer  *udmabuf.Buffer
	mem     []byte // of the dma-buf's size
	mapped  bool   // mem is the dma-buf; otherwise nobody may touch it
	binding uint32
	window  int          // most that a flow may queue, in bytes of memory; 0: no limit
	held    atomic.Int64 // least receive buffer that came of it

	bursts []burst            // of each flow
	opened map[string]float64 // poolCounters when the window opened
}

// burst is the pieces that one recvmsg gave, at least and at most. Its worker
// writes; the padding keeps two workers off one cache line.
type burst struct {
	_            [128]byte
	fewest, most atomic.Uint64
	_            [128]byte
}

// checkBufLen refuses what no NIC's buffer can be.
func checkBufLen(n int) error {
	if n&(n-1) != 0 || n != 0 && n < unix.Getpagesize() {
		return fault.Errorf(fault.Usage, "rx-buf-len %d is not a power of two of at least a page", n)
	}
	return nil
}

// least is the smallest dma-buf of any use, in pieces: a segment of the largest
// GRO packet for each flow, in the queue and with the application.
const least = 64

func (s *devmemSession) open(o endpoint.Values, validate bool) error {
	var err error
	if s.buffer, err = endpoint.OpenMemory(o, o.Int("mem-size")); err != nil {
		return err
	}
	pieces := s.buffer.Size() / max(s.bufLen, unix.Getpagesize())
	if pieces < least*s.flows {
		what, cure := "pages", "--mem udmabuf:SIZE"
		if s.bufLen > 0 {
			what, cure = fmt.Sprintf("pieces of %d bytes", s.bufLen), "--mem hugepages:SIZE, or a smaller --rx-buf-len"
		}
		return fault.Errorf(fault.Failed, "a dma-buf of %d %s is too small for %d flows: it must have %d for each (%s)", pieces, what, s.flows,
			least, cure)
	}
	if s.frags == 0 {
		s.frags = pieces
	}
	// What the flows hold back must leave the NIC enough to fill its rings.
	s.batch = max(1, min(s.batch, pieces/8/s.flows))
	if s.window, err = s.limit(); err != nil {
		return err
	}
	if s.mapped = validate; validate {
		s.mem, err = s.buffer.Map()
	} else {
		// Consume looks at nothing then, and a device's memory may not be
		// mappable: address space serves to count by.
		s.mem, err = unix.Mmap(-1, 0, s.buffer.Size(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	}
	if err != nil {
		return err
	}
	if s.netdev, err = netdev.Dial(); err != nil {
		return fmt.Errorf("%w (devmem needs Linux 6.12)", err)
	}
	if s.binding, err = s.netdev.BindRX(s.iface.Index, s.buffer.FD(), s.queues, uint32(s.bufLen)); err != nil {
		return s.refused(err)
	}
	return s.bound()
}

// limit keeps what may wait in the receive queues below half of the dma-buf.
// Were it more, data that arrived out of order could take every buffer, and
// none would be left for the segment that all wait for.
func (s *devmemSession) limit() (int, error) {
	share := s.buffer.Size() / 2 / s.flows
	if s.asked > 0 {
		if share < 2*s.asked {
			return share, nil
		}
		return 0, nil
	}
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	if err != nil {
		return 0, fmt.Errorf("limit of receive buffers: %w", err)
	}
	f := strings.Fields(string(b))
	if len(f) != 3 {
		return 0, fmt.Errorf("net.ipv4.tcp_rmem is %q, not three numbers", b)
	}
	largest, err := strconv.Atoi(f[2])
	if err != nil {
		return 0, fmt.Errorf("net.ipv4.tcp_rmem: %w", err)
	}
	if share < largest {
		return share, nil
	}
	return 0, nil
}

// refused adds what to do to the kernel's answer.
func (s *devmemSession) refused(err error) error {
	kind, help := cure(driverOf(nil, s.iface.Name), s.iface.Name, err)
	if help == "" {
		return fmt.Errorf("bind the dma-buf to queues %v of %s: %w", s.queues, s.iface.Name, err)
	}
	return fault.Errorf(kind, "bind the dma-buf to queues %v of %s: %w (%s)", s.queues, s.iface.Name, err, help)
}

// bound checks that the queues really receive into the dma-buf.
func (s *devmemSession) bound() error {
	for _, id := range s.queues {
		q, err := s.netdev.Queue(s.iface.Index, netdev.RX, id)
		if err != nil {
			return err
		}
		if q.DMABuf != s.binding {
			return fault.Errorf(fault.Failed, "queue %d of %s is not backed by the dma-buf bound to it (binding %d) but by %q", id,
				s.iface.Name, s.binding, q.Provider())
		}
	}
	return nil
}

func (s *devmemSession) Workers() int { return s.flows }

func (s *devmemSession) Worker(i int) (endpoint.Worker, error) {
	msg, err := abi.NewDevmemMsg(s.read, s.frags)
	if err != nil {
		return nil, err
	}
	w := &devmemWorker{
		msg: msg, tokens: tokens{limit: s.batch},
		mem: s.mem, binding: s.binding, window: s.window, held: &s.held,
		begin: untouched, end: untouched, burst: &s.bursts[i],
	}
	if s.mapped {
		w.begin = func() (int, unix.Errno) { return 1, s.buffer.Begin(udmabuf.Read) }
		w.end = func() (int, unix.Errno) { return 1, s.buffer.End(udmabuf.Read) }
	}
	return w, nil
}

// untouched is the access to memory that no CPU looks at.
func untouched() (ioctls int, e unix.Errno) { return 0, 0 }

// Close unbinds before it gives the memory back.
func (s *devmemSession) Close() error {
	var err error
	if s.netdev != nil {
		err = s.netdev.Close()
	}
	if !s.mapped && s.mem != nil {
		err = errors.Join(err, unix.Munmap(s.mem))
	}
	if s.buffer != nil {
		err = errors.Join(err, s.buffer.Close())
	}
	return err
}

// Begin forgets the extremes seen so far and reads what the pool has counted.
func (s *devmemSession) Begin() error {
	for i := range s.bursts {
		s.bursts[i].fewest.Store(math.MaxUint64)
		s.bursts[i].most.Store(0)
	}
	var err error
	s.opened, err = s.poolCounters()
	return err
}

// End gives extremes and the pool's counters, and says what was not as it
// should be.
func (s *devmemSession) End() (map[string]float64, []string, error) {
	now, err := s.poolCounters()
	if err != nil {
		return nil, nil, err
	}
	c := map[string]float64{}
	for name, v := range now {
		c[name] = v - s.opened[name]
	}
	fewest, most := uint64(math.MaxUint64), uint64(0)
	for i := range s.bursts {
		fewest, most = min(fewest, s.bursts[i].fewest.Load()), max(most, s.bursts[i].most.Load())
	}
	if most > 0 {
		c["recvmsg_frags_min"], c["recvmsg_frags_max"] = float64(fewest), float64(most)
	}
	var warnings []string
	if n := c[poolEmpty]; n > 0 {
		warnings = append(warnings, caveat.Warn(caveat.BuffersEmpty, "rx: the dma-buf was empty %.0f times when the NIC wanted a buffer: it "+
			"needs more than %d KiB (--mem udmabuf:SIZE)", n, s.buffer.Size()>>10))
	}
	if held := s.held.Load(); held > 0 {
		cure := "a larger dma-buf allows more (--mem udmabuf:SIZE)"
		if held < int64(s.window) {
			cure = fmt.Sprintf("its share is %d bytes, and net.core.rmem_max allows no more than half of what was had", s.window)
		}
		warnings = append(warnings, caveat.Warn(caveat.BuffersHeld, "rx: receive buffers were held to %d bytes of memory a flow, at most half "+
			"of the flow's share of the dma-buf: %s", held, cure))
	}
	return c, warnings, s.bound()
}

// poolEmpty is the counter of allocations that failed.
const poolEmpty = "pool_empty"

// poolCounters are those of the bound queues and their page pools. What driver
// or kernel do not count is left out.
func (s *devmemSession) poolCounters() (map[string]float64, error) {
	c := map[string]float64{}
	n, counted, err := allocFailures(s.netdev, s.iface, s.queues)
	if err != nil {
		return nil, err
	}
	if counted {
		c[poolEmpty] = n
	}
	pools, err := s.netdev.PagePools(s.iface.Index)
	if err != nil && !uncounted(err) {
		return nil, err
	}
	stats, err := s.netdev.PagePoolStats(s.iface.Index)
	if err != nil && !uncounted(err) {
		return nil, err
	}
	for _, p := range pools {
		if p.DMABuf != s.binding {
			continue
		}
		for _, st := range stats {
			if st.ID == p.ID {
				for name, n := range st.Counters {
					c["page_pool_"+strings.ReplaceAll(name, "-", "_")] += float64(n)
				}
			}
		}
	}
	return c, nil
}

func uncounted(err error) bool { return errors.Is(err, unix.EOPNOTSUPP) }

// devmemWorker receives one flow.
type devmemWorker struct {
	msg        *abi.DevmemMsg
	tokens     tokens
	mem        []byte
	binding    uint32
	window     int
	held       *atomic.Int64                     // the session's
	begin, end func() (ioctls int, e unix.Errno) // access to mem
	burst      *burst
}

func (w *devmemWorker) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	c := conns[0]
	if w.window > 0 {
		if err := w.hold(c); err != nil {
			return fmt.Errorf("flow %d: %w", c.Index+1, err)
		}
	}
	err := w.receive(c)
	return errors.Join(err, w.recycle(c))
}

// hold keeps a connection's receive buffer within its share.
func (w *devmemWorker) hold(c endpoint.Conn) error {
	if err := endpoint.SetReceiveBuffer(c.FD, w.window/2); err != nil { // the kernel doubles it
		return err
	}
	got, err := unix.GetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return fmt.Errorf("read SO_RCVBUF back: %w", err)
	}
	for {
		was := w.held.Load()
		if was != 0 && was <= int64(got) || w.held.CompareAndSwap(was, int64(got)) {
			return nil
		}
	}
}

func (w *devmemWorker) receive(c endpoint.Conn) error {
	var pacer endpoint.Pacer
	for {
		n, e := w.msg.Recv(c.FD)
		c.Counters.Syscalls[devmemRecvmsg].Add(1)
		switch {
		case e == unix.EINTR:
		case e == abi.ETOOSMALL:
			c.Counters.Extra[devmemControlFull].Add(1)
			if err := w.msg.Grow(); err != nil {
				return err
			}
		case e != 0:
			return fmt.Errorf("recvmsg with MSG_SOCK_DEVMEM on flow %d: %w", c.Index+1, e)
		case n == 0:
			return nil
		default:
			if err := w.take(c, n); err != nil {
				return fmt.Errorf("flow %d: %w", c.Index+1, err)
			}
		}
		pacer.Tick()
	}
}

// take hands on the n bytes of the last Recv.
func (w *devmemWorker) take(c endpoint.Conn, n int) error {
	before, e := w.begin()
	if e != 0 {
		return fmt.Errorf("begin to read the dma-buf: %w", e)
	}
	if err := w.deliver(c, n, w.msg.Control(), w.msg.Linear()); err != nil {
		return err
	}
	after, e := w.end()
	if e != 0 {
		return fmt.Errorf("end reading the dma-buf: %w", e)
	}
	c.Counters.Syscalls[devmemIoctl].Add(uint64(before + after))
	if w.msg.Full() {
		c.Counters.Extra[devmemControlFull].Add(1)
		return w.msg.Grow()
	}
	return nil
}

// deliver hands on n bytes in their order: control says where they lie, in the
// dma-buf or in linear.
func (w *devmemWorker) deliver(c endpoint.Conn, n int, control, linear []byte) error {
	var direct, copied int
	var frags uint64
	for rest := control; ; {
		kind, f, next := abi.NextDevmem(rest)
		if kind == 0 {
			break
		}
		rest = next
		size := int(f.FragSize)
		if kind == unix.SCM_DEVMEM_LINEAR {
			if size > len(linear)-copied {
				return fmt.Errorf("the kernel names %d bytes beyond the %d of the buffer", size, len(linear))
			}
			c.Consume(linear[copied : copied+size])
			copied += size
			continue
		}
		if f.DmabufID != w.binding || f.FragOffset > uint64(len(w.mem)) || size > len(w.mem)-int(f.FragOffset) {
			return fmt.Errorf("the kernel names %d bytes at %#x of binding %d; ours is %d, of %d bytes", size, f.FragOffset, f.DmabufID, w.binding,
				len(w.mem))
		}
		c.Consume(w.mem[f.FragOffset : f.FragOffset+uint64(size)])
		direct += size
		frags++
		if w.tokens.add(f.FragToken) {
			if err := w.recycle(c); err != nil {
				return err
			}
		}
	}
	if direct+copied == 0 {
		// Without any message all bytes are in the buffer.
		c.Consume(linear[:n])
		copied = n
		c.Counters.Extra[devmemPlain].Add(uint64(n))
	} else {
		c.Counters.Extra[devmemLinear].Add(uint64(copied))
	}
	if direct+copied != n {
		return fmt.Errorf("recvmsg gave %d bytes and named %d in the dma-buf and %d in the buffer", n, direct, copied)
	}
	w.count(c.Counters, uint64(direct), uint64(copied), frags)
	return nil
}

func (w *devmemWorker) count(n *endpoint.Counters, direct, copied, frags uint64) {
	n.ZeroCopied.Add(direct)
	n.Copied.Add(copied)
	n.Extra[devmemTokens].Add(frags)
	bucket := devmemFew
	switch {
	case frags > 1024:
		bucket = devmemMany
	case frags >= 512:
		bucket = devmemSome
	}
	n.Extra[bucket].Add(1)
	if frags < w.burst.fewest.Load() {
		w.burst.fewest.Store(frags)
	}
	if frags > w.burst.most.Load() {
		w.burst.most.Store(frags)
	}
}

// recycle returns all tokens held.
func (w *devmemWorker) recycle(c endpoint.Conn) error {
	for w.tokens.used > 0 {
		freed, e := abi.DevmemDontneed(c.FD, w.tokens.ranges[:w.tokens.used])
		c.Counters.Syscalls[devmemSetsockopt].Add(1)
		if e != 0 {
			return fmt.Errorf("recycle %d frags of the dma-buf (SO_DEVMEM_DONTNEED): %w", w.tokens.held, e)
		}
		if freed == 0 || freed > w.tokens.held {
			return fmt.Errorf("the kernel recycled %d frags of the dma-buf, of %d", freed, w.tokens.held)
		}
		c.Counters.Extra[devmemRanges].Add(uint64(w.tokens.used))
		if freed < w.tokens.held {
			c.Counters.Extra[devmemPartial].Add(1)
		}
		w.tokens.drop(freed)
	}
	return nil
}

func (w *devmemWorker) Close() error { return w.msg.Close() }
