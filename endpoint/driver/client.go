package driver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
)

// Client is a driver's hold on one agent. Closing it aborts whatever the
// agent does.
type Client struct {
	Welcome wire.Welcome
	name    string // for errors: "receiver 192.0.2.1:5301"
	rw      io.ReadWriteCloser
	link    *wire.Link // over rw
	replies chan wire.Message
	gone    chan struct{} // closed when the link ended; why is set then
	why     error
	silent  atomic.Pointer[wire.Silence] // why it was ended, if that was it
	stuck   atomic.Bool                  // it was given up, though it is heard of
}

// NewClient shakes hands with an agent over rw. A peer that is not zcbench is
// Unreachable; another version is Failed, with both versions in the text.
func NewClient(name string, rw io.ReadWriteCloser, token []byte, version string) (*Client, error) {
	c := &Client{name: name, rw: rw, link: wire.NewLink(rw, wire.MaxReply), replies: make(chan wire.Message, 16), gone: make(chan struct{})}
	c.link.SetDeadline(wire.HandshakeWait)
	if err := c.handshake(token, version); err != nil {
		rw.Close()
		hint := ""
		conn, network := rw.(net.Conn)
		network = network && conn.RemoteAddr().Network() != "unix" // and not an end of this command's own
		if _, none := errors.AsType[noHello](err); network && none {
			hint = " (no zcbench seems to be there: is it the port of zcbench rx, -p? To a plain TCP service sends tx --raw)"
		}
		switch {
		case errors.Is(err, wire.ErrGarbage):
			err = fault.Errorf(fault.Unreachable, "%s: something else answers there: %w%s", name, err, hint)
		case wire.TimedOut(err):
			err = fault.Errorf(fault.Unreachable, "%s: no answer to the zcbench handshake within %s%s", name, wire.HandshakeWait, hint)
		case errors.Is(err, io.EOF), network && wire.IsReset(err):
			err = fault.Errorf(fault.Unreachable, "%s: it closed the connection during the handshake%s", name, hint)
		default:
			err = fmt.Errorf("%s: %w", name, err)
		}
		return nil, err
	}
	c.link.SetDeadline(0)
	stop, err := c.link.Watch(func(s *wire.Silence) {
		c.silent.Store(s)
		c.rw.Close()
	})
	if err != nil {
		rw.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c.link.Busy(aroundWait)
	go func() {
		defer stop()
		c.read()
	}()
	return c, nil
}

// noHello is why a peer never said that it is zcbench.
type noHello struct{ error }

func (e noHello) Unwrap() error { return e.error }

func (c *Client) handshake(token []byte, version string) error {
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("make a nonce: %w", err)
	}
	if err := c.link.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol, Version: version,
		Nonce: nonce}}); err != nil {
		return noHello{err}
	}
	theirs, err := c.link.ReceiveHello()
	if err != nil && !fault.Known(err) {
		return noHello{err}
	} else if err != nil {
		return err
	}
	if theirs.Protocol != wire.Protocol {
		return wire.VersionError(theirs, version)
	}
	var a wire.Auth
	switch {
	case theirs.Token && len(token) == 0:
		return fault.Errorf(fault.Denied, "the receiver wants a token: give the same --token-file to both ends")
	case !theirs.Token && len(token) > 0:
		return fault.Errorf(fault.Denied, "the receiver asks for no token, so it cannot prove that it is the right one; start it with "+
			"--token-file or leave it out here")
	case theirs.Token:
		a.MAC = wire.MAC(token, "driver", nonce, theirs.Nonce)
	}
	if err := c.link.Send(wire.Message{Auth: &a}); err != nil {
		return err
	}
	m, err := c.link.Receive()
	if err != nil {
		return err
	}
	if m.Error != nil {
		return m.Error.Err()
	}
	if m.Welcome == nil {
		return wire.ErrGarbage
	}
	if theirs.Token && !hmac.Equal(m.Welcome.MAC, wire.MAC(token, "agent", nonce, theirs.Nonce)) {
		return fault.Errorf(fault.Denied, "the receiver does not know the token: it is not the one you meant")
	}
	if err := m.Welcome.Check(); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrGarbage, err)
	}
	c.Welcome = *m.Welcome
	return nil
}

