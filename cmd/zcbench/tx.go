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
	if err := flags.refuseTX(); err != nil {
		return err
	}
	if err := errors.Join(flags.check(), flags.Idle()); err != nil {
		return err
	}
	if err := known().GiveMemory(flags.Run, endpoint.TX); err != nil {
		return err
	}
	token, err := flags.token()
	if err != nil {
		return err
	}
	to := netif.Zoned(f.Arg(0))
	mine, theirs, err := ask.ParseCPUs("--affinity", flags.Affinity)
	if err != nil {
		return err
	}
	family, err := flags.familyTo(to)
	if err != nil {
		return err
	}
	here := hereCPUs(mine)
	if err := cmp.Or(here.Check(endpoint.TX), known().CheckOptions(flags.Run), flags.tryCongestion()); err != nil {
		return err
	}
	if err := flags.Timed(); err != nil {
		return err
	}
	recoverSettings(ctx, c)
	client, end, err := inProcess(ctx, "sender")
	if err != nil {
		return err
	}
	defer func() { end() }()
	var hosts []netip.Addr // of a plain TCP peer, in the order to try them
	trial := driver.Run{TX: client, LiveTX: true, Command: commandLine()}
	if flags.Raw {
		if flags.RX != "" {
			return fault.Errorf(fault.Usage, "with --raw the receiver is not zcbench: leave out --rx and --mode")
		}
		if err := notOurs(theirs, "with --raw it is not zcbench"); err != nil {
			return err
		}
		if !f.Changed("omit") {
			flags.Omit = 0
		}
		if err := flags.aloneMeters(endpoint.TX); err != nil {
			return err
		}
		if hosts, err = resolve(ctx, to, family); err != nil {
			return err
		}
		trial.TXWant = flags.Prepare(endpoint.TX)
		trial.TXWant.Host, trial.TXWant.DataPort = hosts[0].String(), flags.Port
	} else {
		conn, err := dial(ctx, to, flags.Port, family)
		if err != nil {
			return err
		}
		trial.RX, err = driver.NewClient("receiver "+conn.RemoteAddr().String(), conn, token, version)
		if err != nil {
			return err
		}
		defer trial.RX.Close()
		w := trial.RX.Welcome
		flags.RX, flags.TX = first(flags.RX, w.Pinned.RX, "baseline"), first(flags.TX, w.Pinned.TX, "baseline")
		trial.RXWant, trial.TXWant = flags.Prepare(endpoint.RX), flags.Prepare(endpoint.TX)
		trial.RXWant.NoTune, trial.RXWant.Verify = false, false // the receiver's own to say
		if token == nil {
			// Likewise, of a receiver that knows us not.
			trial.RXWant.Counters, trial.RXWant.Profile, trial.RXWant.Syscalls, trial.RXWant.Congestion = nil, false, false, ""
		}
		trial.TXWant.Host = conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String()
		if len(theirs) == 0 {
			theirs = w.Pinned.CPUs
		}
		shared, err := driver.Shared(ctx, client, trial.RX)
		if err != nil {
			return err
		}
		rxc, txc := ask.CPUs{Allowed: w.CPUs, Cores: w.Cores, Asked: theirs}, here
		if err := ask.Place(shared, &trial.RXWant, &trial.TXWant, rxc, txc); err != nil {
			return err
		}
	}
	tx := &trial.TXWant
	tx.Engine = first(flags.TX, "baseline")
	if tx.Scope == "" {
		if err := ask.Alone(tx, here); err != nil {
			return err
		}
	}
	tx.Bind = flags.Bind
	tx.Interface = first(flags.Interface, agent.InterfaceTo(tx.Host))
	rxp := &trial.RXWant
	if trial.RX == nil {
		rxp = nil
	}
	readers, err := thisProgram(c).OpenMeters(ctx, flags.metersOf(endpoint.TX), map[endpoint.Role]*driver.Client{endpoint.RX: trial.RX})
	if err != nil {
		return err
	}
	defer readers.End()
	flags.announce(c)
	trial.Power, trial.Baseline = readers.Wanted, time.Duration(flags.Baseline)
	trial.Settings = flags.Settings(rxp, tx, "tcp")
	out := newScreen(c, flags)
	trial.Live = out.live
	out.started(trial.Settings)
	rec, err := driver.Drive(ctx, trial)
	for i := 1; i < len(hosts) && fault.Of(err) == fault.Unreachable; i++ {
		fmt.Fprintf(c.stderr, "zcbench tx: %v; %s has another address\n", err, to)
		again, stop, e := inProcess(ctx, "sender") // a failed run leaves nothing to go on with
		if e != nil {
			return e
		}
		end()
		trial.TX, end = again, stop
		tx.Host = hosts[i].String()
		tx.Interface = first(flags.Interface, agent.InterfaceTo(tx.Host))
		trial.Settings = flags.Settings(rxp, tx, "tcp")
		rec, err = driver.Drive(ctx, trial)
	}
	return out.finish(rec, err)
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

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
