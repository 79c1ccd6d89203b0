package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/printable"
	"zcbench/results/caveat"
	"zcbench/ringcfg"
)

// noJournal lets ringcfg choose where it keeps what it has to undo.
const noJournal ringcfg.Journal = ""

// tune applies what the driver wants and the engine needs, and gives the
// engine the queues it was granted.
func (r *run) tune(p *endpoint.Params) error {
	want, err := r.wants(*p)
	if err != nil {
		return err
	}
	if want.Queues == 0 && len(want.Settings)+len(want.Optional) == 0 {
		return nil
	}
	if want.Interface = p.Interface; want.Interface == "" {
		return fault.Errorf(fault.Usage, "there are settings to make for a NIC, and which one is not known: give --iface")
	}
	if want.Queues > 0 {
		// Each flow has a port of its own, so each can have its own queue.
		for i := range r.p.Flows {
			want.Flows = append(want.Flows, ethtool.Match{Dst: r.local, DstPort: uint16(r.p.DataPort + i)})
		}
	}
	grant, undo, err := ringcfg.Apply(r.ctx, want, noJournal)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", want.Interface, err)
	}
	r.undo, p.Queues = undo, grant.Queues
	for _, c := range grant.Changes {
		r.changes = append(r.changes, fmt.Sprintf("%s: %s → %s", c.Name, brief(c.From), brief(c.To)))
	}
	if len(grant.Changes) > 0 {
		return waitRunning(r.ctx, want.Interface)
	}
	return nil
}

// brief keeps RSS tables out of records, which repeat for each run.
func brief(value string) string {
	const most = 64
	if words := strings.Fields(value); len(value) > most {
		return fmt.Sprintf("%q… (%d values)", strings.Join(words[:min(8, len(words))], " "), len(words))
	}
	return strconv.Quote(value)
}

// wants is what the engine needs on top of what the driver wants.
func (r *run) wants(p endpoint.Params) (ringcfg.Want, error) {
	want := ringcfg.Want{}
	if r.p.NoTune {
		if len(r.p.Settings)+len(r.p.Optional) > 0 {
			return want, fault.Errorf(fault.Usage, "settings are wanted for the run, and --no-tune forbids to make any")
		}
		return want, nil
	}
	if t, ok := r.engine.(endpoint.Tuner); ok {
		var err error
		if want, err = t.Needs(p); err != nil {
			return want, err
		}
	}
	for name, value := range r.p.Settings {
		if need, ok := want.Settings[name]; ok && need != value {
			return want, fault.Errorf(fault.Usage, "setting %s is to be %q for the run, and the engine needs %q", name, value, need)
		}
	}
	want.Settings = union(r.p.Settings, want.Settings)
	want.Optional = union(r.p.Optional, want.Optional)
	return want, nil
}

// union gives new settings; those of b come before those of a.
func union(a, b map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// tuneWait covers making all settings, and what follows from them.
const tuneWait = 30 * time.Second

// linkWait is for NICs that take their link down to change an MTU or a ring.
const linkWait = 10 * time.Second

func waitRunning(ctx context.Context, iface string) error {
	for end := time.Now().Add(linkWait); ; {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return fmt.Errorf("after its settings were changed: interface %s: %w", iface, err)
		}
		if i.Flags&net.FlagRunning != 0 {
			return nil
		}
		if !time.Now().Before(end) {
			return fault.Errorf(fault.Failed, "%s has no link %s after its settings were changed", iface, linkWait)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
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
		r.warned = append(r.warned, caveat.Warn(caveat.SettingChanged, "%s: %s", r.p.Role, d))
	}
	if err != nil {
		return fmt.Errorf("put the settings of %s back: %w (zcbench tune restore -i %s tries again)", r.p.Interface, err,
			printable.Word(r.p.Interface))
	}
	return nil
}

// localAddress is where the receiver's payload arrives: flow rules need it.
func localAddress(p *wire.Prepare, link netip.Addr) netip.Addr {
	if a, err := netip.ParseAddr(p.Bind); err == nil {
		return a.Unmap()
	}
	return link
}
