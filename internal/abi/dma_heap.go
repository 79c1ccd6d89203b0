package abi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/dma-heap.h, Linux 5.6.

// DMA_HEAP_IOCTL_ALLOC is an ioctl of the devices in /dev/dma_heap.
const DMA_HEAP_IOCTL_ALLOC = 0xc0184800 // _IOWR('H', 0, struct dma_heap_allocation_data)

// DMAHeapAllocationData is struct dma_heap_allocation_data.
type DMAHeapAllocationData struct {
	Len       uint64
	FD        uint32 // out
	FDFlags   uint32
	HeapFlags uint64 // 0
}

// AllocDMAHeap makes a dma-buf of size bytes out of an open heap.
func AllocDMAHeap(heap, size int) (fd int, e unix.Errno) {
	a := DMAHeapAllocationData{Len: uint64(size), FDFlags: unix.O_RDWR | unix.O_CLOEXEC}
	_, _, e = unix.Syscall(unix.SYS_IOCTL, uintptr(heap), DMA_HEAP_IOCTL_ALLOC, uintptr(unsafe.Pointer(&a)))
	return int(a.FD), e
}
