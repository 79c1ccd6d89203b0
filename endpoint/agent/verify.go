package agent

import (
	"context"
	"fmt"
	"time"

	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/results"
)

// Verifier readies a look at the headers of the run's flows on an interface:
// those with a port from first to last. What it gives looks until ctx ends.
// Its errors come before any payload, where they can.
type Verifier func(iface string, first, last int) (func(ctx context.Context) (*results.Crossing, error), error)

// maxLook is how long a run looks at most.
const maxLook = time.Second

// readyLook asks the verifier, once settings are applied: flow rules are among
// what it compares with.
func (r *run) readyLook(v Verifier) (err error) {
	if !r.p.Verify || r.p.Omit == 0 {
		return nil
	}
	switch {
	case v == nil:
		return fault.Errorf(fault.Unsupported, "verify: this end cannot capture headers")
	case r.p.Interface == "":
		return fault.Errorf(fault.Usage, "verify: which interface carries the payload is not known: give --iface")
	}
	if r.look, err = v(r.p.Interface, r.p.DataPort, r.p.DataPort+r.p.Flows-1); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// sight is one look at what crosses the interface. seen and err are valid once
// over is closed.
type sight struct {
	over chan struct{}
	seen *results.Crossing
	err  error
}

// verify looks from time at on, in the first half of the warm-up: nothing of it
// may reach into the window, taking the capture down neither. Without a look to
// take it gives nil.
func (r *run) verify(at int64) *sight {
	if r.look == nil {
		return nil
	}
	s := &sight{over: make(chan struct{})}
	go func() {
		defer close(s.over)
		wire.SleepUntil(at)
		length := min(maxLook, r.p.Omit/2)
		ctx, cancel := context.WithTimeout(r.ctx, length-time.Duration(wire.Monotonic()-at))
		defer cancel()
		s.seen, s.err = r.look(ctx)
	}()
	return s
}

// check is called as the window opens.
func (s *sight) check() error {
	if s == nil {
		return nil
	}
	select {
	case <-s.over:
	default:
		return fault.Errorf(fault.Failed, "verify: the capture was not over when the window opened; give a longer warm-up (--omit)")
	}
	if s.err != nil {
		return fmt.Errorf("verify: %w", s.err)
	}
	return nil
}
