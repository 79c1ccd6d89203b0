package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"zcbench/internal/netif"
)

// Survey asks a trusted agent what its host offers to one end of a pair.
type Survey struct {
	Role      Role   `json:"role"`
	Interface string `json:"interface,omitempty"` // "": the one with Address, or by which To is reached
	Address   string `json:"address,omitempty"`   // of that interface; "": its first
	To        string `json:"to,omitempty"`        // address of the other end
}

type surveyed struct {
	Survey json.RawMessage `json:"survey"`
}

// surveyWait covers putting back what a killed run left, and probes of every
// engine.
const surveyWait = 60 * time.Second

// Survey asks the agent, and decodes its answer.
func (c *Client) Survey(ctx context.Context, s Survey, answer any) error {
	m, err := c.ask(ctx, message{Survey: &s}, upTo(surveyWait, "look at its host"))
	if err != nil {
		return err
	}
	if m.Surveyed == nil {
		return c.unexpected("survey")
	}
	if err := json.Unmarshal(m.Surveyed.Survey, answer); err != nil {
		return fmt.Errorf("%s: %w: its survey: %w", c.name, errGarbage, err)
	}
	return nil
}

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
