package uring

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// NoQueue is ZeroCopyConfig.Queue where no NIC is used.
const NoQueue = -1

// ZeroCopyConfig is what a ZeroCopyRX is made with.
type ZeroCopyConfig struct {
	// Interface and Queue name the hardware receive queue. Without one
	// (NoQueue, Linux 7.1) the kernel copies everything into the area.
	Interface int
	Queue     int
	Area      []byte // mmap'd, whole pages
	// DMABuf is the descriptor of the dma-buf that Area maps, or stands for
	// where nobody looks at the payload; 0: Area is memory of its own. It
	// takes a queue: the kernel copies nothing into a dma-buf.
	DMABuf int
	// Refill is the size of the refill queue, a power of two.
	Refill int
	// BufLen is the size of the buffers that the NIC fills; 0 is a page.
	BufLen int
	// Most is how many bytes there can be with what Grow adds; 0: it adds
	// nothing.
	Most int
}

// ZeroCopyRX is the area that RecvZC receives into and the queue through which
// its pieces go back, as one ring sees them.
type ZeroCopyRX struct {
	ring   *Ring
	id     uint32
	refill *refillQueue
	// back holds the pieces that Return was given and Publish had no room for
	// yet; the first waiting of them are there since an earlier Publish.
	back    []uint64
	waiting int

	args       []byte        // a zeroCopyArgs
	flush, arm *abi.ZCRXCtrl // nil when the kernel cannot
	// Calls counts all by which the kernel was told something, Flushes those
	// that made it empty the refill queue, Stalls the pieces that found it
	// full.
	Calls, Flushes, Stalls uint64
}

// refillQueue is shared by the kernel and all rings of one hardware queue.
type refillQueue struct {
	// areas are what there is to receive into, by the number that offsets have
	// in their high bits. Grow, of which one at a time runs, replaces the slice.
	areas   atomic.Pointer[[][]byte]
	growing sync.Mutex
	most    int // bytes, of all areas
	// flushAt is the depth at which the refill queue is emptied where no
	// NIC does it.
	flushAt   atomic.Uint32
	flushMost uint32

	// mu is between the threads of those rings, taken once for a batch. With
	// one ring nobody contends.
	mu         sync.Mutex
	head, tail *uint32 // the kernel's and ours
	entries    []abi.IOUringZCRXRQE
	next       uint32 // tail of what was written

	stats   *abi.ZCRXStats // nil when the kernel keeps none
	claimed atomic.Uint64  // bytes of stats that some ring has counted

	region []byte
	rings  atomic.Int32 // that have it
}

// zeroCopyArgs are the structures that point at each other.
type zeroCopyArgs struct {
	ifq        abi.IOUringZCRXIfqReg
	area       abi.IOUringZCRXAreaReg
	region     abi.IOUringRegionDesc
	event      abi.ZCRXEventDesc
	flush, arm abi.ZCRXCtrl
	export     abi.ZCRXCtrl
	add        abi.ZCRXCtrlAddArea
	more       abi.IOUringZCRXAreaReg
}

// refillHeader is room for the refill queue's indices; the kernel says where
// in it they are.
const refillHeader = 4096

// zeroCopyEvent is the user data of completions that are events, which no
// request has.
const zeroCopyEvent = math.MaxUint64

// ZeroCopyRX registers an area for RecvZC. The ring was made with CQE32.
func (r *Ring) ZeroCopyRX(c ZeroCopyConfig) (*ZeroCopyRX, error) {
	z := &ZeroCopyRX{ring: r, refill: &refillQueue{most: max(c.Most, len(c.Area))}}
	z.refill.areas.Store(&[][]byte{c.Area})
	z.refill.rings.Add(1)
	if err := z.register(c); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	return z, nil
}

