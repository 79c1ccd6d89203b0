package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/agent"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/internal/hostfacts"
	"zcbench/internal/netif"
	"zcbench/internal/remote"
	"zcbench/power"
	"zcbench/results"
	"zcbench/ringcfg"
)

// runAgent is an endpoint whose driver speaks to it over stdin and stdout, or
// finds it listening.
func runAgent(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "agent", "agent --stdio | --listen ADDRESS --token-file FILE")
	stdio := f.Bool("stdio", false, "take the control link from stdin and stdout")
	listen := f.String("listen", "", "wait for controllers at [ADDRESS]:PORT, over TLS")
	tokenFile := f.String("token-file", "", "with --listen: file with a secret that controllers must hold")
	allowed := f.StringArray("meter", nil,
		"power meter KIND:ADDRESS that runs a command or reads a file here, and that controllers may ask for; may be given again")
	keyFile := f.String("key", "", "with --listen: file with the agent's private key, made if it is not there (default agent-key.pem in zcbench's configuration)")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 || *stdio == (*listen != "") {
		return fault.Errorf(fault.Usage, "agent wants --stdio or --listen, and no argument")
	}
	if *stdio && (*tokenFile != "" || *keyFile != "") {
		return fault.Errorf(fault.Usage, "--token-file and --key go with --listen")
	}
	for _, spec := range *allowed {
		if _, err := power.Describe(spec); err != nil {
			return fault.Errorf(fault.Usage, "--meter: %w", err)
		}
	}
	a := trustedAgent()
	a.Survey, a.Allowed = surveyHere(c), *allowed
	a.Claim = claim
	a.Observe = func(e agent.Event) {
		if e.Left != nil {
			fmt.Fprintln(c.stderr, "zcbench agent:", oneLine(e.Left))
		}
		if *listen != "" && e.Err != nil {
			fmt.Fprintf(c.stderr, "zcbench agent: peer %s: %s\n", e.Peer, oneLine(e.Err))
		}
	}
	if *listen != "" {
		return listenAgent(ctx, c, a, *listen, *tokenFile, *keyFile)
	}
	// A driver that is killed leaves a broken link, whose next write must not
	// end the agent before it has put the settings back.
	signal.Ignore(syscall.SIGPIPE)
	// One that was killed here is not to spoil what this one measures.
	recoverSettings(ctx, c)
	rw, err := pollable(c.stdin)
	if err != nil {
		return err
	}
	if err := a.Serve(ctx, rw); err != nil {
		return errReported{err} // its driver knows
	}
	return nil
}

// listenAgent serves controllers that have the token; they know the agent by
// its key.
func listenAgent(ctx context.Context, c *cli, a *agent.Agent, address, tokenFile, keyFile string) error {
	if tokenFile == "" {
		return fault.Errorf(fault.Usage, "--listen wants --token-file: whoever holds that secret may change this host's settings "+
			"and send traffic from it; make one: head -c 32 /dev/urandom | base64 >FILE")
	}
	token, err := readToken(tokenFile)
	if err != nil {
		return err
	}
	if keyFile == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return fault.Errorf(fault.Usage, "give --key a file: %w", err)
		}
		keyFile = filepath.Join(dir, "zcbench", "agent-key.pem")
	}
	a.Trusted, a.Token = false, token
	lc := net.ListenConfig{}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fault.Errorf(fault.Usage, "wait for controllers at %s: %w", address, err)
	}
	defer l.Close()
	secure, pin, err := remote.Listen(l, keyFile)
	if err != nil {
		return fault.Errorf(fault.Failed, "%w", err)
	}
	// One that was killed here may have left settings, and no controller need come.
	recoverSettings(ctx, c)
	fmt.Fprintf(c.stderr, "zcbench agent: waiting at %s for controllers with the token; for their experiments:\n  agent: %s\n  pin: %s\n", l.Addr(), l.Addr(), pin)
	if err := a.Listen(ctx, secure, false); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// claim holds this host, that is its network namespace, for a ticket. Another agent of
// this user that is asked for the same ticket is let in beside the first.
func claim(ticket string) (io.Closer, error) {
	dir, err := ringcfg.Journal("").Dir()
	if err != nil {
		return nil, fmt.Errorf("keep other controllers away: %w", err)
	}
	return claimIn(dir, ticket)
}

// claimWait is for who has just taken the lock and not yet written its ticket.
const claimWait = 200 * time.Millisecond

// claimIn takes a lock in a directory that is this user's alone: what others could
// hold, they could keep everybody out with. The kernel lets go of it when the process
// ends, however it does.
func claimIn(dir, ticket string) (io.Closer, error) {
	if len(ticket) != ticketLength {
		return nil, fault.Errorf(fault.Usage, "a ticket has %d characters", ticketLength)
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("keep other controllers away: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("agent-%d.lock", ns.Ino))
	for end := time.Now().Add(claimWait); ; time.Sleep(claimWait / 20) {
		c, err := claimFile(path, ticket)
		if err != nil {
			return nil, fmt.Errorf("keep other controllers away: %w", err)
		}
		if c != nil {
			return c, nil
		}
		if time.Now().After(end) {
			return nil, fault.Errorf(fault.Denied, "another controller runs an experiment there: wait until it is over")
		}
	}
}

// claimFile tries once; nil is that another ticket has it, or had it just now.
func claimFile(path, ticket string) (_ io.Closer, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
		}
	}()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		theirs := make([]byte, ticketLength)
		if _, err := f.ReadAt(theirs, 0); err == nil && string(theirs) == ticket {
			keep = true
			return f, nil
		}
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	mine, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) {
		return nil, nil // who had it has just removed it
	}
	if _, err := f.WriteAt([]byte(ticket), 0); err != nil {
		return nil, err
	}
	keep = true
	return held{f}, nil
}

