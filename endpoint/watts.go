package endpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// watch asks an agent for meters of its host, beside its own user's.
type watch struct {
	Specs []string `json:"specs,omitempty"` // as power.Open takes
	// Lenient goes on without those that do not answer.
	Lenient bool `json:"lenient,omitempty"`
	// Quiet is how long the driver has nothing to ask then: an idle baseline, or of one
	// that only reads meters all until the run is over.
	Quiet time.Duration `json:"quiet"`
}

// watched describes the meters asked for, then the agent's own.
type watched struct {
	Infos []power.Info `json:"infos"`
}

// tell asks for what the meters said. Times are the agent's CLOCK_MONOTONIC.
type tell struct {
	From  int64 `json:"from"`
	Until int64 `json:"until"`
}

type said struct {
	Traces []trace `json:"traces"` // in the order of watched
}

// trace is a power.Trace on an agent's CLOCK_MONOTONIC.
type trace struct {
	Info     power.Info `json:"info"`
	Readings []reading  `json:"readings"`
	Lost     int        `json:"lost,omitempty"`
	Why      string     `json:"why,omitempty"`
}

type reading struct {
	At     int64    `json:"at"`
	Watts  *float64 `json:"w,omitempty"`
	Joules *float64 `json:"j,omitempty"`
}

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
		return nil, Errorf(Denied, "without a token a peer may not name meters; give them to zcbench rx itself, or both ends a --token-file")
	}
	for i, spec := range append(specs[:len(specs):len(specs)], a.Power...) {
		kind, err := power.Describe(spec)
		if err == nil && i < r.own && !slices.Contains(a.Allowed, spec) && (kind.AsUser || !kind.Local && !a.Trusted) {
			// Commands, files and credentials of the agent's user, and its network.
			return nil, Errorf(Denied, "a peer is let measure, and not do what meter %s: may do as this end's user: give it to zcbench rx or zcbench agent itself (--meter)", kind.Name)
		}
		var m power.Meter
		if err == nil {
			m, err = power.Open(ctx, spec)
		}
		if err == nil {
			r.recorders = append(r.recorders, power.Record(m))
			continue
		}
		if err = MeterError(err); i < r.own && !(lenient && mayPass(err)) {
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
			if err = MeterError(err); !lenient || !mayPass(err) {
				return nil, &Error{Kind: KindOf(err), Err: fmt.Errorf("meter %s: %w", m.Info().Name, err)}
			}
		}
	}
	return r, nil
}

// mayPass reports a failure that another time may not have.
func mayPass(err error) bool {
	kind := KindOf(err)
	return kind == Failed || kind == Unreachable
}

