package counters

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/instrument"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
)

// ethtool is the driver's own statistics (ethtool -S), those that moved in the
// window. Some drivers ask the device for them and take milliseconds, so they
// are read at its edges only.
func ethtool() instrument.Counter {
	return instrument.Counter{
		Name: "ethtool", About: "the driver's own statistics (ethtool -S), at the window's edges", Edges: true,
		Open: func(s instrument.Place) (instrument.Reader, error) {
			if s.Interface == "" {
				return nil, errNoInterface
			}
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return nil, fmt.Errorf("socket for ethtool: %w", err)
			}
			r := &ethtoolReader{fd: fd, iface: s.Interface}
			names, err := abi.EthtoolStatNames(fd, s.Interface)
			if err == nil {
				err = r.Read(make([]uint64, len(names)))
			}
			if errors.Is(err, unix.EOPNOTSUPP) || err == nil && len(names) == 0 {
				err = fault.Errorf(fault.Unsupported, "the driver of %s has no statistics of its own (ethtool -S)", s.Interface)
			}
			if err != nil {
				unix.Close(fd)
				return nil, err
			}
			for _, n := range names {
				r.q = append(r.q, instrument.Quantity{Name: "ethtool_" + strings.TrimSpace(n), Sparse: true})
			}
			return r, nil
		},
	}
}

type ethtoolReader struct {
	fd    int
	iface string
	q     []instrument.Quantity
}

func (r *ethtoolReader) Quantities() []instrument.Quantity { return r.q }
func (r *ethtoolReader) Close() error                      { return unix.Close(r.fd) }

func (r *ethtoolReader) Read(to []uint64) error {
	err := abi.EthtoolStats(r.fd, r.iface, to)
	if errors.Is(err, unix.ESTALE) {
		err = errors.New("the driver's list of statistics changed: its queues were reconfigured")
	}
	if err != nil {
		return fmt.Errorf("statistics of %s: %w", r.iface, err)
	}
	return nil
}
