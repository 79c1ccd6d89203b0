package counters

import (
	"strings"

	"zcbench/endpoint/instrument"
	"zcbench/internal/fault"
	"zcbench/internal/perf"
)

// membw is the traffic between the host's memory and its memory controllers,
// by their own counters: Intel's uncore_imc units, of servers (cas_count_read
// and _write) or of clients (data_read and _write), whose sizes the kernel
// tells, and AMD's amd_umc units (Zen 4 and later). It is the whole host's,
// whatever the scope.
func membw(root string) instrument.Counter {
	return instrument.Counter{
		Name: "membw", About: "memory traffic of the host, by its memory controllers",
		Open: func(instrument.Place) (instrument.Reader, error) {
			units, err := perf.PMUs(root, "uncore_imc")
			if err != nil {
				return nil, err
			}
			r := &perfReader{}
			for _, names := range [][2]string{{"cas_count_read", "cas_count_write"}, {"data_read", "data_write"}} {
				for i := range units {
					if err := r.unit(&units[i], names); err != nil {
						_ = r.Close()
						return nil, err
					}
				}
				if len(r.q) > 0 {
					return r, nil
				}
			}
			if err := r.umc(root); err != nil {
				_ = r.Close()
				return nil, err
			}
			if len(r.q) > 0 {
				return r, nil
			}
			return nil, fault.Errorf(fault.Unsupported, "no memory controller with counters of bytes in /sys/bus/event_source/devices: it takes "+
				"an Intel CPU (uncore_imc, module intel_uncore) or an AMD CPU from Zen 4 on (amd_umc), and no hypervisor")
		},
	}
}

// Totals of membw.
const (
	memoryRead  = "host_memory_read_bytes"
	memoryWrite = "host_memory_write_bytes"
)

// umc adds AMD's controllers. A CAS command moves a cache line; which event and
// mask count them is in perf's own list of events
// (tools/perf/pmu-events/arch/x86/amdzen4/memory-controller.json).
func (r *perfReader) umc(root string) error {
	units, err := perf.PMUs(root, "amd_umc")
	if err != nil {
		return err
	}
	const line = 64 // bytes
	for _, p := range units {
		for _, v := range []struct{ name, terms string }{{memoryRead, "event=0x0a,rdwrmask=0x1"}, {memoryWrite, "event=0x0a,rdwrmask=0x2"}} {
			e, err := p.Encode(v.terms)
			if err != nil {
				return err
			}
			if err := r.onEach(p.CPUs, e, instrument.Quantity{Name: v.name, Scale: line, PerByte: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

// onEach counts an event on each of some CPUs.
func (r *perfReader) onEach(cpus []int, e perf.Event, q instrument.Quantity) error {
	for _, cpu := range cpus {
		c, err := perf.Count(e, perf.Any, cpu)
		if err != nil {
			return err
		}
		r.add(c, q)
	}
	return nil
}

// unit adds the events of one controller whose names begin with those for read
// and write: some have one for each subchannel.
func (r *perfReader) unit(p *perf.PMU, names [2]string) error {
	events, err := p.Events()
	if err != nil {
		return err
	}
	for _, event := range events {
		for i, to := range []string{memoryRead, memoryWrite} {
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
			if err := r.onEach(p.CPUs, e, instrument.Quantity{Name: to, Scale: scale * (1 << 20), PerByte: true}); err != nil {
				return err
			}
		}
	}
	return nil
}
