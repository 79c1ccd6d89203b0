package abi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/uio.h: device memory TCP. MSG_SOCK_DEVMEM, SCM_DEVMEM_* and
// SO_DEVMEM_DONTNEED are in x/sys/unix.

// DmabufCmsg is struct dmabuf_cmsg (Linux 6.12): a piece of the stream that
// lies in a dma-buf (SCM_DEVMEM_DMABUF), or in the buffer given to recvmsg,
// where only FragSize counts (SCM_DEVMEM_LINEAR).
type DmabufCmsg struct {
	FragOffset uint64 // in the dma-buf
	FragSize   uint32
	FragToken  uint32 // to give the piece back by
	DmabufID   uint32 // of the binding
	Flags      uint32
}

// DmabufToken is struct dmabuf_token (Linux 6.12): consecutive tokens.
type DmabufToken struct {
	TokenStart uint32
	TokenCount uint32
}

// Limits of one SO_DEVMEM_DONTNEED, from net/core/sock.c (Linux 6.12): entries,
// and the tokens that they stand for. The kernel stops at the latter.
const (
	MAX_DONTNEED_TOKENS = 128
	MAX_DONTNEED_FRAGS  = 1024
)

// ETOOSMALL, from linux/errno.h, is what recvmsg gives when not even one
// control message fits. The kernel's own, it is in no libc.
const ETOOSMALL = unix.Errno(525)

// DevmemDontneed is setsockopt(2) with SO_DEVMEM_DONTNEED; it gives the number
// of tokens that the kernel freed. It never waits.
func DevmemDontneed(fd int, tokens []DmabufToken) (freed int, e unix.Errno) {
	r, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_DEVMEM_DONTNEED,
		uintptr(unsafe.Pointer(unsafe.SliceData(tokens))), uintptr(len(tokens))*unsafe.Sizeof(DmabufToken{}), 0)
	return int(r), e
}

// DevmemPiece is the room, in bytes, that one DmabufCmsg takes as a control message.
const DevmemPiece = unix.SizeofCmsghdr + int(unsafe.Sizeof(DmabufCmsg{}))

// DevmemMsg is a recvmsg(2) with MSG_SOCK_DEVMEM, in memory of its own.
type DevmemMsg struct {
	hdr     unix.Msghdr
	iov     unix.Iovec
	linear  []byte // for what does not lie in the dma-buf
	control []byte
}

// NewDevmemMsg makes a DevmemMsg for read bytes a call and frags pieces.
func NewDevmemMsg(read, frags int) (*DevmemMsg, error) {
	m := &DevmemMsg{}
	// Only address space: the kernel takes the length for how much it may
	// give, in the dma-buf and here together, and should write nothing here.
	var err error
	if m.linear, err = unix.Mmap(-1, 0, read, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE); err != nil {
		return nil, fmt.Errorf("map %d bytes of address space: %w", read, err)
	}
	if m.control, err = Map(frags*DevmemPiece, false); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.control = m.control[:frags*DevmemPiece]
	m.hdr.Iov, m.hdr.Iovlen = &m.iov, 1
	m.iov.Base = &m.linear[0]
	m.iov.SetLen(read)
	return m, nil
}

// Recv receives once. It may block.
func (m *DevmemMsg) Recv(fd int) (int, unix.Errno) {
	m.hdr.Control = &m.control[0]
	m.hdr.SetControllen(len(m.control))
	m.hdr.Flags = 0
	n, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_SOCK_DEVMEM)
	return int(n), e
}

// Control is the control messages of the last Recv, for NextDevmem.
func (m *DevmemMsg) Control() []byte { return m.control[:m.hdr.Controllen] }

// Linear is the buffer for what does not lie in the dma-buf.
func (m *DevmemMsg) Linear() []byte { return m.linear }

// Full says that the control messages of the last Recv left no room for
// another one, or did not all fit.
func (m *DevmemMsg) Full() bool {
	return int(m.hdr.Controllen)+DevmemPiece > len(m.control) || m.hdr.Flags&unix.MSG_CTRUNC != 0
}

// Grow doubles the room for control messages; what it held is gone.
func (m *DevmemMsg) Grow() error {
	size := 2 * len(m.control)
	if err := Unmap(m.control); err != nil {
		return err
	}
	var err error
	m.control, err = Map(size, false)
	return err
}

// Close gives the memory back.
func (m *DevmemMsg) Close() error {
	var err error
	if m.linear != nil {
		err = unix.Munmap(m.linear)
	}
	return errors.Join(err, Unmap(m.control))
}

// NextDevmem finds the next piece among control messages: its kind,
// SCM_DEVMEM_DMABUF or SCM_DEVMEM_LINEAR, and what follows it. The kind is 0
// when there is none.
func NextDevmem(control []byte) (kind int, c DmabufCmsg, rest []byte) {
	const (
		header = unix.SizeofCmsghdr
		word   = header - 8 // of cmsg_len, a size_t
	)
	for len(control) >= header {
		n := uint64(binary.NativeEndian.Uint32(control))
		if word == 8 {
			n = binary.NativeEndian.Uint64(control)
		}
		if n < header || n > uint64(len(control)) {
			break
		}
		level, typ := binary.NativeEndian.Uint32(control[word:]), binary.NativeEndian.Uint32(control[word+4:])
		data := control[header:n]
		control = control[min(unix.CmsgSpace(int(n)-header), len(control)):]
		if level == unix.SOL_SOCKET && (typ == unix.SCM_DEVMEM_DMABUF || typ == unix.SCM_DEVMEM_LINEAR) && len(data) >= DevmemPiece-header {
			return int(typ), DmabufCmsg{
				FragOffset: binary.NativeEndian.Uint64(data),
				FragSize:   binary.NativeEndian.Uint32(data[8:]),
				FragToken:  binary.NativeEndian.Uint32(data[12:]),
				DmabufID:   binary.NativeEndian.Uint32(data[16:]),
				Flags:      binary.NativeEndian.Uint32(data[20:]),
			}, control
		}
	}
	return 0, DmabufCmsg{}, nil
}

// DevmemSend is a sendmsg(2) out of a bound dma-buf, in memory of its own.
type DevmemSend struct {
	hdr     unix.Msghdr
	iovs    []offsetIovec
	control [2 * unix.SizeofCmsghdr]byte // a cmsghdr and a binding's id
}

// offsetIovec is struct iovec with an offset in the dma-buf for an address,
// which is no Go pointer.
type offsetIovec struct{ offset, size uintptr }

// NewDevmemSend makes a DevmemSend of iovecs pieces out of a binding's dma-buf.
func NewDevmemSend(binding uint32, iovecs int) *DevmemSend {
	s := &DevmemSend{iovs: make([]offsetIovec, iovecs)}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_DEVMEM_DMABUF
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(s.control[unix.CmsgLen(0):], binding)
	s.hdr.Control = &s.control[0]
	s.hdr.SetControllen(unix.CmsgSpace(4))
	s.hdr.Iov = (*unix.Iovec)(unsafe.Pointer(unsafe.SliceData(s.iovs)))
	s.hdr.SetIovlen(iovecs)
	return s
}

// Set makes piece i the size bytes of the dma-buf from offset on.
func (s *DevmemSend) Set(i, offset, size int) {
	s.iovs[i] = offsetIovec{uintptr(offset), uintptr(size)}
}

// Send sends all pieces with MSG_ZEROCOPY. It may block.
func (s *DevmemSend) Send(fd int) (int, unix.Errno) {
	n, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.hdr)), unix.MSG_ZEROCOPY|unix.MSG_NOSIGNAL)
	return int(n), e
}
