package rx

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netif"
	"zcbench/internal/perf"
	"zcbench/internal/uring"
	"zcbench/results/caveat"
	"zcbench/ringcfg"
	"zcbench/udmabuf"
)

// ZCRX receives by io_uring's zero-copy receive: a hardware queue fills an
// area of our memory, and the kernel says where. Without a queue it copies
// into the same area, which shows the cost of the interface alone.
func ZCRX() endpoint.Engine { return zcrxEngine{} }

type zcrxEngine struct{}

func (zcrxEngine) Name() string { return "zcrx" }

// Elements of zcrxEngine's Counters.Extra. They belong to a ring and are counted
// on its first connection.
const (
	zcrxCQEs = iota
	zcrxRearms
	zcrxNoSpace
	zcrxNoMemory
	zcrxOverflows
	zcrxFlushes
	zcrxStalls
	zcrxDepthMax
	zcrxEmpty
	zcrxCopy
	zcrxGrown
	zcrxAreaMax
)

// Elements of its Counters.Syscalls.
const (
	zcrxEnter = iota
	zcrxRegister
	zcrxIoctl
)

func (zcrxEngine) Layout() endpoint.Layout {
	return endpoint.Layout{
		ZeroCopy: true,
		Copied: "without a hardware queue all is; with one, what came by another queue (ethtool -n, -x) and what header split missed " +
			"(ethtool -g, and -S for the NIC's own count)",
		Syscalls: []string{zcrxEnter: "io_uring_enter", zcrxRegister: "io_uring_register", zcrxIoctl: "ioctl"},
		Extra: []string{
			zcrxCQEs: "cqes", zcrxRearms: "rearms", zcrxNoSpace: "enospc", zcrxNoMemory: "enomem", zcrxOverflows: "cq_overflows",
			zcrxFlushes: "refill_flushes", zcrxStalls: "refill_stalls", zcrxDepthMax: "refill_depth_max",
			// How often the kernel said that the NIC found no free buffer
			// (Linux 7.2): once at most between two wake-ups.
			zcrxEmpty: "area_empty_events",
			// Likewise, that it copied what another queue had received.
			zcrxCopy: "copy_events",
			// How often the option grow added memory, and how much the area
			// of a queue has with that.
			zcrxGrown: "area_grown", zcrxAreaMax: "area_bytes_max",
		},
	}
}

func (zcrxEngine) Options() []endpoint.Option {
	return append(endpoint.MemoryOptions("64M", "bytes of memory that each queue receives into, whatever the area is of"), []endpoint.Option{
		{Name: "nodev", Default: "auto", Words: []string{"off", "on", "auto"}, Doc: "receive without a hardware queue, by copying (Linux 7.1); " +
			"auto: where the interface has none and neither queue nor queues is given"},
		{Name: "queue", Default: "0", Min: 0, Max: 4095, Doc: "first hardware queue, with --no-tune; else free ones are found"},
		{Name: "rings", Default: "1", Min: 1, Max: 64, Doc: "rings, each with a thread of its own; connections take turns"},
		{Name: "queues", Default: "0", Min: 0, Max: 64, Doc: "hardware queues, each with an area of its own; 0 is one for each ring, fewer are " +
			"shared by rings in turn (Linux 6.19)"},
		{Name: "area", Default: zcrxAreas[areaNormal], Words: zcrxAreas, Doc: "what the kernel receives into: ordinary memory, reserved huge " +
			"pages (sysctl vm.nr_hugepages), or a dma-buf as mem says (Linux 6.16)"},
		{Name: "grow", Default: "0", Min: 0, Max: maxArea, Doc: "bytes that each queue's area may grow to while it receives: whenever it runs " +
			"empty, as much is added as there is; 0: it does not grow (Linux 7.3)"},
		{Name: "rx-buf-len", Default: "0", Min: 0, Max: 1 << 20, Doc: "bytes of one receive buffer, a power of two; 0 is a page (others: Linux " +
			"7.0, a NIC that can, and memory in pieces as large: huge pages)"},
		{Name: "rq-entries", Default: "0", Min: 0, Max: 32768, Doc: "refill queue, rounded up to a power of two; 0 is one for each page that " +
			"the area has or may grow to"},
		{Name: "cq-entries", Default: "8192", Min: 16, Max: 65536, Doc: "completion queue, rounded up to a power of two"},
		{Name: "wait-nr", Default: "0", Min: 0, Max: 65536, Doc: "completions to wake up for (more than one: Linux 6.12); 0 is 512, and 1 " +
			"without a queue; fewer where an eighth of the area or a quarter of the receive buffers holds no more"},
		{Name: "min-wait-us", Default: "30000", Min: 1, Max: 100000, Doc: "with wait-nr, most microseconds to sleep for that many, after which " +
			"one is enough; the sleep is no longer than they take to come"},
		busyPollOption,
	}...)
}

