// Package agent is one end of the payload: it lets a driver in, tunes its host, runs
// an engine, and samples what that does.
package agent

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
	"zcbench/internal/procfile"
	"zcbench/results"
	"zcbench/ringcfg"
)

// Agent is one end of the payload, driven over a control link. The zero value
// lacks engines; cmd fills them in.
type Agent struct {
	RX, TX  []endpoint.Engine
	Version string // of zcbench, for the handshake
	// Token, when set, is what a driver must know.
	Token []byte
	// Trusted is set for links that only the user can have opened: a pipe.
	// A driver over TCP is trusted when there is a token.
	Trusted bool
	Limits  wire.Limits
	Pinned  wire.Pins
	// Options are the engine options of the agent's own command line; those
	// of a trusted driver come before them.
	Options map[string]string
	// Defaults fill what an untrusted driver may not say.
	DataPort  int
	Bind      string
	Interface string
	NoTune    bool // change no setting of the NIC or the host
	Verify    bool // capture headers in every run's warm-up
	// Power meters of this end\'s own user, as power.Open takes them; every run is
	// told what they say.
	Power []string
	// Allowed are meters that run commands or read files of this end's user, which
	// a driver may ask for by these very words: that user gave them with the agent's
	// command line. No others of the kind are opened, whoever asks.
	Allowed []string
	// Verifier captures them.
	Verifier Verifier
	// Instruments are what every run can read and record beside the payload;
	// Counters, Profile and Syscalls ask for what the driver does not.
	Instruments       instrument.Instruments
	Counters          []string
	Profile, Syscalls bool
	// Facts describes this host; iface may be empty.
	Facts func(iface string) results.Facts
	// Survey, when set, tells a trusted driver what this host offers.
	Survey func(context.Context, wire.Survey) (any, error)
	// Claim, when set, holds the host for the drivers who know a ticket, until
	// its result is closed; then links are let in side by side. Otherwise one
	// link is.
	Claim func(ticket string) (io.Closer, error)
	// Observe, when set, sees what happens on this end, for its own screen.
	Observe func(Event)

	place place
	refusals
}

// Event is something an agent's own user may want to see.
type Event struct {
	Prepared *wire.Prepare // a run begins: its connections are there
	Peer     netip.Addr    // of the driver, where it came over a network
	Sample   *wire.Sample
	Record   *results.Record // this end's half of a run
	Err      error           // why a run failed; its driver knows too
	Left     error           // what a failed run could not put back
}

// sessionSlack is what a driver takes beside its run and as long an idle baseline
// before it: opening meters, preparing both ends, putting back.
const sessionSlack = time.Minute

// forEver is how long an agent waits for a driver that it need not hear from.
const forEver = time.Duration(math.MaxInt64 / 2)

// Serve drives runs for one driver until the link closes, which is no error,
// or ctx ends. It leaves nothing running.
func (a *Agent) Serve(ctx context.Context, rw io.ReadWriteCloser) error {
	return a.serve(ctx, rw, steps{func() {}, func() {}, func() {}})
}

// steps are told how far a driver has come: that it shook hands without a token, that it
// has the token or a run, and that it has asked for a run that there can be.
type steps struct{ met, proven, asked func() }

