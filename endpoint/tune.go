package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"zcbench/internal/genl/ethtool"
	"zcbench/ringcfg"
)

// Tuner is an Engine that needs its interface or its host in a certain state.
// The agent brings that about before Open and puts everything back after
// Close.
type Tuner interface {
	// Needs gives the settings and how many receive queues for the run's flows
	// alone; the agent adds the interface and the flows.
	Needs(p Params) (ringcfg.Want, error)
}

// noJournal lets ringcfg choose where it keeps what it has to undo.
const noJournal ringcfg.Journal = ""

// tune applies what the engine needs and gives it the queues it was granted.
func (r *run) tune(p *Params) error {
	t, ok := r.engine.(Tuner)
	if !ok || r.p.NoTune {
		return nil
	}
	want, err := t.Needs(*p)
	if err != nil {
		return err
	}
	if want.Queues == 0 && len(want.Settings)+len(want.Optional) == 0 {
		return nil
	}
	if want.Interface = p.Interface; want.Interface == "" {
		return Errorf(Usage, "the engine needs a NIC, and which one is not known: give --iface")
	}
	if want.Queues > 0 {
		// Each flow has a port of its own, so each can have its own queue.
		for i := range r.p.Flows {
			want.Flows = append(want.Flows, ethtool.Match{Dst: r.local, DstPort: uint16(r.p.DataPort + i)})
		}
	}
	grant, undo, err := ringcfg.Apply(r.ctx, want, noJournal)
	if err != nil {
		kind := Failed
		switch {
		case errors.Is(err, ringcfg.ErrUnsupported):
			kind = Unsupported
		case errors.Is(err, ringcfg.ErrUsage):
			kind = Usage
		}
		return Errorf(kind, "prepare %s: %w", want.Interface, err)
	}
	r.undo, p.Queues = undo, grant.Queues
	for _, c := range grant.Changes {
		r.changes = append(r.changes, fmt.Sprintf("%s: %q → %q", c.Name, c.From, c.To))
	}
	return nil
}

// untune puts everything back; what somebody else changed meanwhile is told,
// and left alone.
func (r *run) untune() error {
	if r.undo == nil {
		return nil
	}
	// Also when the run was cut off: that is when it matters most.
	drift, err := r.undo(context.Background())
	r.undo = nil
	for _, d := range drift {
		r.drift = append(r.drift, fmt.Sprintf("%s: %s", r.p.Role, d))
	}
	if err != nil {
		return fmt.Errorf("put the settings of %s back: %w (zcbench tune restore -i %s tries again)", r.p.Interface, err, r.p.Interface)
	}
	return nil
}

// localAddress is where the receiver's payload arrives: flow rules need it.
func localAddress(p *Prepare, link netip.Addr) netip.Addr {
	if a, err := netip.ParseAddr(p.Bind); err == nil {
		return a.Unmap()
	}
	return link
}