// busyPollOption is for engines that wait in a ring.
var busyPollOption = endpoint.Option{Name: "busy-poll", Default: "0", Min: 0, Max: 10000,
	Doc: "microseconds to poll the NIC's queue before sleeping, which takes CPU and saves wake-ups (Linux 6.9)"}

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

func (e zcrxEngine) Probe(iface string) feature.Verdict { return e.ProbeFrom(nil, iface) }

// ProbeFrom makes it an endpoint.Asker.
func (e zcrxEngine) ProbeFrom(from *answers.Source, iface string) feature.Verdict {
	if v := knowsRecvZC(from); v.Answer != feature.Yes {
		return v
	}
	if iface == "" && errors.Is(tryWithoutQueue(from), unix.EINVAL) {
		return feature.Undecided("it depends on the NIC", "zcbench probe -i IFACE")
	}
	if !hasQueues(from, iface) {
		return withoutQueue(from, iface)
	}
	v := probeSettings(from, iface, e.Name())
	if v.Answer == feature.No && withoutQueue(from, "").Answer == feature.Yes {
		v.Fix += "; --rx-opt nodev=on receives without, by copying"
	}
	return v
}

// withoutQueue says whether reception without a queue works; iface may be
// empty.
func withoutQueue(from *answers.Source, iface string) feature.Verdict {
	err := tryWithoutQueue(from)
	switch {
	case err == nil:
		return feature.Verdict{Answer: feature.Yes, Reason: "without a NIC's queue the kernel copies all payload"}
	case errors.Is(err, unix.EPERM):
		return feature.Impossible("zero-copy receive needs CAP_NET_ADMIN", "run as root")
	case errors.Is(err, unix.EOPNOTSUPP):
		return feature.Impossible("the kernel is built without zero-copy receive", "a kernel with CONFIG_IO_URING_ZCRX")
	case errors.Is(err, unix.EINVAL):
		reason := "needs Linux 7.1 for NIC-less zcrx"
		if iface != "" && !hasQueues(from, iface) {
			reason += "; " + iface + " has no queue API"
		}
		return feature.Impossible(reason, "Linux 7.1 or later, or a NIC whose driver has queue_mgmt_ops")
	}
	return feature.Undecided(err.Error(), "")
}

// tryWithoutQueue asks the kernel for zero-copy receive that needs no NIC.
func tryWithoutQueue(from *answers.Source) error {
	_, err := from.Ask("io_uring zcrx", "no interface", func() (answers.Reply, error) { return answers.Reply{}, uring.TryZeroCopyRX() })
	return err
}

func knowsRecvZC(from *answers.Source) (v feature.Verdict) {
	reply, err := from.Ask("io_uring", "IORING_OP_RECV_ZC", func() (answers.Reply, error) {
		b, err := json.Marshal(uring.Probe(abi.IORING_OP_RECV_ZC, "IORING_OP_RECV_ZC", "6.15"))
		return answers.Reply{Text: string(b)}, err
	})
	if err == nil {
		err = json.Unmarshal([]byte(reply.Text), &v)
	}
	if err != nil {
		return feature.Undecided(err.Error(), "")
	}
	return v
}

// queues is how many hardware queues to take; 0 is to receive without.
func (zcrxEngine) queues(p endpoint.Params, o endpoint.Values) int {
	n := min(o.Int("rings"), p.Flows)
	if q := o.Int("queues"); q > 0 {
		n = min(n, q)
	}
	switch o.Int("nodev") {
	case 0: // off
		return n
	case 1: // on
		return 0
	}
	// A queue that was asked for is that queue, or an error.
	if p.Options["queue"] != "" || p.Options["queues"] != "" || len(p.Queues) > 0 {
		return n
	}
	if knowsRecvZC(nil).Answer == feature.Yes && hasQueues(nil, p.Interface) {
		return n
	}
	return 0
}

// hasQueues says whether a queue of iface could be had: the NIC does DMA, and
// its driver has the queue API. The kernels that have zcrx tell the second
// apart in the netdev family, where the binding of dma-bufs needs the same.
func hasQueues(from *answers.Source, iface string) bool {
	d, err := netif.Look(from, iface)
	if err != nil {
		return false
	}
	_, err = from.Ask("io_uring zcrx", iface, func() (answers.Reply, error) { return answers.Reply{}, uring.TryInterface(d.Index()) })
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
		return false
	}
	nd, err := netdev.DialFrom(from)
	if err != nil {
		return false
	}
	defer nd.Close()
	return !errors.Is(askForQueue(from, nd, iface), errNoQueueAPI)
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

// Memory is that of an area for each ring: no more are made, however many queues
// they have.
func (e zcrxEngine) Memory(p endpoint.Params) (int64, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return 0, err
	}
	rings := min(o.Int("rings"), p.Flows)
	unit := max(o.Int("rx-buf-len"), unix.Getpagesize())
	if o.Int("area") != areaNormal {
		unit = max(unit, abi.HugePageSize)
	}
	size := min(max(o.Int("mem-size"), o.Int("grow")), math.MaxInt/2)
	return endpoint.Bytes(rings, (size+unit-1)/unit*unit) + endpoint.Bytes(rings, ringMemory(maxRefill, 2*powerOfTwo(o.Int("cq-entries")))),
		nil
}

