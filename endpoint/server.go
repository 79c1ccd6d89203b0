package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// maxStrangers is how many links may be in their handshake, or being turned
// away, at once; more are closed unheard.
const maxStrangers = 16

// Listen serves drivers that come over TCP, one run at a time: a driver that
// comes while another is served is told so and turned away. With once it
// returns after the first driver that was served. Each driver's end is
// reported to Agent.Observe, not returned.
func (a *Agent) Listen(ctx context.Context, l net.Listener, once bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	slots := make(chan struct{}, maxStrangers)
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
			var ne net.Error
			if errors.As(err, &ne) { // out of descriptors, or the peer left the queue
				time.Sleep(50 * time.Millisecond)
				continue
			}
			return fmt.Errorf("accept a control connection: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			err := a.Serve(ctx, c)
			if err != nil && a.Observe != nil && ctx.Err() == nil {
				a.Observe(Event{Err: fmt.Errorf("peer %s: %w", c.RemoteAddr(), err)})
			}
			if once && !errors.Is(err, errTurnedAway) {
				select {
				case served <- struct{}{}:
				default:
				}
			}
		})
	}
}

// errTurnedAway marks a link that never became a driver.
var errTurnedAway = errors.New("turned away")

// turnAway tells a driver why and lets it read that before the link closes: a
// close with unread data would reset the link and take the words with it.
func turnAway(l *link, err error) error {
	_ = l.sendError(err) // a peer that left does not need the reason
	// TCP, and TLS over it.
	if c, ok := l.rw.(interface {
		net.Conn
		CloseWrite() error
	}); ok {
		_ = c.CloseWrite()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, c, maxRequest)
	}
	return fmt.Errorf("%w: %w", errTurnedAway, err)
}
