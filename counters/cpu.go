package counters

import (
	"fmt"

	"zcbench/endpoint/instrument"
	"zcbench/internal/procfile"
)

// cpu is /proc/stat: what each CPU of the scope did, from the very reading that
// the run's CPU time comes from, and what the whole host did beside.
func cpu() instrument.Counter {
	return instrument.Counter{
		Name: "cpu", About: "each CPU's time by state; interrupts and context switches of the host",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			return &cpuReader{s.Stat, s.CPUs}, nil
		},
	}
}

type cpuReader struct {
	stat *procfile.Stat
	cpus []int
}

var cpuStates = [...]string{"user", "nice", "system", "irq", "softirq", "steal", "iowait", "idle"}

func (r *cpuReader) Quantities() []instrument.Quantity {
	q := []instrument.Quantity{{Name: "host_interrupts"}, {Name: "host_context_switches"}}
	for _, n := range r.cpus {
		for _, state := range cpuStates {
			q = append(q, instrument.Quantity{Name: state, Form: instrument.CPUState, CPU: n, Scale: 1.0 / procfile.Hz})
		}
	}
	return q
}

func (r *cpuReader) Read(to []uint64) error {
	to[0], to[1] = r.stat.Interrupts, r.stat.Switches
	to = to[2:]
	for _, n := range r.cpus {
		if n >= len(r.stat.CPUs) || !r.stat.Online[n] {
			return fmt.Errorf("/proc/stat has no CPU %d", n)
		}
		c := &r.stat.CPUs[n]
		to[0], to[1], to[2], to[3], to[4], to[5], to[6], to[7] = c.User, c.Nice, c.System, c.IRQ, c.SoftIRQ, c.Steal, c.Iowait, c.Idle
		to = to[len(cpuStates):]
	}
	return nil
}

func (r *cpuReader) Close() error { return nil } // the run owns the file
