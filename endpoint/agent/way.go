package agent

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/egress"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
)

// onTheWay refuses a peer over the network an interface that its payload does not
// pass: a run changes settings of the interface that it is told, and a token is for
// those of the run's own.
func (c *conversation) onTheWay(p *wire.Prepare) error {
	if c.agent.Trusted || p.Interface == "" || p.Interface == c.agent.Interface {
		return nil
	}
	name, err := netif.Name(p.Interface)
	if err != nil {
		return fault.Wrap(fault.Usage, err)
	}
	if name == c.iface {
		return nil
	}
	at := localAddress(p, c.local)
	if p.Role == endpoint.TX && p.Bind == "" {
		to, err := netip.ParseAddr(p.Host)
		if err != nil {
			return fault.Errorf(fault.Usage, "receiver address: %w", err)
		}
		if way, err := netif.To(to, netip.Addr{}); err == nil && way == name {
			return nil
		}
	}
	if on, err := netif.Carries(name, at); err != nil || !on {
		return fault.Errorf(fault.Denied, "interface %s does not carry this run, for it has not the address %s, and a peer may have no other's "+
			"settings changed (its user may: --iface)", name, at)
	}
	return nil
}

// astray names the interface that the data connections go by, where that is neither
// the run's, whose counters and facts the record has, nor next to it.
func (r *run) astray() string {
	if r.p.Interface == "" || len(r.conns) == 0 {
		return ""
	}
	name, _, err := egress.Socket(r.conns[0])
	if err != nil || name == r.p.Interface {
		return ""
	}
	at, err := unix.Getsockname(r.conns[0])
	if err != nil {
		return ""
	}
	if on, err := netif.Carries(r.p.Interface, fromSockaddr(at).Addr()); err != nil || on {
		return ""
	}
	return name
}
