package rx

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/feature"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/uring"
	"zcbench/ringcfg"
	"zcbench/udmabuf"
)

// ZCRX receives by io_uring's zero-copy receive: a hardware queue fills an
// area of our memory, and the kernel says where. Without a queue it copies
// into the same area, which shows the cost of the interface alone.
func ZCRX() endpoint.Engine { return zcrxEngine{} }

type zcrxEngine struct{}

func (zcrxEngine) Name() string { return "zcrx" }

// Elements of zcrxEngine's Counters.Extra. All but zcrxUnknown belong to a
// ring and are counted on its first connection.
const (
	zcrxCQEs = iota
	zcrxRearms
	zcrxNoSpace
	zcrxNoMemory
	zcrxOverflows
	zcrxFlushes
	zcrxStalls
	zcrxDepthMax
	zcrxUnknown
)

func (zcrxEngine) Layout() endpoint.Layout {
	return endpoint.Layout{
		ZeroCopy: true,
		Syscalls: []string{"io_uring_enter", "io_uring_register"},
		Extra: []string{
			"cqes", "rearms", "enospc", "enomem", "cq_overflows",
			"refill_flushes", "refill_stalls", "refill_depth_max",
			// Received from a queue by a kernel that keeps no statistics of
			// its copying (before Linux 7.2): in zero-copied, unproven.
			"copy_unknown_bytes",
		},
	}
}

func (zcrxEngine) Options() []endpoint.Option {
	return append(endpoint.MemoryOptions("64M", "bytes of memory that each ring receives into, whatever the area is of"), []endpoint.Option{
		{Name: "nodev", Default: "auto", Words: []string{"off", "on", "auto"}, Doc: "receive without a hardware queue, by copying (Linux 7.1); auto: where the interface has none"},
		{Name: "queue", Default: "0", Min: 0, Max: 4095, Doc: "first hardware queue, with --no-tune; else free ones are found"},
		{Name: "rings", Default: "1", Min: 1, Max: 64, Doc: "rings, each with a thread, an area and a queue of its own; connections take turns"},
		{Name: "area", Default: zcrxAreas[areaNormal], Words: zcrxAreas, Doc: "what the kernel receives into: ordinary memory, reserved huge pages (sysctl vm.nr_hugepages), or a dma-buf as mem says (Linux 6.16)"},
		{Name: "rx-buf-len", Default: "0", Min: 0, Max: 1 << 20, Doc: "bytes of one receive buffer, a power of two; 0 is a page (others: Linux 7.0, a NIC that can, and memory in pieces as large: huge pages)"},
		{Name: "rq-entries", Default: "0", Min: 0, Max: 32768, Doc: "refill queue, rounded up to a power of two; 0 is one for each page of the area"},
		{Name: "cq-entries", Default: "8192", Min: 16, Max: 65536, Doc: "completion queue, rounded up to a power of two"},
		{Name: "wait-nr", Default: "64", Min: 1, Max: 65536, Doc: "completions to wait for before waking up (more than one: Linux 6.12)"},
		{Name: "min-wait-us", Default: "100", Min: 1, Max: 100000, Doc: "with wait-nr, microseconds after which one completion is enough"},
		busyPollOption,
	}...)
}

// busyPollOption is for engines that wait in a ring.
var busyPollOption = endpoint.Option{Name: "busy-poll", Default: "0", Min: 0, Max: 10000, Doc: "microseconds to poll the NIC's queue before sleeping, which takes CPU and saves wake-ups (Linux 6.9)"}

// The words of the option area.
var zcrxAreas = []string{areaNormal: "normal", areaHuge: "huge", areaDMABuf: "dmabuf"}

const (
	areaNormal = iota
	areaHuge
	areaDMABuf
)

// Limits of an area, in bytes.
const (
	minArea = 64 << 10
	maxArea = 1 << 30
)

func (zcrxEngine) Probe(iface string) feature.Verdict {
	if v := knowsRecvZC(); v.Answer != feature.Yes {
		return v
	}
	if iface == "" && errors.Is(uring.TryZeroCopyRX(), unix.EINVAL) {
		return feature.Undecided("it depends on the NIC", "zcbench probe -i IFACE")
	}
	if !hasQueues(iface) {
		return withoutQueue(iface)
	}
	v := probeSettings(iface)
	if v.Answer == feature.No && withoutQueue("").Answer == feature.Yes {
		v.Fix += "; --rx-opt nodev=on receives without, by copying"
	}
	return v
}

