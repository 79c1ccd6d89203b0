package uring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// RegisterFiles makes fds files 0 … of the ring, which holds each open until
// UnregisterFiles.
func (r *Ring) RegisterFiles(fds []int32) error {
	if _, e := r.register(abi.IORING_REGISTER_FILES, unsafe.Pointer(unsafe.SliceData(fds)), uint32(len(fds))); e != 0 {
		return fmt.Errorf("register %d files with io_uring: %w", len(fds), e)
	}
	return nil
}

// UnregisterFiles lets go of what RegisterFiles took.
func (r *Ring) UnregisterFiles() error {
	if _, e := r.register(abi.IORING_UNREGISTER_FILES, nil, 0); e != 0 {
		return fmt.Errorf("unregister files from io_uring: %w", e)
	}
	return nil
}

// RegisterBuffer makes b, which is mmap'd memory, buffer 0 of the ring. Its
// pages are pinned: they outlive an unmap as long as a request reads them.
func (r *Ring) RegisterBuffer(b []byte) error {
	iov := unix.Iovec{Base: unsafe.SliceData(b)}
	iov.SetLen(len(b))
	if _, e := r.register(abi.IORING_REGISTER_BUFFERS, unsafe.Pointer(&iov), 1); e != 0 {
		return explainMemlock(fmt.Errorf("register a buffer of %d bytes with io_uring: %w", len(b), e))
	}
	return nil
}

// explainMemlock says what to do when pinned memory is over the limit.
func explainMemlock(err error) error {
	if !errors.Is(err, unix.ENOMEM) {
		return err
	}
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) != nil || l.Cur == unix.RLIM_INFINITY {
		return err
	}
	return fmt.Errorf("%w (RLIMIT_MEMLOCK is %d bytes: raise it with ulimit -l, or run as root)", err, l.Cur)
}

// BufRing is a ring of provided buffers of equal size that Recv takes in turn.
type BufRing struct {
	// word holds entry 0's buffer id, which is 0, and in its high half the
	// ring's tail: so that one 32-bit store publishes the tail.
	word *uint32
	tail uint16
	mem  []byte
	size int
	ring []byte
}

// BufRing registers count buffers (a power of two, at most 32768) of size
// bytes as group 0.
func (r *Ring) BufRing(count, size int) (*BufRing, error) {
	mem, err := abi.Map(count*size, false)
	if err != nil {
		return nil, err
	}
	mem = mem[:count*size] // Bytes wraps there, not at the end of the page
	ring, err := abi.Map(count*int(unsafe.Sizeof(abi.IOUringBuf{})), false)
	if err != nil {
		return nil, errors.Join(err, abi.Unmap(mem))
	}
	// The ring has as many entries as buffers, and they come back in the
	// order in which they were taken: entry i always holds buffer i, and
	// giving buffers back is moving the tail.
	entries := unsafe.Slice((*abi.IOUringBuf)(unsafe.Pointer(unsafe.SliceData(ring))), count)
	for i := range entries {
		entries[i] = abi.IOUringBuf{Addr: addr(mem[i*size:]), Len: uint32(size), BID: uint16(i)}
	}
	b := &BufRing{word: (*uint32)(unsafe.Pointer(&entries[0].BID)), mem: mem, size: size, ring: ring}
	b.Return(count)
	reg := abi.IOUringBufReg{RingAddr: addr(ring), RingEntries: uint32(count)}
	if _, e := r.register(abi.IORING_REGISTER_PBUF_RING, unsafe.Pointer(&reg), 1); e != 0 {
		return nil, errors.Join(fmt.Errorf("register %d provided buffers with io_uring: %w", count, e), b.Close())
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
func (b *BufRing) Return(count int) {
	b.tail += uint16(count)
	atomic.StoreUint32(b.word, uint32(b.tail)<<16)
}

// Close unmaps the buffers; the ring they are registered with is closed.
func (b *BufRing) Close() error { return errors.Join(abi.Unmap(b.mem), abi.Unmap(b.ring)) }
