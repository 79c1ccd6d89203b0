package endpoint

import (
	"context"
	"time"
)

type hold struct {
	Ticket string `json:"ticket"`
}

type held struct{}

// Hold keeps drivers with another ticket from the agent's host while this
// client is open. It is Denied when one of them was there before.
func (c *Client) Hold(ctx context.Context, ticket string) error {
	m, err := c.ask(ctx, message{Hold: &hold{ticket}}, handshakeWait)
	if err == nil && m.Held == nil {
		err = c.unexpected("hold")
	}
	return err
}

// Keep asks the agent for the time again and again, so that it knows that its
// driver is there, until ctx or the link ends.
func (c *Client) Keep(ctx context.Context) {
	for {
		select {
		case <-time.After(idleWait / 3):
		case <-ctx.Done():
			return
		}
		if _, err := c.ask(ctx, message{Clock: &clock{Now: Monotonic()}}, handshakeWait); err != nil {
			return
		}
	}
}

func (c *conversation) hold(h hold) (err error) {
	if !c.trusted || c.agent.Claim == nil {
		return Errorf(Denied, "this agent is not to be held")
	}
	if c.claim == nil {
		if c.claim, err = c.agent.Claim(h.Ticket); err != nil {
			return err
		}
	}
	c.link.setDeadline(idleWait)
	return c.link.send(message{Held: &held{}})
}