// serve is Serve, and tells of the steps.
func (a *Agent) serve(ctx context.Context, rw io.ReadWriteCloser, s steps) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &conversation{agent: a, rw: rw, link: wire.NewLink(rw, wire.MaxRequest), steps: s, cancel: cancel}
	// Ending ctx closes the link, which ends the reader.
	defer context.AfterFunc(ctx, func() {
		c.link.Goodbye(context.Cause(ctx))
		rw.Close()
	})()
	defer rw.Close()
	if nc, ok := rw.(net.Conn); ok {
		c.peer, c.local = wire.AddrOf(nc.RemoteAddr()), wire.AddrOf(nc.LocalAddr())
		// Not the one that has the address: a bridge and its port may both.
		if name, err := netif.From(nc); err == nil {
			c.iface = name
		}
	}
	c.link.SetDeadline(wire.HandshakeWait)
	if err := c.handshake(); err != nil {
		return err
	}
	if l := a.Limits.Time; l > 0 {
		most := 2*l + sessionSlack
		defer time.AfterFunc(most, func() {
			err := fault.Errorf(fault.Denied, "a sender held this receiver for %s, more than a run of %s and an idle baseline of as long take "+
				"(its --max-time)", most, l)
			c.link.LastWords(err)
			cancel(err)
		}).Stop()
	}
	defer a.place.leave(c)
	// One reader for the link's whole life: a link that closes is noticed at
	// once, also while a run is on.
	stop, err := c.link.Watch(func(s *wire.Silence) {
		// It may run again some day, and wonder.
		c.link.LastWords(fault.Errorf(fault.Failed, "this end heard nothing since %s, for %.0f s, and gave the run up",
			s.Since.Format("15:04:05"), s.After.Seconds()))
		cancel(fault.Errorf(fault.Failed, "%s: %w", a.driver(), s))
	})
	if err != nil {
		return err
	}
	defer stop()
	requests := make(chan wire.Message, 1)
	go c.read(requests)
	defer func() {
		c.drop()
		c.endWatch()
		if c.claim != nil {
			_ = c.claim.Close() // nothing was written to it
		}
	}()
	c.link.SetDeadline(0)
	c.expect("ask for a run", talkWait)
	defer c.expect("", 0)
	return c.talk(ctx, requests)
}

// read takes what the driver says, until the link closes or it says what is none.
func (c *conversation) read(requests chan<- wire.Message) {
	c.link.Reads()
	for {
		m, err := c.link.Receive()
		if err == nil && m.Error != nil {
			err = fmt.Errorf("%w: %w%s", errPeerGone, m.Error.Err(), c.link.Excuse())
		}
		if err != nil {
			if errors.Is(err, wire.ErrGarbage) {
				_ = c.link.SendError(fault.Wrap(fault.Failed, err))
			}
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) {
				err = fmt.Errorf("%w%s", errPeerGone, c.link.Excuse())
			}
			c.cancel(err)
			return
		}
		select {
		case requests <- m:
		default: // who takes no answer may have the reader wait for ever, and hear no silence
			err := fault.Errorf(fault.Failed, "%w: it asks before it has the answer", wire.ErrGarbage)
			_ = c.link.SendError(err)
			c.cancel(err)
			return
		}
	}
}

// talk answers what the driver asks until the link closes, which is no error, or ctx ends.
func (c *conversation) talk(ctx context.Context, requests <-chan wire.Message) error {
	answered := wire.Monotonic()
	c.idle = wire.OwedWait
	idle := time.NewTimer(wire.OwedWait)
	for {
		select {
		case <-ctx.Done():
			return c.ended(context.Cause(ctx))
		case <-idle.C:
			if left := c.link.Owes(answered, c.idle); c.link.Within() || left > 0 {
				idle.Reset(max(left, wire.OwedWait/8))
				continue
			}
			return c.forgotten()
		case m := <-requests:
			c.idle, c.over = wire.OwedWait, false
			err := contain(func() error { return c.handle(ctx, m) })
			answered = wire.Monotonic()
			idle.Reset(c.idle)
			if err != nil {
				if err := c.failedAt(ctx, err); err != nil {
					return err
				}
			}
			if !c.trusted && c.run == nil {
				c.agent.place.leave(c)
			}
			c.link.Busy(0)
		}
	}
}

// ended is what a conversation that something ended comes to; nil: it was over.
func (c *conversation) ended(cause error) error {
	if _, silent := errors.AsType[*wire.Silence](cause); silent && c.over {
		return nil // with a run that came to its end, as its record says
	}
	if c.run != nil && !c.begun && c.run.host != nil {
		if crowd := c.run.host.crowd(); crowd != "" {
			return fmt.Errorf("%w; %s", cause, crowd)
		}
	}
	if !errors.Is(cause, errPeerGone) || c.run != nil {
		return cause
	}
	return nil
}

