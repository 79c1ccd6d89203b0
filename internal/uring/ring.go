// Package uring is the io_uring interface that the engines need: a ring owned
// by one thread, registered files and buffers, provided-buffer rings and
// zero-copy receive.
//
// A Ring is made, entered and closed on one locked OS thread. Everything the
// kernel is given an address of is mmap'd: it neither moves nor is collected.
package uring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/fault"
)

// Config is what a Ring is made with.
type Config struct {
	// Entries is the size of the submission queue, a power of two. No more
	// requests may be prepared between two calls of Enter.
	Entries uint32
	// CQEntries is the size of the completion queue; 0 is twice Entries.
	CQEntries uint32
	// CQE32 makes completions 32 bytes, which zero-copy receive needs. (All
	// of its completions are; a mixed ring would save nothing.)
	CQE32 bool
	// MinWait lets Enter sleep so long for the number of completions asked
	// for before one is enough. Kernels before Linux 6.12 ignore it: see
	// CanBatch.
	MinWait time.Duration
	// Timeout is the longest that Enter waits; 0 is for ever, or an hour with
	// MinWait.
	Timeout time.Duration
	// BusyPoll is how long Enter polls the NIC queues of the ring's sockets
	// before it sleeps, at most 10 ms; 0 is not at all.
	BusyPoll time.Duration
}

// Ring is an io_uring.
type Ring struct {
	fd      int
	enterFD uintptr // index of the registered ring, or fd
	flags   uintptr // of every io_uring_enter
	arg     unsafe.Pointer
	argSize uintptr

	sqHead, sqTail *uint32 // shared with the kernel
	sqFlags        *uint32
	sqes           []SQE
	prepared       uint32 // tail of what SQE gave out
	submitted      uint32 // tail of what the kernel took

	cqHead, cqTail *uint32
	cqOverflow     *uint32
	cqes           unsafe.Pointer
	cqMask         uint32
	cqShift        uint32 // log2 of a completion's size
	head           uint32 // our copy of *cqHead

	features uint32
	maps     [][]byte
	// Enters counts io_uring_enter calls.
	Enters uint64
}

// setupFlags are those of every ring: one thread owns it, and completions are
// only made while that thread is in Enter, which spares it the interruptions.
const setupFlags = abi.IORING_SETUP_SINGLE_ISSUER | abi.IORING_SETUP_DEFER_TASKRUN |
	abi.IORING_SETUP_SUBMIT_ALL | abi.IORING_SETUP_CQSIZE | abi.IORING_SETUP_NO_SQARRAY

// New makes a ring for the calling thread.
func New(c Config) (*Ring, error) {
	p := abi.IOUringParams{Flags: setupFlags, CQEntries: c.CQEntries}
	if p.CQEntries == 0 {
		p.CQEntries = 2 * c.Entries
	}
	if c.CQE32 {
		p.Flags |= abi.IORING_SETUP_CQE32
	}
	want := p
	fd, e := setup(c.Entries, &p)
	if e == unix.EINVAL {
		// Before Linux 6.6 the kernel insists on the index array.
		p = want
		p.Flags &^= abi.IORING_SETUP_NO_SQARRAY
		fd, e = setup(c.Entries, &p)
	}
	if e != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", e)
	}
	r := &Ring{fd: fd, enterFD: uintptr(fd), features: p.Features}
	if err := r.mmap(&p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.prepareWait(c); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if c.BusyPoll > 0 {
		napi := abi.IOUringNAPI{BusyPollTo: uint32(c.BusyPoll.Microseconds())}
		if _, e := r.register(abi.IORING_REGISTER_NAPI, unsafe.Pointer(&napi), 1); e != 0 {
			err := fmt.Errorf("poll NIC queues (IORING_REGISTER_NAPI, Linux 6.9 with CONFIG_NET_RX_BUSY_POLL): %w", e)
			if e == unix.EINVAL || e == unix.EOPNOTSUPP {
				err = fault.Errorf(fault.Unsupported, "busy-poll: %w", err)
			}
			return nil, errors.Join(err, r.Close())
		}
	}
	// A registered ring spares every Enter a reference on the file. It is
	// this thread's own table, so only this thread can use the index.
	reg := abi.IOUringRsrcUpdate{Offset: ^uint32(0), Data: uint64(fd)}
	if n, e := r.register(abi.IORING_REGISTER_RING_FDS, unsafe.Pointer(&reg), 1); e == 0 && n == 1 {
		r.enterFD = uintptr(reg.Offset)
		r.flags |= abi.IORING_ENTER_REGISTERED_RING
	}
	return r, nil
}

