package abi

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/errqueue.h. struct sock_extended_err and its SO_EE_ constants are in
// x/sys/unix.

// ErrQueue reads a socket's error queue, one message at a time, into memory
// of its own.
type ErrQueue struct {
	hdr     unix.Msghdr
	control [128]byte // a sock_extended_err and the address of either family
}

// NewErrQueue makes an ErrQueue for use by one thread.
func NewErrQueue() *ErrQueue {
	q := &ErrQueue{}
	q.hdr.Control = &q.control[0]
	return q
}

// Read takes the next message, EAGAIN when there is none; it never waits. A
// message that holds no sock_extended_err gives the zero value, whose origin
// is SO_EE_ORIGIN_NONE.
func (q *ErrQueue) Read(fd int) (unix.SockExtendedErr, unix.Errno) {
	q.hdr.SetControllen(len(q.control))
	q.hdr.Flags = 0
	_, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&q.hdr)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if e != 0 {
		return unix.SockExtendedErr{}, e
	}
	return extendedErr(q.control[:q.hdr.Controllen]), 0
}

// extendedErr finds the sock_extended_err among the control messages.
func extendedErr(control []byte) unix.SockExtendedErr {
	const (
		header = unix.SizeofCmsghdr
		size   = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	)
	for len(control) >= header {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		n := uint64(h.Len) // size_t, whatever its width
		if n < header || n > uint64(len(control)) {
			break
		}
		data := control[header:n]
		if (h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR) && len(data) >= size {
			return unix.SockExtendedErr{
				Errno:  binary.NativeEndian.Uint32(data),
				Origin: data[4],
				Type:   data[5],
				Code:   data[6],
				Info:   binary.NativeEndian.Uint32(data[8:]),
				Data:   binary.NativeEndian.Uint32(data[12:]),
			}
		}
		control = control[min(unix.CmsgSpace(int(n)-header), len(control)):]
	}
	return unix.SockExtendedErr{}
}
