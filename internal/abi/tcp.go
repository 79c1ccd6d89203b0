package abi

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/tcp.h. TCP_ZEROCOPY_RECEIVE itself is in x/sys/unix.

// TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT, in tcp_zerocopy_receive.flags,
// says that the caller has unmapped the pages of earlier calls by itself, so
// that the kernel does so only where it finds one. Linux 5.11.
const TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT = 0x1

// TCPZerocopyReceive is struct tcp_zerocopy_receive. Linux 4.18 has the first
// two members, Linux 5.12 all of them.
type TCPZerocopyReceive struct {
	Address        uint64 // in: where to map, whole pages
	Length         uint32 // in: bytes wanted; out: bytes mapped
	RecvSkipHint   uint32 // out: bytes that only a read can take before the next page
	Inq            uint32 // out: bytes left in the receive queue
	Err            int32  // out: the socket's error, negative
	CopybufAddress uint64 // in: where bytes that cannot be mapped may go; Linux 5.11
	CopybufLen     int32  // in: room there; out: bytes there, or a negative error
	Flags          uint32 // in
	MsgControl     uint64 // in: room for timestamps; Linux 5.12
	MsgControllen  uint64
	MsgFlags       uint32
	Reserved       uint32 // 0
}

// SetCopybuf gives the kernel b, which must be memory from Map, for bytes that
// cannot be mapped.
func (z *TCPZerocopyReceive) SetCopybuf(b []byte) {
	z.CopybufAddress, z.CopybufLen = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), int32(len(b))
}

// ZerocopyReceive is getsockopt(2) with TCP_ZEROCOPY_RECEIVE. It also gives
// how much of the structure the kernel knows. The kernel maps or says why not
// without waiting; it does take the socket's lock, so the scheduler is told.
func ZerocopyReceive(fd int, z *TCPZerocopyReceive) (known int, e unix.Errno) {
	size := uint32(unsafe.Sizeof(*z))
	_, _, e = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_ZEROCOPY_RECEIVE,
		uintptr(unsafe.Pointer(z)), uintptr(unsafe.Pointer(&size)), 0)
	return int(size), e
}

// ReceiveMap is address space in which a TCP socket maps pages of received
// segments, aligned so that one page-table page holds each 2 MiB of it.
type ReceiveMap struct {
	addr unsafe.Pointer
	size int
}

// ReserveReceiveMap takes address space, and nothing else.
func ReserveReceiveMap(size int) (*ReceiveMap, error) {
	// mmap(2) aligns to pages only: take more and give the ends back.
	all := size + HugePageSize
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(all), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", all, err)
	}
	head := int(-uintptr(p) % HugePageSize)
	m := &ReceiveMap{addr: unsafe.Add(p, head), size: size}
	if head > 0 {
		err = unix.MunmapPtr(p, uintptr(head))
	}
	if tail := all - head - size; err == nil && tail > 0 {
		err = unix.MunmapPtr(unsafe.Add(m.addr, size), uintptr(tail))
	}
	if err != nil {
		return nil, fmt.Errorf("trim the address space reserved: %w", err)
	}
	return m, nil
}

// Attach maps the TCP socket over the address space. The mapping holds the
// socket open until Close.
func (m *ReceiveMap) Attach(fd int) error {
	if _, err := unix.MmapPtr(fd, 0, m.addr, uintptr(m.size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		return fmt.Errorf("map the TCP socket: %w", err)
	}
	return nil
}

// Addr is the address of byte off, for TCPZerocopyReceive.
func (m *ReceiveMap) Addr(off int) uint64 { return uint64(uintptr(m.addr)) + uint64(off) }

// Bytes are n bytes from off on. Only what the kernel has mapped there may be
// touched: the rest faults.
func (m *ReceiveMap) Bytes(off, n int) []byte {
	return unsafe.Slice((*byte)(m.addr), m.size)[off : off+n]
}

// Zap gives the pages mapped in the first n bytes back.
func (m *ReceiveMap) Zap(n int) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_MADVISE, uintptr(m.addr), uintptr(n), unix.MADV_DONTNEED)
	return e
}

// Close gives the address space back, and with it the hold on the socket.
func (m *ReceiveMap) Close() error { return unix.MunmapPtr(m.addr, uintptr(m.size)) }

// TCP_ESTABLISHED is a value of tcpi_state (net/tcp_states.h).
const TCP_ESTABLISHED = 1

// TCPInfo is getsockopt(2) with TCP_INFO, into i without allocating. It also
// gives how much of the structure the kernel fills; the rest is zero. It takes
// the socket's lock, so it may wait for a call on the same socket.
func TCPInfo(fd int, i *unix.TCPInfo) (known int, e unix.Errno) {
	size := uint32(unsafe.Sizeof(*i))
	*i = unix.TCPInfo{}
	_, _, e = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(i)), uintptr(unsafe.Pointer(&size)), 0)
	return int(size), e
}

// TCPInfoBytes is how much of TCP_INFO a kernel must know to tell what crossed
// a connection: up to tcpi_bytes_received, which Linux 4.1 has.
const TCPInfoBytes = int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_received) + unsafe.Sizeof(unix.TCPInfo{}.Bytes_received))
