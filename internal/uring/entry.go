package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// SQE is a request. Files are indices into what RegisterFiles was given.
type SQE struct{ abi.IOUringSQE }

// Nop completes at once.
func (s *SQE) Nop() { s.Opcode = abi.IORING_OP_NOP }

// Recv receives into the buffers of a BufRing until the stream ends or the
// buffers do, one completion a receive. With bundle a receive may fill
// several buffers.
func (s *SQE) Recv(file int, group uint16, bundle bool) {
	s.Opcode, s.FD, s.BufIndex = abi.IORING_OP_RECV, int32(file), group
	s.Flags = abi.IOSQE_FIXED_FILE | abi.IOSQE_BUFFER_SELECT
	s.IOPrio = abi.IORING_RECV_MULTISHOT
	if bundle {
		s.IOPrio |= abi.IORING_RECVSEND_BUNDLE
	}
}

// Send sends all of p, which is mmap'd memory, by copying. It completes short
// only when the connection failed.
func (s *SQE) Send(file int, p []byte) {
	s.Opcode, s.FD, s.Flags = abi.IORING_OP_SEND, int32(file), abi.IOSQE_FIXED_FILE
	s.Addr, s.Len = addr(p), uint32(len(p))
	s.OpFlags = unix.MSG_WAITALL
}

// SendZC is Send by reference; p lies in registered buffer 0. A completion
// with More promises a second one, the Notification that the kernel no longer
// reads p.
func (s *SQE) SendZC(file int, p []byte) {
	s.Send(file, p)
	s.Opcode = abi.IORING_OP_SEND_ZC
	s.IOPrio = abi.IORING_RECVSEND_FIXED_BUF | abi.IORING_SEND_ZC_REPORT_USAGE
}

// SendMsgZC is SendZC of all pieces of a message, which lie in registered
// buffer 0, as one request: Linux 6.15, see ProbeMessage.
func (s *SQE) SendMsgZC(file int, m *Message) {
	s.Opcode, s.FD, s.Flags = abi.IORING_OP_SENDMSG_ZC, int32(file), abi.IOSQE_FIXED_FILE
	s.Addr, s.Len = address(m.hdr), 1
	s.OpFlags = unix.MSG_WAITALL
	s.IOPrio = abi.IORING_RECVSEND_FIXED_BUF | abi.IORING_SEND_ZC_REPORT_USAGE
}

// Message is what SendMsgZC sends, in mmap'd memory. The kernel reads it when
// the request is submitted, so it may change after the next Enter.
type Message struct {
	mem    []byte
	hdr    *unix.Msghdr
	pieces []unix.Iovec
}

// NewMessage makes a message of n pieces, at most 1024 (UIO_MAXIOV).
func NewMessage(n int) (*Message, error) {
	head := int(unsafe.Sizeof(unix.Msghdr{}))
	mem, err := abi.Map(head+n*int(unsafe.Sizeof(unix.Iovec{})), false)
	if err != nil {
		return nil, err
	}
	m := &Message{
		mem:    mem,
		hdr:    (*unix.Msghdr)(unsafe.Pointer(unsafe.SliceData(mem))),
		pieces: unsafe.Slice((*unix.Iovec)(unsafe.Pointer(unsafe.SliceData(mem[head:]))), n),
	}
	m.hdr.Iov = &m.pieces[0]
	m.hdr.SetIovlen(n)
	return m, nil
}

// Header is what the kernel is given the address of.
func (m *Message) Header() *unix.Msghdr { return m.hdr }

// Set makes p, which is mmap'd memory, piece i.
func (m *Message) Set(i int, p []byte) {
	m.pieces[i].Base = unsafe.SliceData(p)
	m.pieces[i].SetLen(len(p))
}

// Close unmaps the message.
func (m *Message) Close() error { return abi.Unmap(m.mem) }

// RecvZC receives into the area of a ZeroCopyRX until the stream ends or an
// error does, one completion a piece.
func (s *SQE) RecvZC(file int, z *ZeroCopyRX) {
	s.Opcode, s.FD, s.Flags = abi.IORING_OP_RECV_ZC, int32(file), abi.IOSQE_FIXED_FILE
	s.IOPrio, s.FileIndex = abi.IORING_RECV_MULTISHOT, z.id
}

// Link holds the next request back until this one has completed in full; if it
// fails, the next completes with ECANCELED.
func (s *SQE) Link() { s.Flags |= abi.IOSQE_IO_LINK }

// CQE is a completion.
type CQE struct{ abi.IOUringCQE }

// More reports whether the request will complete again.
func (c *CQE) More() bool { return c.Flags&abi.IORING_CQE_F_MORE != 0 }

// Buffer is the provided buffer that the completion's data starts in.
func (c *CQE) Buffer() (uint16, bool) {
	return uint16(c.Flags >> abi.IORING_CQE_BUFFER_SHIFT), c.Flags&abi.IORING_CQE_F_BUFFER != 0
}

// Notification reports whether this is SendZC's second completion.
func (c *CQE) Notification() bool { return c.Flags&abi.IORING_CQE_F_NOTIF != 0 }

// WasCopied reports whether the kernel copied the payload of the SendZC that
// this Notification belongs to, all of it or a part.
func (c *CQE) WasCopied() bool { return uint32(c.Res)&abi.IORING_NOTIF_USAGE_ZC_COPIED != 0 }

// Event reports whether the completion is no request's but a ZeroCopyRX's word,
// and of what.
func (c *CQE) Event() (Event, bool) { return Event(c.Res), c.UserData == zeroCopyEvent }

// Offset is where in a ZeroCopyRX's area the data of a RecvZC is, for
// ZeroCopyRX.Bytes. The completion is of a CQE32 ring.
func (c *CQE) Offset() uint64 {
	return (*abi.IOUringZCRXCQE)(unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c))).Off
}

// addr is the address of mmap'd memory, as the kernel takes it.
func addr(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) }