// read runs for the client's whole life, so that a vanished agent is noticed
// at once.
func (c *Client) read() {
	defer close(c.gone)
	for {
		m, err := c.link.Receive()
		if err != nil {
			if s := c.silent.Load(); s != nil {
				err = s
			} else if !errors.Is(err, wire.ErrGarbage) {
				err = c.fate()
			}
			c.why = fault.Errorf(fault.Failed, "%s: %w", c.name, err)
			return
		}
		c.replies <- m
	}
}

// ended says why the link has ended, if it has.
func (c *Client) ended() error {
	select {
	case <-c.gone:
		return c.why
	case <-time.After(wire.EndedWait):
		return nil
	}
}

// fate says why a link ended: how the process at its other end did, where that
// is known.
func (c *Client) fate() error {
	if p, ok := c.rw.(interface{ Fate() string }); ok {
		if text := p.Fate(); text != "" {
			return errors.New(text)
		}
	}
	return fmt.Errorf("it vanished: the control connection closed%s; if it was killed, the next zcbench there puts back the settings that "+
		"it left, and so does zcbench tune restore", c.link.Excuse())
}

// aroundWait is what a driver takes from a handshake to what it asks first: to reach
// the other end and what reads meters.
const aroundWait = 30 * time.Second

// Silent says that the agent was given up because nothing was heard from it, or no
// answer: it will not clean up when it is asked to.
func (c *Client) Silent() bool { return c.silent.Load() != nil || c.stuck.Load() }

// Close ends the link; the agent then aborts and cleans up. It is safe to
// call more than once.
func (c *Client) Close() {
	c.rw.Close()
	// A reader that waits to deliver must be let go.
	for {
		select {
		case <-c.replies:
		case <-c.gone:
			return
		}
	}
}

// errand is what an agent is asked: in words, how long it may take in all, and how long
// while the agent does not say that it is busy.
type errand struct {
	to          string
	wait, quiet time.Duration
}

// upTo is the errand of one that may be busy with it.
func upTo(wait time.Duration, to string) errand { return errand{to, wait, min(wait, wire.OwedWait)} }

