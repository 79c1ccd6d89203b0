package headers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	vnetHeader = 10  // struct virtio_net_hdr, include/uapi/linux/virtio_net.h
	snap       = 256 // bytes of a frame: all headers, no payload to speak of
	maxGroup   = 256 // sockets of a fanout group; with more queues, numbers are modulo this
)

// Allowed says whether this process may capture.
func Allowed() error {
	fd, err := packetSocket()
	if err != nil {
		return fmt.Errorf("capture headers: %w", err)
	}
	return unix.Close(fd)
}

// packetSocket makes a socket of protocol 0: nothing arrives before it is bound.
func packetSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("make a packet socket: %w (it needs CAP_NET_RAW)", err)
	}
	return fd, err
}

// Capture sums up the TCP frames that cross an interface of the calling
// thread's network namespace until ctx ends, received and sent: those of the
// flows that keep wants, or all where it is nil. lost counts frames that came
// faster than they could be looked at. It needs CAP_NET_RAW.
//
// One socket for each queue, in a fanout group that chooses by queue: that is
// how a packet socket learns the queue of a frame.
func Capture(ctx context.Context, iface string, queues int, keep func(Flow) bool) (received, sent *Summary, lost uint64, err error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("interface %s: %w", iface, err)
	}
	c := capture{received: newSummary(keep), sent: newSummary(keep), decoder: newDecoder()}
	defer c.close()
	// Receive queues are recorded as their number plus one, so that zero is
	// none: hence one socket more.
	if err := c.open(i.Index, min(queues+1, maxGroup)); err != nil {
		return nil, nil, 0, fmt.Errorf("capture on %s: %w", iface, err)
	}
	for ctx.Err() == nil {
		if err := c.read(); err != nil {
			return nil, nil, 0, fmt.Errorf("capture on %s: %w", iface, err)
		}
	}
	for _, p := range c.poll {
		st, err := unix.GetsockoptTpacketStats(int(p.Fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return nil, nil, 0, fmt.Errorf("capture on %s: statistics: %w", iface, err)
		}
		lost += uint64(st.Drops)
	}
	return c.received, c.sent, lost, nil
}

type capture struct {
	poll           []unix.PollFd
	decoder        *decoder
	received, sent *Summary
	buf            [vnetHeader + snap]byte
	control        [64]byte
}

// close takes all sockets off the interface. The kernel does that first thing
// and then sleeps until no CPU handles a frame for the socket any more, which
// takes long on a busy machine; nobody has to wait for it.
func (c *capture) close() {
	var closing sync.WaitGroup
	for _, p := range c.poll {
		closing.Add(1)
		go func() {
			closing.Done()
			unix.Close(int(p.Fd))
		}()
	}
	closing.Wait()
}

// open makes the group. Its size tells a frame's socket from its queue, so none
// may be let in before the group is whole.
func (c *capture) open(index, sockets int) error {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	group := 0
	for k := range sockets {
		fd, err := packetSocket()
		if err != nil {
			return err
		}
		c.poll = append(c.poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		for _, o := range []struct{ level, name, value int }{
			{unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
			{unix.SOL_PACKET, unix.PACKET_AUXDATA, 1},
			{unix.SOL_SOCKET, unix.SO_RCVBUF, 4 << 20},
		} {
			if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
				return fmt.Errorf("socket option %d: %w", o.name, err)
			}
		}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing}); err != nil {
			return fmt.Errorf("let no frame in yet: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: index}); err != nil {
			return err
		}
		kind := unix.PACKET_FANOUT_QM
		if k == 0 {
			kind |= unix.PACKET_FANOUT_FLAG_UNIQUEID // the kernel chooses the group's number
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, group|kind<<16); err != nil {
			return fmt.Errorf("choose sockets by queue: %w", err)
		}
		if k == 0 {
			v, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
			if err != nil {
				return fmt.Errorf("choose sockets by queue: %w", err)
			}
			group = v & 0xffff
		}
	}
	for _, p := range c.poll {
		if err := unix.SetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
			return fmt.Errorf("let frames in: %w", err)
		}
	}
	return nil
}

func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// read waits a moment for frames and takes some from every socket.
func (c *capture) read() error {
	n, err := unix.Poll(c.poll, 20)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if n <= 0 || err != nil {
		return err
	}
	for k := range c.poll {
		if c.poll[k].Revents&unix.POLLERR != 0 {
			return errors.New("the interface went down")
		}
		if c.poll[k].Revents&unix.POLLIN == 0 {
			continue
		}
		for range 64 {
			more, err := c.readOne(k)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
	}
	return nil
}

func (c *capture) readOne(socket int) (bool, error) {
	n, oobn, _, from, err := unix.Recvmsg(int(c.poll[socket].Fd), c.buf[:], c.control[:], unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, nil
	case errors.Is(err, unix.EINTR):
		return true, nil
	case err != nil:
		return false, err
	}
	f, ok := parse(c.buf[:n], c.control[:oobn])
	if !ok {
		return true, nil
	}
	ll, _ := from.(*unix.SockaddrLinklayer)
	if ll != nil && ll.Pkttype == unix.PACKET_OUTGOING {
		f.queue = socket
		c.sent.add(c.decoder, f)
	} else {
		f.queue = socket - 1 // NoQueue where none was recorded
		c.received.add(c.decoder, f)
	}
	return true, nil
}

// parse takes apart what a packet socket gives: a virtio_net_hdr, the frame's
// first bytes, and the length of the whole in a control message.
func parse(b, control []byte) (frame, bool) {
	if len(b) < vnetHeader {
		return frame{}, false
	}
	f := frame{
		head:    b[vnetHeader:],
		segment: int(binary.NativeEndian.Uint16(b[4:])), // gso_size
	}
	f.length = len(f.head)
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return frame{}, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 8 {
			f.length = int(binary.NativeEndian.Uint32(m.Data[4:])) // tp_len
		}
	}
	return f, true
}