func (z *ZeroCopyRX) register(c ZeroCopyConfig) error {
	a, err := z.mapArgs()
	if err != nil {
		return err
	}
	q := z.refill
	entry := int(unsafe.Sizeof(abi.IOUringZCRXRQE{}))
	end := refillHeader + c.Refill*entry
	if q.region, err = abi.Map(end+int(unsafe.Sizeof(abi.ZCRXStats{})), false); err != nil {
		return err
	}
	a.area = describeArea(c.Area, c.DMABuf)
	a.region = abi.IOUringRegionDesc{UserAddr: addr(q.region), Size: uint64(len(q.region)), Flags: abi.IORING_MEM_REGION_TYPE_USER}
	a.ifq = abi.IOUringZCRXIfqReg{
		RQEntries: uint32(c.Refill),
		RXBufLen:  uint32(c.BufLen),
		AreaPtr:   address(&a.area),
		RegionPtr: address(&a.region),
	}
	if c.Queue == NoQueue {
		a.ifq.Flags = abi.ZCRX_REG_NODEV
	} else {
		a.ifq.IfIdx, a.ifq.IfRXQ = uint32(c.Interface), uint32(c.Queue)
	}
	base := unsafe.Pointer(unsafe.SliceData(q.region))
	can := QueryZeroCopyRX()
	if can.Stats {
		a.event = abi.ZCRXEventDesc{Flags: abi.ZCRX_EVENT_DESC_FLAG_STATS, StatsOffset: uint64(end)}
		a.ifq.EventDesc = address(&a.event)
		q.stats = (*abi.ZCRXStats)(unsafe.Add(base, end))
	}
	events := can.Events && c.Queue != NoQueue
	if events {
		a.event.UserData, a.event.TypeMask = zeroCopyEvent, 1<<NoBuffer
		if can.Copies {
			a.event.TypeMask |= 1 << CopiedFragment
		}
	}
	if _, e := z.ring.register(abi.IORING_REGISTER_ZCRX_IFQ, unsafe.Pointer(&a.ifq), 1); e != 0 {
		return explainMemlock(fmt.Errorf("register zero-copy receive (IORING_REGISTER_ZCRX_IFQ): %w", e))
	}
	off := a.ifq.Offsets
	if int(off.RQEs)+c.Refill*entry > end {
		return fmt.Errorf("the kernel's refill queue starts at byte %d, later than the %d reserved", off.RQEs, refillHeader)
	}
	q.head, q.tail = (*uint32)(unsafe.Add(base, off.Head)), (*uint32)(unsafe.Add(base, off.Tail))
	q.entries = unsafe.Slice((*abi.IOUringZCRXRQE)(unsafe.Add(base, off.RQEs)), c.Refill)
	q.flushMost = math.MaxUint32
	if c.Queue == NoQueue {
		q.flushMost = copyPieces
	}
	q.flushAt.Store(q.flushDepth())
	z.ready(a, can)
	if events {
		a.arm = abi.ZCRXCtrl{ZCRXID: z.id, Op: abi.ZCRX_CTRL_ARM_EVENT}
		z.arm = &a.arm
	}
	return nil
}

// describeArea tells the kernel of an area, as ZeroCopyConfig has it.
func describeArea(area []byte, dmabuf int) abi.IOUringZCRXAreaReg {
	a := abi.IOUringZCRXAreaReg{Addr: addr(area), Len: uint64(len(area))}
	if dmabuf != 0 {
		a.Addr, a.Flags, a.DMABufFD = 0, abi.IORING_ZCRX_AREA_DMABUF, uint32(dmabuf)
	}
	return a
}

func (z *ZeroCopyRX) mapArgs() (*zeroCopyArgs, error) {
	var err error
	z.args, err = abi.Map(int(unsafe.Sizeof(zeroCopyArgs{})), false)
	return z.arguments(), err
}

func (z *ZeroCopyRX) arguments() *zeroCopyArgs {
	return (*zeroCopyArgs)(unsafe.Pointer(unsafe.SliceData(z.args)))
}

// ready follows the registration.
func (z *ZeroCopyRX) ready(a *zeroCopyArgs, can ZeroCopyRXSupport) {
	z.id = a.ifq.ZCRXID
	if can.Flush {
		a.flush = abi.ZCRXCtrl{ZCRXID: z.id, Op: abi.ZCRX_CTRL_FLUSH_RQ}
		z.flush = &a.flush
	}
	z.back = make([]uint64, 0, spares(z.refill.most))
}

// Export gives a descriptor by which other rings can share the area and its
// hardware queue (Linux 6.19). The caller closes it; the queue is kept for as
// long as it or any of the rings is open.
func (z *ZeroCopyRX) Export() (int, error) {
	a := z.arguments()
	a.export = abi.ZCRXCtrl{ZCRXID: z.id, Op: abi.ZCRX_CTRL_EXPORT}
	if e := z.control(unsafe.Pointer(&a.export)); e != 0 {
		return -1, fmt.Errorf("share zero-copy receive (ZCRX_CTRL_EXPORT): %w", e)
	}
	return int(a.export.Arg), nil
}

