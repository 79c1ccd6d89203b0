package abi

import "golang.org/x/sys/unix"

// Discard is recvfrom(2) with MSG_TRUNC, which on TCP drops n bytes from the
// receive queue without copying them (tcp(7), Linux 2.4). No buffer is given,
// so none can overflow. It may block.
func Discard(fd, n, flags int) (int, unix.Errno) {
	r, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), uintptr(flags|unix.MSG_TRUNC), 0, 0)
	return int(r), e
}
