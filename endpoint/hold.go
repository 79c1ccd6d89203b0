package endpoint

import (
	"context"
)

type hold struct {
	Ticket string `json:"ticket"`
}

type held struct{}

// Hold keeps drivers with another ticket from the agent's host while this
// client is open. It is Denied when one of them was there before.
func (c *Client) Hold(ctx context.Context, ticket string) error {
	m, err := c.ask(ctx, message{Hold: &hold{ticket}}, upTo(owedWait, "say that it is held"))
	if err == nil && m.Held == nil {
		err = c.unexpected("hold")
	}
	return err
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
	c.idle = forEver // whoever holds an agent need ask it nothing: that it is there is heard
	return c.link.send(message{Held: &held{}})
}
