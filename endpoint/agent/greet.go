package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/wire"
	"zcbench/internal/alarm"
	"zcbench/internal/fault"
)

// A data connection proves that it belongs to the run, wherever it seems to come
// from: the receiver puts a random mark on each that it accepts, the sender reads
// it there before any payload, and its driver tells the receiver the marks over
// the control link. So no byte goes the way of the payload, on which a NIC may
// put it where no CPU can read it, and engines and TCP count payload alone.

// maxGuests is the most connections that wait for their driver's word beside the
// run's, where this process may have the descriptors: strangers may come to the data
// ports too. Beyond it the oldest has to go: the run's come just before that word.
const maxGuests = 1024

// guestStay is what each of them may count on, if many come at once: the others wait in
// the kernel's queue.
const guestStay = 200 * time.Millisecond

// host takes what comes to the listeners, until meet knows the run's.
type host struct {
	listeners []int
	most      int     // guests
	guests    []guest // in the order they came
	quit      context.CancelFunc
	over      sync.WaitGroup
	err       error        // valid when over
	parted    atomic.Int64 // guests that had to go for others
	short     atomic.Bool  // there was no descriptor for one
}

// guest is a connection that has its mark.
type guest struct {
	fd, flow int
	mark     []byte
	came     time.Time
}

// welcome accepts in the background.
func welcome(ctx context.Context, listeners []int) (*host, error) {
	h := &host{listeners: listeners, most: spare(maxGuests) + len(listeners)}
	ctx, h.quit = context.WithCancel(ctx)
	bell, err := alarm.New(ctx, nil)
	if err != nil {
		h.quit()
		return nil, err
	}
	h.over.Go(func() {
		defer bell.Close()
		h.err = h.serve(ctx, bell)
	})
	return h, nil
}

func (h *host) serve(ctx context.Context, bell *alarm.Alarm) error {
	n := len(h.listeners)
	ready := make([]unix.PollFd, n, n+1)
	for i, l := range h.listeners {
		ready[i] = unix.PollFd{Fd: int32(l), Events: unix.POLLIN}
	}
	ready = append(ready, bell.Ready())
	for ctx.Err() == nil {
		wait, on := -1, ready
		if left := h.full(); left > 0 {
			wait, on = int(left/time.Millisecond)+1, ready[n:]
		}
		if got, err := unix.Poll(on, wait); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("wait for data connections: %w", err)
		} else if got == 0 {
			continue
		}
		for i := range n {
			if ready[i].Revents == 0 || ctx.Err() != nil || h.full() > 0 {
				continue
			}
			if err := h.accept(i); err != nil {
				return fmt.Errorf("accept data connection %d: %w", i+1, err)
			}
		}
	}
	return nil
}

// full is for how long nobody else may be let in.
func (h *host) full() time.Duration {
	if len(h.guests) < h.most {
		return 0
	}
	return guestStay - time.Since(h.guests[0].came)
}

// accept lets one connection in and marks it.
func (h *host) accept(flow int) error {
	fd, _, err := unix.Accept4(h.listeners[flow], unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
		return nil
	case fault.Exhausted(err):
		h.short.Store(true)
		if len(h.guests) > 0 && time.Since(h.guests[0].came) > guestStay {
			h.part()
		} else {
			time.Sleep(guestStay / 20) // others of this process may close some
		}
		return nil
	case err != nil:
		return err
	}
	mark := make([]byte, wire.MarkLength)
	if _, err = rand.Read(mark); err != nil {
		unix.Close(fd)
		return fmt.Errorf("make a mark: %w", err)
	}
	if n, err := unix.SendmsgN(fd, mark, nil, nil, unix.MSG_NOSIGNAL); n < wire.MarkLength || err != nil {
		unix.Close(fd) // it has left
		return nil
	}
	if len(h.guests) >= h.most {
		h.part()
	}
	h.guests = append(h.guests, guest{fd, flow, mark, time.Now()})
	return nil
}

// part sends the oldest away.
func (h *host) part() {
	unix.Close(h.guests[0].fd)
	h.guests = slices.Delete(h.guests, 0, 1)
	h.parted.Add(1)
}

// crowd says why a connection of the run may not be among those that are kept; "": they
// all are.
func (h *host) crowd() string {
	if h.parted.Load() == 0 && !h.short.Load() {
		return ""
	}
	var l unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &l) // it cannot fail
	if h.short.Load() {
		return fmt.Sprintf("the receiver ran out of descriptors as connections came to its data ports (ulimit -n %d): allow it more", l.Cur)
	}
	return fmt.Sprintf("more connections came to the receiver's data ports than the %d that it keeps, of %d descriptors (ulimit -n): allow "+
		"it more, and keep off who floods the ports", h.most, l.Cur)
}