// next waits for a reply.
func (c *Client) next(ctx context.Context, e errand) (wire.Message, error) {
	var m wire.Message
	asked := wire.Monotonic()
	if c.link.Within() {
		e.quiet = e.wait // nothing beats
	}
	t := time.NewTimer(min(e.wait, e.quiet))
	defer t.Stop()
	for waiting := true; waiting; {
		select {
		case m = <-c.replies:
			waiting = false
			continue
		default:
		}
		select {
		case m = <-c.replies:
			waiting = false
		case <-c.gone:
			select {
			case m = <-c.replies: // its last words
				waiting = false
			default:
				return wire.Message{}, c.why
			}
		case <-t.C:
			passed := time.Duration(wire.Monotonic() - asked)
			left := min(e.wait-passed, c.link.Owes(asked, e.quiet))
			if left <= 0 {
				c.stuck.Store(true)
				return wire.Message{}, c.stuckAt(e, passed)
			}
			t.Reset(left)
		case <-ctx.Done():
			return wire.Message{}, context.Cause(ctx)
		}
	}
	if m.Error != nil {
		err := m.Error.Err()
		return wire.Message{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return m, nil
}

// stuckAt says what an agent that is there did not do, and what is left to do.
func (c *Client) stuckAt(e errand, passed time.Duration) error {
	// One that is not heard of any more, and not for long enough to be given up by
	// its beats, is not stuck: it could not say what it did.
	if s := c.link.Quiet(); s != nil {
		return fault.Errorf(fault.Failed, "%s: %w", c.name, s)
	}
	how := "it is heard of"
	if c.link.Owes(0, 0) > 0 {
		how = "it says that it is busy"
	}
	return fault.Errorf(fault.Failed, "%s: %s, and did not %s within %.0f s: it is stuck; end zcbench there (kill -QUIT shows where it "+
		"hangs) and start it again", c.name, how, e.to, passed.Seconds())
}

func (c *Client) ask(ctx context.Context, m wire.Message, e errand) (wire.Message, error) {
	if err := c.link.Send(m); wire.TimedOut(err) {
		c.stuck.Store(true)
		return wire.Message{}, c.stuckAt(e, wire.OwedWait)
	} else if err != nil {
		// Why it closed is in what the agent said last.
		if _, last := c.next(ctx, upTo(time.Second, e.to)); last != nil {
			return wire.Message{}, last
		}
		return wire.Message{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return c.next(ctx, e)
}

func (c *Client) unexpected(what string) error {
	return fault.Errorf(fault.Failed, "%s: %w: no answer to %s", c.name, wire.ErrGarbage, what)
}

// clockOffset measures how far the agent's CLOCK_MONOTONIC is ahead of ours,
// in ns, and how wrong that may be: half the shortest round trip of several
// (the principle of RFC 5905, section 8).
func (c *Client) clockOffset(ctx context.Context) (offset, uncertainty int64, err error) {
	until := wire.Monotonic() + int64(wire.OwedWait) // of all together
	for i := range 8 {
		sent := wire.Monotonic()
		m, err := c.ask(ctx, wire.Message{Clock: &wire.Clock{Now: sent}}, upTo(max(time.Duration(until-sent), time.Millisecond),
			"say what time it is"))
		if err != nil {
			return 0, 0, err
		}
		if m.Clock == nil {
			return 0, 0, c.unexpected("clock")
		}
		back := wire.Monotonic()
		if half := (back - sent) / 2; i == 0 || half < uncertainty {
			offset, uncertainty = m.Clock.Now-(sent+half), half
		}
	}
	return offset, uncertainty, nil
}

func (c *Client) prepare(ctx context.Context, p *wire.Prepare) (wire.Prepared, error) {
	m, err := c.ask(ctx, wire.Message{Prepare: p}, upTo(p.Preparing(), "prepare the run"))
	if err != nil {
		return wire.Prepared{}, err
	}
	if m.Prepared == nil {
		return wire.Prepared{}, c.unexpected("prepare")
	}
	if err := m.Prepared.Check(p.Flows); err != nil {
		return wire.Prepared{}, fault.Errorf(fault.Failed, "%s: %w: %w", c.name, wire.ErrGarbage, err)
	}
	return *m.Prepared, nil
}

// measure starts a prepared run and waits for its result. Its window is over when
// that long has passed; 0 is not known.
func (c *Client) measure(ctx context.Context, s wire.Start, over time.Duration, live func(wire.Sample)) (*wire.Result, error) {
	e := errand{"start the run", wire.MaxTime, wire.MaxTime}
	if over > 0 {
		e.wait, e.quiet = over+wire.EndingWait, wire.OwedWait
	}
	begun := wire.Monotonic()
	m, err := c.ask(ctx, wire.Message{Start: &s}, e)
	for {
		if err != nil {
			return nil, err
		}
		switch {
		case m.Started != nil:
		case m.Live != nil && s.Live:
			live(*m.Live)
		case m.Result != nil:
			if err := m.Result.Check(); err != nil {
				return nil, fault.Errorf(fault.Failed, "%s: %w", c.name, err)
			}
			return m.Result, nil
		default:
			return nil, c.unexpected("start")
		}
		if e.to = "end the run"; over > 0 {
			passed := time.Duration(wire.Monotonic() - begun)
			e.wait, e.quiet = over+wire.EndingWait-passed, over+wire.OwedWait-passed
		}
		m, err = c.next(ctx, e)
	}
}
