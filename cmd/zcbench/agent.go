package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/agent"
	"zcbench/endpoint/verify"
	"zcbench/endpoint/wire"
	"zcbench/experiment/ask"
	"zcbench/experiment/site"
	"zcbench/internal/fault"
	"zcbench/internal/hostfacts"
	"zcbench/internal/remote"
	"zcbench/power"
	"zcbench/results"
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
	keyFile := f.String("key", "", "with --listen: file with the agent's private key, made if it is not there (default agent-key.pem in "+
		"zcbench's configuration)")
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
	a.Survey, a.Allowed = thisProgram(c).Survey, *allowed
	a.Claim = site.Claim
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
	token, err := wire.ReadToken(tokenFile)
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
		return fault.Wrap(fault.Failed, err)
	}
	// One that was killed here may have left settings, and no controller need come.
	recoverSettings(ctx, c)
	fmt.Fprintf(c.stderr, "zcbench agent: waiting at %s for controllers with the token; for their experiments:\n  agent: %s\n  pin: %s\n",
		l.Addr(), l.Addr(), pin)
	if err := a.Listen(ctx, secure, false); err != nil {
		return err
	}
	return context.Cause(ctx)
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
		Verifier: verify.Open, Instruments: instruments(),
		Facts: func(iface string) results.Facts { return hostfacts.Collect(iface, version) },
	}
}

// trustedAgent is an agent that only this user can reach.
func trustedAgent() *agent.Agent {
	a := newAgent()
	a.Trusted = true
	return a
}