func (e zcrxEngine) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	n := e.queues(p, o)
	s, err := zcrxOf(p, o, n)
	if err != nil {
		return nil, err
	}
	s.tell(p, n)
	if n == 0 && (s.area.kind == areaDMABuf || s.bufLen > unix.Getpagesize()) {
		return nil, fault.Errorf(fault.Usage, "zcrx without a hardware queue copies, which works with neither area=dmabuf nor a rx-buf-len "+
			"above a page: give an interface with queues (--iface, --link)")
	}
	if err := unsupported(knowsRecvZC(nil)); err != nil {
		return nil, err
	}
	if s.area.most > 0 && !uring.QueryZeroCopyRX().Grow {
		return nil, fault.Errorf(fault.Unsupported, "an area that grows (grow=%d) needs Linux 7.3: leave the option out, or give as much from "+
			"the beginning (mem-size=SIZE)", s.area.most)
	}
	if n == 0 {
		s.shares = make([]share, s.rings)
		return s, unsupported(withoutQueue(nil, p.Interface))
	}
	if err := s.choose(p, o, n); err != nil {
		return nil, err
	}
	return s, nil
}

// zcrxOf is a session as the options want it, on n queues of a NIC, of which nothing is
// taken yet.
func zcrxOf(p endpoint.Params, o endpoint.Values, n int) (*zcrxSession, error) {
	bufLen := o.Int("rx-buf-len")
	if err := checkBufLen(bufLen); err != nil {
		return nil, err
	}
	s := &zcrxSession{
		flows:    p.Flows,
		rings:    min(o.Int("rings"), p.Flows),
		area:     zcrxArea{kind: o.Int("area"), size: o.Int("mem-size"), most: o.Int("grow"), memory: o, look: p.Validate},
		refill:   o.Int("rq-entries"),
		cq:       powerOfTwo(o.Int("cq-entries")),
		bufLen:   bufLen,
		asked:    o.Int("wait-nr"),
		busyPoll: time.Duration(o.Int("busy-poll")) * time.Microsecond,
	}
	if err := s.area.check(bufLen, max(n, 1)); err != nil {
		return nil, err
	}
	if _, ok := p.Options["mem"]; ok && s.area.kind != areaDMABuf {
		return nil, fault.Errorf(fault.Usage, "the option mem (--mem) says what a dma-buf is of, and the area is none: give area=dmabuf "+
			"(--zcrx-area dmabuf) or leave it out")
	}
	switch {
	case s.asked > 0:
	case n == 0:
		// The kernel copies for as long as more comes before it has given out
		// what was asked for: much at once, after a long while.
		s.asked = 1
	default:
		s.asked = 512
	}
	if s.asked > 1 {
		s.minWait = time.Duration(o.Int("min-wait-us")) * time.Microsecond
	}
	if s.refill == 0 {
		s.refill = max(s.area.size, s.area.most) / unix.Getpagesize()
	}
	s.refill = min(powerOfTwo(s.refill), maxRefill)
	return s, nil
}

// tell says what it took of the options.
func (s *zcrxSession) tell(p endpoint.Params, n int) {
	p.Took("mem-size", s.area.size)
	if s.area.most > 0 {
		p.Took("grow", s.area.most)
	}
	p.Took("rings", s.rings)
	p.Took("queues", n)
	want := s.want(s.area.size)
	p.Took("wait-nr", int(want))
	if want <= 1 && s.area.most == 0 {
		p.Took("min-wait-us", 0)
	}
	p.Took("rq-entries", s.refill)
	p.Took("cq-entries", s.cq)
}

// choose finds the n queues that the session is to have, and who shares which.
func (s *zcrxSession) choose(p endpoint.Params, o endpoint.Values, n int) error {
	if p.Interface == "" {
		return fault.Errorf(fault.Usage, "zcrx with nodev=off needs the interface whose queue it takes: give --iface")
	}
	i, err := net.InterfaceByName(p.Interface)
	if err != nil {
		return fault.Errorf(fault.Usage, "interface %s: %w", p.Interface, err)
	}
	s.iface = *i
	if s.queues = p.Queues; len(s.queues) == 0 {
		for k := range n {
			s.queues = append(s.queues, uint32(o.Int("queue")+k))
		}
	}
	p.Took("queue", int(s.queues[0]))
	s.shares = make([]share, n)
	for k := range s.shares {
		s.shares[k].ready = make(chan struct{})
		s.shares[k].fd = -1
	}
	switch {
	case s.rings%n != 0:
		return fault.Errorf(fault.Usage, "%d rings cannot share %d queues evenly, and a flow's ring and queue would not belong together: give "+
			"rings as a multiple of queues", s.rings, n)
	case s.rings > n && !uring.QueryZeroCopyRX().Share:
		return fault.Errorf(fault.Unsupported, "rings that share a queue need Linux 6.19: leave the option queues out")
	}
	s.fds = make([]atomic.Int32, s.flows)
	s.watches = make([]watch, s.rings)
	if s.netdev, err = netdev.Dial(); err != nil {
		return fmt.Errorf("%w (zcrx needs Linux 6.15)", err)
	}
	return nil
}