// forgotten leaves a driver that is there and has long asked for nothing.
func (c *conversation) forgotten() error {
	err := fault.Errorf(fault.Failed, "%s: it is heard of, and asked for nothing in %.0f s: it is stuck; end zcbench there (kill -QUIT "+
		"shows where it hangs)", c.agent.driver(), c.idle.Seconds())
	if s := c.link.Quiet(); s != nil { // as where an interface is gone, which s says
		err = fault.Errorf(fault.Failed, "%s: %w", c.agent.driver(), s)
	}
	c.link.LastWords(fault.Errorf(fault.Failed, "this end was asked for nothing in %.0f s, and closed the connection", c.idle.Seconds()))
	if c.over {
		return nil // with a run that came to its end
	}
	return err
}

// failedAt drops what was being done when a request failed, and tells who sees this
// end and the driver why. Its own error is that the driver cannot be told.
func (c *conversation) failedAt(ctx context.Context, err error) error {
	a := c.agent
	if fault.Of(err) == fault.PeerGone && !c.link.Within() {
		select { // why may be on its way
		case <-ctx.Done():
		case <-time.After(wire.EndedWait):
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause // not that a closed link is closed
	}
	if a.Observe != nil {
		if c.run != nil && c.begun {
			rec := c.failed(err)
			a.Observe(Event{Record: &rec})
		}
		// Else it is what the conversation itself comes to.
		if cause := context.Cause(ctx); cause == nil || errors.Is(cause, errPeerGone) {
			a.tell(c.peer, err, !c.trusted)
		}
	}
	c.drop()
	if ctx.Err() != nil {
		return nil
	}
	return c.link.SendError(err)
}

// driver is what a user calls the zcbench that drives this end: of rx a sender, and of
// an end that may be either a controller. Drivers are those of NICs to them.
func (a *Agent) driver() string {
	if len(a.TX) == 0 {
		return "the sender"
	}
	return "the controller"
}

// errPeerGone is a link that the other end closed.
var errPeerGone = errors.New("the other end closed the control connection")

// conversation is the state of one link.
type conversation struct {
	agent   *Agent
	rw      io.ReadWriteCloser
	link    *wire.Link // over rw
	peer    netip.Addr
	trusted bool
	local   netip.Addr // the link's own address
	iface   string     // that it came by; "": not known
	run     *run
	idle    time.Duration // that the driver may take until it asks again
	over    bool          // what it asked for last was a run
	asked   bool          // for a run, without a token
	begun   bool          // the run has its connections
	quiet   int           // how often the place had been taken as an idle baseline began, -1: none did
	due     *time.Timer   // by when a driver without a token has to come further
	steps   steps
	cancel  context.CancelCauseFunc
	claim   io.Closer
	facts   results.Facts
	others  ringcfg.Settings // settings of whose change nobody tells, before the run
	power   *recording       // of power meters; nil: none are read
}

func (c *conversation) handshake() error {
	a := c.agent
	c.quiet = -1
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("make a nonce: %w", err)
	}
	theirs, err := c.link.ReceiveHello()
	if err != nil {
		if errors.Is(err, wire.ErrGarbage) {
			return c.turnAway(fault.Errorf(fault.Failed, "this is the control port of zcbench %s; %s", a.Version, a.use()))
		}
		return fmt.Errorf("%w: %w: %w", errTurnedAway, errSilent, err)
	}
	if err := c.link.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol,
		Version: a.Version, Nonce: nonce, Token: len(a.Token) > 0}}); err != nil {
		return fmt.Errorf("%w: handshake: %w", errTurnedAway, err)
	}
	if theirs.Protocol != wire.Protocol {
		return c.turnAway(wire.VersionError(theirs, a.Version))
	}
	m, err := c.link.Receive()
	if err != nil && len(a.Token) > 0 && errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it left when it was asked for the token: it has none, or is of no sender", errTurnedAway)
	}
	if err != nil {
		return fmt.Errorf("%w: %w: %w", errTurnedAway, errSilent, err)
	}
	if m.Auth == nil {
		return c.turnAway(wire.ErrGarbage)
	}
	cpus := AllowedCPUs()
	w := wire.Welcome{BootID: BootID(), CPUs: cpus, Cores: procfile.Cores(cpus), Pinned: a.Pinned, Limits: a.Limits, Version: a.Version,
		Process: wire.ThisProcess(), Power: len(a.Power)}
	if len(a.Token) > 0 {
		if !hmac.Equal(m.Auth.MAC, wire.MAC(a.Token, "driver", theirs.Nonce, nonce)) {
			return c.turnAway(fault.Errorf(fault.Denied, "the receiver wants a token, and this is not it: give both ends the same --token-file"))
		}
		w.MAC = wire.MAC(a.Token, "agent", theirs.Nonce, nonce)
	}
	if c.trusted = a.Trusted || len(a.Token) > 0; c.trusted {
		c.steps.proven()
		// Only now: whoever cannot pass the handshake never blocks the port.
		if err := a.place.take(c); err != nil {
			return c.turnAway(err)
		}
	} else {
		c.steps.met()
	}
	if err := c.link.Send(wire.Message{Welcome: &w}); err != nil {
		a.place.leave(c)
		return fmt.Errorf("%w: handshake: %w", errTurnedAway, err)
	}
	return nil
}

