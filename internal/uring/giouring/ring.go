//go:build giouring

// Package giouring has the methods of internal/uring, as far as the copying
// engines and sendzc use them, on github.com/pawelgaczynski/giouring, so that
// the two can be compared. What is wrong or missing in the library is avoided
// here, each with its reason.
//
// The library takes mmap and munmap from package syscall by go:linkname, which
// Go 1.23 and later link only with -ldflags=-checklinkname=0 (go.dev/issue/67401).
package giouring

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	lib "github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/uring"
)

// Ring is an io_uring.
type Ring struct {
	lib *lib.Ring
	// index is the registered ring's, which the library keeps to itself.
	index    uint32
	canBatch bool
	bundle   bool

	wait  *waitArg
	mem   []byte // of wait
	flags uint32 // of an io_uring_enter that is not the library's own
	// apart says that a wait is a call apart from submitting: the library's
	// own knows no MinWait.
	apart bool

	batch []*lib.CompletionQueueEvent
	// Enters counts io_uring_enter calls.
	Enters uint64
}

// waitArg is in mmap'd memory: the library hands the kernel the address of a
// timespec as a number, which is that of another place once the stack moved.
type waitArg struct {
	arg abi.IOUringGeteventsArg
	ts  abi.KernelTimespec
}

// New makes a ring for the calling thread.
func New(c uring.Config) (*Ring, error) {
	if c.CQE32 {
		return nil, errors.New("giouring: completions of 32 bytes are not for it")
	}
	// The library does not tell the features of a ring.
	probe, err := uring.New(uring.Config{Entries: 1})
	if err != nil {
		return nil, err
	}
	r := &Ring{lib: lib.NewRing(), canBatch: probe.CanBatch(), bundle: probe.CanBundle()}
	noIOWait := probe.NoIOWait()
	if err := probe.Close(); err != nil {
		return nil, err
	}
	// It cannot set the size of the completion queue, which is twice that of
	// the submission queue. It has no IORING_SETUP_NO_SQARRAY either: it
	// writes the array in any case, over the rings' indices.
	entries := max(c.Entries, c.CQEntries/2)
	if err := r.lib.QueueInit(entries, lib.SetupSingleIssuer|lib.SetupDeferTaskrun|lib.SetupSubmitAll); err != nil {
		return nil, fmt.Errorf("giouring: io_uring_setup: %w", err)
	}
	r.batch = make([]*lib.CompletionQueueEvent, 2*entries)
	if err := r.registerRing(); err != nil {
		r.lib.QueueExit()
		return nil, err
	}
	if err := r.prepareWait(c, noIOWait); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if c.BusyPoll > 0 {
		napi := abi.IOUringNAPI{BusyPollTo: uint32(c.BusyPoll.Microseconds())}
		if err := r.register("busy polling", abi.IORING_REGISTER_NAPI, unsafe.Pointer(&napi), 1); err != nil {
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
				err = fault.Errorf(fault.Unsupported, "busy-poll: %w", err)
			}
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// registerRing has the library register the ring, and finds the index out that
// it gets, by trying: the kernel gives the thread's lowest.
func (r *Ring) registerRing() error {
	reg := lib.RsrcUpdate{Offset: ^uint32(0), Data: uint64(r.lib.RingFd())}
	if err := r.register("the ring", lib.RegisterRingFDs, unsafe.Pointer(&reg), 1); err != nil {
		return err
	}
	r.index = reg.Offset
	if err := r.unregisterRing(); err != nil {
		return err
	}
	if _, err := r.lib.RegisterRingFd(); err != nil {
		return fmt.Errorf("giouring: register the ring: %w", err)
	}
	return nil
}

// unregisterRing stands in for the library's, which does so only when the ring
// is not registered: it would live as long as the thread.
func (r *Ring) unregisterRing() error {
	reg := lib.RsrcUpdate{Offset: r.index}
	return r.register("the ring no more", lib.UnregisterRingFDs, unsafe.Pointer(&reg), 1)
}

// register goes by the ring's descriptor. The library's own calls go by the
// registered ring, which takes Linux 6.3, and some lose their error.
func (r *Ring) register(what string, op uint32, arg unsafe.Pointer, n uint32) error {
	for {
		switch _, e := r.lib.Register(r.lib.RingFd(), op, arg, n); e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("giouring: register %s: %w", what, e)
		}
	}
}

func (r *Ring) prepareWait(c uring.Config, noIOWait bool) error {
	r.flags = lib.EnterGetEvents | lib.EnterExtArg | lib.EnterRegisteredRing
	if noIOWait {
		r.flags |= abi.IORING_ENTER_NO_IOWAIT
	}
	if c.Timeout == 0 {
		c.Timeout = time.Hour // without any, MinWait would be one
	}
	var err error
	if r.mem, err = abi.Map(int(unsafe.Sizeof(waitArg{})), false); err != nil {
		return err
	}
	r.wait = (*waitArg)(unsafe.Pointer(unsafe.SliceData(r.mem)))
	r.wait.ts = abi.KernelTimespec{Sec: int64(c.Timeout / time.Second), Nsec: int64(c.Timeout % time.Second)}
	r.wait.arg.Timespec = uint64(uintptr(unsafe.Pointer(&r.wait.ts)))
	if r.canBatch && c.MinWait > 0 {
		r.wait.arg.MinWaitUsec = uint32(c.MinWait.Microseconds())
		r.apart = true
	}
	return nil
}

// CanBatch reports whether MinWait works.
func (r *Ring) CanBatch() bool { return r.canBatch }

// CanBundle reports whether a receive may fill several provided buffers.
func (r *Ring) CanBundle() bool { return r.bundle }

// SQE gives the next request, cleared: the library's preparations leave fields
// of the request that was there before, which the kernel takes for bad ones.
func (r *Ring) SQE() *SQE {
	s := r.lib.GetSQE()
	if s == nil {
		panic("giouring: more requests prepared than the submission queue holds")
	}
	*s = lib.SubmissionQueueEntry{}
	return (*SQE)(s)
}

// Enter submits the requests prepared and waits until want completions are
// unread, or one is after MinWait, or Timeout is over, or a signal came.
func (r *Ring) Enter(want uint32) unix.Errno {
	prepared := r.lib.SQReady() > 0
	var err error
	switch {
	case prepared && !r.apart:
		// The same structure: on 64 bits a kernel's timespec is the process's.
		r.Enters++
		_, err = r.lib.SubmitAndWaitTimeout(want, (*syscall.Timespec)(unsafe.Pointer(&r.wait.ts)), nil)
		return ignore(err)
	case prepared:
		r.Enters++
		if _, err = r.lib.Submit(); ignore(err) != 0 {
			return ignore(err)
		}
	}
	r.Enters++
	_, err = r.lib.Enter2(0, want, r.flags, unsafe.Pointer(&r.wait.arg), int(unsafe.Sizeof(r.wait.arg)))
	return ignore(err)
}

// ignore is what is no error of internal/uring's Enter either.
func ignore(err error) unix.Errno {
	e, _ := err.(syscall.Errno)
	switch e {
	case unix.EINTR, unix.ETIME, unix.EBUSY:
		return 0
	}
	return e
}

// Ready is how many completions are unread. It takes them out: the library's
// PeekBatchCQE runs on beyond the unread ones when it is given more room.
func (r *Ring) Ready() uint32 {
	n := r.lib.CQReady()
	if n > 0 {
		r.lib.PeekBatchCQE(r.batch[:n])
	}
	return n
}

// CQE is unread completion i, i less than what Ready said last.
func (r *Ring) CQE(i uint32) *uring.CQE { return (*uring.CQE)(unsafe.Pointer(r.batch[i])) }

// Seen gives the first n unread completions back to the kernel.
func (r *Ring) Seen(n uint32) { r.lib.CQAdvance(n) }

// Overflowed reports whether completions wait outside the queue.
func (r *Ring) Overflowed() bool { return r.lib.CQHasOverflow() }

// RegisterFiles makes fds files 0 … of the ring. The library takes them for
// numbers of 8 bytes, and says nothing when the kernel refuses.
func (r *Ring) RegisterFiles(fds []int32) error {
	return r.register("files", lib.RegisterFiles, unsafe.Pointer(unsafe.SliceData(fds)), uint32(len(fds)))
}

// UnregisterFiles lets go of what RegisterFiles took.
func (r *Ring) UnregisterFiles() error {
	return r.register("files no more", lib.UnregisterFiles, nil, 0)
}

// RegisterBuffer makes b, which is mmap'd memory, buffer 0 of the ring.
func (r *Ring) RegisterBuffer(b []byte) error {
	iov := syscall.Iovec{Base: unsafe.SliceData(b)}
	iov.SetLen(len(b))
	return r.register(fmt.Sprintf("a buffer of %d bytes", len(b)), lib.RegisterBuffers, unsafe.Pointer(&iov), 1)
}

// Close gives the ring back.
func (r *Ring) Close() error {
	err := r.unregisterRing()
	r.lib.QueueExit()
	if r.mem != nil {
		err = errors.Join(err, abi.Unmap(r.mem))
	}
	return err
}