// ShareZeroCopyRX makes another ring's ZeroCopyRX, by the descriptor that its
// Export gave, one of this ring's too. The pieces that a ring is given go back
// through either.
func (r *Ring) ShareZeroCopyRX(of *ZeroCopyRX, fd int) (*ZeroCopyRX, error) {
	z := &ZeroCopyRX{ring: r, refill: of.refill}
	z.refill.rings.Add(1)
	a, err := z.mapArgs()
	if err != nil {
		return nil, errors.Join(err, z.Close())
	}
	a.ifq = abi.IOUringZCRXIfqReg{IfIdx: uint32(fd), Flags: abi.ZCRX_REG_IMPORT}
	if _, e := r.register(abi.IORING_REGISTER_ZCRX_IFQ, unsafe.Pointer(&a.ifq), 1); e != 0 {
		return nil, errors.Join(fmt.Errorf("take a share in zero-copy receive (ZCRX_REG_IMPORT): %w", e), z.Close())
	}
	z.ready(a, QueryZeroCopyRX())
	return z, nil
}

// copyPieces keeps the buffers that are copied into few, and so in the cache:
// about one flush for each half a mebibyte.
const copyPieces = 128

// spares is how many pieces of areas of so many bytes can be outside the refill queue: four
// for each page, a header-split frame's payload being 1 KiB and more. Beyond
// that Full holds the receiver back.
func spares(area int) int { return 4 * area / unix.Getpagesize() }

// Grow adds memory to receive into (Linux 7.3): mmap'd, whole pages, and a dma-buf
// where the first area is one, as ZeroCopyConfig has it. It is for all rings that
// share the area, and any of them may ask.
func (z *ZeroCopyRX) Grow(area []byte, dmabuf int) error {
	q := z.refill
	q.growing.Lock()
	defer q.growing.Unlock()
	old := *q.areas.Load()
	// Before the call is done the NIC can have filled a piece of it.
	all := append(slices.Clip(old), area)
	q.areas.Store(&all)
	a := z.arguments()
	a.more = describeArea(area, dmabuf)
	a.add = abi.ZCRXCtrlAddArea{ZCRXID: z.id, Op: abi.ZCRX_CTRL_ADD_AREA, AreaPtr: address(&a.more)}
	if e := z.control(unsafe.Pointer(&a.add)); e != 0 {
		q.areas.Store(&old)
		return explainMemlock(fmt.Errorf("add an area to zero-copy receive (ZCRX_CTRL_ADD_AREA): %w", e))
	}
	if number := a.more.RQAreaToken >> abi.IORING_ZCRX_AREA_SHIFT; number != uint64(len(old)) {
		return fmt.Errorf("the kernel gave area %d of zero-copy receive the number %d", len(old), number)
	}
	q.flushAt.Store(q.flushDepth())
	return nil
}

// flushDepth is half of what the refill queue can hold of all pieces.
func (q *refillQueue) flushDepth() uint32 {
	pages := 0
	for _, area := range *q.areas.Load() {
		pages += len(area) / unix.Getpagesize()
	}
	return max(1, min(uint32(min(len(q.entries), pages)/2), q.flushMost))
}

// Bytes is the piece of n bytes at a completion's Offset; nil when it is not
// within an area.
func (z *ZeroCopyRX) Bytes(offset uint64, n int) []byte {
	areas := *z.refill.areas.Load()
	number := offset >> abi.IORING_ZCRX_AREA_SHIFT
	if n <= 0 || number >= uint64(len(areas)) {
		return nil
	}
	area, start := areas[number], offset&^abi.IORING_ZCRX_AREA_MASK
	end := start + uint64(n)
	if end > uint64(len(area)) {
		return nil
	}
	return area[start:end:end]
}

// Return gives a piece back by its Offset, once for each completion; Publish
// shows it to the kernel. Not when it is Full.
func (z *ZeroCopyRX) Return(offset uint64) { z.back = append(z.back, offset) }

// Publish shows the kernel everything returned. Call it before Enter.
func (z *ZeroCopyRX) Publish() error {
	z.show()
	// A NIC's queue empties the refill queue when it needs buffers. Nothing
	// does so without a NIC, nor while packets come by other queues and are
	// copied.
	for z.flush != nil && (len(z.back) > 0 || z.Pending() >= z.refill.flushAt.Load()) {
		if err := z.Flush(); err != nil {
			return err
		}
		z.show()
	}
	return nil
}