func setup(entries uint32, p *abi.IOUringParams) (int, unix.Errno) {
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	return int(fd), e
}

func (r *Ring) mmap(p *abi.IOUringParams) error {
	cqeSize := uint32(unsafe.Sizeof(abi.IOUringCQE{}))
	r.cqShift = 4
	if p.Flags&abi.IORING_SETUP_CQE32 != 0 {
		cqeSize, r.cqShift = 2*cqeSize, 5
	}
	// Since Linux 5.4 one mapping holds both queues' indices and the
	// completions (IORING_FEAT_SINGLE_MMAP).
	size := p.CQOff.CQEs + p.CQEntries*cqeSize
	noArray := p.Flags&abi.IORING_SETUP_NO_SQARRAY != 0
	if !noArray {
		size = max(size, p.SQOff.Array+4*p.SQEntries)
	}
	rings, err := r.mapRing(abi.IORING_OFF_SQ_RING, int(size))
	if err != nil {
		return err
	}
	sqes, err := r.mapRing(abi.IORING_OFF_SQES, int(p.SQEntries)*int(unsafe.Sizeof(SQE{})))
	if err != nil {
		return err
	}
	base := unsafe.Pointer(unsafe.SliceData(rings))
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Add(base, off)) }
	r.sqHead, r.sqTail, r.sqFlags = word(p.SQOff.Head), word(p.SQOff.Tail), word(p.SQOff.Flags)
	r.cqHead, r.cqTail, r.cqOverflow = word(p.CQOff.Head), word(p.CQOff.Tail), word(p.CQOff.Overflow)
	r.cqMask = p.CQEntries - 1
	r.cqes = unsafe.Add(base, p.CQOff.CQEs)
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(unsafe.SliceData(sqes))), p.SQEntries)
	if !noArray {
		// Entry i of the queue is request i, for ever.
		for i := range p.SQEntries {
			*word(p.SQOff.Array + 4*i) = i
		}
	}
	return nil
}

func (r *Ring) mapRing(offset int64, size int) ([]byte, error) {
	b, err := unix.Mmap(r.fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map io_uring at %#x: %w", offset, err)
	}
	r.maps = append(r.maps, b)
	return b, nil
}

// waitArg is the argument of every io_uring_enter, in memory that stays.
type waitArg struct {
	arg abi.IOUringGeteventsArg
	ts  abi.KernelTimespec
}

func (r *Ring) prepareWait(c Config) error {
	r.flags = abi.IORING_ENTER_GETEVENTS
	if r.NoIOWait() {
		// Waiting for the network is not waiting for a disk: without this
		// the idle time of the CPU would be reported as iowait.
		r.flags |= abi.IORING_ENTER_NO_IOWAIT
	}
	if c.Timeout == 0 && c.MinWait == 0 {
		return nil
	}
	if c.Timeout == 0 {
		// Without any, the kernel returns after MinWait even when nothing
		// came.
		c.Timeout = time.Hour
	}
	b, err := abi.Map(int(unsafe.Sizeof(waitArg{})), false)
	if err != nil {
		return err
	}
	r.maps = append(r.maps, b)
	w := (*waitArg)(unsafe.Pointer(unsafe.SliceData(b)))
	if r.CanBatch() {
		w.arg.MinWaitUsec = uint32(c.MinWait.Microseconds())
	}
	w.ts.Sec, w.ts.Nsec = int64(c.Timeout/time.Second), int64(c.Timeout%time.Second)
	w.arg.Timespec = address(&w.ts)
	r.flags |= abi.IORING_ENTER_EXT_ARG
	// The argument is the first field of waitArg, which SetMinWait relies on.
	r.arg, r.argSize = unsafe.Pointer(w), unsafe.Sizeof(w.arg)
	return nil
}

// SetMinWait changes Config.MinWait, within what New was given above zero.
func (r *Ring) SetMinWait(d time.Duration) {
	if r.arg != nil && r.CanBatch() {
		(*waitArg)(r.arg).arg.MinWaitUsec = uint32(d.Microseconds())
	}
}

