package driver

import (
	"context"
	"encoding/json"
	"fmt"

	"zcbench/endpoint/wire"
	"zcbench/power"
)

// Survey asks the agent, and decodes its answer.
func (c *Client) Survey(ctx context.Context, s wire.Survey, answer any) error {
	m, err := c.ask(ctx, wire.Message{Survey: &s}, upTo(wire.SurveyWait, "look at its host"))
	if err != nil {
		return err
	}
	if m.Surveyed == nil {
		return c.unexpected("survey")
	}
	if err := json.Unmarshal(m.Surveyed.Survey, answer); err != nil {
		return fmt.Errorf("%s: %w: its survey: %w", c.name, wire.ErrGarbage, err)
	}
	return nil
}

// Hold keeps drivers with another ticket from the agent's host while this
// client is open. It is Denied when one of them was there before.
func (c *Client) Hold(ctx context.Context, ticket string) error {
	m, err := c.ask(ctx, wire.Message{Hold: &wire.Hold{Ticket: ticket}}, upTo(wire.OwedWait, "say that it is held"))
	if err == nil && m.Held == nil {
		err = c.unexpected("hold")
	}
	return err
}

func (c *Client) watch(ctx context.Context, w wire.Watch) ([]power.Info, error) {
	m, err := c.ask(ctx, wire.Message{Watch: &w}, upTo(w.Opening(c.Welcome.Power), "open its meters"))
	if err != nil {
		return nil, err
	}
	if m.Watched == nil || len(m.Watched.Infos) < len(w.Specs) {
		return nil, c.unexpected("watch")
	}
	return m.Watched.Infos, nil
}

// readMeters gives traces on this process's clock; from and until are of it
// too, and offset is how far the agent's is ahead.
func (c *Client) tell(ctx context.Context, from, until, offset int64, n int) ([]power.Trace, error) {
	m, err := c.ask(ctx, wire.Message{Tell: &wire.Tell{From: from + offset, Until: until + offset}},
		upTo(wire.Telling(n), "tell what its meters said"))
	if err != nil {
		return nil, err
	}
	if m.Said == nil || len(m.Said.Traces) != n {
		return nil, c.unexpected("tell")
	}
	var all []power.Trace
	for i := range m.Said.Traces {
		all = append(all, m.Said.Traces[i].Here(offset))
	}
	return all, nil
}