// use is what this end's port is for.
func (a *Agent) use() string {
	if len(a.TX) == 0 {
		return "use zcbench tx HOST"
	}
	return "it is for controllers, which have it as the agent of a host in their experiment"
}

// talkWait is what a driver without a token has until it asks for a run, and again
// after one: to compare clocks, open meters and read them. Neither its beats nor
// anything else that it says makes it longer.
const talkWait = time.Minute

// expect ends the link of a driver without a token that has not come as far as that
// when the time is over; no time is that nothing is expected.
func (c *conversation) expect(what string, most time.Duration) {
	if c.due != nil {
		c.due.Stop()
	}
	if c.trusted || most == 0 {
		return
	}
	c.due = time.AfterFunc(most, func() {
		c.link.LastWords(fault.Errorf(fault.Failed, "this end waited %.0f s for the sender to %s, and closed the connection", most.Seconds(),
			what))
		c.cancel(fault.Errorf(fault.Failed, "%s: it is heard of, and did not %s within %.0f s", c.agent.driver(), what, most.Seconds()))
	})
}

func (c *conversation) handle(ctx context.Context, m wire.Message) error {
	switch {
	case m.Clock != nil:
		reply := wire.Clock{Now: wire.Monotonic()}
		if m.Clock.Count {
			reply.Totals = kernelTotals()
		}
		return c.link.Send(wire.Message{Clock: &reply})
	case m.Hold != nil:
		return c.hold(*m.Hold)
	case m.Survey != nil:
		return c.survey(ctx, *m.Survey)
	case m.Prepare != nil:
		return c.prepare(ctx, *m.Prepare)
	case m.Start != nil:
		return c.start(ctx, *m.Start)
	case m.Watch != nil:
		return c.watch(ctx, *m.Watch)
	case m.Tell != nil:
		return c.tell(ctx, *m.Tell)
	}
	return fault.Errorf(fault.Failed, "%w: not a request", wire.ErrGarbage)
}

