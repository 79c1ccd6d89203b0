package rx

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
)

// MMap receives by TCP_ZEROCOPY_RECEIVE: the kernel maps the pages of received
// segments, and what does not fill a page is copied.
func MMap() endpoint.Engine { return mmap{} }

type mmap struct{}

func (mmap) Name() string { return "mmap" }

// Elements of mmap's Counters.Syscalls and Counters.Extra.
const (
	mmapGetsockopt = iota
	mmapRecvfrom
	mmapPoll
	mmapMadvise
)
const (
	mmapCopybuf = iota
	mmapSkipped
	mmapEmpty
)

func (mmap) Layout() endpoint.Layout {
	return endpoint.Layout{
		Syscalls: []string{
			mmapGetsockopt: "getsockopt",
			mmapRecvfrom:   "recvfrom",
			mmapPoll:       "poll",
			mmapMadvise:    "madvise",
		},
		// Copied within TCP_ZEROCOPY_RECEIVE; read because of its
		// recv_skip_hint; calls that gave neither.
		Extra:    []string{mmapCopybuf: "copybuf_bytes", mmapSkipped: "skip_hint_bytes", mmapEmpty: "empty_calls"},
		ZeroCopy: true,
		Copied: "the kernel maps whole pages and copies what lies beside them: it takes segments of a multiple of 4096 bytes (an MTU of " +
			"4148) and a NIC that splits headers off",
	}
}

func (mmap) Options() []endpoint.Option {
	return []endpoint.Option{
		{Name: "chunk", Default: "2M", Min: 4096, Max: 64 << 20, Doc: "bytes to wait for (SO_RCVLOWAT) and to map in one call; whole pages, " +
			"and no more than half of the receive buffer"},
		{Name: "map", Default: "2M", Min: 4096, Max: 256 << 20, Doc: "bytes to map before all pages are released at once; at least chunk"},
		{Name: "copybuf", Default: "64K", Min: 0, Max: 1 << 20, Doc: "bytes the kernel may copy in the same call where a page cannot be " +
			"mapped; 0 leaves them to recv"},
		endpoint.Switch("tlb-clean-hint", true, "tell the kernel that the mapping was emptied, so that it need not (Linux 5.11)"),
	}
}

func (mmap) Probe(string) feature.Verdict {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return feature.Undecided(fmt.Sprintf("make a TCP socket: %v", err), "run it where TCP over IPv4 is allowed")
	}
	defer unix.Close(fd)
	// A socket that was never connected has an empty queue; the call works
	// on it all the same.
	known, e := abi.ZerocopyReceive(fd, &abi.TCPZerocopyReceive{})
	switch {
	case e == unix.ENOPROTOOPT || e == 0 && known < mmapKnown:
		return feature.Impossible("this kernel lacks TCP_ZEROCOPY_RECEIVE with copybuf and flags", "Linux 5.11 or later")
	case e != 0:
		return feature.Undecided(fmt.Sprintf("getsockopt TCP_ZEROCOPY_RECEIVE: %v", e),
			"Linux 5.11 or later; allow the call if a seccomp filter forbids it")
	}
	return feature.Verdict{Answer: feature.Yes, Reason: "pages map only where segments fill them: an MSS that is a multiple of the page " +
		"size, header split in the NIC, or a sender on this host that uses MSG_ZEROCOPY"}
}

// mmapKnown is what the kernel must know of tcp_zerocopy_receive: up to flags.
const mmapKnown = 40

func (e mmap) Memory(p endpoint.Params) (int64, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return 0, err
	}
	return endpoint.Bytes(p.Flows, o.Int("map")) + endpoint.Bytes(p.Flows, max(o.Int("copybuf"), p.Length)), nil
}

func (e mmap) Open(p endpoint.Params) (endpoint.Session, error) {
	o, err := endpoint.ParseOptions(e.Options(), p.Options)
	if err != nil {
		return nil, err
	}
	chunk, size, copybuf := o.Int("chunk"), o.Int("map"), o.Int("copybuf")
	if page := unix.Getpagesize(); chunk%page != 0 || size%page != 0 {
		return nil, fault.Errorf(fault.Usage, "options chunk %d and map %d must be whole pages of %d bytes", chunk, size, page)
	}
	if size < chunk {
		return nil, fault.Errorf(fault.Usage, "option map %d is less than chunk %d", size, chunk)
	}
	if err := usable(e); err != nil {
		return nil, err
	}
	flags := uint32(0)
	if o.On("tlb-clean-hint") {
		flags = abi.TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT
	}
	return endpoint.PerFlow(p.Flows, func(int) (endpoint.Worker, error) {
		w := &mmapWorker{chunk: chunk, size: size, copybuf: copybuf, flags: flags, took: func(n int) { p.Took("chunk", n) }}
		var err error
		if w.pages, err = abi.ReserveReceiveMap(size); err != nil {
			return nil, err
		}
		if w.buf, err = abi.Map(max(copybuf, p.Length), false); err != nil {
			return nil, errors.Join(err, w.pages.Close())
		}
		return w, nil
	}), nil
}

type mmapWorker struct {
	chunk, size, copybuf int
	flags                uint32
	took                 func(chunk int)

	pages *abi.ReceiveMap
	off   int    // in pages, of what is still empty
	buf   []byte // for what cannot be mapped
	zc    abi.TCPZerocopyReceive
	poll  [1]unix.PollFd
}