// held is the lock, which leaves nothing behind.
type held struct{ *os.File }

func (h held) Close() error { return errors.Join(os.Remove(h.Name()), h.File.Close()) }

const ticketLength = 26 // of crypto/rand.Text

// surveyHere looks at this host for a controller elsewhere.
func surveyHere(c *cli) func(context.Context, wire.Survey) (any, error) {
	return func(ctx context.Context, q wire.Survey) (any, error) {
		recoverSettings(ctx, c)
		s := experiment.Survey{CPUs: agent.AllowedCPUs(), BootID: agent.BootID(), Transport: "tcp"}
		s.Cores = agent.Cores(s.CPUs)
		if err := locate(&q, &s); err != nil {
			return nil, err
		}
		if err := survey(q.Role, &s); err != nil {
			return nil, fmt.Errorf("look at %s: %w", s.Interface, err)
		}
		return s, nil
	}
}

// locate finds the interface and the addresses of an end. Where nothing was
// said it is what leads to the other end, or where ssh came in.
func locate(q *wire.Survey, s *experiment.Survey) (err error) {
	if q.Interface == "" && q.Address == "" && q.To != "" {
		q.Interface = agent.InterfaceTo(q.To)
	}
	if q.Interface == "" && q.Address == "" {
		if words := strings.Fields(os.Getenv("SSH_CONNECTION")); len(words) == 4 { // client, port, server, port
			q.Address = words[2]
		}
	}
	switch {
	case q.Interface != "":
		if s.Interface, err = netif.Name(q.Interface); err != nil {
			return fault.Errorf(fault.Usage, "%w", err)
		}
	case q.Address != "":
		a, err := netip.ParseAddr(q.Address)
		if err != nil {
			return fault.Errorf(fault.Usage, "address %q: %w", q.Address, err)
		}
		if s.Interface, err = netif.Holder(a.Unmap()); err != nil {
			return fault.Errorf(fault.Usage, "%w (the host's iface)", err)
		}
	default:
		return fault.Errorf(fault.Usage, "which of its interfaces carries the payload is not known: give the host iface or address")
	}
	i, err := net.InterfaceByName(s.Interface)
	if err != nil {
		return fault.Errorf(fault.Usage, "interface %s: %w", s.Interface, err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", i.Name, err)
	}
	found := q.Address == "" || strings.HasPrefix(q.Address, "fe80:") // those are no addresses for payload
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		text := p.Addr().Unmap().String()
		to := &s.Addr6
		if p.Addr().Unmap().Is4() {
			to = &s.Addr4
		}
		if text == q.Address {
			found, *to = true, text
		} else if *to == "" {
			*to = text
		}
	}
	if !found {
		return fault.Errorf(fault.Usage, "no interface %s with address %s is there", s.Interface, q.Address)
	}
	return nil
}

// pollable makes a blocked read of the link end when the link is closed: the
// Go netpoller must know the descriptors for that.
func pollable(link any) (duplex, error) {
	s, ok := link.(stdio)
	if !ok {
		return duplex{}, fault.Errorf(fault.Usage, "agent --stdio needs the process's own stdin and stdout")
	}
	var d duplex
	for _, p := range []struct {
		to   **os.File
		from any
		name string
	}{{&d.r, s.ReadCloser, "stdin"}, {&d.w, s.Writer, "stdout"}} {
		file, ok := p.from.(*os.File)
		if !ok {
			return d, fault.Errorf(fault.Usage, "agent --stdio needs the process's own %s", p.name)
		}
		fd := int(file.Fd())
		if err := unix.SetNonblock(fd, true); err != nil {
			return d, fault.Errorf(fault.Failed, "use %s as the control link: %w", p.name, err)
		}
		*p.to = os.NewFile(uintptr(fd), p.name)
	}
	return d, nil
}

// duplex is two files as one link.
type duplex struct{ r, w *os.File }

func (d duplex) Read(p []byte) (int, error)  { return d.r.Read(p) }
func (d duplex) Write(p []byte) (int, error) { return d.w.Write(p) }

// SetDeadline lets an agent whose driver went silent end.
func (d duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.r.SetDeadline(t), d.w.SetDeadline(t))
}

// SetWriteDeadline lets go of a driver that does not listen.
func (d duplex) SetWriteDeadline(t time.Time) error { return d.w.SetWriteDeadline(t) }

// Close closes both.
func (d duplex) Close() error {
	err := d.w.Close()
	if e := d.r.Close(); err == nil {
		err = e
	}
	return err
}

// newAgent is an agent with what every agent of this program has; the caller
// adds its own before serving.
func newAgent() *agent.Agent {
	return &agent.Agent{
		RX: rxEngines(), TX: txEngines(), Version: version, DataPort: ask.DefaultPort + 1,
		Verifier: verifier, Instruments: instruments(),
		Facts: func(iface string) results.Facts { return hostfacts.Collect(iface, version) },
	}
}

// trustedAgent is an agent that only this user can reach.
func trustedAgent() *agent.Agent {
	a := newAgent()
	a.Trusted = true
	return a
}
