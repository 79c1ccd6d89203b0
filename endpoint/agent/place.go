package agent

import (
	"sync"
	"time"

	"zcbench/internal/fault"
)

// place is what one driver at a time has of an agent that is not held for a ticket. Who
// has a token has it from the handshake on, as long as the link lasts. Who has none has
// it for a run: one that only talks keeps nobody out.
type place struct {
	mu    sync.Mutex
	of    *conversation // nil: nobody has it
	taken int           // how often it was
}

// leaveWait is for the driver before, who may be leaving just now.
const leaveWait = 2 * time.Second

// take takes it; the driver who has it keeps it.
func (p *place) take(c *conversation) error {
	if c.agent.Claim != nil {
		return nil
	}
	for end := time.Now().Add(leaveWait); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		of, disturbed := p.of, c.quiet >= 0 && c.quiet != p.taken
		if of == nil && !disturbed {
			p.of = c
			p.taken++
		}
		p.mu.Unlock()
		switch {
		case disturbed:
			return fault.Errorf(fault.Denied, "another run began there during the idle baseline, which is none then: try again when it is over")
		case of == nil, of == c:
			return nil
		case time.Now().After(end):
			return fault.Errorf(fault.Denied, "another run is on there: wait until it is over")
		}
	}
}

// rest notes that a driver who has not yet asked for a run measures the idle host.
func (p *place) rest(c *conversation) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of != nil && p.of != c {
		return fault.Errorf(fault.Denied, "another run is on there, and the host not idle: wait until it is over")
	}
	if p.of == nil {
		c.quiet = p.taken
	}
	return nil
}

// leave gives it up, for who has it.
func (p *place) leave(c *conversation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == c {
		p.of = nil
	}
}
