package egress

import (
	"fmt"
	"math"

	"github.com/vishvananda/netlink"

	"zcbench/internal/genl/ethtool"
)

// Rate is how fast an interface lets anything out, in bits a second; 0 is no
// limit that is known.
type Rate struct {
	All, Flow float64 // of everything, and of each connection
	By        string  // what holds Flow
}

// RateOf asks for the speed of a NIC's link and for the rates of the interface's
// own queueing, in the network namespace of the calling thread. The speed that a
// veth or tun says it has is none.
func RateOf(name string) (Rate, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return Rate{}, fmt.Errorf("interface %s: %w", name, err)
	}
	var r Rate
	slower := func(rate *float64, bits float64) bool {
		if bits <= 0 || *rate > 0 && *rate <= bits {
			return false
		}
		*rate = bits
		return true
	}
	if link.Type() == "device" {
		c, err := ethtool.Dial()
		if err != nil {
			return Rate{}, err
		}
		defer c.Close()
		if n, err := c.Speed(name); err == nil { // not all drivers know
			slower(&r.All, float64(n)*1e6)
		}
	}
	all, err := netlink.QdiscList(link)
	if err != nil {
		return Rate{}, fmt.Errorf("list the qdiscs of %s: %w", name, err)
	}
	for _, q := range all {
		switch q := q.(type) {
		case *netlink.Tbf:
			slower(&r.All, float64(q.Rate)*8)
		case *netlink.Netem:
			slower(&r.All, float64(q.Rate64)*8)
		case *netlink.Fq:
			if q.FlowMaxRate < math.MaxUint32 && slower(&r.Flow, float64(q.FlowMaxRate)*8) { // that is: none
				r.By = "fq maxrate of " + name
			}
		}
	}
	return r, nil
}