func (w *mmapWorker) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	c := conns[0]
	if err := w.pages.Attach(c.FD); err != nil {
		return err
	}
	// The kernel wakes us for less when the window is full or the stream
	// ends, and lowers the value to half the receive buffer.
	if err := unix.SetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_RCVLOWAT, w.chunk); err != nil {
		return fmt.Errorf("set SO_RCVLOWAT to %d: %w", w.chunk, err)
	}
	if n, err := unix.GetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_RCVLOWAT); err == nil {
		w.took(n)
	}
	var (
		woken bool // the last call was wait
		ended bool // no more data will arrive
		due   int  // bytes to take before the next wait
	)
	var pacer endpoint.Pacer
	for {
		got, left, err := w.take(c)
		if err != nil {
			return err
		}
		if woken {
			// One call may not take them all: it stops at the first bytes
			// that it can neither map nor copy.
			due = min(w.chunk, got+left)
		}
		due -= got
		switch {
		case got == 0 && (woken || ended):
			// Only a read tells the end of the stream from a reset, and
			// it fails if nobody may see the payload.
			if n, err := w.read(c, len(w.buf), 0); n == 0 {
				return err
			}
			woken = false
		case got > 0 && due > 0, left >= w.chunk, ended:
			woken = false
		default:
			if ended, err = w.wait(c); err != nil {
				return err
			}
			woken = true
		}
		pacer.Tick()
	}
}

// take maps and copies what is queued, at most a chunk and what follows it up
// to the next page that can be mapped. It gives how much that was and how
// much is left in the queue.
func (w *mmapWorker) take(c endpoint.Conn) (got, left int, err error) {
	w.zc = abi.TCPZerocopyReceive{
		Address: w.pages.Addr(w.off), Length: uint32(min(w.chunk, w.size-w.off)), Flags: w.flags,
	}
	w.zc.SetCopybuf(w.buf[:w.copybuf])
	_, e := abi.ZerocopyReceive(c.FD, &w.zc)
	c.Counters.Syscalls[mmapGetsockopt].Add(1)
	if e == 0 && w.zc.Err != 0 {
		e = unix.Errno(-w.zc.Err)
	}
	if e == 0 && w.zc.CopybufLen < 0 {
		e = unix.Errno(-w.zc.CopybufLen)
	}
	switch e {
	case 0:
	case unix.EIO: // at the end of the stream, and nothing is left
		return 0, 0, nil
	default:
		return 0, 0, fmt.Errorf("TCP_ZEROCOPY_RECEIVE on flow %d: %w", c.Index+1, e)
	}
	mapped, copied, skip := int(w.zc.Length), int(w.zc.CopybufLen), int(w.zc.RecvSkipHint)
	if mapped > 0 {
		c.Counters.ZeroCopied.Add(uint64(mapped))
		c.Consume(w.pages.Bytes(w.off, mapped))
		if w.off += mapped; w.off == w.size {
			// All pages at once: each time costs a flush of the TLB.
			c.Counters.Syscalls[mmapMadvise].Add(1)
			if e := w.pages.Zap(w.size); e != 0 {
				return 0, 0, fmt.Errorf("give received pages back on flow %d: %w", c.Index+1, e)
			}
			w.off = 0
		}
	}
	if copied > 0 {
		c.Counters.Copied.Add(uint64(copied))
		c.Counters.Extra[mmapCopybuf].Add(uint64(copied))
		c.Consume(w.buf[:copied])
	}
	read := 0
	if skip > 0 {
		// The hint is what can only be read; count what the read gave.
		if read, err = w.read(c, min(skip, len(w.buf)), unix.MSG_DONTWAIT); err != nil {
			return 0, 0, err
		}
		c.Counters.Extra[mmapSkipped].Add(uint64(read))
	}
	if got = mapped + copied + read; got == 0 {
		c.Counters.Extra[mmapEmpty].Add(1)
	}
	return got, max(0, int(w.zc.Inq)-read), nil
}

// read copies up to n bytes; 0 is the end of the stream or, with
// MSG_DONTWAIT, an empty queue.
func (w *mmapWorker) read(c endpoint.Conn, n, flags int) (int, error) {
	for {
		n, e := abi.Recv(c.FD, w.buf[:n], flags)
		c.Counters.Syscalls[mmapRecvfrom].Add(1)
		switch e {
		case 0:
			c.Counters.Copied.Add(uint64(n))
			c.Consume(w.buf[:n])
			return n, nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("recv on flow %d: %w", c.Index+1, e)
		}
	}
}

// wait sleeps until a chunk is queued, or as much as there will be, and
// reports whether the stream has ended.
func (w *mmapWorker) wait(c endpoint.Conn) (ended bool, err error) {
	w.poll[0] = unix.PollFd{Fd: int32(c.FD), Events: unix.POLLIN | unix.POLLRDHUP}
	for {
		_, err = unix.Poll(w.poll[:], -1)
		c.Counters.Syscalls[mmapPoll].Add(1)
		if err == nil {
			return w.poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0, nil
		}
		if err != unix.EINTR {
			return false, fmt.Errorf("poll on flow %d: %w", c.Index+1, err)
		}
	}
}

func (w *mmapWorker) Close() error { return errors.Join(w.pages.Close(), abi.Unmap(w.buf)) }
