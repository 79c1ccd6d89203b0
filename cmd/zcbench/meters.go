package main

import (
	"context"
	"errors"
	"fmt"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/experiment"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/power"
)

// meterReaders are the agents that read a command's meters.
type meterReaders struct {
	wanted []driver.Metering
	ends   []func()
}

func (r *meterReaders) end() {
	for _, end := range r.ends {
		end()
	}
}

// openMeters finds a reader for each meter that a trial names: the agent of the
// host that the meter reads, if it is one of hosts; an agent on the host that is
// named; else a process of this one, from where the network can be reached.
func openMeters(ctx context.Context, texts []string, hosts map[endpoint.Role]*driver.Client) (_ meterReaders, err error) {
	var r meterReaders
	defer func() {
		if err != nil {
			r.end()
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
				start := besides
				if v.Host != "" {
					start = overSSH
				}
				var end func()
				if by, end, err = start(ctx, v.Host, asUser(texts, "", v.Host)); err != nil {
					return r, err
				}
				agents[v.Host] = by
				r.ends = append(r.ends, end)
			}
		}
		r.wanted = append(r.wanted, driver.Metering{End: v.End, Spec: v.Spec, By: by})
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

// checkMeters reads each meter of an experiment once, where the runs will read it.
// What a host cannot, or its agent may not, its cells lack.
func checkMeters(ctx context.Context, p *experiment.Plan, open sites) error {
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
				err = tryMeter(ctx, text, open[cell.Pair.Name])
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

// tryMeter reads a meter as a run of the pair will.
func tryMeter(ctx context.Context, text string, at experiment.Site) error {
	if h, ok := at.(*hosts); ok {
		return h.tryMeter(ctx, text)
	}
	readers, err := openMeters(ctx, []string{text}, nil)
	if err != nil {
		return err
	}
	defer readers.end()
	return driver.CheckMeters(ctx, readers.wanted)
}

// metersOf gives meters that name no end to the one whose command this is.
func (r *runFlags) metersOf(own endpoint.Role) []string {
	var all []string
	for _, text := range r.Meters {
		if v, err := ask.ParseMeter(text); err == nil && v.End == "" { // they are checked
			text = string(own) + "=" + text
		}
		all = append(all, text)
	}
	return all
}

// announce tells why nothing happens yet.
func (r *runFlags) announce(c *cli) {
	if r.Baseline > 0 && len(r.Meters) > 0 {
		fmt.Fprintf(c.stderr, "zcbench: reading the meters for %s before the run, for the idle baseline\n", &r.Baseline)
	}
}

// aloneMeters refuses meters of an end that is not ours.
func (r *runFlags) aloneMeters(own endpoint.Role) error {
	for _, text := range r.Meters {
		v, err := ask.ParseMeter(text)
		if err != nil {
			return err
		}
		if v.End != "" && v.End != own {
			return fault.Errorf(fault.Usage, "--meter %s=%s: with --raw nothing is known of the %s", v.End, v.Kind.Name, v.End)
		}
	}
	return nil
}

// ownMeters are those of a receiver's own user. They are opened once to see that
// they answer: a run that finds them silent is not failed for it.
func (r *runFlags) ownMeters(ctx context.Context) ([]string, error) {
	if r.Baseline > 0 {
		return nil, fault.Errorf(fault.Usage, "--baseline-power is for the sender to say, which knows when the run begins")
	}
	var specs []string
	for _, text := range r.Meters {
		v, err := ask.ParseMeter(text)
		if err != nil {
			return nil, err
		}
		if v.End == endpoint.TX || v.Host != "" {
			return nil, fault.Errorf(fault.Usage, "--meter: rx reads meters of its own end, from this host; give the others to zcbench tx")
		}
		meter, err := power.Open(ctx, v.Spec)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(meter.Close()); err != nil {
			return nil, err
		}
		specs = append(specs, v.Spec)
	}
	return specs, nil
}
