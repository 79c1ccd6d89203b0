package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/results"
)

// runRX serves runs until it is told to end, or receives from a plain TCP
// sender.
func runRX(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "rx", "rx [flags]")
	flags := newRunFlags(f, inRX)
	once := f.BoolP("one-off", "1", false, "end after one sender")
	limits := addLimits(f)
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "rx takes no argument, got %q", f.Arg(0))
	}
	if flags.Raw {
		flags.endless()
	}
	if err := flags.refuseRX(); err != nil {
		return err
	}
	if err := flags.check(); err != nil {
		return err
	}
	if err := known().GiveMemory(flags.Run, endpoint.RX); err != nil {
		return err
	}
	if limits.time <= 0 || limits.memory <= 0 || limits.flows < 1 {
		return fault.Errorf(fault.Usage, "--max-time, --max-flows and --max-memory must be above zero")
	}
	mine, theirs, err := ask.ParseCPUs("--affinity", flags.Affinity)
	if err == nil {
		err = cmp.Or(notOurs(theirs, "zcbench tx says them"), hereCPUs(mine).Check(endpoint.RX))
	}
	if err != nil {
		return err
	}
	recoverSettings(ctx, c)
	if flags.Raw {
		return receiveRaw(ctx, c, flags, mine)
	}
	token, err := flags.token()
	if err != nil {
		return err
	}
	l, err := flags.listen(ctx)
	if err != nil {
		return err
	}
	s := &server{screen: newScreen(c, flags), stderr: c.stderr}
	agent := flags.agent(mine)
	agent.Token = token
	agent.Limits = wire.Limits{Flows: limits.flows, Time: time.Duration(limits.time), Memory: int64(limits.memory)}
	if agent.Power, err = flags.ownMeters(ctx); err != nil {
		return err
	}
	agent.Observe = s.observe
	fmt.Fprintf(c.stderr, "zcbench rx: waiting on port %d%s\n", flags.Port,
		map[bool]string{true: " for senders with the token"}[len(token) > 0])
	if err := agent.Listen(ctx, l, *once); err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if *once {
		return s.err
	}
	return nil
}

// listen opens the control port.
func (r *runFlags) listen(ctx context.Context) (net.Listener, error) {
	lc := net.ListenConfig{}
	l, err := lc.Listen(ctx, network("tcp", r.Family()), net.JoinHostPort(r.Bind, strconv.Itoa(r.Port)))
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fault.Errorf(fault.Failed, "control port %d is in use; end what holds it (ss -ltnp 'sport = :%d') or choose another with --port",
				r.Port, r.Port)
		}
		return nil, fault.Errorf(fault.Failed, "listen for senders: %w", err)
	}
	return l, nil
}

// limits are the most that a sender may ask for.
type limits struct {
	time   ask.Seconds
	flows  int
	memory ask.Size
}

func addLimits(f *pflag.FlagSet) *limits {
	l := &limits{time: ask.Seconds(time.Hour), memory: 4 << 30}
	f.Var(&l.time, "max-time", "longest run a sender may ask for, warm-up included")
	f.IntVar(&l.flows, "max-flows", 128, "most connections a sender may ask for")
	f.Var(&l.memory, "max-memory", "most buffer memory a sender may ask for")
	return l
}

// endless receives until the sender ends, and all of it, where nothing else was said.
func (r *runFlags) endless() {
	if !r.set.Changed("time") {
		r.Time = 0
	}
	if !r.set.Changed("omit") {
		r.Omit = 0
	}
}

// agent is what the flags of a receiver make of it, on CPUs of its own.
func (r *runFlags) agent(mine []int) *agent.Agent {
	a := newAgent()
	a.TX = nil // it receives, and sends to nobody
	a.Options = r.RXOptions
	a.Pinned = wire.Pins{RX: r.RX, TX: r.TX, CPUs: mine}
	a.DataPort, a.Bind, a.Interface = r.Port+1, r.Bind, r.Interface
	a.NoTune, a.Verify = r.NoTune, r.Verify
	a.Counters, a.Profile, a.Syscalls = r.Counters, r.Profile, r.Syscalls
	return a
}

// server shows a receiver's runs on its own screen.
type server struct {
	mu     sync.Mutex
	screen *screen
	stderr interface{ Write([]byte) (int, error) }
	err    error // of the latest run
}

func (s *server) observe(e agent.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Prepared != nil:
		s.err = nil
		flags := *s.screen.flags.Run
		flags.Flows, flags.Length = e.Prepared.Flows, ask.Size(e.Prepared.Length)
		flags.Time, flags.Omit = ask.Seconds(e.Prepared.Time), ask.Seconds(e.Prepared.Omit)
		if !s.screen.flags.JSON && !s.screen.flags.Stream {
			fmt.Fprintf(s.screen.out, "run from %s\n", e.Peer)
		}
		settings := flags.Settings(e.Prepared, nil, "tcp")
		settings["peer"] = e.Peer.String()
		s.screen.started(settings)
	case e.Sample != nil:
		s.screen.live(endpoint.RX, *e.Sample)
	case e.Record != nil:
		var failed error
		if e.Record.Status == results.Failed {
			failed = errors.New(e.Record.Reason)
		}
		s.err = s.screen.finish(*e.Record, failed)
	case e.Left != nil:
		s.err = e.Left
		fmt.Fprintf(s.stderr, "zcbench rx: after the run of %s: %s\n", e.Peer, oneLine(e.Left))
	case e.Err != nil:
		s.err = e.Err
		fmt.Fprintf(s.stderr, "zcbench rx: peer %s: %s\n", e.Peer, oneLine(e.Err))
	}
}

// receiveRaw receives from any TCP program.
func receiveRaw(ctx context.Context, c *cli, flags *runFlags, mine []int) error {
	if flags.TX != "" && flags.Mode == "" {
		return fault.Errorf(fault.Usage, "with --raw the sender is not zcbench: leave out --tx")
	}
	want := flags.Prepare(endpoint.RX)
	want.Engine = cmp.Or(flags.RX, "baseline")
	want.DataPort, want.Bind, want.Interface = flags.Port, flags.Bind, flags.Interface
	want.Interval = time.Duration(flags.Interval)
	if err := ask.Alone(&want, hereCPUs(mine)); err != nil {
		return err
	}
	client, end, err := inProcess(ctx, "receiver")
	if err != nil {
		return err
	}
	defer end()
	if err := errors.Join(flags.Idle(), flags.aloneMeters(endpoint.RX)); err != nil {
		return err
	}
	readers, err := thisProgram(c).OpenMeters(ctx, flags.metersOf(endpoint.RX), nil)
	if err != nil {
		return err
	}
	defer readers.End()
	flags.announce(c)
	out := newScreen(c, flags)
	settings := flags.Settings(&want, nil, "tcp")
	out.started(settings)
	rec, err := driver.Drive(ctx, driver.Run{
		RX: client, RXWant: want, Settings: settings, Command: commandLine(), Live: out.live, LiveRX: true,
		Power: readers.Wanted, Baseline: time.Duration(flags.Baseline),
	})
	return out.finish(rec, err)
}
