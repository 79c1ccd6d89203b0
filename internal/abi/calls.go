package abi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Recv is recvfrom(2) without an address. x/sys/unix's own allocates one.
// It may block, so the scheduler is told.
func Recv(fd int, p []byte, flags int) (int, unix.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0,
		0)
	return int(n), e
}

// Send is sendto(2) without an address. It may block.
func Send(fd int, p []byte, flags int) (int, unix.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
	return int(n), e
}

// SleepUntil is clock_nanosleep(2) until a time of CLOCK_MONOTONIC, ns. The
// scheduler is not told, so that this thread keeps its place and no other does
// anything because of it: for sleeps of a few milliseconds at most.
func SleepUntil(at int64) {
	ts := unix.NsecToTimespec(at)
	for {
		_, _, e := unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if e != unix.EINTR {
			return
		}
	}
}
