package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/hostfacts"
	"zcbench/results"
)

// runAgent is an endpoint whose driver speaks to it over stdin and stdout.
func runAgent(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "agent", "agent --stdio")
	stdio := f.Bool("stdio", false, "take the control link from stdin and stdout")
	if err := parse(f, args); err != nil {
		return err
	}
	if !*stdio || f.NArg() > 0 {
		return endpoint.Errorf(endpoint.Usage, "agent takes --stdio and nothing else")
	}
	rw, err := pollable(c.stdin)
	if err != nil {
		return err
	}
	a := trustedAgent()
	a.Observe = func(e endpoint.Event) {
		if e.Left != nil {
			fmt.Fprintln(c.stderr, "zcbench agent:", e.Left)
		}
	}
	if err := a.Serve(ctx, rw); err != nil {
		return errReported{err} // its driver knows
	}
	return nil
}

// pollable makes a blocked read of the link end when the link is closed: the
// Go netpoller must know the descriptors for that.
func pollable(link any) (duplex, error) {
	s, ok := link.(stdio)
	if !ok {
		return duplex{}, endpoint.Errorf(endpoint.Usage, "agent --stdio needs the process's own stdin and stdout")
	}
	var d duplex
	for _, p := range []struct {
		to   **os.File
		from any
		name string
	}{{&d.r, s.ReadCloser, "stdin"}, {&d.w, s.Writer, "stdout"}} {
		file, ok := p.from.(*os.File)
		if !ok {
			return d, endpoint.Errorf(endpoint.Usage, "agent --stdio needs the process's own %s", p.name)
		}
		fd := int(file.Fd())
		if err := unix.SetNonblock(fd, true); err != nil {
			return d, endpoint.Errorf(endpoint.Failed, "use %s as the control link: %w", p.name, err)
		}
		*p.to = os.NewFile(uintptr(fd), p.name)
	}
	return d, nil
}

// duplex is two files as one link.
type duplex struct{ r, w *os.File }

func (d duplex) Read(p []byte) (int, error)  { return d.r.Read(p) }
func (d duplex) Write(p []byte) (int, error) { return d.w.Write(p) }
func (d duplex) Close() error {
	err := d.w.Close()
	if e := d.r.Close(); err == nil {
		err = e
	}
	return err
}

// newAgent is an agent with what every agent of this program has; the caller
// adds its own before serving.
func newAgent() *endpoint.Agent {
	return &endpoint.Agent{
		RX: rxEngines(), TX: txEngines(), Version: version, DataPort: defaultPort + 1,
		Verifier: verifier, Instruments: instruments(),
		Facts: func(iface string) results.Facts { return hostfacts.Collect(iface, version) },
	}
}

// trustedAgent is an agent that only this user can reach.
func trustedAgent() *endpoint.Agent {
	a := newAgent()
	a.Trusted = true
	return a
}
