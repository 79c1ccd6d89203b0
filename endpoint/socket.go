package endpoint

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetReceiveBuffer fixes the receive buffer of a socket at a size, which the
// kernel then doubles: beyond net.core.rmem_max where this process may go
// (CAP_NET_ADMIN), for it was asked for and no other size is as good. What came
// of it is to be read back.
func SetReceiveBuffer(fd, size int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
		return fmt.Errorf("set SO_RCVBUF to %d: %w", size, err)
	}
	return nil
}