func (c *conversation) prepare(ctx context.Context, p wire.Prepare) error {
	c.drop() // the one before is over
	c.begun = false
	a := c.agent
	e, err := a.admit(&p, c.trusted)
	if err != nil {
		return err
	}
	if !c.trusted {
		if c.asked {
			return fault.Errorf(fault.Denied, "without a token there is one run a connection")
		}
		if err := a.place.take(c); err != nil {
			return err
		}
		c.asked = true
		c.steps.proven()
	}
	c.steps.asked()
	if p.Interface == "" {
		p.Interface = c.iface
	}
	if err := c.onTheWay(&p); err != nil {
		return err
	}
	if c.run, err = prepare(ctx, e, p, a.Verifier, &a.Instruments, c.link, c.local); err != nil {
		c.run = nil
		return err
	}
	if a.Facts != nil {
		c.facts = a.Facts(p.Interface)
	}
	if err := c.run.open(); err != nil {
		c.run = nil
		return err
	}
	c.others = c.unannounced()
	sender := p
	sender.Role = endpoint.TX
	c.expect("start the run", sender.Preparing())
	facts := c.facts
	if !c.trusted {
		facts = shown(facts)
	}
	return c.link.Send(wire.Message{Prepared: &wire.Prepared{DataPort: p.DataPort, Facts: facts, Changes: c.run.changes, Marks: c.run.marks}})
}

func (c *conversation) start(ctx context.Context, s wire.Start) error {
	if c.run == nil {
		return fault.Errorf(fault.Failed, "start without prepare")
	}
	r := c.run
	if err := r.meet(s.Marks); err != nil {
		return err
	}
	c.expect("", 0)
	// Not before: what strangers only ask for has no line on this end's screen.
	if c.begun = true; c.agent.Observe != nil {
		c.agent.Observe(Event{Prepared: &r.p, Peer: c.peer})
	}
	if r.p.Raw && r.p.Role == endpoint.RX {
		s.At = wire.Monotonic() // the window opens when the stranger comes
	}
	if err := s.Check(wire.Monotonic()); err != nil {
		return err
	}
	if err := c.link.Send(wire.Message{Started: &wire.Started{}}); err != nil {
		return err
	}
	r.began = time.Now().Add(time.Duration(s.At-wire.Monotonic()) + r.p.Omit)
	observe := c.agent.Observe
	live := func(v wire.Sample) {
		if s.Live {
			_ = c.link.Send(wire.Message{Live: &v}) // a closed link ends the run by itself
		}
		if observe != nil {
			observe(Event{Sample: &v})
		}
	}
	res, err := r.measure(s.At, live)
	if err == nil {
		if c.agent.Facts != nil {
			if warning := factsChanged(r.p.Role, c.facts, c.agent.Facts(r.p.Interface)); warning != "" {
				res.Warnings = append(res.Warnings, warning)
			}
		}
		if warning := settingsChanged(r.p.Role, c.others, c.unannounced(), c.facts, c.trusted); warning != "" {
			res.Warnings = append(res.Warnings, warning)
		}
		c.run = nil
		err = r.close()
	}
	if err != nil {
		return err
	}
	res.Warnings = append(res.Warnings, r.warned...)
	res.Warnings = append(res.Warnings, conditions(r.p.Role, r.workerCPUs(), r.engine.Layout().ZeroCopy, c.facts)...)
	if err := c.link.Send(wire.Message{Result: res}); err != nil {
		return err
	}
	c.over = true
	c.expect("end the connection", talkWait)
	if observe != nil {
		rec := summary.Half(&r.p, c.facts, res)
		rec.Started = r.began.Format(time.RFC3339Nano)
		c.ownPower(ctx, &rec, &r.p, res)
		observe(Event{Record: &rec})
	}
	return nil
}

// unannounced are those of the run's interface; nil: they cannot be read.
func (c *conversation) unannounced() ringcfg.Settings {
	if c.run.p.Interface == "" {
		return nil
	}
	s, err := ringcfg.Unannounced(c.run.p.Interface)
	if err != nil {
		return nil // it is gone, which others tell
	}
	return s
}

// failed is this end's half of a run that was not brought to its end: what it had
// measured until then, and why no more.
func (c *conversation) failed(why error) results.Record {
	r := c.run
	part := r.part
	if part == nil {
		part = &wire.Result{Samples: make([]wire.Sample, 2)} // a window without length
	}
	rec := summary.Half(&r.p, c.facts, part)
	rec.Status, rec.Reason = results.Failed, why.Error()
	rec.Started = r.began.Format(time.RFC3339Nano)
	return rec
}