// maxRefill is the kernel's limit for a refill queue.
const maxRefill = 32768

// zcrxSession is also an endpoint.Doubter: payload that a NIC left in the linear
// part of a packet, beside the headers, is copied into the area like any other,
// but no statistic of the kernel has it (io_zcrx_recv_skb, Linux 6.15 to 7.3), and
// to sum it takes rights and a kernel with probes.
type zcrxSession struct {
	flows, rings       int
	area               zcrxArea
	refill, cq, bufLen int
	asked              int // completions to wake up for, at most
	minWait, busyPoll  time.Duration
	iface              net.Interface
	queues             []uint32 // hardware queues, or none
	shares             []share  // what receives: of each queue, or without any of each ring
	netdev             *netdev.Conn
	fds                []atomic.Int32 // of the flows, for astray; 0 until they are known
	empty              float64        // allocFailures when the window opened
	watches            []watch        // of each ring's copies
	seen               []copies       // by them when the window opened, then in it
}

// share is what a queue receives into, with the queue it belongs to: ring i has
// share i modulo their number.
type share struct {
	// areas are the first, and those that were added. It is replaced by one ring
	// at a time.
	areas   atomic.Pointer[[]zcrxArea]
	growing sync.Mutex

	// Of a share of several rings: ready is closed once the first of them has
	// made zc, which the others take part in by fd, or failed.
	ready chan struct{}
	zc    *uring.ZeroCopyRX
	fd    int
}

// size is how many bytes there are to receive into.
func (sh *share) size() (n int) {
	for _, a := range sh.all() {
		n += a.size
	}
	return n
}

func (sh *share) all() []zcrxArea {
	if p := sh.areas.Load(); p != nil {
		return *p
	}
	return nil // nothing was opened
}

// want is how many completions to wake up for with an area of so many bytes: what
// waits to be read and returned must leave the NIC enough to fill, and the kernel
// room to tell.
func (s *zcrxSession) want(size int) uint32 {
	return uint32(max(1, min(s.asked, s.cq/2, size/max(s.bufLen, unix.Getpagesize())/8)))
}

func (s *zcrxSession) Workers() int { return s.rings }

// Begin and End make the session an endpoint.Observer.
func (s *zcrxSession) Begin() (err error) {
	if len(s.queues) == 0 {
		return nil
	}
	if s.empty, _, err = allocFailures(s.netdev, s.iface, s.queues); err != nil {
		return err
	}
	s.seen, err = s.copies()
	return err
}

func (s *zcrxSession) End() (_ map[string]float64, warnings []string, _ error) {
	if len(s.queues) == 0 {
		return nil, nil, nil
	}
	n, counted, err := allocFailures(s.netdev, s.iface, s.queues)
	if err != nil {
		return nil, nil, err
	}
	c := map[string]float64{}
	if counted {
		c[poolEmpty] = n - s.empty
	}
	if n > s.empty {
		has, grew := s.area.size, ""
		for i := range s.shares {
			if now := s.shares[i].size(); now > has {
				has, grew = now, fmt.Sprintf(" and has grown to %d KiB", now>>10)
			}
		}
		warnings = append(warnings, caveat.Warn(caveat.BuffersEmpty, "rx: the area was empty %.0f times when the NIC wanted a buffer%s: it "+
			"needs more than %d KiB (--rx-opt mem-size=SIZE)", n-s.empty, grew, s.area.size>>10))
	}
	astrayWarnings, err := s.astray()
	if err != nil {
		return nil, nil, err
	}
	warnings = append(warnings, astrayWarnings...)
	c["flows_by_other_queues"] = float64(len(astrayWarnings))
	now, err := s.copies()
	if err != nil {
		return nil, nil, err
	}
	for i := range now {
		now[i] = now[i].since(s.seen[i])
	}
	s.seen = now
	return c, warnings, nil
}

// watch is of one ring's thread.
type watch struct {
	calls *perf.Counter // of the function that copies; nil: cannot be counted
	why   error         // why
	// bytes sums what that function copied; nil: cannot be summed, and whyBound
	// says why.
	bytes    *perf.Returns
	whyBound error

	// The kernel's statistics, as the worker last saw them: it may be gone, and
	// what they are in with it, when the window ends.
	counted atomic.Uint64
	stats   atomic.Bool
}

// copies are how often a ring's thread copied, and how often the kernel's
// statistics have it, which are of all rings that share the queue.
type copies struct {
	calls, counted uint64
	stats          bool
	summed         bool // counted are those of which it is known how much they copied
}

func (c copies) since(before copies) copies {
	return copies{c.calls - before.calls, c.counted - before.counted, c.stats, c.summed}
}