// withoutQueue says whether reception without a queue works; iface may be
// empty.
func withoutQueue(iface string) feature.Verdict {
	err := uring.TryZeroCopyRX()
	switch {
	case err == nil:
		return feature.Verdict{Answer: feature.Yes, Reason: "without a NIC's queue the kernel copies all payload"}
	case errors.Is(err, unix.EPERM):
		return feature.Impossible("zero-copy receive needs CAP_NET_ADMIN", "run as root")
	case errors.Is(err, unix.EOPNOTSUPP):
		return feature.Impossible("the kernel is built without zero-copy receive", "a kernel with CONFIG_IO_URING_ZCRX")
	case errors.Is(err, unix.EINVAL):
		reason := "needs Linux 7.1 for NIC-less zcrx"
		if iface != "" && !hasQueues(iface) {
			reason += "; " + iface + " has no queue API"
		}
		return feature.Impossible(reason, "Linux 7.1 or later, or a NIC whose driver has queue_mgmt_ops")
	}
	return feature.Undecided(err.Error(), "")
}

func knowsRecvZC() feature.Verdict {
	return uring.Probe(abi.IORING_OP_RECV_ZC, "IORING_OP_RECV_ZC", "6.15")
}

// queues is how many hardware queues to take; 0 is to receive without.
func (zcrxEngine) queues(p endpoint.Params, o endpoint.Settings) int {
	rings := min(o.Int("rings"), p.Flows)
	switch o.Int("nodev") {
	case 0: // off
		return rings
	case 1: // on
		return 0
	}
	if knowsRecvZC().Answer == feature.Yes && hasQueues(p.Interface) {
		return rings
	}
	return 0
}

// hasQueues says whether a queue of iface could be had: the NIC does DMA, and
// its driver has the queue API. The kernels that have zcrx tell the second
// apart in the netdev family, where the binding of dma-bufs needs the same.
func hasQueues(iface string) bool {
	i, err := net.InterfaceByName(iface)
	if err != nil || !uring.HasQueues(i.Index) {
		return false
	}
	nd, err := netdev.Dial()
	if err != nil {
		return false
	}
	defer nd.Close()
	return !errors.Is(askForQueue(nd, iface), errNoQueueAPI)
}

// Needs is in force unless the run does not tune.
func (e zcrxEngine) Needs(p endpoint.Params) (ringcfg.Want, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return ringcfg.Want{}, err
	}
	if n := e.queues(p, o); n > 0 {
		return ownQueues(n), nil
	}
	return ringcfg.Want{}, nil
}

