package counters

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/instrument"
	"zcbench/internal/fault"
	"zcbench/internal/genl/netdev"
)

// pagepool is the interface's page pools together: what is out of them, and
// how pages were found and given back (page-pool-get and page-pool-stats-get
// of netlink's netdev family, 6.8).
func pagepool() instrument.Counter {
	return instrument.Counter{
		Name: "pagepool", About: "the NIC's page pools: memory in flight, allocations by path, recycling",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			c, index, err := dial(s.Interface)
			if err != nil {
				return nil, err
			}
			pools, err := c.PagePools(index)
			if err == nil && len(pools) == 0 {
				err = fault.Errorf(fault.Unsupported, "the driver of %s made none", s.Interface)
			}
			if err != nil {
				c.Close()
				return nil, lacking(fmt.Errorf("page pools (Linux 6.8): %w", err))
			}
			r := &netdevReader{conn: c, read: func() (netdev.Counters, error) { return poolStats(c, index) }}
			first, err := r.read()
			switch {
			case errors.Is(err, unix.EOPNOTSUPP):
				// Without CONFIG_PAGE_POOL_STATS it is what is in flight alone.
			case err != nil:
				c.Close()
				return nil, err
			default:
				r.name(first, "nic_pool_", func(string) bool { return false })
			}
			r.q = append(r.q, instrument.Quantity{Name: "nic_pool_inflight_bytes", Form: instrument.Gauge})
			r.extra = func(to []uint64) error {
				pools, err := c.PagePools(index)
				to[0] = 0
				for _, p := range pools {
					to[0] += p.InflightMem
				}
				return err
			}
			return r, nil
		},
	}
}

// poolStats adds up the pools of an interface.
func poolStats(c *netdev.Conn, index int) (netdev.Counters, error) {
	all, err := c.PagePoolStats(index)
	total := netdev.Counters{}
	for _, p := range all {
		for name, n := range p.Counters {
			total[name] += n
		}
	}
	return total, err
}
