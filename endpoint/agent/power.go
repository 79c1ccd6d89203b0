package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/power"
	"zcbench/results"
)

// An agent may read meters, whether or not it also is an end of the payload:
// one on a third host, beside the meter, is asked for nothing else. What the
// meters say stays with the agent until the run is over.
//
//	watch            →               opens them and reads them from now on
//	                 ←    watched
//	tell             →               ends that
//	                 ←    said

// recording is the meters of one run.
type recording struct {
	recorders []*power.Recorder
	broken    map[int]power.Trace // of the agent's own that would not open
	own       int                 // index of the first that is the agent's own
}

// record opens meters and reads them from then on. One that its driver asked
// for and that does not open is the driver's to know, unless it is lenient; the
// agent's own are missing then, and nothing else.
func (a *Agent) record(ctx context.Context, specs []string, lenient, trusted bool) (_ *recording, err error) {
	r := &recording{broken: map[int]power.Trace{}, own: len(specs)}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if len(specs) > 0 && !trusted {
		return nil, fault.Errorf(fault.Denied, "without a token a peer may not name meters; give them to zcbench rx itself, or both ends a "+
			"--token-file")
	}
	for i, spec := range append(specs[:len(specs):len(specs)], a.Power...) {
		kind, err := power.Describe(spec)
		if err == nil && i < r.own && !slices.Contains(a.Allowed, spec) && (kind.AsUser || !kind.Local && !a.Trusted) {
			// Commands, files and credentials of the agent's user, and its network.
			return nil, fault.Errorf(fault.Denied, "a peer is let measure, and not do what meter %s: may do as this end's user: give it to "+
				"zcbench rx or zcbench agent itself (--meter)", kind.Name)
		}
		var m power.Meter
		if err == nil {
			m, err = power.Open(ctx, spec)
		}
		if err == nil {
			r.recorders = append(r.recorders, power.Record(m))
			continue
		}
		if i < r.own && !(lenient && mayPass(err)) {
			return nil, err
		}
		r.broken[i] = power.Trace{Info: power.Info{Name: kind.Name}, Lost: 1, Err: err}
		r.recorders = append(r.recorders, nil)
	}
	for _, m := range r.recorders[:r.own] {
		if m == nil {
			continue
		}
		if err := m.Ready(ctx); err != nil {
			if !lenient || !mayPass(err) {
				return nil, fmt.Errorf("meter %s: %w", m.Info().Name, err)
			}
		}
	}
	return r, nil
}

// mayPass reports a failure that another time may not have.
func mayPass(err error) bool {
	kind := fault.Of(err)
	return kind == fault.Failed || kind == fault.Unreachable
}

func (r *recording) close() {
	for _, m := range r.recorders {
		if m != nil {
			_ = m.Close() // what it said counts, not how it left
		}
	}
	r.recorders = nil
}

func (r *recording) infos() []power.Info {
	all := make([]power.Info, len(r.recorders))
	for i, m := range r.recorders {
		if all[i] = r.broken[i].Info; m != nil {
			all[i] = m.Info()
		}
	}
	return all
}

// read gives what all meters said until a time, each after its own grace.
func (r *recording) read(ctx context.Context, until time.Time) []power.Trace {
	all := make([]power.Trace, len(r.recorders))
	for i, m := range r.recorders {
		if all[i] = r.broken[i]; m != nil {
			all[i] = m.Trace(ctx, until)
		}
	}
	return all
}

// quietSlack is what opening all meters may take, beside an idle baseline of as
// long as the longest run.
const quietSlack = 5 * time.Minute

func (c *conversation) watch(ctx context.Context, m wire.Watch) error {
	c.endWatch()
	if err := m.Check(); err != nil {
		return err
	}
	if l := c.agent.Limits.Time; !c.trusted && l > 0 && m.Quiet > l+quietSlack {
		return fault.Errorf(fault.Denied, "an idle baseline of up to %s is asked for and the receiver allows %s (its --max-time)", m.Quiet, l)
	}
	if m.Quiet > 0 && !c.asked && c.quiet < 0 {
		if err := c.agent.place.rest(c); err != nil {
			return err
		}
		c.expect("ask for a run", m.Quiet+talkWait)
	}
	if n := len(c.agent.Power); n+len(m.Specs) > 0 {
		c.link.Busy(m.Opening(n))
	}
	r, err := c.agent.record(ctx, m.Specs, m.Lenient, c.trusted)
	if err != nil {
		return err
	}
	c.power = r
	c.idle = m.Quiet + wire.OwedWait
	infos := r.infos()
	if !c.trusted {
		for i := range infos {
			infos[i] = shownMeter(infos[i])
		}
	}
	return c.link.Send(wire.Message{Watched: &wire.Watched{Infos: infos}})
}

func (c *conversation) tell(ctx context.Context, m wire.Tell) error {
	if c.power == nil {
		return fault.Errorf(fault.Failed, "tell without watch")
	}
	if err := m.Check(wire.Monotonic()); err != nil {
		return err
	}
	c.link.Busy(wire.Telling(len(c.power.recorders)))
	v := &wire.Said{Traces: []wire.Trace{}}
	all := c.power.read(ctx, wire.FromMonotonic(m.Until))
	for _, t := range all {
		if !c.trusted {
			t = shownTrace(t)
		}
		v.Traces = append(v.Traces, wire.NewTrace(power.Thin(t, maxReadings/len(all)), m.From))
	}
	c.endWatch()
	return c.link.Send(wire.Message{Said: v})
}

func (c *conversation) endWatch() {
	if c.power != nil {
		c.power.close()
		c.power = nil
	}
}

// ownPower puts into this end's half of a record what the meters of its own
// user say.
func (c *conversation) ownPower(ctx context.Context, rec *results.Record, p *wire.Prepare, res *wire.Result) {
	if c.power == nil || c.power.own == len(c.power.recorders) {
		return
	}
	c.link.Busy(wire.Telling(len(c.power.recorders)))
	w := summary.Window(res, p, 0)
	var all []*summary.Meter
	for _, t := range c.power.read(ctx, w.To)[c.power.own:] {
		all = append(all, &summary.Meter{End: p.Role, Trace: t})
	}
	summary.Power(rec, all, map[endpoint.Role]power.Window{p.Role: w}, nil)
	rec.Derive()
}

// maxReadings bounds what the meters of an agent say in one message, some 60 bytes
// each.
const maxReadings = 500_000
