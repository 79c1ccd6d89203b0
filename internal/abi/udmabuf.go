package abi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/udmabuf.h, Linux 4.20.

// UDMABUF_CREATE is an ioctl of /dev/udmabuf: a dma-buf of a memfd's pages.
const (
	UDMABUF_CREATE        = 0x40187542 // _IOW('u', 0x42, struct udmabuf_create)
	UDMABUF_FLAGS_CLOEXEC = 0x01
)

// UdmabufCreate is struct udmabuf_create.
type UdmabufCreate struct {
	Memfd  uint32
	Flags  uint32
	Offset uint64
	Size   uint64
}

// CreateUdmabuf makes a dma-buf of the first size bytes of a memfd; device is
// an open /dev/udmabuf.
func CreateUdmabuf(device, memfd, size int) (fd int, e unix.Errno) {
	c := UdmabufCreate{Memfd: uint32(memfd), Flags: UDMABUF_FLAGS_CLOEXEC, Size: uint64(size)}
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(device), UDMABUF_CREATE, uintptr(unsafe.Pointer(&c)))
	return int(r), e
}
