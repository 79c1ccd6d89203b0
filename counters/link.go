package counters

import (
	"fmt"
	"strings"

	"zcbench/endpoint/instrument"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
)

// link is what the interface itself has counted: its line of /proc/net/dev, in
// the run's network namespace.
func link(root string) instrument.Counter {
	return instrument.Counter{
		Name: "link", About: "packets, bytes, drops and errors of the interface",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			if s.Interface == "" {
				return nil, errNoInterface
			}
			f, err := procfile.Open(root, "proc/thread-self/net/dev")
			if err != nil {
				return nil, err
			}
			return &linkReader{f, s.Interface}, nil
		},
	}
}

var errNoInterface = fault.Errorf(fault.Unsupported, "which interface carries the payload is not known: name it (--iface; probe -i)")

type linkReader struct {
	*procfile.File
	iface string
}

// linkColumns are the numbers of a line in order, "" for those left out.
var linkColumns = [...]string{
	"link_rx_bytes", "link_rx_packets", "link_rx_errors", "link_rx_dropped", "link_rx_fifo", "link_rx_frame", "", "",
	"link_tx_bytes", "link_tx_packets", "link_tx_errors", "link_tx_dropped", "link_tx_fifo", "", "link_tx_carrier", "",
}

func (r *linkReader) Quantities() []instrument.Quantity {
	var q []instrument.Quantity
	for _, name := range linkColumns {
		if name != "" {
			// Bytes in samples would say what the run's own do.
			q = append(q, instrument.Quantity{Name: name, Quiet: strings.HasSuffix(name, "_bytes")})
		}
	}
	return q
}

func (r *linkReader) Read(to []uint64) error {
	b, err := r.File.Read()
	if err != nil {
		return err
	}
	return r.parse(b, to)
}

func (r *linkReader) parse(b []byte, to []uint64) error {
	for len(b) > 0 {
		line := procfile.Line(&b)
		for len(line) > 0 && line[0] == ' ' {
			line = line[1:]
		}
		// The first number may follow the colon at once.
		n := len(r.iface)
		if len(line) <= n || string(line[:n]) != r.iface || line[n] != ':' {
			continue
		}
		line = line[n+1:]
		for _, name := range linkColumns {
			v, rest, ok := procfile.Uint(line)
			if !ok {
				return fmt.Errorf("/proc/net/dev: malformed line of %s", r.iface)
			}
			if line = rest; name != "" {
				to[0] = v
				to = to[1:]
			}
		}
		return nil
	}
	return fmt.Errorf("/proc/net/dev has no %s", r.iface)
}
