package endpoint

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
