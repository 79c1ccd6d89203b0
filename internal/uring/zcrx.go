package uring

import (
	"errors"
	"fmt"
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
}

// ZeroCopyRX is the area that RecvZC receives into and the queue through which
// its pieces go back.
type ZeroCopyRX struct {
	ring *Ring
	id   uint32
	area []byte

	head, tail *uint32 // of the refill queue; the kernel's and ours
	rqes       []abi.IOUringZCRXRQE
	next       uint32 // tail of what Return wrote
	// spare holds pieces returned while the refill queue was full.
	spare []uint64

	stats *abi.ZCRXStats // nil when the kernel keeps none
	flush *abi.ZCRXCtrl  // nil when the kernel cannot
	// flushAt is the depth at which the refill queue is emptied where no
	// NIC does it.
	flushAt uint32
	region  []byte
	args    []byte
	// Flushes counts the calls that made the kernel empty the refill queue,
	// Stalls the pieces that found it full.
	Flushes, Stalls uint64
}

// zeroCopyArgs are the structures that point at each other.
type zeroCopyArgs struct {
	ifq    abi.IOUringZCRXIfqReg
	area   abi.IOUringZCRXAreaReg
	region abi.IOUringRegionDesc
	event  abi.ZCRXEventDesc
	flush  abi.ZCRXCtrl
}

// refillHeader is room for the refill queue's indices; the kernel says where
// in it they are.
const refillHeader = 4096

// ZeroCopyRX registers an area for RecvZC. The ring was made with CQE32.
func (r *Ring) ZeroCopyRX(c ZeroCopyConfig) (*ZeroCopyRX, error) {
	z := &ZeroCopyRX{ring: r, area: c.Area}
	if err := z.register(c); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	return z, nil
}

func (z *ZeroCopyRX) register(c ZeroCopyConfig) error {
	var err error
	if z.args, err = abi.Map(int(unsafe.Sizeof(zeroCopyArgs{})), false); err != nil {
		return err
	}
	entry := int(unsafe.Sizeof(abi.IOUringZCRXRQE{}))
	queue := refillHeader + c.Refill*entry
	if z.region, err = abi.Map(queue+int(unsafe.Sizeof(abi.ZCRXStats{})), false); err != nil {
		return err
	}
	a := (*zeroCopyArgs)(unsafe.Pointer(unsafe.SliceData(z.args)))
	a.area = abi.IOUringZCRXAreaReg{Addr: addr(c.Area), Len: uint64(len(c.Area))}
	if c.DMABuf != 0 {
		a.area.Addr, a.area.Flags, a.area.DMABufFD = 0, abi.IORING_ZCRX_AREA_DMABUF, uint32(c.DMABuf)
	}
	a.region = abi.IOUringRegionDesc{UserAddr: addr(z.region), Size: uint64(len(z.region)), Flags: abi.IORING_MEM_REGION_TYPE_USER}
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
	base := unsafe.Pointer(unsafe.SliceData(z.region))
	can := QueryZeroCopyRX()
	if can.Stats {
		a.event = abi.ZCRXEventDesc{Flags: abi.ZCRX_EVENT_DESC_FLAG_STATS, StatsOffset: uint64(queue)}
		a.ifq.EventDesc = address(&a.event)
		z.stats = (*abi.ZCRXStats)(unsafe.Add(base, queue))
	}
	if _, e := z.ring.register(abi.IORING_REGISTER_ZCRX_IFQ, unsafe.Pointer(&a.ifq), 1); e != 0 {
		return explainMemlock(fmt.Errorf("register zero-copy receive (IORING_REGISTER_ZCRX_IFQ): %w", e))
	}
	off := a.ifq.Offsets
	if int(off.RQEs)+c.Refill*entry > queue {
		return fmt.Errorf("the kernel's refill queue starts at byte %d, later than the %d reserved", off.RQEs, refillHeader)
	}
	z.id = a.ifq.ZCRXID
	z.head, z.tail = (*uint32)(unsafe.Add(base, off.Head)), (*uint32)(unsafe.Add(base, off.Tail))
	z.rqes = unsafe.Slice((*abi.IOUringZCRXRQE)(unsafe.Add(base, off.RQEs)), c.Refill)
	if can.Flush {
		a.flush = abi.ZCRXCtrl{ZCRXID: z.id, Op: abi.ZCRX_CTRL_FLUSH_RQ}
		z.flush = &a.flush
	}
	z.flushAt = max(1, min(uint32(c.Refill), uint32(len(c.Area)/unix.Getpagesize()))/2)
	if c.Queue == NoQueue {
		z.flushAt = min(z.flushAt, copyPieces)
	}
	z.spare = make([]uint64, 0, spares(len(c.Area)))
	return nil
}

