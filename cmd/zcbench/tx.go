package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/driver"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
	"zcbench/results"
)

const dialWait = 5 * time.Second

// runTX drives one run against zcbench rx on another host.
func runTX(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "tx", "tx HOST [flags]")
	flags := newRunFlags(f, inTX)
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fault.Errorf(fault.Usage, "tx wants one HOST, got %d: zcbench tx HOST [flags]", f.NArg())
	}
	s := sending{c: c, flags: flags, to: netif.Zoned(f.Arg(0))}
	if err := s.check(); err != nil {
		return err
	}
	recoverSettings(ctx, c)
	client, end, err := inProcess(ctx, "sender")
	if err != nil {
		return err
	}
	s.end = end
	defer func() { s.end() }()
	s.run = driver.Run{TX: client, LiveTX: true, Command: commandLine()}
	prepare := s.toZcbench
	if flags.Raw {
		prepare = s.toAny
	}
	err = prepare(ctx)
	if s.run.RX != nil {
		defer s.run.RX.Close()
	}
	if err != nil {
		return err
	}
	tx := &s.run.TXWant
	tx.Engine = cmp.Or(flags.TX, "baseline")
	tx.Bind = flags.Bind
	tx.Interface = cmp.Or(flags.Interface, agent.InterfaceTo(tx.Host))
	readers, err := thisProgram(c).OpenMeters(ctx, flags.metersOf(endpoint.TX), map[endpoint.Role]*driver.Client{endpoint.RX: s.run.RX})
	if err != nil {
		return err
	}
	defer readers.End()
	flags.announce(c)
	s.run.Power, s.run.Baseline = readers.Wanted, time.Duration(flags.Baseline)
	s.settle()
	out := newScreen(c, flags)
	s.run.Live = out.live
	out.started(s.run.Settings)
	return out.finish(s.drive(ctx))
}

// sending is what tx is about to do.
type sending struct {
	c     *cli
	flags *runFlags
	to    string
	// CPUs of this end, and those asked for the other end.
	here   ask.CPUs
	theirs []int
	family int
	run    driver.Run
	hosts  []netip.Addr // of a plain TCP peer, in the order to try them
	end    func()       // of the sender's agent
}

// check finds what can be found before anything is touched.
func (s *sending) check() error {
	if err := s.flags.refuseTX(); err != nil {
		return err
	}
	if err := errors.Join(s.flags.check(), s.flags.Idle()); err != nil {
		return err
	}
	if err := known().GiveMemory(s.flags.Run, endpoint.TX); err != nil {
		return err
	}
	mine, theirs, err := ask.ParseCPUs("--affinity", s.flags.Affinity)
	if err != nil {
		return err
	}
	s.here, s.theirs = hereCPUs(mine), theirs
	if s.family, err = s.flags.familyTo(s.to); err != nil {
		return err
	}
	return cmp.Or(s.here.Check(endpoint.TX), known().CheckOptions(s.flags.Run), s.flags.tryCongestion(), s.flags.Timed())
}

// toAny is for a receiver that is any TCP program.
func (s *sending) toAny(ctx context.Context) (err error) {
	if s.flags.RX != "" {
		return fault.Errorf(fault.Usage, "with --raw the receiver is not zcbench: leave out --rx and --mode")
	}
	if err := notOurs(s.theirs, "with --raw it is not zcbench"); err != nil {
		return err
	}
	if !s.flags.set.Changed("omit") {
		s.flags.Omit = 0
	}
	if err := s.flags.aloneMeters(endpoint.TX); err != nil {
		return err
	}
	if s.hosts, err = resolve(ctx, s.to, s.family); err != nil {
		return err
	}
	s.run.TXWant = s.flags.Prepare(endpoint.TX)
	s.run.TXWant.Host, s.run.TXWant.DataPort = s.hosts[0].String(), s.flags.Port
	return ask.Alone(&s.run.TXWant, s.here)
}

// toZcbench is for zcbench rx, which may say what is received with.
func (s *sending) toZcbench(ctx context.Context) error {
	token, err := s.flags.token()
	if err != nil {
		return err
	}
	conn, err := dial(ctx, s.to, s.flags.Port, s.family)
	if err != nil {
		return err
	}
	if s.run.RX, err = driver.NewClient("receiver "+conn.RemoteAddr().String(), conn, token, version); err != nil {
		return err
	}
	w := s.run.RX.Welcome
	s.flags.Default(cmp.Or(w.Pinned.RX, "baseline"), cmp.Or(w.Pinned.TX, "baseline"))
	s.run.RXWant, s.run.TXWant = s.flags.Prepare(endpoint.RX), s.flags.Prepare(endpoint.TX)
	rx := &s.run.RXWant
	rx.NoTune, rx.Verify = false, false // the receiver's own to say
	if token == nil {                   // likewise, of a receiver that knows us not
		rx.Counters, rx.Profile, rx.Syscalls, rx.Congestion = nil, false, false, ""
	}
	s.run.TXWant.Host = conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String()
	if len(s.theirs) == 0 {
		s.theirs = w.Pinned.CPUs
	}
	shared, err := driver.Shared(ctx, s.run.TX, s.run.RX)
	if err != nil {
		return err
	}
	return ask.Place(shared, rx, &s.run.TXWant, ask.CPUs{Allowed: w.CPUs, Cores: w.Cores, Asked: s.theirs}, s.here)
}