// MeterError gives an error of package power its kind.
func MeterError(err error) error {
	switch {
	case errors.Is(err, power.ErrSpec):
		return Errorf(Usage, "%w", err)
	case errors.Is(err, power.ErrUnsupported):
		return Errorf(Unsupported, "%w", err)
	case errors.Is(err, power.ErrUnreachable):
		return Errorf(Unreachable, "%w", err)
	}
	return err
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

// Readings carry time.Time in this process and CLOCK_MONOTONIC between two.
func toMonotonic(t time.Time) int64    { return Monotonic() - int64(time.Since(t)) }
func fromMonotonic(at int64) time.Time { return time.Now().Add(time.Duration(at - Monotonic())) }

// wire cuts a trace to what is of interest from a time on. A slow meter's
// latest value of before is.
func wire(t power.Trace, from int64) trace {
	v := trace{Info: t.Info, Lost: t.Lost, Readings: []reading{}}
	if t.Err != nil {
		v.Why = t.Err.Error()
	}
	// One moment for all, so that they keep their distances.
	now, zero := time.Now(), Monotonic()
	from -= int64(t.Info.Grace()) + int64(max(t.Info.Latency, 0))
	for i, r := range t.Readings {
		at := zero + int64(r.At.Sub(now))
		if at < from && i+1 < len(t.Readings) && zero+int64(t.Readings[i+1].At.Sub(now)) < from {
			continue
		}
		v.Readings = append(v.Readings, reading{at, r.Watts, r.Joules})
	}
	return v
}

// maxReadings bounds what the meters of an agent say in one message, some 60 bytes
// each.
const maxReadings = 500_000

// maxNames is more than any meter has for what it sees.
const maxNames = 32

// trace moves an agent's trace to this process's clock.
func (v *trace) trace(offset int64) power.Trace {
	t := power.Trace{Info: v.Info, Lost: v.Lost}
	t.Info.Of = t.Info.Of[:min(len(t.Info.Of), maxNames)]
	if v.Why != "" {
		t.Err = errors.New(v.Why)
	}
	zero := fromMonotonic(0)
	for _, r := range v.Readings {
		t.Readings = append(t.Readings, power.Reading{At: zero.Add(time.Duration(r.At - offset)), Watts: r.Watts, Joules: r.Joules})
	}
	return t
}

// The agent's side of the exchange.

// quietSlack is what opening all meters may take, beside an idle baseline of as
// long as the longest run.
const quietSlack = 5 * time.Minute

func (c *conversation) watch(ctx context.Context, m watch) error {
	c.endWatch()
	if err := m.check(); err != nil {
		return err
	}
	if l := c.agent.Limits.Time; !c.trusted && l > 0 && m.Quiet > l+quietSlack {
		return Errorf(Denied, "an idle baseline of up to %s is asked for and the receiver allows %s (its --max-time)", m.Quiet, l)
	}
	if m.Quiet > 0 && !c.asked && c.quiet < 0 {
		if err := c.agent.place.rest(c); err != nil {
			return err
		}
		c.expect("ask for a run", m.Quiet+talkWait)
	}
	if n := len(c.agent.Power); n+len(m.Specs) > 0 {
		c.link.busy(m.opening(n))
	}
	r, err := c.agent.record(ctx, m.Specs, m.Lenient, c.trusted)
	if err != nil {
		return err
	}
	c.power = r
	c.idle = m.Quiet + owedWait
	infos := r.infos()
	if !c.trusted {
		for i := range infos {
			infos[i] = shownMeter(infos[i])
		}
	}
	return c.link.send(message{Watched: &watched{Infos: infos}})
}

func (c *conversation) tell(ctx context.Context, m tell) error {
	if c.power == nil {
		return Errorf(Failed, "tell without watch")
	}
	if err := m.check(Monotonic()); err != nil {
		return err
	}
	c.link.busy(telling(len(c.power.recorders)))
	v := &said{Traces: []trace{}}
	all := c.power.read(ctx, fromMonotonic(m.Until))
	for _, t := range all {
		if !c.trusted {
			t = shownTrace(t)
		}
		v.Traces = append(v.Traces, wire(power.Thin(t, maxReadings/len(all)), m.From))
	}
	c.endWatch()
	return c.link.send(message{Said: v})
}

func (c *conversation) endWatch() {
	if c.power != nil {
		c.power.close()
		c.power = nil
	}
}

// ownPower puts into this end's half of a record what the meters of its own
// user say.
func (c *conversation) ownPower(ctx context.Context, rec *results.Record, p *Prepare, res *Result) {
	if c.power == nil || c.power.own == len(c.power.recorders) {
		return
	}
	c.link.busy(telling(len(c.power.recorders)))
	w := res.window(p, 0)
	var all []*metering
	for _, t := range c.power.read(ctx, w.To)[c.power.own:] {
		all = append(all, &metering{end: p.Role, trace: t})
	}
	fillPower(rec, all, map[Role]power.Window{p.Role: w}, nil)
	rec.Derive()
}

// The driver's side.

// tellWait is for the slowest meter.
const tellWait = 40 * time.Second

// opening is how long an agent may take to open these meters, and some of its own.
func (w *watch) opening(own int) time.Duration {
	return time.Duration(1+len(w.Specs)+own) * prepareWait
}

// telling is how long it may take to say what so many said.
func telling(meters int) time.Duration { return time.Duration(1+meters) * tellWait }

func (c *Client) watch(ctx context.Context, w watch) ([]power.Info, error) {
	m, err := c.ask(ctx, message{Watch: &w}, upTo(w.opening(c.Welcome.Power), "open its meters"))
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
	m, err := c.ask(ctx, message{Tell: &tell{From: from + offset, Until: until + offset}}, upTo(telling(n), "tell what its meters said"))
	if err != nil {
		return nil, err
	}
	if m.Said == nil || len(m.Said.Traces) != n {
		return nil, c.unexpected("tell")
	}
	var all []power.Trace
	for i := range m.Said.Traces {
		all = append(all, m.Said.Traces[i].trace(offset))
	}
	return all, nil
}
