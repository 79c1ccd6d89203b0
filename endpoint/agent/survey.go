package agent

import (
	"context"
	"encoding/json"
	"fmt"

	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
)

func (c *conversation) survey(ctx context.Context, s wire.Survey) error {
	if !c.trusted || c.agent.Survey == nil {
		return fault.Errorf(fault.Denied, "this agent tells nothing of its host to a peer without a token")
	}
	if err := s.Check(); err != nil {
		return err
	}
	if s.Interface == "" && s.Address == "" && s.To == "" && c.local.IsValid() {
		// Where the driver came in.
		s.Interface = c.iface
		if name, err := netif.Holder(c.local); s.Interface == "" || name == s.Interface && err == nil {
			s.Address = c.local.String()
		}
	}
	c.link.Busy(wire.SurveyWait)
	v, err := c.agent.Survey(ctx, s)
	if err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the survey: %w", err)
	}
	return c.link.Send(wire.Message{Surveyed: &wire.Surveyed{Survey: b}})
}
