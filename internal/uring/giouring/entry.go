//go:build giouring

package giouring

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	lib "github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/uring"
)

// SQE is a request. Files are indices into what RegisterFiles was given.
type SQE lib.SubmissionQueueEntry

func (s *SQE) lib() *lib.SubmissionQueueEntry { return (*lib.SubmissionQueueEntry)(s) }

// Recv receives into the buffers of a BufRing until the stream ends or the
// buffers do. The library is older than bundles.
func (s *SQE) Recv(file int, group uint16, bundle bool) {
	s.lib().PrepareRecvMultishot(file, 0, 0, 0)
	s.Flags |= lib.SqeFixedFile | lib.SqeBufferSelect
	s.BufIG = group
	if bundle {
		s.IoPrio |= abi.IORING_RECVSEND_BUNDLE
	}
}

// Send sends all of p, which is mmap'd memory, by copying.
func (s *SQE) Send(file int, p []byte) {
	s.lib().PrepareSend(file, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uint32(len(p)), unix.MSG_WAITALL)
	s.Flags |= lib.SqeFixedFile
}

// SendZC is Send by reference; p lies in registered buffer 0. The library
// sends the slice's header instead of what it describes.
func (s *SQE) SendZC(file int, p []byte) {
	s.lib().PrepareSendZCFixed(file, p, unix.MSG_WAITALL, uint32(lib.SendZCReportUsage), 0)
	s.Addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	s.Flags |= lib.SqeFixedFile
}

// SendMsgZC is SendZC of all pieces of a message as one request.
func (s *SQE) SendMsgZC(file int, m *uring.Message) {
	s.lib().PrepareSendmsgZC(file, (*syscall.Msghdr)(unsafe.Pointer(m.Header())), unix.MSG_WAITALL)
	s.IoPrio = lib.RecvsendFixedBuf | lib.SendZCReportUsage
	s.Flags |= lib.SqeFixedFile
}

// Link holds the next request back until this one has completed in full.
func (s *SQE) Link() { s.Flags |= lib.SqeIOLink }

// BufRing is a ring of provided buffers of equal size that Recv takes in turn.
type BufRing struct {
	ring      *lib.BufAndRing
	mem, ents []byte
	size      int
}

// maxBuffers is as many as the library can address: it counts the bytes of
// the entries in 16 bits.
const maxBuffers = 4096

// BufRing registers count buffers (a power of two) of size bytes as group 0.
// The library's own SetupBufRing never unmaps its memory.
func (r *Ring) BufRing(count, size int) (*BufRing, error) {
	if count > maxBuffers {
		return nil, fmt.Errorf("giouring: %d provided buffers, of at most %d", count, maxBuffers)
	}
	b := &BufRing{size: size}
	var err error
	if b.mem, err = abi.Map(count*size, false); err != nil {
		return nil, err
	}
	b.mem = b.mem[:count*size] // Bytes wraps there, not at the end of the page
	if b.ents, err = abi.Map(count*int(unsafe.Sizeof(lib.BufAndRing{})), false); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.ring = (*lib.BufAndRing)(unsafe.Pointer(unsafe.SliceData(b.ents)))
	for i := range count {
		b.ring.BufRingAdd(uintptr(unsafe.Pointer(&b.mem[i*size])), uint32(size), uint16(i), lib.BufRingMask(uint32(count)), i)
	}
	b.Return(count)
	reg := lib.BufReg{RingAddr: uint64(uintptr(unsafe.Pointer(b.ring))), RingEntries: uint32(count)}
	if err := r.register("provided buffers", lib.RegisterPbufRing, unsafe.Pointer(&reg), 1); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Bytes is the n bytes received from buffer id on. They may go round the end
// of the ring: then tail is not empty and follows head.
func (b *BufRing) Bytes(id uint16, n int) (head, tail []byte) {
	start := int(id) * b.size
	if start+n <= len(b.mem) {
		return b.mem[start : start+n], nil
	}
	return b.mem[start:], b.mem[:start+n-len(b.mem)]
}

// Count is how many buffers a receive of n bytes has used up.
func (b *BufRing) Count(n int) int { return (n + b.size - 1) / b.size }

// Return gives the next count buffers back to the kernel.
func (b *BufRing) Return(count int) { b.ring.BufRingAdvance(count) }

// Close unmaps the buffers; the ring they are registered with is closed.
func (b *BufRing) Close() error { return errors.Join(abi.Unmap(b.mem), abi.Unmap(b.ents)) }