// settle gives the record what the run is.
func (s *sending) settle() {
	rx := &s.run.RXWant
	if s.run.RX == nil {
		rx = nil
	}
	s.run.Settings = s.flags.Settings(rx, &s.run.TXWant, "tcp")
}

// drive runs, and tries a plain peer's further addresses while it cannot be reached.
func (s *sending) drive(ctx context.Context) (results.Record, error) {
	rec, err := driver.Drive(ctx, s.run)
	for i := 1; i < len(s.hosts) && fault.Of(err) == fault.Unreachable; i++ {
		fmt.Fprintf(s.c.stderr, "zcbench tx: %v; %s has another address\n", err, s.to)
		again, stop, e := inProcess(ctx, "sender") // a failed run leaves nothing to go on with
		if e != nil {
			return rec, e
		}
		s.end()
		s.run.TX, s.end = again, stop
		s.run.TXWant.Host = s.hosts[i].String()
		s.run.TXWant.Interface = cmp.Or(s.flags.Interface, agent.InterfaceTo(s.run.TXWant.Host))
		s.settle()
		rec, err = driver.Drive(ctx, s.run)
	}
	return rec, err
}

// familyTo finds what is wrong with a host as it was written. It gives the family
// of the addresses to reach it by: that of the other addresses given.
func (r *runFlags) familyTo(host string) (int, error) {
	bad := func(format string, args ...any) (int, error) {
		return 0, fault.Errorf(fault.Usage, "HOST %q: "+format, append([]any{host}, args...)...)
	}
	family := r.Family()
	if from, err := netip.ParseAddr(r.Bind); err == nil {
		family = familyOf(from)
	}
	to, err := netip.ParseAddr(host)
	if err != nil {
		bare := strings.Trim(host, "[]")
		_, bracketed := netip.ParseAddr(bare)
		name, port, cut := net.SplitHostPort(host)
		switch {
		case host == "":
			return bad("it is empty; give a name or an address")
		case bracketed == nil:
			return bad("an address stands without brackets: %s", bare)
		case cut == nil:
			return bad("the port is given by itself: %s --port %s", name, port)
		case strings.ContainsAny(host, ":/ []%"):
			return bad("it is neither a name nor an address")
		}
		return family, nil
	}
	if err := checkAddress(to); err != nil {
		return bad("%w", err)
	}
	switch {
	case to.IsMulticast():
		return bad("it is the address of a group, and TCP has one receiver")
	case family == 0 || family == familyOf(to):
		return family, nil
	case r.Bind != "":
		return bad("it is an IPv%d address, and --bind %s is not", familyOf(to), r.Bind)
	}
	return bad("it is an IPv%d address, and -%d asks for IPv%d", familyOf(to), family, family)
}

// familyOf is what -4 or -6 would ask for.
func familyOf(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}

// checkAddress finds an address that says too little of where it is.
func checkAddress(a netip.Addr) error {
	if a.Zone() == "" {
		if a.Is6() && a.IsLinkLocalUnicast() {
			return fmt.Errorf("a link-local address wants the interface that it is of: %s%%eth0", a)
		}
		return nil
	}
	_, err := netif.Name(a.Zone())
	if _, number := strconv.Atoi(a.Zone()); err == nil || number == nil {
		return nil
	}
	return err
}

// inProcess is an agent of this very process, without a network between.
func inProcess(ctx context.Context, name string) (*driver.Client, func(), error) {
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = trustedAgent().Serve(ctx, theirs) // what failed went over the link
	})
	client, err := driver.NewClient(name, ours, nil, version)
	if err != nil {
		return nil, nil, err
	}
	return client, func() {
		client.Close()
		wg.Wait()
	}, nil
}

func network(proto string, family int) string {
	if family != 0 {
		return proto + strconv.Itoa(family)
	}
	return proto
}

func dial(ctx context.Context, host string, port, family int) (net.Conn, error) {
	d := net.Dialer{Timeout: dialWait}
	at := net.JoinHostPort(host, strconv.Itoa(port))
	conn, err := d.DialContext(ctx, network("tcp", family), at)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // the rest says the address again
		}
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			return nil, noAddress(host, dns)
		}
		return nil, fault.Errorf(fault.Unreachable, "reach zcbench rx at %s: %w (is it running there, and is the port open?)", at, err)
	}
	return conn, nil
}

// resolve gives the addresses of a host, in the order in which to try them.
func resolve(ctx context.Context, host string, family int) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network("ip", family), host)
	if err != nil || len(addrs) == 0 {
		return nil, noAddress(host, err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

func noAddress(host string, err error) error {
	return fault.Errorf(fault.Unreachable, "find the address of %q: %w", host, err)
}
