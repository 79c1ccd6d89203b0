package abi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/dma-buf.h, Linux 4.6.

// DMA_BUF_IOCTL_SYNC brackets a CPU's access to a mapped dma-buf; START and
// END are combined with what the access is.
const (
	DMA_BUF_IOCTL_SYNC = 0x40086200 // _IOW('b', 0, struct dma_buf_sync)
	DMA_BUF_SYNC_READ  = 1 << 0
	DMA_BUF_SYNC_WRITE = 2 << 0
	DMA_BUF_SYNC_START = 0 << 2
	DMA_BUF_SYNC_END   = 1 << 2
)

// DMABufSync is struct dma_buf_sync.
type DMABufSync struct{ Flags uint64 }

// SyncDMABuf may wait for devices that use the dma-buf, and tries again when
// that is interrupted, as the header wants it.
func SyncDMABuf(fd int, flags uint64) unix.Errno {
	s := DMABufSync{Flags: flags}
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), DMA_BUF_IOCTL_SYNC, uintptr(unsafe.Pointer(&s)))
		if e != unix.EINTR && e != unix.EAGAIN {
			return e
		}
	}
}
