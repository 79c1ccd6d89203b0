package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/internal/remote"
	"zcbench/results"
)

// hosts is a pair of two machines.
type hosts struct {
	of     *Program
	rx, tx *reach
}

// reach is a way to a machine.
type reach struct {
	of     *Program
	name   string
	host   experiment.Host
	ssh    *remote.Host // with host.SSH
	token  []byte       // with host.Agent
	stderr io.Writer
	ticket string // of this controller
	close  func() // ends the agent that holds the machine; nil before there is one
}

// openHosts makes sure that both machines can be reached, have zcbench, and
// serve no other controller.
func (p *Program) openHosts(ctx context.Context, pair experiment.Pair, ticket string) (*hosts, error) {
	h := &hosts{of: p}
	var errs [2]error
	var wg sync.WaitGroup
	for i, e := range []struct {
		to   **reach
		name string
		host experiment.Host
	}{{&h.rx, "receiver", pair.RX}, {&h.tx, "sender", pair.TX}} {
		wg.Go(func() {
			r := &reach{of: p, name: e.name + " " + e.host.Name, host: e.host, ticket: ticket, stderr: &prefixed{to: p.Stderr, prefix: e.host.Name +
				": "}}
			*e.to, errs[i] = r, r.open(ctx)
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// open finds the machine and holds it.
func (r *reach) open(ctx context.Context) (err error) {
	if err := r.find(ctx); err != nil {
		return err
	}
	_, r.close, err = r.agent(ctx)
	return err
}

// find makes sure that agents can be started there, or are known.
func (r *reach) find(ctx context.Context) (err error) {
	switch {
	case r.host.SSH != "":
		if r.ssh, err = remote.Open(ctx, r.host.SSH, r.host.Sudo, r.stderr); err != nil {
			return r.unreachable(ctx, err)
		}
	case r.host.Agent != "":
		if err := remote.CheckPin(r.host.Pin); err != nil {
			return fault.Errorf(fault.Usage, "%s: %w", r.name, err)
		}
		if r.token, err = wire.ReadToken(r.host.TokenFile); err != nil {
			return err
		}
	}
	return nil
}

func (r *reach) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err = fmt.Errorf("%s: %w", r.name, err); fault.Known(err) {
		return err
	}
	return fault.Wrap(fault.Unreachable, err)
}

// agent shakes hands with an agent there, which may be asked for some meters. The
// second result ends it.
func (r *reach) agent(ctx context.Context, meters ...string) (*driver.Client, func(), error) {
	link, end, err := r.dial(ctx, meters)
	if err != nil {
		return nil, nil, r.unreachable(ctx, err)
	}
	client, err := driver.NewClient(r.name, link, r.token, r.of.Version)
	if err != nil {
		end(silentWait)
		return nil, nil, err
	}
	if r.ticket != "" {
		if err := client.Hold(ctx, r.ticket); err != nil {
			client.Close()
			end(restoreWait)
			return nil, nil, err
		}
	}
	return client, func() {
		limit := restoreWait
		if client.Silent() {
			limit = silentWait
		}
		client.Close()
		end(limit)
	}, nil
}

// restoreWait is for an agent that has NIC settings to put back, on a host that
// may be slow to answer.
const restoreWait = 20 * time.Second

// silentWait is for an agent, or the way to it, that does not answer any more:
// whatever it has to put back it does when it finds the link closed.
const silentWait = time.Second

func (r *reach) dial(ctx context.Context, meters []string) (io.ReadWriteCloser, func(time.Duration), error) {
	if r.host.Agent != "" {
		c, err := remote.Dial(ctx, r.host.Agent, r.host.Pin)
		if err != nil {
			return nil, nil, err
		}
		return c, func(time.Duration) { c.Close() }, nil
	}
	var link *remote.Link
	var err error
	var arguments []string
	for _, spec := range meters {
		arguments = append(arguments, "--meter", spec)
	}
	if r.ssh != nil {
		link, err = r.ssh.Agent(ctx, arguments...)
	} else {
		var self string
		if self, err = os.Executable(); err == nil {
			link, err = remote.Command(exec.Command(self, append([]string{"agent", "--stdio"}, arguments...)...), r.stderr)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return link, func(limit time.Duration) {
		link.Close()
		link.Wait(limit)
	}, nil
}

// Survey asks the receiver first, since the sender looks for the way to it, and
// both whether they are one host.
func (h *hosts) Survey(ctx context.Context) (at results.Pair[experiment.Survey], err error) {
	rx, end, err := h.rx.agent(ctx)
	if err != nil {
		return at, err
	}
	defer end()
	if err := rx.Survey(ctx, h.rx.question(endpoint.RX, ""), &at.RX); err != nil {
		return at, err
	}
	tx, end, err := h.tx.agent(ctx)
	if err != nil {
		return at, err
	}
	defer end()
	if err := tx.Survey(ctx, h.tx.question(endpoint.TX, cmp.Or(at.RX.Addr4, at.RX.Addr6)), &at.TX); err != nil {
		return at, err
	}
	at.RX.Shared, err = driver.Shared(ctx, rx, tx)
	at.TX.Shared = at.RX.Shared
	return at, err
}

// question asks what a machine offers to its end of the pair.
func (r *reach) question(role endpoint.Role, to string) wire.Survey {
	return wire.Survey{Role: role, Interface: r.host.Interface, Address: r.host.Address, To: to}
}

// Open starts both agents anew.
func (h *hosts) Open(ctx context.Context, t experiment.Trial) (experiment.Ends, error) {
	var e experiment.Ends
	var readers Meters
	var ends [2]func()
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { e.RX, ends[0], errs[0] = h.rx.agent(ctx, asUser(t.Meters, endpoint.RX, "")...) })
	wg.Go(func() { e.TX, ends[1], errs[1] = h.tx.agent(ctx, asUser(t.Meters, endpoint.TX, "")...) })
	wg.Wait()
	e.Close = func() {
		readers.End()
		var wg sync.WaitGroup
		for _, end := range ends {
			if end != nil {
				wg.Go(end)
			}
		}
		wg.Wait()
	}
	err := cmp.Or(errs[0], errs[1])
	if err == nil {
		readers, err = h.of.OpenMeters(ctx, t.Meters, map[endpoint.Role]*driver.Client{endpoint.RX: e.RX, endpoint.TX: e.TX})
		e.Power = readers.Wanted
	}
	if err != nil {
		e.Close()
		return experiment.Ends{}, err
	}
	return e, nil
}

// tryMeter reads a meter once, where a run would.
func (h *hosts) tryMeter(ctx context.Context, text string) error {
	by := map[endpoint.Role]*driver.Client{}
	for role, r := range map[endpoint.Role]*reach{endpoint.RX: h.rx, endpoint.TX: h.tx} {
		client, end, err := r.agent(ctx, asUser([]string{text}, role, "")...)
		if err != nil {
			return err
		}
		defer end()
		by[role] = client
	}
	readers, err := h.of.OpenMeters(ctx, []string{text}, by)
	if err != nil {
		return err
	}
	defer readers.End()
	shared, err := driver.Shared(ctx, by[endpoint.RX], by[endpoint.TX])
	if err != nil {
		return err
	}
	if readers.Wanted[0].End == "" && shared != driver.OneHost {
		return fault.Errorf(fault.Usage, "meter %s: the ends are two hosts: say which it reads, rx= or tx=", text)
	}
	return driver.CheckMeters(ctx, readers.Wanted)
}

// Close lets other controllers in.
func (h *hosts) Close() error {
	for _, r := range []*reach{h.rx, h.tx} {
		if r.close != nil {
			r.close()
		}
	}
	return nil
}

// prefixed says whose words they are. It is given whole lines.
type prefixed struct {
	to     io.Writer
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	if _, err := fmt.Fprintf(p.to, "%s%s\n", p.prefix, printable.Line(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
