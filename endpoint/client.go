package endpoint

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
)

// Client is a driver's hold on one agent. Closing it aborts whatever the
// agent does.
type Client struct {
	Welcome Welcome
	name    string // for errors: "receiver 192.0.2.1:5301"
	rw      io.ReadWriteCloser
	link    *link // over rw
	replies chan message
	gone    chan struct{} // closed when the link ended; why is set then
	why     error
	silent  atomic.Pointer[silence] // why it was ended, if that was it
	stuck   atomic.Bool             // it was given up, though it is heard of
}

// NewClient shakes hands with an agent over rw. A peer that is not zcbench is
// Unreachable; another version is Failed, with both versions in the text.
func NewClient(name string, rw io.ReadWriteCloser, token []byte, version string) (*Client, error) {
	c := &Client{name: name, rw: rw, link: newLink(rw, maxReply), replies: make(chan message, 16), gone: make(chan struct{})}
	c.link.setDeadline(handshakeWait)
	if err := c.handshake(token, version); err != nil {
		rw.Close()
		hint := ""
		conn, network := rw.(net.Conn)
		network = network && conn.RemoteAddr().Network() != "unix" // and not an end of this command's own
		if _, none := errors.AsType[noHello](err); network && none {
			hint = " (no zcbench seems to be there: is it the port of zcbench rx, -p? To a plain TCP service sends tx --raw)"
		}
		switch {
		case errors.Is(err, errGarbage):
			err = Errorf(Unreachable, "%s: something else answers there: %w%s", name, err, hint)
		case timedOut(err):
			err = Errorf(Unreachable, "%s: no answer to the zcbench handshake within %s%s", name, handshakeWait, hint)
		case errors.Is(err, io.EOF), network && isReset(err):
			err = Errorf(Unreachable, "%s: it closed the connection during the handshake%s", name, hint)
		default:
			err = fmt.Errorf("%s: %w", name, err)
		}
		return nil, err
	}
	c.link.setDeadline(0)
	stop, err := c.link.watch(func(s *silence) {
		c.silent.Store(s)
		c.rw.Close()
	})
	if err != nil {
		rw.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c.link.busy(aroundWait)
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
	if err := c.link.send(message{Hello: &hello{Magic: magic, Protocol: Protocol, Version: version, Nonce: nonce}}); err != nil {
		return noHello{err}
	}
	theirs, err := c.link.receiveHello()
	if _, said := errors.AsType[*Error](err); err != nil && !said {
		return noHello{err}
	} else if err != nil {
		return err
	}
	if theirs.Protocol != Protocol {
		return versionError(theirs, version)
	}
	var a auth
	switch {
	case theirs.Token && len(token) == 0:
		return Errorf(Denied, "the receiver wants a token: give the same --token-file to both ends")
	case !theirs.Token && len(token) > 0:
		return Errorf(Denied, "the receiver asks for no token, so it cannot prove that it is the right one; start it with --token-file or leave it out here")
	case theirs.Token:
		a.MAC = mac(token, "driver", nonce, theirs.Nonce)
	}
	if err := c.link.send(message{Auth: &a}); err != nil {
		return err
	}
	m, err := c.link.receive()
	if err != nil {
		return err
	}
	if m.Error != nil {
		return m.Error.err()
	}
	if m.Welcome == nil {
		return errGarbage
	}
	if theirs.Token && !hmac.Equal(m.Welcome.MAC, mac(token, "agent", nonce, theirs.Nonce)) {
		return Errorf(Denied, "the receiver does not know the token: it is not the one you meant")
	}
	if err := m.Welcome.check(); err != nil {
		return fmt.Errorf("%w: %w", errGarbage, err)
	}
	c.Welcome = *m.Welcome
	return nil
}

// read runs for the client's whole life, so that a vanished agent is noticed
// at once.
func (c *Client) read() {
	defer close(c.gone)
	for {
		m, err := c.link.receive()
		if err != nil {
			if s := c.silent.Load(); s != nil {
				err = s
			} else if !errors.Is(err, errGarbage) {
				err = c.fate()
			}
			c.why = Errorf(Failed, "%s: %w", c.name, err)
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
	case <-time.After(endedWait):
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
	return fmt.Errorf("it vanished: the control connection closed%s; if it was killed, the next zcbench there puts back the settings that it left, and so does zcbench tune restore", c.link.excuse())
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
func upTo(wait time.Duration, to string) errand { return errand{to, wait, min(wait, owedWait)} }

// next waits for a reply.
func (c *Client) next(ctx context.Context, e errand) (message, error) {
	var m message
	asked := Monotonic()
	if c.link.within() {
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
				return message{}, c.why
			}
		case <-t.C:
			passed := time.Duration(Monotonic() - asked)
			left := min(e.wait-passed, c.link.owes(asked, e.quiet))
			if left <= 0 {
				c.stuck.Store(true)
				return message{}, c.stuckAt(e, passed)
			}
			t.Reset(left)
		case <-ctx.Done():
			return message{}, context.Cause(ctx)
		}
	}
	if m.Error != nil {
		err := m.Error.err()
		return message{}, &Error{Kind: KindOf(err), Err: fmt.Errorf("%s: %w", c.name, err)}
	}
	return m, nil
}

// stuckAt says what an agent that is there did not do, and what is left to do.
func (c *Client) stuckAt(e errand, passed time.Duration) error {
	// One that is not heard of any more, and not for long enough to be given up by
	// its beats, is not stuck: it could not say what it did.
	if s := c.link.quiet(); s != nil {
		return Errorf(Failed, "%s: %w", c.name, s)
	}
	how := "it is heard of"
	if c.link.owes(0, 0) > 0 {
		how = "it says that it is busy"
	}
	return Errorf(Failed, "%s: %s, and did not %s within %.0f s: it is stuck; end zcbench there (kill -QUIT shows where it hangs) and start it again", c.name, how, e.to, passed.Seconds())
}

func (c *Client) ask(ctx context.Context, m message, e errand) (message, error) {
	if err := c.link.send(m); timedOut(err) {
		c.stuck.Store(true)
		return message{}, c.stuckAt(e, owedWait)
	} else if err != nil {
		// Why it closed is in what the agent said last.
		if _, last := c.next(ctx, upTo(time.Second, e.to)); last != nil {
			return message{}, last
		}
		return message{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return c.next(ctx, e)
}

func (c *Client) unexpected(what string) error {
	return Errorf(Failed, "%s: %w: no answer to %s", c.name, errGarbage, what)
}

// clockOffset measures how far the agent's CLOCK_MONOTONIC is ahead of ours,
// in ns, and how wrong that may be: half the shortest round trip of several
// (the principle of RFC 5905, section 8).
func (c *Client) clockOffset(ctx context.Context) (offset, uncertainty int64, err error) {
	until := Monotonic() + int64(owedWait) // of all together
	for i := range 8 {
		sent := Monotonic()
		m, err := c.ask(ctx, message{Clock: &clock{Now: sent}}, upTo(max(time.Duration(until-sent), time.Millisecond), "say what time it is"))
		if err != nil {
			return 0, 0, err
		}
		if m.Clock == nil {
			return 0, 0, c.unexpected("clock")
		}
		back := Monotonic()
		if half := (back - sent) / 2; i == 0 || half < uncertainty {
			offset, uncertainty = m.Clock.Now-(sent+half), half
		}
	}
	return offset, uncertainty, nil
}

func (c *Client) prepare(ctx context.Context, p *Prepare) (Prepared, error) {
	m, err := c.ask(ctx, message{Prepare: p}, upTo(p.preparing(), "prepare the run"))
	if err != nil {
		return Prepared{}, err
	}
	if m.Prepared == nil {
		return Prepared{}, c.unexpected("prepare")
	}
	if err := m.Prepared.check(p.Flows); err != nil {
		return Prepared{}, Errorf(Failed, "%s: %w: %w", c.name, errGarbage, err)
	}
	return *m.Prepared, nil
}

// measure starts a prepared run and waits for its result. Its window is over when
// that long has passed; 0 is not known.
func (c *Client) measure(ctx context.Context, s Start, over time.Duration, live func(Sample)) (*Result, error) {
	e := errand{"start the run", maxTime, maxTime}
	if over > 0 {
		e.wait, e.quiet = over+endingWait, owedWait
	}
	begun := Monotonic()
	m, err := c.ask(ctx, message{Start: &s}, e)
	for {
		if err != nil {
			return nil, err
		}
		switch {
		case m.Started != nil:
		case m.Live != nil && s.Live:
			live(*m.Live)
		case m.Result != nil:
			if err := m.Result.check(); err != nil {
				return nil, Errorf(Failed, "%s: %w", c.name, err)
			}
			return m.Result, nil
		default:
			return nil, c.unexpected("start")
		}
		if e.to = "end the run"; over > 0 {
			passed := time.Duration(Monotonic() - begun)
			e.wait, e.quiet = over+endingWait-passed, over+owedWait-passed
		}
		m, err = c.next(ctx, e)
	}
}
