package agent

import (
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
)

func (c *conversation) hold(h wire.Hold) (err error) {
	if !c.trusted || c.agent.Claim == nil {
		return fault.Errorf(fault.Denied, "this agent is not to be held")
	}
	if c.claim == nil {
		if c.claim, err = c.agent.Claim(h.Ticket); err != nil {
			return err
		}
	}
	c.idle = forEver // whoever holds an agent need ask it nothing: that it is there is heard
	return c.link.Send(wire.Message{Held: &wire.Held{}})
}