func (e zcrxEngine) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	bufLen := o.Int("rx-buf-len")
	if bufLen&(bufLen-1) != 0 || bufLen != 0 && bufLen < unix.Getpagesize() {
		return nil, endpoint.Errorf(endpoint.Usage, "rx-buf-len %d is not a power of two of at least a page", bufLen)
	}
	s := &zcrxSession{
		flows:    p.Flows,
		rings:    min(o.Int("rings"), p.Flows),
		area:     zcrxArea{kind: o.Int("area"), size: o.Int("mem-size"), memory: o, look: p.Validate},
		refill:   o.Int("rq-entries"),
		cq:       powerOfTwo(o.Int("cq-entries")),
		bufLen:   bufLen,
		want:     uint32(o.Int("wait-nr")),
		busyPoll: time.Duration(o.Int("busy-poll")) * time.Microsecond,
	}
	if err := s.area.check(bufLen, s.rings); err != nil {
		return nil, err
	}
	if _, ok := p.Options["mem"]; ok && s.area.kind != areaDMABuf {
		return nil, endpoint.Errorf(endpoint.Usage, "the option mem (--mem) says what a dma-buf is of, and the area is none: give area=dmabuf (--zcrx-area dmabuf) or leave it out")
	}
	if s.want > 1 {
		s.minWait = time.Duration(o.Int("min-wait-us")) * time.Microsecond
	}
	if s.refill == 0 {
		s.refill = s.area.size / unix.Getpagesize()
	}
	s.refill = min(powerOfTwo(s.refill), maxRefill)
	n := e.queues(p, o)
	if n == 0 && (s.area.kind == areaDMABuf || bufLen > unix.Getpagesize()) {
		return nil, endpoint.Errorf(endpoint.Usage, "zcrx without a hardware queue copies, which works with neither area=dmabuf nor a rx-buf-len above a page: give an interface with queues (--iface, --link)")
	}
	if n == 0 {
		v := knowsRecvZC()
		if v.Answer == feature.Yes {
			v = withoutQueue(p.Interface)
		}
		return s, unsupported(e, v)
	}
	if err := unsupported(e, knowsRecvZC()); err != nil {
		return nil, err
	}
	if p.Interface == "" {
		return nil, endpoint.Errorf(endpoint.Usage, "zcrx with nodev=off needs the interface whose queue it takes: give --iface")
	}
	i, err := net.InterfaceByName(p.Interface)
	if err != nil {
		return nil, endpoint.Errorf(endpoint.Usage, "interface %s: %w", p.Interface, err)
	}
	s.iface = *i
	if s.queues = p.Queues; len(s.queues) == 0 {
		for k := range n {
			s.queues = append(s.queues, uint32(o.Int("queue")+k))
		}
	}
	s.rings = len(s.queues)
	return s, nil
}

// maxRefill is the kernel's limit for a refill queue.
const maxRefill = 32768

type zcrxSession struct {
	flows, rings       int
	area               zcrxArea
	refill, cq, bufLen int
	want               uint32
	minWait, busyPoll  time.Duration
	iface              net.Interface
	queues             []uint32 // one for each ring, or none
}

func (s *zcrxSession) Workers() int { return s.rings }

func (s *zcrxSession) Close() error { return nil }

func (s *zcrxSession) Worker(i int) (endpoint.Worker, error) {
	conns := (s.flows - i + s.rings - 1) / s.rings
	w := &zcrxReceiver{
		want:   s.want,
		copies: len(s.queues) == 0,
		files:  make([]int32, conns),
		states: make([]zcrxConn, conns),
	}
	if err := w.open(s, i); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// zcrxReceiver receives all connections of one ring.
type zcrxReceiver struct {
	want   uint32
	copies bool // there is no queue
	ring   *uring.Ring
	zc     *uring.ZeroCopyRX
	area   zcrxArea
	files  []int32
	states []zcrxConn

	copied uint64 // of the kernel's statistics, the part already counted
	// starved is since when the kernel has found no free buffer.
	starved time.Time
}

// zcrxConn is what the loop keeps of a connection.
type zcrxConn struct {
	bytes       uint64 // of this round
	armed, done bool
}

func (w *zcrxReceiver) open(s *zcrxSession, i int) error {
	var err error
	config := uring.Config{
		Entries:   uint32(powerOfTwo(len(w.states))),
		CQEntries: uint32(s.cq),
		CQE32:     true,
		MinWait:   s.minWait,
		BusyPoll:  s.busyPoll,
	}
	if w.ring, err = uring.New(config); err != nil {
		return ringError(config, err)
	}
	if !w.ring.CanBatch() {
		w.want = 1
	}
	w.area = s.area
	if err = w.area.open(); err != nil {
		return err
	}
	c := uring.ZeroCopyConfig{Queue: uring.NoQueue, Area: w.area.mem, Refill: s.refill, BufLen: s.bufLen}
	if w.area.buffer != nil {
		c.DMABuf = w.area.buffer.FD()
	}
	if !w.copies {
		c.Interface, c.Queue = s.iface.Index, int(s.queues[i])
	}
	if w.zc, err = w.ring.ZeroCopyRX(c); err == nil || w.copies {
		return err
	}
	kind, cure := endpoint.Failed, ""
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		kind, cure = endpoint.Unsupported, "the driver has no queue API, or the kernel no CONFIG_IO_URING_ZCRX"
	case errors.Is(err, unix.EPERM):
		kind, cure = endpoint.Unsupported, "needs CAP_NET_ADMIN: run as root"
	case errors.Is(err, unix.EEXIST):
		cure = "the queue is taken: by XDP, or by another memory provider"
	case errors.Is(err, unix.EINVAL):
		cure = "turn header split on (ethtool -G " + s.iface.Name + " tcp-data-split on, hds-thresh 0), and check that the queue exists"
	case errors.Is(err, unix.ERANGE):
		cure = "the interface has no such queue, or the area's memory is in pieces smaller than rx-buf-len: reserve huge pages (sysctl vm.nr_hugepages) and take area=huge or a dma-buf of them (--mem hugepages)"
	default:
		return fmt.Errorf("queue %d of %s: %w", c.Queue, s.iface.Name, err)
	}
	return endpoint.Errorf(kind, "queue %d of %s: %w (%s)", c.Queue, s.iface.Name, err, cure)
}

