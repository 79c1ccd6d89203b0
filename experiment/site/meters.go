package site

import (
	"context"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/experiment"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
)

// Meters are the agents that read a command's meters.
type Meters struct {
	Wanted []driver.Metering
	ends   []func()
}

// End ends those that are here for nothing else.
func (r *Meters) End() {
	for _, end := range r.ends {
		end()
	}
}

// OpenMeters finds a reader for each meter that a trial names: the agent of the
// host that the meter reads, if it is one of hosts; an agent on the host that is
// named; else a process of this one, from where the network can be reached.
func (p *Program) OpenMeters(ctx context.Context, texts []string, hosts map[endpoint.Role]*driver.Client) (_ Meters, err error) {
	var r Meters
	defer func() {
		if err != nil {
			r.End()
		}
	}()
	agents := map[string]*driver.Client{}
	for _, text := range texts {
		v, err := ask.ParseMeter(text)
		if err != nil {
			return r, err
		}
		by := hosts[v.End]
		if by == nil || !v.Kind.Local || v.Host != "" {
			if by = agents[v.Host]; by == nil {
				start := p.besides
				if v.Host != "" {
					start = p.overSSH
				}
				var end func()
				if by, end, err = start(ctx, v.Host, asUser(texts, "", v.Host)); err != nil {
					return r, err
				}
				agents[v.Host] = by
				r.ends = append(r.ends, end)
			}
		}
		r.Wanted = append(r.Wanted, driver.Metering{End: v.End, Spec: v.Spec, By: by})
	}
	return r, nil
}

// asUser are the meters of an end, or of any for "", and of a host that run commands
// or read files. An agent opens those that its command line names, and no others of
// the kind.
func asUser(texts []string, end endpoint.Role, host string) []string {
	var specs []string
	for _, text := range texts {
		v, err := ask.ParseMeter(text) // what is wrong with it is told where it is opened
		if err == nil && v.Kind.AsUser && v.Host == host && (end == "" || v.End == end) {
			specs = append(specs, v.Spec)
		}
	}
	return specs
}

// CheckMeters reads each meter of an experiment once, where the runs will read it.
// What a host cannot, or its agent may not, its cells lack.
func (all Sites) CheckMeters(ctx context.Context, p *experiment.Plan) error {
	type place struct{ pair, text string }
	tried := map[place]error{}
	for i := range p.Cells {
		cell := &p.Cells[i]
		for _, text := range cell.Trial.Meters {
			here := place{text: text}
			if cell.Pair.RX.Name != "" {
				here.pair = cell.Pair.Name
			}
			err, ok := tried[here]
			if !ok {
				err = all[cell.Pair.Name].(meterSite).tryMeter(ctx, text)
				tried[here] = err
			}
			switch fault.Of(err) {
			case fault.Unsupported, fault.Denied:
				cell.Missing = append(cell.Missing, "meter "+text+": "+err.Error())
			default:
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// meterSite is a site that can read a meter as a run of the pair will.
type meterSite interface {
	tryMeter(ctx context.Context, text string) error
}

func (h *Local) tryMeter(ctx context.Context, text string) error {
	readers, err := h.of.OpenMeters(ctx, []string{text}, nil)
	if err != nil {
		return err
	}
	defer readers.End()
	return driver.CheckMeters(ctx, readers.Wanted)
}

// besides starts an agent as a process of its own, so that the CPU time and the
// garbage of reading meters are not those of an end.
func (p *Program) besides(ctx context.Context, _ string, meters []string) (*driver.Client, func(), error) {
	r := reach{of: p, name: "meters", host: experiment.Host{Here: true}, stderr: p.Stderr}
	return r.agent(ctx, meters...)
}

// overSSH starts an agent on another host.
func (p *Program) overSSH(ctx context.Context, host string, meters []string) (*driver.Client, func(), error) {
	r := reach{of: p, name: "meters on " + host, host: experiment.Host{SSH: host}, stderr: &prefixed{to: p.Stderr, prefix: host + ": "}}
	if err := r.find(ctx); err != nil {
		return nil, nil, err
	}
	return r.agent(ctx, meters...)
}