// Flush makes the kernel empty the refill queue, where it can (Linux 6.19).
func (z *ZeroCopyRX) Flush() error {
	if z.flush == nil {
		return nil
	}
	z.Flushes++
	if e := z.control(unsafe.Pointer(z.flush)); e != 0 {
		return fmt.Errorf("flush the zero-copy refill queue (ZCRX_CTRL_FLUSH_RQ): %w", e)
	}
	return nil
}

// control makes a call with a struct zcrx_ctrl.
func (z *ZeroCopyRX) control(c unsafe.Pointer) unix.Errno {
	z.Calls++
	_, e := z.ring.register(abi.IORING_REGISTER_ZCRX_CTRL, c, 0)
	return e
}

// show moves what was returned into the refill queue, as far as it has room,
// and then its tail, by one store.
func (z *ZeroCopyRX) show() {
	q, n := z.refill, len(z.back)
	if n == 0 {
		return
	}
	q.mu.Lock()
	// An offset goes back as it came: the area's token is in its high bits
	// already.
	for room := uint32(len(q.entries)) - (q.next - atomic.LoadUint32(q.head)); n > 0 && room > 0; room-- {
		n--
		q.entries[q.next&uint32(len(q.entries)-1)] = abi.IOUringZCRXRQE{Off: z.back[n]}
		q.next++
	}
	atomic.StoreUint32(q.tail, q.next)
	q.mu.Unlock()
	z.back = z.back[:n]
	z.Stalls += uint64(max(0, n-z.waiting))
	z.waiting = n
}

// Full reports that no further piece can be returned: the caller leaves
// completions unread until it can.
func (z *ZeroCopyRX) Full() bool { return len(z.back) == cap(z.back) }

// Stalled reports that pieces wait for room in the refill queue. The kernel
// makes it without a completion, so the caller must not wait for one.
func (z *ZeroCopyRX) Stalled() bool { return z.waiting > 0 }

// Pending is the depth of the refill queue, as far as Publish has shown it.
func (z *ZeroCopyRX) Pending() uint32 {
	return atomic.LoadUint32(z.refill.tail) - atomic.LoadUint32(z.refill.head)
}

// Event is what the kernel can tell of by a completion of its own.
type Event uint32

// The events (Linux 7.2).
const (
	// NoBuffer: the NIC found no free buffer in the area.
	NoBuffer Event = abi.ZCRX_EVENT_ALLOC_FAIL
	// CopiedFragment: the kernel copied what another queue received, as its
	// statistics have it. What a NIC left beside the headers is no such copy.
	CopiedFragment Event = abi.ZCRX_EVENT_COPY
)

// Rearm asks for the next event of a kind of which there was one; there is none
// before.
func (z *ZeroCopyRX) Rearm(e Event) error {
	z.arm.Arg = uint32(e)
	if e := z.control(unsafe.Pointer(z.arm)); e != 0 {
		return fmt.Errorf("ask for the next event of zero-copy receive (ZCRX_CTRL_ARM_EVENT): %w", e)
	}
	return nil
}

// ClaimCopied gives the bytes that the kernel has copied into the area instead
// of receiving them there, at most limit, and each byte once, whichever of the
// rings asks. The rest is for the next call. Known is false where the kernel
// does not tell (before Linux 7.2).
func (z *ZeroCopyRX) ClaimCopied(limit uint64) (bytes uint64, known bool) {
	q := z.refill
	if q.stats == nil {
		return 0, false
	}
	for {
		had := q.claimed.Load()
		n := min(atomic.LoadUint64(&q.stats.CopyBytes)-had, limit)
		if n == 0 || q.claimed.CompareAndSwap(had, had+n) {
			return n, true
		}
	}
}

// Copies is how often the kernel has copied a fragment that another queue
// received, for any of the rings. Known is as with ClaimCopied.
func (z *ZeroCopyRX) Copies() (n uint64, known bool) {
	if z.refill.stats == nil {
		return 0, false
	}
	return atomic.LoadUint64(&z.refill.stats.CopyCount), true
}

// Close unmaps the refill queue, after the ring was closed, unless another ring
// still uses it. The area is the caller's.
func (z *ZeroCopyRX) Close() error {
	err := abi.Unmap(z.args)
	if z.refill.rings.Add(-1) == 0 {
		err = errors.Join(err, abi.Unmap(z.refill.region))
	}
	return err
}

// address is that of a structure in mmap'd memory.
func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