func (w *zcrxReceiver) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	for i, c := range conns {
		w.files[i] = int32(c.FD)
	}
	if err := w.ring.RegisterFiles(w.files[:len(conns)]); err != nil {
		return err
	}
	if err := w.receive(conns); err != nil {
		return err
	}
	return w.ring.UnregisterFiles() // the ring holds the sockets open until this
}

func (w *zcrxReceiver) receive(conns []endpoint.Conn) error {
	n := conns[0].Counters
	var pacer endpoint.Pacer
	first := true
	for live := len(conns); live > 0; pacer.Tick() {
		for i := range conns {
			if st := &w.states[i]; !st.armed && !st.done {
				s := w.ring.SQE()
				s.RecvZC(i, w.zc)
				s.UserData = uint64(i)
				st.armed = true
				if !first {
					n.Extra[zcrxRearms].Add(1)
				}
			}
		}
		first = false
		want := w.want
		if w.zc.Stalled() {
			want = 0
			pause()
		}
		if e := w.ring.Enter(want); e != 0 {
			return fmt.Errorf("zero-copy receive: io_uring_enter: %w", e)
		}
		ended, err := w.take(conns)
		if err != nil {
			return err
		}
		live -= ended
		if err := w.zc.Publish(); err != nil {
			return err
		}
		n.Syscalls[0].Store(w.ring.Enters)
		n.Syscalls[1].Store(w.zc.Flushes)
		n.Extra[zcrxFlushes].Store(w.zc.Flushes)
		n.Extra[zcrxStalls].Store(w.zc.Stalls)
		if d := uint64(w.zc.Pending()); d > n.Extra[zcrxDepthMax].Load() {
			n.Extra[zcrxDepthMax].Store(d)
		}
		if err := w.starve(); err != nil {
			return err
		}
	}
	return nil
}

// take handles the completions that are there and returns how many
// connections ended.
func (w *zcrxReceiver) take(conns []endpoint.Conn) (ended int, err error) {
	n := conns[0].Counters
	if w.ring.Overflowed() {
		n.Extra[zcrxOverflows].Add(1)
	}
	ready, done := w.ring.Ready(), uint32(0)
	var total uint64
	for ; done < ready && !w.zc.Full(); done++ {
		cqe := w.ring.CQE(done)
		c, st := &conns[cqe.UserData], &w.states[cqe.UserData]
		st.armed = cqe.More()
		switch got := int(cqe.Res); {
		case got > 0:
			at := cqe.Offset()
			p := w.zc.Bytes(at, got)
			if p == nil {
				err = fmt.Errorf("zero-copy receive on flow %d: the kernel names %d bytes at %#x, outside the area", c.Index+1, got, at)
			}
			c.Consume(p)
			w.zc.Return(at, got)
			st.bytes += uint64(got)
			total += uint64(got)
		case got == 0:
			st.done = true
			ended++
		case unix.Errno(-got) == unix.ENOSPC:
			n.Extra[zcrxNoSpace].Add(1)
		case unix.Errno(-got) == unix.ENOMEM:
			n.Extra[zcrxNoMemory].Add(1)
			if w.starved.IsZero() {
				w.starved = time.Now()
			}
		default:
			err = fmt.Errorf("zero-copy receive on flow %d: %w", c.Index+1, unix.Errno(-got))
		}
	}
	w.ring.Seen(done)
	n.Extra[zcrxCQEs].Add(uint64(done))
	if total > 0 {
		w.starved = time.Time{}
		w.count(conns, total)
	}
	return ended, err
}