// copying is the kernel's function for every copy into an area.
const copying = "io_zcrx_copy_chunk"

// watch begins to look at the calling thread's copies. What is of a dma-buf needs
// no look: no CPU can copy into it. The kernel's own word is of fragments that
// another queue received alone, in its statistics as in the event (ZCRX_EVENT_COPY):
// of payload beside the headers it has none.
func (s *zcrxSession) watch(w *watch) {
	if s.area.kind == areaDMABuf {
		return
	}
	if w.calls, w.why = perf.CountCalls(copying); w.why == nil {
		w.bytes, w.whyBound = perf.SumReturns(copying)
	}
}

// read is how often the thread copied so far, and of how many copies it is known
// how much they were.
func (w *watch) read() (c copies, err error) {
	c.stats, c.counted = w.stats.Load(), w.counted.Load()
	if w.calls == nil {
		return c, nil
	}
	if w.bytes == nil {
		c.calls, _, err = w.calls.Read()
		return c, err
	}
	c.summed = true
	// The two are of one moment when the one is as before and after the other.
	// Where they differ then, the kernel missed returns.
	const tries = 100 // there can be a copy under way
	for range tries {
		before, _, err := w.calls.Read()
		if err != nil {
			return c, err
		}
		c.counted = w.bytes.Calls()
		if c.calls, _, err = w.calls.Read(); err != nil || c.calls == before && c.calls == c.counted {
			return c, err
		}
	}
	return c, nil
}

func (s *zcrxSession) copies() ([]copies, error) {
	all := make([]copies, len(s.watches))
	for i := range s.watches {
		var err error
		if all[i], err = s.watches[i].read(); err != nil {
			return nil, err
		}
		if i >= len(s.shares) && !all[i].summed {
			all[i].counted = 0 // by the statistics, which are those of the share
		}
	}
	return all, nil
}

// Doubt makes the session an endpoint.Doubter.
func (s *zcrxSession) Doubt() endpoint.Doubt {
	if len(s.queues) == 0 || s.area.kind == areaDMABuf {
		return endpoint.Doubt{}
	}
	for i := range s.watches {
		if w := &s.watches[i]; w.why != nil {
			return endpoint.Doubt{Bytes: endpoint.All, Why: fmt.Sprintf("the kernel does not count payload that header split missed, and calls of "+
				"its %s cannot be counted: %v; an area that no CPU can copy into proves that nothing was (--zcrx-area dmabuf)", copying, w.why)}
		}
	}
	d := doubtOf(s.seen, s.iface)
	for i := range s.watches {
		if w := &s.watches[i]; d.Bytes > 0 && w.whyBound != nil {
			d.Why += fmt.Sprintf("; it cannot be summed either: %v", w.whyBound)
			break
		}
	}
	return d
}

// doubtOf is of what was copied in the window. A packet's linear part holds a
// frame at most.
func doubtOf(seen []copies, iface net.Interface) endpoint.Doubt {
	var sum copies
	stats, summed := false, true
	for _, c := range seen {
		sum.calls, sum.counted, stats, summed = sum.calls+c.calls, sum.counted+c.counted, stats || c.stats, summed && c.summed
	}
	missed := sum.calls - min(sum.calls, sum.counted)
	switch {
	case missed == 0:
		return endpoint.Doubt{}
	case summed:
		return endpoint.Doubt{Bytes: endpoint.All, Why: fmt.Sprintf("the kernel copied %d times, and of %d it could not be seen how much",
			sum.calls, missed)}
	case !stats:
		return endpoint.Doubt{Bytes: endpoint.All, Why: fmt.Sprintf("the kernel copied %d times, and counts how much since Linux 7.2 only: "+
			"look at flow rules and RSS (ethtool -n, -x)", missed)}
	}
	return endpoint.Doubt{Bytes: missed * uint64(iface.MTU), Why: fmt.Sprintf("of %d packets %s left payload beside the headers, where the "+
		"kernel copies it and does not count how much: header split missed them (ethtool -g %s, and -S for the NIC's own count)", missed,
		iface.Name, iface.Name)}
}

// astray tells which flows came last by another queue than their ring's, as far
// as the kernel knows by which (the queue's NAPI instance).
func (s *zcrxSession) astray() (warnings []string, err error) {
	for i := range s.fds {
		fd := int(s.fds[i].Load())
		if fd == 0 {
			continue // its worker has not begun
		}
		q := s.queues[i%s.rings%len(s.queues)]
		own, err := s.netdev.Queue(s.iface.Index, netdev.RX, q)
		if err != nil {
			return nil, err
		}
		by, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
		if err != nil || by == 0 || own.NAPI == 0 || uint32(by) == own.NAPI {
			continue
		}
		warnings = append(warnings, caveat.Warn(caveat.WrongQueue, "rx: flow %d came by another queue of %s than %d, its ring's, and is "+
			"copied: look at flow rules and RSS (ethtool -n, -x)", i+1, s.iface.Name, q))
	}
	return warnings, nil
}

