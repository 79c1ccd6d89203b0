package counters

import (
	"strings"

	"zcbench/endpoint"
	"zcbench/internal/perf"
)

// membw is the traffic between the host's memory and its memory controllers,
// by their own counters: Intel's uncore_imc units, of servers (cas_count_read
// and _write) or of clients (data_read and _write). It is the whole host's,
// whatever the scope. Only what the kernel itself gives a size in bytes is
// counted.
func membw(root string) endpoint.Meter {
	return endpoint.Meter{
		Name: "membw", About: "memory traffic of the host, by its memory controllers",
		Open: func(endpoint.Site) (endpoint.Reader, error) {
			units, err := perf.PMUs(root, "uncore_imc")
			if err != nil {
				return nil, err
			}
			r := &perfReader{}
			for _, names := range [][2]string{{"cas_count_read", "cas_count_write"}, {"data_read", "data_write"}} {
				for i := range units {
					if err := r.unit(&units[i], names); err != nil {
						_ = r.Close()
						return nil, lacking(err)
					}
				}
				if len(r.q) > 0 {
					return r, nil
				}
			}
			return nil, endpoint.Errorf(endpoint.Unsupported, "no memory controller with counters of bytes in /sys/bus/event_source/devices: it takes an Intel CPU (uncore_imc), the module intel_uncore, and no hypervisor")
		},
	}
}

// unit adds the events of one controller whose names begin with those for read
// and write: some have one for each subchannel.
func (r *perfReader) unit(p *perf.PMU, names [2]string) error {
	events, err := p.Events()
	if err != nil {
		return err
	}
	for _, event := range events {
		for i, to := range []string{"host_memory_read_bytes", "host_memory_write_bytes"} {
			if !strings.HasPrefix(event, names[i]) {
				continue
			}
			e, scale, unit, err := p.Event(event)
			if err != nil {
				return err
			}
			if unit != "MiB" {
				continue
			}
			for _, cpu := range p.CPUs {
				c, err := perf.Count(e, perf.Any, cpu)
				if err != nil {
					return err
				}
				r.add(c, endpoint.Quantity{Name: to, Scale: scale * (1 << 20), PerByte: true})
			}
		}
	}
	return nil
}