// count adds the round's bytes to the connections' counters. The kernel's
// statistics are of the queue: which connection a copied byte was of, they do
// not tell, and it is taken from the first ones.
func (w *zcrxReceiver) count(conns []endpoint.Conn, total uint64) {
	var copied uint64
	known := true
	if w.copies {
		copied = total
	} else {
		var sum uint64
		sum, known = w.zc.Copied()
		copied = min(sum-w.copied, total)
		w.copied += copied
	}
	for i := range conns {
		st, n := &w.states[i], conns[i].Counters
		part := min(copied, st.bytes)
		n.Copied.Add(part)
		n.ZeroCopied.Add(st.bytes - part)
		if !known {
			n.Extra[zcrxUnknown].Add(st.bytes)
		}
		copied -= part
		st.bytes = 0
	}
}

// starvedLimit is after how long a receiver that gets nothing but ENOMEM gives
// up: the kernel needs a buffer to copy into, and all can be in the NIC.
const starvedLimit = 5 * time.Second

// starve gets such a receiver the buffers in the refill queue, and slows it
// down.
func (w *zcrxReceiver) starve() error {
	if w.starved.IsZero() {
		return nil
	}
	if time.Since(w.starved) > starvedLimit {
		return fmt.Errorf("zero-copy receive: no free buffer in the area for %v: raise the option area", starvedLimit)
	}
	pause()
	return w.zc.Flush()
}

// pause is for a state that the kernel changes without a completion.
func pause() {
	t := unix.NsecToTimespec(int64(200 * time.Microsecond))
	_ = unix.Nanosleep(&t, nil) // interrupted is as good
}

func (w *zcrxReceiver) Close() error {
	var err error
	if w.ring != nil {
		err = w.ring.Close()
	}
	if w.zc != nil {
		err = errors.Join(err, w.zc.Close())
	}
	// The kernel holds the pages until the last packet in them is gone.
	return errors.Join(err, w.area.close())
}

// zcrxArea is what a ring receives into: first what is wanted, after open the
// memory.
type zcrxArea struct {
	kind   int
	size   int // bytes
	memory endpoint.Settings
	look   bool // somebody reads the payload

	mem    []byte
	buffer *udmabuf.Buffer // of a dma-buf
}

// check finds what can never work and rounds the size up to whole buffers.
func (a *zcrxArea) check(bufLen, rings int) error {
	inherited := a.kind == areaDMABuf && a.memory.Int("mem-size") == 0
	switch {
	case inherited && rings > 1:
		return endpoint.Errorf(endpoint.Usage, "%d rings cannot receive into one inherited dma-buf: give rings=1", rings)
	case inherited:
	case a.size < minArea || a.size > maxArea:
		return endpoint.Errorf(endpoint.Usage, "mem-size is %d bytes; an area of zcrx has %d to %d", a.size, minArea, maxArea)
	}
	unit := max(bufLen, unix.Getpagesize())
	a.size = (a.size + unit - 1) / unit * unit
	return nil
}

// open takes the memory, on the thread that will use it.
func (a *zcrxArea) open() (err error) {
	if a.kind != areaDMABuf {
		a.mem, err = abi.Map(a.size, a.kind == areaHuge)
		return err
	}
	if a.buffer, err = endpoint.OpenMemory(a.memory, a.size); err != nil {
		return err
	}
	if a.look {
		a.mem, err = a.buffer.Map()
		return err
	}
	// A device's memory may not be mappable, and nobody looks at it: address
	// space serves to count by.
	a.mem, err = unix.Mmap(-1, 0, a.buffer.Size(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	return err
}

// close gives the memory back.
func (a *zcrxArea) close() error {
	switch {
	case a.buffer == nil:
		return abi.Unmap(a.mem)
	case a.look || a.mem == nil:
		return a.buffer.Close()
	}
	return errors.Join(unix.Munmap(a.mem), a.buffer.Close())
}