// copyPieces keeps the buffers that are copied into few, and so in the cache:
// about one flush for each half a mebibyte.
const copyPieces = 128

// spares is how many pieces of an area can be outside the refill queue: four
// for each page, a header-split frame's payload being 1 KiB and more. Beyond
// that Full holds the receiver back.
func spares(area int) int { return 4 * area / unix.Getpagesize() }

// Bytes is the piece of n bytes at a completion's Offset; nil when it is not
// within the area.
func (z *ZeroCopyRX) Bytes(offset uint64, n int) []byte {
	start := offset &^ abi.IORING_ZCRX_AREA_MASK
	end := start + uint64(n)
	if n <= 0 || end > uint64(len(z.area)) {
		return nil
	}
	return z.area[start:end:end]
}

// Return gives a piece back, once for each completion; Publish shows it to the
// kernel.
func (z *ZeroCopyRX) Return(offset uint64, n int) {
	if len(z.spare) > 0 || !z.put(offset, n) {
		z.Stalls++
		z.spare = append(z.spare, offset)
	}
}

// put writes one entry of the refill queue unless it is full. The offset goes
// back as it came: the area's token is in its high bits already.
func (z *ZeroCopyRX) put(offset uint64, n int) bool {
	if z.next-atomic.LoadUint32(z.head) >= uint32(len(z.rqes)) {
		return false
	}
	z.rqes[z.next&uint32(len(z.rqes)-1)] = abi.IOUringZCRXRQE{Off: offset, Len: uint32(n)}
	z.next++
	return true
}

// Publish shows the kernel everything returned. Call it before Enter.
func (z *ZeroCopyRX) Publish() error {
	z.show()
	// A NIC's queue empties the refill queue when it needs buffers. Nothing
	// does so without a NIC, nor while packets come by other queues and are
	// copied.
	for z.flush != nil && (len(z.spare) > 0 || z.Pending() >= z.flushAt) {
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
	if _, e := z.ring.register(abi.IORING_REGISTER_ZCRX_CTRL, unsafe.Pointer(z.flush), 0); e != 0 {
		return fmt.Errorf("flush the zero-copy refill queue (ZCRX_CTRL_FLUSH_RQ): %w", e)
	}
	return nil
}

// show moves what was kept aside into the refill queue, as far as it has room,
// and moves the tail.
func (z *ZeroCopyRX) show() {
	n := len(z.spare)
	for n > 0 && z.put(z.spare[n-1], 0) {
		n--
	}
	z.spare = z.spare[:n]
	atomic.StoreUint32(z.tail, z.next)
}

// Full reports that no further piece can be returned: the caller leaves
// completions unread until it can.
func (z *ZeroCopyRX) Full() bool { return len(z.spare) == cap(z.spare) }

// Stalled reports that pieces wait for room in the refill queue. The kernel
// makes it without a completion, so the caller must not wait for one.
func (z *ZeroCopyRX) Stalled() bool { return len(z.spare) > 0 }

// Pending is the depth of the refill queue.
func (z *ZeroCopyRX) Pending() uint32 { return z.next - atomic.LoadUint32(z.head) }

// Copied is how many bytes the kernel has copied into the area instead of
// receiving them there; without a NIC it is all, and known is false where the
// kernel does not tell (before Linux 7.2).
func (z *ZeroCopyRX) Copied() (bytes uint64, known bool) {
	if z.stats == nil {
		return 0, false
	}
	return atomic.LoadUint64(&z.stats.CopyBytes), true
}

// Close unmaps the refill queue, after the ring was closed. The area is the
// caller's.
func (z *ZeroCopyRX) Close() error { return errors.Join(abi.Unmap(z.region), abi.Unmap(z.args)) }

// address is that of a structure in mmap'd memory.
func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