// CanBatch reports whether MinWait works. Without it, waiting for more than
// one completion can wait for ever: a poll that has fired once makes no
// second event until the first one was handled.
func (r *Ring) CanBatch() bool { return r.features&abi.IORING_FEAT_MIN_TIMEOUT != 0 }

// CanBundle reports whether a receive may fill several provided buffers.
func (r *Ring) CanBundle() bool { return r.features&abi.IORING_FEAT_RECVSEND_BUNDLE != 0 }

// NoIOWait reports whether waiting in Enter is counted as plain idle time.
func (r *Ring) NoIOWait() bool { return r.features&abi.IORING_FEAT_NO_IOWAIT != 0 }

// SQE gives the next request, cleared. It is submitted by the next Enter. It
// panics beyond Config.Entries, which no caller prepares.
func (r *Ring) SQE() *SQE {
	if r.prepared-atomic.LoadUint32(r.sqHead) >= uint32(len(r.sqes)) {
		panic("uring: more requests prepared than the submission queue holds")
	}
	s := &r.sqes[r.prepared&uint32(len(r.sqes)-1)]
	*s = SQE{}
	r.prepared++
	return s
}

// Enter submits the requests prepared and waits until want completions are
// unread, or one is after MinWait, or Timeout is over, or a signal came. Those
// are no errors: the caller looks at Ready and comes back.
func (r *Ring) Enter(want uint32) unix.Errno {
	atomic.StoreUint32(r.sqTail, r.prepared)
	for {
		r.Enters++
		// Never RawSyscall: this waits, and the scheduler must know.
		n, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, r.enterFD, uintptr(r.prepared-r.submitted),
			uintptr(want), r.flags, uintptr(r.arg), r.argSize)
		switch e {
		case 0:
			r.submitted += uint32(n)
			if r.submitted != r.prepared {
				continue
			}
			return 0
		case unix.EINTR, unix.ETIME, unix.EBUSY:
			// EINTR is not tried again here: Timeout would start afresh, and
			// signals that come more often would make it endless. EBUSY:
			// completions wait outside the queue until it is read.
			return 0
		default:
			return e
		}
	}
}

// Ready is how many completions are unread.
func (r *Ring) Ready() uint32 { return atomic.LoadUint32(r.cqTail) - r.head }

// CQE is unread completion i, i less than what Ready said.
func (r *Ring) CQE(i uint32) *CQE {
	return (*CQE)(unsafe.Add(r.cqes, ((r.head+i)&r.cqMask)<<r.cqShift))
}

// Seen gives the first n unread completions back to the kernel.
func (r *Ring) Seen(n uint32) {
	r.head += n
	atomic.StoreUint32(r.cqHead, r.head)
}

// Overflowed reports whether completions wait outside the queue for lack of
// room; the next Enter after Seen brings them in.
func (r *Ring) Overflowed() bool {
	return atomic.LoadUint32(r.sqFlags)&abi.IORING_SQ_CQ_OVERFLOW != 0
}

// Lost is how many completions the kernel had no memory to keep.
func (r *Ring) Lost() uint32 { return atomic.LoadUint32(r.cqOverflow) }

// Close gives the ring back. Requests in flight are cancelled by the kernel in
// its own time; it does not wait for them.
func (r *Ring) Close() error {
	if r.flags&abi.IORING_ENTER_REGISTERED_RING != 0 {
		// Or the ring would live as long as this thread.
		reg := abi.IOUringRsrcUpdate{Offset: uint32(r.enterFD)}
		r.register(abi.IORING_UNREGISTER_RING_FDS, unsafe.Pointer(&reg), 1)
	}
	err := unix.Close(r.fd)
	for _, m := range r.maps {
		err = errors.Join(err, unix.Munmap(m))
	}
	r.maps = nil
	return err
}

func (r *Ring) register(op uint32, arg unsafe.Pointer, n uint32) (int, unix.Errno) {
	return register(r.fd, op, arg, n)
}

func register(fd int, op uint32, arg unsafe.Pointer, n uint32) (int, unix.Errno) {
	for {
		ret, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), uintptr(op), uintptr(arg), uintptr(n), 0, 0)
		if e != unix.EINTR {
			return int(ret), e
		}
	}
}
