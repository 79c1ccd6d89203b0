package counters

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/instrument"
	"zcbench/internal/fault"
	"zcbench/internal/genl/netdev"
)

// qstats is what the driver has counted over the interface's queues, by the
// names of the kernel's specification (qstats-get of netlink's netdev family,
// 6.9).
func qstats() instrument.Counter {
	return instrument.Counter{
		Name: "qstats", About: "the NIC's queues: packets, drops, failed allocations, hardware GRO and TSO",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			c, index, err := dial(s.Interface)
			if err != nil {
				return nil, err
			}
			r := &netdevReader{conn: c, read: func() (netdev.Counters, error) { return c.Stats(index) }}
			first, err := r.read()
			if err == nil && len(first) == 0 {
				err = fault.Errorf(fault.Unsupported, "the driver of %s has none", s.Interface)
			}
			if err != nil {
				c.Close()
				return nil, lacking(fmt.Errorf("per-queue statistics (qstats, Linux 6.9 and a driver with netdev_stat_ops): %w", err))
			}
			r.name(first, "qstat_", func(name string) bool {
				return strings.Contains(name, "csum") || strings.HasSuffix(name, "bytes")
			})
			return r, nil
		},
	}
}

// lacking makes err one of what this host lacks where the kernel, or the driver, says so.
func lacking(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fault.Wrap(fault.Unsupported, err)
	}
	return err
}

func dial(iface string) (*netdev.Conn, int, error) {
	if iface == "" {
		return nil, 0, errNoInterface
	}
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, 0, fmt.Errorf("interface %s: %w", iface, err)
	}
	c, err := netdev.Dial()
	if err != nil {
		return nil, 0, fmt.Errorf("%w (Linux 6.3 has it)", err)
	}
	return c, i.Index, nil
}

// netdevReader shows counters that the kernel names.
type netdevReader struct {
	conn  *netdev.Conn
	read  func() (netdev.Counters, error)
	keys  []string
	q     []instrument.Quantity
	extra func(to []uint64) error // values beyond keys; nil: none
}

// name fixes what is read to what there is now.
func (r *netdevReader) name(first netdev.Counters, prefix string, quiet func(string) bool) {
	r.keys = slices.Sorted(maps.Keys(first))
	for _, k := range r.keys {
		r.q = append(r.q, instrument.Quantity{Name: prefix + strings.ReplaceAll(k, "-", "_"), Quiet: quiet(k)})
	}
}

func (r *netdevReader) Quantities() []instrument.Quantity { return r.q }
func (r *netdevReader) Close() error                      { return r.conn.Close() }

func (r *netdevReader) Read(to []uint64) error {
	if len(r.keys) > 0 {
		now, err := r.read()
		if err != nil {
			return err
		}
		for i, k := range r.keys {
			to[i] = now[k]
		}
	}
	if r.extra != nil {
		return r.extra(to[len(r.keys):])
	}
	return nil
}
