package endpoint

import (
	"context"
	"encoding/json"
	"fmt"

	"zcbench/internal/netif"
)

func (c *conversation) survey(ctx context.Context, s Survey) error {
	if !c.trusted || c.agent.Survey == nil {
		return Errorf(Denied, "this agent tells nothing of its host to a peer without a token")
	}
	if err := s.check(); err != nil {
		return err
	}
	if s.Interface == "" && s.Address == "" && s.To == "" && c.local.IsValid() {
		// Where the driver came in.
		s.Interface = c.iface
		if name, err := netif.Holder(c.local); s.Interface == "" || name == s.Interface && err == nil {
			s.Address = c.local.String()
		}
	}
	c.link.busy(surveyWait)
	v, err := c.agent.Survey(ctx, s)
	if err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the survey: %w", err)
	}
	return c.link.send(message{Surveyed: &surveyed{b}})
}