// Close gives the areas back. The kernel holds their pages until the last
// packet in them is gone.
func (s *zcrxSession) Close() error {
	var err error
	if s.netdev != nil {
		err = s.netdev.Close()
	}
	for i := range s.watches {
		w := &s.watches[i]
		if w.calls != nil {
			err = errors.Join(err, w.calls.Close())
		}
		if w.bytes != nil {
			err = errors.Join(err, w.bytes.Close())
		}
	}
	for i := range s.shares {
		if s.shares[i].fd > 0 {
			err = errors.Join(err, unix.Close(s.shares[i].fd))
		}
		for _, a := range s.shares[i].all() {
			err = errors.Join(err, a.close())
		}
	}
	return err
}

func (s *zcrxSession) Worker(i int) (endpoint.Worker, error) {
	conns := (s.flows - i + s.rings - 1) / s.rings
	want := s.want(s.area.size)
	w := &zcrxReceiver{
		session: s,
		want:    want,
		pace:    newPace(want, s.minWait),
		copies:  len(s.queues) == 0,
		files:   make([]int32, conns),
		states:  make([]zcrxConn, conns),
		begin:   untouched, end: untouched,
		fds: s.fds,
	}
	if err := w.open(s, i); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if !w.copies {
		w.watch = &s.watches[i]
		s.watch(w.watch)
	}
	return w, nil
}

// zcrxReceiver receives all connections of one ring.
type zcrxReceiver struct {
	session *zcrxSession
	share   *share
	size    int // bytes that it had when this ring last looked
	want    uint32
	pace    pace
	copies  bool // there is no queue
	ring    *uring.Ring
	zc      *uring.ZeroCopyRX
	where   string // what receives, for errors
	// dmabuf says that the kernel cannot copy into the area.
	dmabuf     bool
	begin, end func() (ioctls int, e unix.Errno) // access to the area
	files      []int32
	states     []zcrxConn
	fds        []atomic.Int32 // the session's
	watch      *watch         // likewise, of a queue

	// starved is since when the kernel has found no free buffer.
	starved time.Time
	claimed uint64 // of watch.bytes, counted
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
		return err
	}
	if !w.ring.CanBatch() {
		w.want = 1
	}
	w.ring.SetMinWait(w.pace.wait)
	n := len(s.shares)
	sh := &s.shares[i%n]
	if i >= n {
		return w.join(s, i%n)
	}
	if sh.ready != nil {
		defer close(sh.ready)
	}
	area := s.area
	err = area.open()
	sh.areas.Store(&[]zcrxArea{area})
	if err != nil {
		return err
	}
	w.look(sh)
	c := uring.ZeroCopyConfig{Queue: uring.NoQueue, Area: area.mem, DMABuf: area.fd(), Refill: s.refill, BufLen: s.bufLen, Most: s.area.most}
	w.where = "zero-copy receive"
	if !w.copies {
		c.Interface, c.Queue = s.iface.Index, int(s.queues[i])
		w.where = fmt.Sprintf("queue %d of %s", c.Queue, s.iface.Name)
	}
	if w.zc, err = w.ring.ZeroCopyRX(c); err != nil {
		return w.refused(s.iface.Name, err)
	}
	if s.rings > n && !w.copies {
		if sh.fd, err = w.zc.Export(); err != nil {
			return fmt.Errorf("%s: %w", w.where, err)
		}
		sh.zc = w.zc
	}
	return nil
}

// joinWait is for the ring that a queue is shared with: the threads start
// together.
const joinWait = 20 * time.Second

// join takes part in what another ring receives into.
func (w *zcrxReceiver) join(s *zcrxSession, k int) error {
	sh := &s.shares[k]
	select {
	case <-sh.ready:
	case <-time.After(joinWait):
	}
	if sh.zc == nil {
		return fmt.Errorf("ring %d, which shares queue %d of %s, did not open", k, s.queues[k], s.iface.Name)
	}
	w.where = fmt.Sprintf("queue %d of %s", s.queues[k], s.iface.Name)
	w.look(sh)
	var err error
	w.zc, err = w.ring.ShareZeroCopyRX(sh.zc, sh.fd)
	return err
}

// look lets the CPU read what the share has.
func (w *zcrxReceiver) look(sh *share) {
	areas := sh.all()
	w.share, w.size, w.dmabuf = sh, sh.size(), areas[0].buffer != nil
	if !w.dmabuf || !areas[0].look {
		return
	}
	each := func(access func(*udmabuf.Buffer, udmabuf.Access) unix.Errno) (n int, e unix.Errno) {
		for i := range areas {
			n++
			if e = access(areas[i].buffer, udmabuf.Read); e != 0 {
				break
			}
		}
		return n, e
	}
	w.begin = func() (int, unix.Errno) {
		areas = sh.all() // until the end of this access
		return each((*udmabuf.Buffer).Begin)
	}
	w.end = func() (int, unix.Errno) { return each((*udmabuf.Buffer).End) }
}

