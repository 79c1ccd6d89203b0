package endpoint

import (
	"net/netip"

	"zcbench/internal/netif"
)

// onTheWay refuses a peer over the network an interface that its payload does not
// pass: a run changes settings of the interface that it is told, and a token is for
// those of the run's own.
func (c *conversation) onTheWay(p *Prepare) error {
	if c.agent.Trusted || p.Interface == "" || p.Interface == c.agent.Interface {
		return nil
	}
	name, err := netif.Name(p.Interface)
	if err != nil {
		return Errorf(Usage, "%w", err)
	}
	if name == c.iface {
		return nil
	}
	at := localAddress(p, c.local)
	if p.Role == TX && p.Bind == "" {
		to, err := netip.ParseAddr(p.Host)
		if err != nil {
			return Errorf(Usage, "receiver address: %w", err)
		}
		if way, err := netif.To(to, netip.Addr{}); err == nil && way == name {
			return nil
		}
	}
	if on, err := netif.Carries(name, at); err != nil || !on {
		return Errorf(Denied, "interface %s does not carry this run, for it has not the address %s, and a peer may have no other's settings changed (its user may: --iface)", name, at)
	}
	return nil
}