// meet gives the run's connections, by flow, and sends the others away.
func (h *host) meet(marks [][]byte) (fds []int, err error) {
	h.quit()
	h.over.Wait()
	if h.err != nil {
		return nil, h.err
	}
	if len(marks) != len(h.listeners) {
		return nil, fault.Errorf(fault.Failed, "%w: %d marks for %d data connections", wire.ErrGarbage, len(marks), len(h.listeners))
	}
	fds = make([]int, len(marks))
	for i := range fds {
		fds[i] = -1
	}
	for k, g := range h.guests {
		if fds[g.flow] < 0 && bytes.Equal(g.mark, marks[g.flow]) {
			fds[g.flow] = g.fd
			h.guests[k].fd = -1
		}
	}
	h.close()
	for i, fd := range fds {
		if crowd := h.crowd(); fd < 0 && crowd != "" {
			err = fault.Errorf(fault.Failed, "data connection %d of %d is not among those that are kept: %s", i+1, len(fds), crowd)
		} else if fd < 0 {
			err = fault.Errorf(fault.Failed, "data connection %d of %d never came: the sender is connected to something else than this receiver",
				i+1, len(fds))
		} else if err == nil {
			err = unix.SetNonblock(fd, false)
		}
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return fds, nil
}

// close sends everybody away that meet did not take.
func (h *host) close() {
	h.quit()
	h.over.Wait()
	for _, g := range h.guests {
		if g.fd >= 0 {
			unix.Close(g.fd)
		}
	}
	h.guests = nil
}

// caller is a connection on its way.
type caller struct {
	fd, flow int
	to       netip.AddrPort
	until    time.Time
	up       bool // the peer accepted it
	mark     []byte
}

// connect opens one connection for each flow and reads its mark, unless the peer
// is a plain TCP program. They are made side by side: one after the other, each
// would take its round trips.
func connect(ctx context.Context, p *wire.Prepare, wait time.Duration) (fds []int, marks [][]byte, err error) {
	host, err := netip.ParseAddr(p.Host)
	if err != nil {
		return nil, nil, fault.Errorf(fault.Usage, "receiver address: %w", err)
	}
	fds, marks = make([]int, p.Flows), make([][]byte, p.Flows)
	for i := range fds {
		fds[i] = -1
	}
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	var under []*caller
	for next := 0; next < p.Flows || len(under) > 0; {
		if err := ctx.Err(); err != nil {
			return fds, nil, context.Cause(ctx)
		}
		for ; next < p.Flows && len(under) < wire.AtOnce; next++ {
			c := &caller{flow: next, to: netip.AddrPortFrom(host, uint16(p.DataPort+next)), until: time.Now().Add(wait)}
			if c.fd, err = dial(c.to, next, p); err != nil {
				return fds, nil, err
			}
			fds[next] = c.fd
			under = append(under, c)
		}
		ready := make([]unix.PollFd, len(under))
		for i, c := range under {
			ready[i] = unix.PollFd{Fd: int32(c.fd), Events: unix.POLLOUT}
			if c.up {
				ready[i].Events = unix.POLLIN
			}
		}
		if _, err := unix.Poll(ready, int(pollStep/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
			return fds, nil, fmt.Errorf("poll: %w", err)
		}
		left := under[:0]
		for i, c := range under {
			done := false
			if ready[i].Revents != 0 {
				if done, err = c.step(p.Raw); err != nil {
					return fds, nil, err
				}
			}
			switch {
			case done:
				marks[c.flow] = c.mark
			case time.Now().After(c.until):
				return fds, nil, c.late(wait)
			default:
				left = append(left, c)
			}
		}
		under = left
	}
	return fds, marks, nil
}

// step takes a connection on, and says whether it is ready for the engine.
func (c *caller) step(raw bool) (done bool, err error) {
	if !c.up {
		soerr, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && soerr != 0 {
			err = unix.Errno(soerr)
		}
		if err != nil {
			return false, c.failed(err)
		}
		c.up = true
	}
	for !raw && len(c.mark) < wire.MarkLength {
		part := make([]byte, wire.MarkLength-len(c.mark))
		n, err := unix.Read(c.fd, part)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			return false, nil
		case err == nil && n == 0:
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil:
			return false, fault.Errorf(fault.Unreachable, "data flow %d: what answers at %s ended the connection before it had a mark: it is not "+
				"the receiver, or the receiver gave up (%w)", c.flow+1, c.to, err)
		}
		c.mark = append(c.mark, part[:n]...)
	}
	return true, unix.SetNonblock(c.fd, false)
}

func (c *caller) failed(err error) error {
	return fault.Errorf(fault.Unreachable, "connect data flow %d to %s: %w", c.flow+1, c.to, err)
}

// late says how far it came.
func (c *caller) late(wait time.Duration) error {
	if !c.up {
		return c.failed(fmt.Errorf("%w after %s", errWait, wait))
	}
	return fault.Errorf(fault.Unreachable, "data flow %d: %s took the connection, and no mark came within %s: something else answers there, "+
		"or the receiver does not run, or so many connections wait there that it did not come to this one", c.flow+1, c.to, wait)
}
