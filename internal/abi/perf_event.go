package abi

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// include/uapi/linux/perf_event.h: the ring buffer that an event writes its
// records to. Its first page, struct perf_event_mmap_page, is shared with the
// kernel.

// PerfDataHead is data_head of a mapped ring buffer: how far the kernel has
// written, ever. What was written before it is visible after this.
func PerfDataHead(ring []byte) uint64 {
	return atomic.LoadUint64(&perfPage(ring).Data_head)
}

// SetPerfDataTail is data_tail: the kernel may overwrite what is before it.
func SetPerfDataTail(ring []byte, tail uint64) {
	atomic.StoreUint64(&perfPage(ring).Data_tail, tail)
}

// perfPage panics on a ring that is too short to be one.
func perfPage(ring []byte) *unix.PerfEventMmapPage {
	_ = ring[unsafe.Sizeof(unix.PerfEventMmapPage{})-1]
	return (*unix.PerfEventMmapPage)(unsafe.Pointer(unsafe.SliceData(ring)))
}
