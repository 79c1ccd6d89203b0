package main

import (
	"context"
	"errors"
	"fmt"

	"zcbench/endpoint"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/power"
)

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
