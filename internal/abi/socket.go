package abi

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Discard is recvfrom(2) with MSG_TRUNC, which on TCP drops n bytes from the
// receive queue without copying them (tcp(7), Linux 2.4). No buffer is given,
// so none can overflow. It may block.
func Discard(fd, n, flags int) (int, unix.Errno) {
	r, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), uintptr(flags|unix.MSG_TRUNC), 0, 0)
	return int(r), e
}

// Disconnect is connect(2) to no address: TCP resets the connection and lets go of
// what it had still to send, whoever else refers to the socket (tcp_disconnect).
func Disconnect(fd int) unix.Errno {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	return e
}

// ipv6PKTOPTIONS is IPV6_2292PKTOPTIONS of linux/in6.h, Linux 2.1.
const ipv6PKTOPTIONS = 6

// IncomingInterface gives the index of the interface by which the first packet
// of an accepted TCP connection arrived, 0 for one that this end made. The
// kernel keeps it for the options that it answers to IP_PKTINFO (net/ipv4:
// IP_PKTOPTIONS, net/ipv6: IPV6_2292PKTOPTIONS).
func IncomingInterface(fd int, v6 bool) (int, error) {
	level, info, options := unix.IPPROTO_IP, unix.IP_PKTINFO, unix.IP_PKTOPTIONS
	if v6 {
		level, info, options = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, ipv6PKTOPTIONS
	}
	was, err := unix.GetsockoptInt(fd, level, info)
	if err == nil {
		err = unix.SetsockoptInt(fd, level, info, 1)
	}
	if err != nil {
		return 0, fmt.Errorf("ask for a connection's interface: %w", err)
	}
	defer func() { _ = unix.SetsockoptInt(fd, level, info, was) }() // it was accepted just now
	var b [256]byte
	n := uint32(len(b))
	if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(options),
		uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&n)), 0); e != 0 {
		return 0, fmt.Errorf("read a connection's interface: %w", e)
	}
	messages, err := unix.ParseSocketControlMessage(b[:n])
	if err != nil {
		return 0, fmt.Errorf("read a connection's interface: %w", err)
	}
	for i := range messages {
		m := &messages[i]
		switch {
		case !v6 && m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 4:
			return int(int32(binary.NativeEndian.Uint32(m.Data))), nil // struct in_pktinfo: ipi_ifindex
		case v6 && m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 20:
			return int(int32(binary.NativeEndian.Uint32(m.Data[16:]))), nil // struct in6_pktinfo: ipi6_ifindex
		}
	}
	return 0, nil
}
