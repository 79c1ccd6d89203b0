package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
)

// Listen serves drivers that come over TCP, one run at a time: a driver that
// comes while another has the place is told so. Links whose drivers prove nothing, or
// ask for no run, make room for others. With once it
// returns after the first driver that was served. Each driver's end is
// reported to Agent.Observe, not returned.
func (a *Agent) Listen(ctx context.Context, l net.Listener, once bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	strangers := visitors{most: spare(maxVisitors), stay: leastStay}
	talkers := visitors{most: maxTalkers, stay: talkersStay}
	served := make(chan struct{}, 1)
	go func() {
		select {
		case <-served:
			l.Close()
		case <-ctx.Done():
		}
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if fault.Exhausted(err) {
				strangers.part(0)
			}
			var ne net.Error
			if errors.As(err, &ne) { // that, or the peer left the queue
				time.Sleep(leastStay / 10)
				continue
			}
			return fmt.Errorf("accept a control connection: %w", err)
		}
		n := strangers.enter(c)
		wg.Go(func() {
			var talker *visitor
			leave := func() {
				strangers.leave(n)
				talkers.leave(talker)
			}
			defer leave()
			asked := false
			err := a.serve(ctx, c, steps{proven: leave, asked: func() { asked = true }, met: func() {
				strangers.leave(n)
				talker = talkers.enter(c)
			}})
			if err != nil && a.Observe != nil && ctx.Err() == nil {
				stranger := len(a.Token) == 0 && !a.Trusted // with a token, those who did not know it
				a.tell(wire.AddrOf(c.RemoteAddr()), err, stranger || errors.Is(err, errTurnedAway))
			}
			if once && asked {
				select {
				case served <- struct{}{}:
				default:
				}
			}
		})
	}
}

// tell shows this end's user what was wrong with what came from a peer. A link that
// never said what it is has nothing to tell, and of strangers there may be any number.
func (a *Agent) tell(peer netip.Addr, err error, stranger bool) {
	if errors.Is(err, errSilent) {
		return
	}
	if stranger {
		silent, ok := a.report()
		if !ok {
			return
		}
		if silent > 0 {
			err = fmt.Errorf("%w (and %d more lines like this were left out before)", err, silent)
		}
	}
	a.Observe(Event{Peer: peer, Err: err})
}

// refusals are what strangers were refused, or how their links ended.
type refusals struct {
	mu       sync.Mutex
	reported time.Time
	lines    int
	silent   int // that were not reported since
}

// The first of an hour have each a line, after that one a minute has.
const (
	fewRefusals  = 10
	refusalEvery = time.Minute
	refusalQuiet = time.Hour
)

// report says whether one may have a line on the screen, and how many had none since
// the last: strangers do not fill a log.
func (r *refusals) report() (silent int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := time.Since(r.reported)
	if since > refusalQuiet {
		r.lines = 0
	}
	if r.lines >= fewRefusals && since < refusalEvery {
		r.silent++
		return 0, false
	}
	silent, r.silent, r.reported = r.silent, 0, time.Now()
	r.lines++
	return silent, true
}

// errSilent marks a link that ended before its driver said what it had to.
var errSilent = errors.New("no handshake")

// errTurnedAway marks a link that never became a driver.
var errTurnedAway = errors.New("turned away")

// turnAway tells a driver why and lets it read that before the link closes: a
// close with unread data would reset the link and take the words with it.
func (c *conversation) turnAway(err error) error {
	_ = c.link.SendError(err) // a peer that left does not need the reason
	// TCP, and TLS over it.
	if nc, ok := c.rw.(interface {
		net.Conn
		CloseWrite() error
	}); ok {
		_ = nc.CloseWrite()
		_ = nc.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, nc, wire.MaxRequest)
	}
	return fmt.Errorf("%w: %w", errTurnedAway, err)
}
