package abi

import (
	"runtime"
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

// OpenKprobe is perf_event_open(2) of a kprobe at the entry of a kernel function, or
// with returns where it returns, of the type that the kernel gave its kprobe PMU,
// for the calling thread and wherever it runs. It counts calls (Linux 4.17).
func OpenKprobe(pmu uint32, function string, returns bool) (fd int, err error) {
	name, err := unix.BytePtrFromString(function)
	if err != nil {
		return -1, err
	}
	attr := unix.PerfEventAttr{
		Type: pmu, Size: unix.PERF_ATTR_SIZE_VER7, Ext1: uint64(uintptr(unsafe.Pointer(name))), // kprobe_func
		Read_format: unix.PERF_FORMAT_TOTAL_TIME_ENABLED | unix.PERF_FORMAT_TOTAL_TIME_RUNNING,
	}
	if returns {
		attr.Config = 1 // the PMU's format/retprobe: bit 0
	}
	fd, err = unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	runtime.KeepAlive(name) // the kernel has read it by now
	return fd, err
}

// perfPage panics on a ring that is too short to be one.
func perfPage(ring []byte) *unix.PerfEventMmapPage {
	_ = ring[unsafe.Sizeof(unix.PerfEventMmapPage{})-1]
	return (*unix.PerfEventMmapPage)(unsafe.Pointer(unsafe.SliceData(ring)))
}