// grow adds memory to a share that ran empty: as much as it has, within what it
// may have, unless another of its rings has just done so.
func (w *zcrxReceiver) grow(n *endpoint.Counters) error {
	sh := w.share
	sh.growing.Lock()
	defer sh.growing.Unlock()
	areas, size := sh.all(), sh.size()
	more := areas[0].further(size)
	if size == w.size && more.size > 0 {
		failed := func(err error) error {
			return fmt.Errorf("%s: let an area of %d bytes grow by %d, within grow=%d: %w", w.where, size, more.size, more.most, err)
		}
		if err := more.open(); err != nil {
			return failed(errors.Join(err, more.close()))
		}
		all := append(slices.Clip(areas), more)
		sh.areas.Store(&all) // before a piece of it can come
		if err := w.zc.Grow(more.mem, more.fd()); err != nil {
			return failed(err)
		}
		size += more.size
		n.Extra[zcrxGrown].Add(1)
	}
	w.size = size
	n.Extra[zcrxAreaMax].Store(uint64(size))
	if w.ring.CanBatch() {
		w.want = w.session.want(size)
		w.pace.want = float64(w.want)
	}
	return nil
}

// refused adds what to do to the kernel's answer.
func (w *zcrxReceiver) refused(iface string, err error) error {
	if w.copies {
		return err
	}
	kind, help := cure(driverOf(nil, iface), iface, err)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		help += "; or the driver cannot fill buffers of rx-buf-len, or the kernel has no CONFIG_IO_URING_ZCRX"
	case errors.Is(err, unix.EINVAL):
		help = "turn header split on (ethtool -G " + iface + " tcp-data-split on, hds-thresh 0), and check that the queue exists and fills " +
			"buffers of rx-buf-len"
	case errors.Is(err, unix.ERANGE):
		help = "the interface has no such queue, or the area's memory is in pieces smaller than rx-buf-len: reserve huge pages (sysctl " +
			"vm.nr_hugepages) and take area=huge or a dma-buf of them (--mem hugepages)"
	case help == "":
		return fmt.Errorf("%s: %w", w.where, err)
	}
	return fault.Errorf(kind, "%s: %w (%s)", w.where, err, help)
}

func (w *zcrxReceiver) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	for i, c := range conns {
		w.files[i] = int32(c.FD)
		if !w.copies {
			w.fds[c.Index].Store(int32(c.FD))
		}
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
	n.Extra[zcrxAreaMax].Store(uint64(w.size))
	w.pace.begin(conns)
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
			return fmt.Errorf("%s: io_uring_enter: %w", w.where, e)
		}
		ended, err := w.take(conns)
		if err != nil {
			return err
		}
		live -= ended
		if err := w.zc.Publish(); err != nil {
			return err
		}
		n.Syscalls[zcrxEnter].Store(w.ring.Enters)
		n.Syscalls[zcrxRegister].Store(w.zc.Calls)
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
	if ready == 0 {
		return 0, nil
	}
	ioctls, e := w.begin()
	if e != 0 {
		return 0, fmt.Errorf("%s: begin to read the dma-buf: %w", w.where, e)
	}
	var total uint64
	var events [2]bool // by kind
	short := false
	for ; done < ready && !w.zc.Full(); done++ {
		cqe := w.ring.CQE(done)
		if kind, ok := cqe.Event(); ok {
			if int(kind) >= len(events) {
				return 0, fmt.Errorf("%s: the kernel tells of an event %d that nobody asked for", w.where, kind)
			}
			events[kind] = true
			continue
		}
		c, st := &conns[cqe.UserData], &w.states[cqe.UserData]
		st.armed = cqe.More()
		switch got := int(cqe.Res); {
		case got > 0:
			at := cqe.Offset()
			p := w.zc.Bytes(at, got)
			if p == nil {
				err = fmt.Errorf("%s, flow %d: the kernel names %d bytes at %#x, outside the area", w.where, c.Index+1, got, at)
			}
			c.Consume(p)
			w.zc.Return(at)
			st.bytes += uint64(got)
			total += uint64(got)
		case got == 0:
			st.done = true
			ended++
		case unix.Errno(-got) == unix.ENOSPC:
			n.Extra[zcrxNoSpace].Add(1)
		case unix.Errno(-got) == unix.ENOMEM && !w.dmabuf:
			n.Extra[zcrxNoMemory].Add(1)
			short = true
			if w.starved.IsZero() {
				w.starved = time.Now()
			}
		default:
			err = w.failed(c.Index, unix.Errno(-got))
		}
	}
	more, e := w.end()
	if e != 0 {
		return 0, fmt.Errorf("%s: end reading the dma-buf: %w", w.where, e)
	}
	n.Syscalls[zcrxIoctl].Add(uint64(ioctls + more))
	w.ring.Seen(done)
	n.Extra[zcrxCQEs].Add(uint64(done))
	if total > 0 {
		w.starved = time.Time{}
		w.count(conns, total)
		w.ring.SetMinWait(w.pace.next(conns, done, total))
	}
	short = short || events[uring.NoBuffer]
	if short && w.session.area.most > 0 && err == nil {
		err = w.grow(n)
	}
	for kind, counter := range [...]int{uring.NoBuffer: zcrxEmpty, uring.CopiedFragment: zcrxCopy} {
		if events[kind] && err == nil {
			n.Extra[counter].Add(1)
			err = w.zc.Rearm(uring.Event(kind))
		}
	}
	return ended, err
}

