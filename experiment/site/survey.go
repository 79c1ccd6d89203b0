package site

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/hostfacts"
	"zcbench/internal/netif"
	"zcbench/internal/procfile"
	"zcbench/ringcfg"
)

// Survey looks at this host for a controller elsewhere; the answer is an
// experiment.Survey.
func (p *Program) Survey(ctx context.Context, q wire.Survey) (any, error) {
	p.Recover(ctx)
	s := experiment.Survey{CPUs: agent.AllowedCPUs(), BootID: agent.BootID(), Transport: "tcp"}
	s.Cores = procfile.Cores(s.CPUs)
	if err := locate(&q, &s); err != nil {
		return nil, err
	}
	if err := p.survey(q.Role, &s); err != nil {
		return nil, fmt.Errorf("look at %s: %w", s.Interface, err)
	}
	return s, nil
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
			return fault.Wrap(fault.Usage, err)
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

// survey looks at this host from the network namespace of the calling thread,
// as one end on s.Interface.
func (p *Program) survey(role endpoint.Role, s *experiment.Survey) (err error) {
	if s.View, err = ringcfg.Show(s.Interface); err != nil {
		return err
	}
	s.Host = hostfacts.Collect(s.Interface, p.Version)
	s.Engines = map[string]feature.Verdict{}
	engines := p.RX
	if role == endpoint.TX {
		engines = p.TX
	}
	for _, e := range engines {
		s.Engines[e.Name()] = e.Probe(s.Interface)
	}
	return nil
}