// drop ends the run that is on, if any.
func (c *conversation) drop() {
	if c.run != nil {
		c.run.abort(errors.New("the run was dropped"))
		// What went wrong with the run was reported already; settings that
		// could not be put back were not.
		if err := c.run.close(); err != nil && c.agent.Observe != nil {
			c.agent.Observe(Event{Peer: c.peer, Left: err})
		}
		c.run = nil
	}
}

// admit checks a request against what this agent allows and fills in what it
// decides itself.
func (a *Agent) admit(p *wire.Prepare, trusted bool) (endpoint.Engine, error) {
	if !trusted {
		if p.Role != endpoint.RX {
			return nil, fault.Errorf(fault.Denied, "without a token a peer may only ask for a receiver")
		}
		if len(p.Options) > 0 {
			return nil, fault.Errorf(fault.Denied, "without a token a peer may not set engine options; give them to zcbench rx itself, or both "+
				"ends a --token-file")
		}
		if p.Trusting() {
			return nil, fault.Errorf(fault.Denied, "without a token a peer may not name addresses, ports, interfaces, settings or what to record")
		}
	}
	if !a.Trusted && p.Options["mem"] == "fd" {
		return nil, fault.Errorf(fault.Denied, "descriptors of this end are its own user's to give (--mem), not a peer's")
	}
	if !a.Trusted && p.Raw {
		return nil, fault.Errorf(fault.Denied, "a run with a plain TCP program is begun at that end (--raw), not by a peer: it could lead "+
			"anywhere")
	}
	engines := a.TX
	if p.Role == endpoint.RX {
		engines = a.RX
	} else if p.Role != endpoint.TX {
		return nil, fault.Errorf(fault.Usage, "unknown role %q", wire.Clip(string(p.Role)))
	}
	if len(engines) == 0 {
		return nil, fault.Errorf(fault.Denied, "this end is no %s", map[endpoint.Role]string{endpoint.RX: "receiver",
			endpoint.TX: "sender"}[p.Role])
	}
	i := slices.IndexFunc(engines, func(e endpoint.Engine) bool { return e.Name() == p.Engine })
	if i < 0 {
		return nil, fault.Errorf(fault.Usage, "unknown %s engine %q; there are: %s", p.Role, wire.Clip(p.Engine), names(engines))
	}
	if _, tunes := engines[i].(endpoint.Tuner); tunes && !trusted && a.Pinned.RX != p.Engine {
		return nil, fault.Errorf(fault.Denied, "engine %s changes settings of the NIC, which a peer without a token may not ask for: start the "+
			"receiver with --rx %s, or give both ends a --token-file", p.Engine, p.Engine)
	}
	if p.Role == endpoint.RX && a.Pinned.RX != "" && a.Pinned.RX != p.Engine {
		return nil, fault.Errorf(fault.Denied, "the receiver was started with --rx %s, the sender asks for %s", a.Pinned.RX, p.Engine)
	}
	if err := p.Check(a.Limits); err != nil {
		return nil, err
	}
	if len(p.Options) == 0 {
		p.Options = a.Options
	}
	if p.DataPort == 0 {
		p.DataPort = a.DataPort
	}
	if p.DataPort <= 0 || p.DataPort+p.Flows > 1<<16 {
		return nil, fault.Errorf(fault.Usage, "%d flows from data port %d do not fit below port 65536", p.Flows, p.DataPort)
	}
	if p.Bind == "" {
		p.Bind = a.Bind
	}
	if p.Interface == "" {
		p.Interface = a.Interface
	}
	p.NoTune = p.NoTune || a.NoTune
	p.Verify = p.Verify || a.Verify
	p.Profile, p.Syscalls = p.Profile || a.Profile, p.Syscalls || a.Syscalls
	if len(p.Counters) == 0 {
		p.Counters = a.Counters
	}
	return engines[i], a.afford(engines[i], p)
}

func names(engines []endpoint.Engine) string {
	var n []string
	for _, e := range engines {
		n = append(n, e.Name())
	}
	return strings.Join(n, " ")
}