// failed explains why a flow cannot be received from.
func (w *zcrxReceiver) failed(flow int, e unix.Errno) error {
	switch {
	case e == unix.EFAULT && !w.copies:
		return fmt.Errorf("flow %d came by a queue that another program or ring receives from, and not by %s: a flow rule or the RSS table "+
			"leads it there (%w)", flow+1, w.where, e)
	case e == unix.ENOMEM && w.dmabuf:
		return fmt.Errorf("flow %d came by another queue than %s, or header split missed some of it (ethtool -S), and the kernel copies "+
			"nothing into a dma-buf: lead it to the queue, or take another area than dmabuf (%w)", flow+1, w.where, e)
	}
	return fmt.Errorf("%s, flow %d: %w", w.where, flow+1, e)
}

// count adds the round's bytes to the connections' counters. Of which connection a
// copied byte was nobody tells, and it is taken from the first ones.
func (w *zcrxReceiver) count(conns []endpoint.Conn, total uint64) {
	copied := total
	if !w.copies {
		// Where neither tells all, the session's Doubt does.
		if b := w.watch.bytes; b != nil {
			copied = min(b.Sum()-w.claimed, total)
			w.claimed += copied
		} else {
			copied, _ = w.zc.ClaimCopied(total)
		}
		n, known := w.zc.Copies()
		w.watch.counted.Store(n)
		w.watch.stats.Store(known)
	}
	for i := range conns {
		st, n := &w.states[i], conns[i].Counters
		part := min(copied, st.bytes)
		n.Copied.Add(part)
		n.ZeroCopied.Add(st.bytes - part)
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
		return fmt.Errorf("%s: no free buffer in the area for %v: raise mem-size", w.where, starvedLimit)
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
	return err
}

// zcrxArea is what a queue receives into: first what is wanted, after open the
// memory.
type zcrxArea struct {
	kind   int
	size   int // bytes
	most   int // bytes, with what is added when it runs empty; 0: nothing is
	memory endpoint.Values
	look   bool // somebody reads the payload

	mem    []byte
	buffer *udmabuf.Buffer // of a dma-buf
}

// check finds what can never work, and the size that the area will have.
func (a *zcrxArea) check(bufLen, areas int) (err error) {
	inherited := a.kind == areaDMABuf && endpoint.Inherited(a.memory)
	if inherited && a.most > 0 {
		return fault.Errorf(fault.Usage, "an inherited dma-buf does not grow: leave the option grow out")
	}
	if !inherited {
		if a.size < minArea || a.size > maxArea {
			return fault.Errorf(fault.Usage, "mem-size is %d bytes; an area of zcrx has %d to %d", a.size, minArea, maxArea)
		}
		a.size, a.most = roundUp(a.size, max(bufLen, unix.Getpagesize())), roundUp(a.most, max(bufLen, unix.Getpagesize()))
		if a.most > 0 && a.most < a.size {
			return fault.Errorf(fault.Usage, "grow=%d is less than the area has from the beginning, %d bytes: give more, or less mem-size", a.most,
				a.size)
		}
	}
	switch a.kind {
	case areaDMABuf:
		if a.most > 0 {
			a.most, err = endpoint.MemorySize(a.memory, a.most)
		}
		if err == nil {
			a.size, err = endpoint.MemorySize(a.memory, a.size)
		}
	case areaHuge:
		a.size, a.most = roundUp(a.size, abi.HugePageSize), roundUp(a.most, abi.HugePageSize)
	}
	switch {
	case err != nil || !inherited:
		return err
	case areas > 1:
		return fault.Errorf(fault.Usage, "%d queues cannot receive into one inherited dma-buf: give queues=1", areas)
	case a.size < minArea:
		return fault.Errorf(fault.Usage, "the inherited dma-buf has %d bytes; an area of zcrx has at least %d", a.size, minArea)
	}
	return nil
}

// further is an area to add where there are so many bytes.
func (a zcrxArea) further(size int) zcrxArea {
	a.mem, a.buffer = nil, nil
	a.size = min(size, a.most-size)
	return a
}

// fd is the descriptor of its dma-buf, or 0.
func (a *zcrxArea) fd() int {
	if a.buffer == nil {
		return 0
	}
	return a.buffer.FD()
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

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
	case a.look || a.mem == nil: // the buffer's own mapping, or none
		return a.buffer.Close()
	}
	return errors.Join(unix.Munmap(a.mem), a.buffer.Close())
}
