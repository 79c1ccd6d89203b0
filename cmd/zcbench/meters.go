package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/experiment"
	"zcbench/internal/fault"
	"zcbench/power"
)

// meterFlags are the power meters of a run.
type meterFlags struct {
	texts    []string
	baseline seconds
	asked    []meterFlag
}

// meterFlag is one --meter [rx=|tx=]KIND:ADDRESS[@HOST].
type meterFlag struct {
	end  endpoint.Role // "": this command's
	spec string
	host string // whose meter it is, reached by ssh; "": this host or the network
	kind power.Kind
}

func (m *meterFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&m.texts, "meter", nil, "power meter [rx=|tx=]KIND:ADDRESS[@HOST], whose watts the record tells; may be given again (zcbench power list)")
	f.Var(&m.baseline, "baseline-power", "idle time before the run in which the meters are read for comparison")
	f.Lookup("baseline-power").DefValue = "0" // which help leaves out
}

func (m *meterFlags) check() error {
	m.asked = nil
	for _, text := range m.texts {
		v, err := parseMeter(text)
		if err != nil {
			return err
		}
		m.asked = append(m.asked, v)
	}
	if m.baseline < 0 {
		return fault.Errorf(fault.Usage, "--baseline-power cannot be negative")
	}
	return nil
}

// parseMeter reads a --meter. HOST is what follows the last @, unless that can
// be no host's name; an address that ends so is followed by one more @.
func parseMeter(text string) (meterFlag, error) {
	var v meterFlag
	v.spec = text
	for _, role := range []endpoint.Role{endpoint.RX, endpoint.TX} {
		if rest, ok := strings.CutPrefix(text, string(role)+"="); ok {
			v.end, v.spec = role, rest
		}
	}
	if i := strings.LastIndexByte(v.spec, '@'); i >= 0 && !strings.ContainsAny(v.spec[i+1:], "/?&= \t'\"") {
		v.spec, v.host = v.spec[:i], v.spec[i+1:]
	}
	if strings.HasPrefix(v.host, "-") {
		return v, fault.Errorf(fault.Usage, "--meter %s: %q is no host", text, v.host)
	}
	var err error
	if v.kind, err = power.Describe(v.spec); err != nil {
		// The rest of the text may be a secret that does not belong there.
		name, _, _ := strings.Cut(text, ":")
		return v, fault.Errorf(fault.Usage, "--meter %s: %w", name, err)
	}
	return v, nil
}

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
		v, err := parseMeter(text)
		if err != nil {
			return r, err
		}
		by := hosts[v.end]
		if by == nil || !v.kind.Local || v.host != "" {
			if by = agents[v.host]; by == nil {
				start := besides
				if v.host != "" {
					start = overSSH
				}
				var end func()
				if by, end, err = start(ctx, v.host, asUser(texts, "", v.host)); err != nil {
					return r, err
				}
				agents[v.host] = by
				r.ends = append(r.ends, end)
			}
		}
		r.wanted = append(r.wanted, driver.Metering{End: v.end, Spec: v.spec, By: by})
	}
	return r, nil
}

// asUser are the meters of an end, or of any for "", and of a host that run commands
// or read files. An agent opens those that its command line names, and no others of
// the kind.
func asUser(texts []string, end endpoint.Role, host string) []string {
	var specs []string
	for _, text := range texts {
		v, err := parseMeter(text) // what is wrong with it is told where it is opened
		if err == nil && v.kind.AsUser && v.host == host && (end == "" || v.end == end) {
			specs = append(specs, v.spec)
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

// of gives meters that name no end to the one whose command this is.
func (m *meterFlags) of(own endpoint.Role) []string {
	var all []string
	for i, v := range m.asked {
		text := m.texts[i]
		if v.end == "" {
			text = string(own) + "=" + text
		}
		all = append(all, text)
	}
	return all
}

// announce tells why nothing happens yet.
func (m *meterFlags) announce(c *cli) {
	if m.baseline > 0 && len(m.asked) > 0 {
		fmt.Fprintf(c.stderr, "zcbench: reading the meters for %s before the run, for the idle baseline\n", time.Duration(m.baseline))
	}
}

// alone refuses meters of an end that is not ours.
func (m *meterFlags) alone(own endpoint.Role) error {
	for _, v := range m.asked {
		if v.end != "" && v.end != own {
			return fault.Errorf(fault.Usage, "--meter %s=%s: with --raw nothing is known of the %s", v.end, v.kind.Name, v.end)
		}
	}
	return nil
}

// own are the meters of a receiver's own user. They are opened once to see that
// they answer: a run that finds them silent is not failed for it.
func (m *meterFlags) own(ctx context.Context) ([]string, error) {
	if m.baseline > 0 {
		return nil, fault.Errorf(fault.Usage, "--baseline-power is for the sender to say, which knows when the run begins")
	}
	var specs []string
	for _, v := range m.asked {
		if v.end == endpoint.TX || v.host != "" {
			return nil, fault.Errorf(fault.Usage, "--meter: rx reads meters of its own end, from this host; give the others to zcbench tx")
		}
		meter, err := power.Open(ctx, v.spec)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(meter.Close()); err != nil {
			return nil, err
		}
		specs = append(specs, v.spec)
	}
	return specs, nil
}
