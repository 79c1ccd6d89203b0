package counters

import (
	"fmt"
	"strings"

	"zcbench/endpoint/instrument"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
)

// cpuidle is the residency of each CPU in each C-state. The kernel counts a
// stay when it ends: one CPU's figure over a short interval can be above 100 %,
// or 0 while it sleeps (Documentation/admin-guide/pm/cpuidle.rst).
func cpuidle(root string) instrument.Counter {
	return instrument.Counter{
		Name: "cpuidle", About: "time of each CPU in each C-state",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			r := &valueReader{}
			for _, n := range s.CPUs {
				if err := r.cstates(root, n); err != nil {
					_ = r.Close()
					return nil, err
				}
			}
			if len(r.q) == 0 {
				return nil, fault.Errorf(fault.Unsupported, "no /sys/devices/system/cpu/cpu%d/cpuidle: this kernel has no cpuidle driver here (it "+
					"was started with cpuidle.off=1 or idle=poll, or the hypervisor keeps C-states to itself)", s.CPUs[0])
			}
			return r, nil
		},
	}
}

// cstates adds the C-states of a CPU; it may have none.
func (r *valueReader) cstates(root string, cpu int) error {
	for state := 0; ; state++ {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpuidle/state%d/", cpu, state)
		name, err := readOnce(root, dir+"name")
		if isAbsent(err) {
			return nil // no more states
		}
		if err != nil {
			return err
		}
		f, err := procfile.Open(root, dir+"time")
		if err != nil {
			return err
		}
		const microseconds = 1e-6
		r.add(f, instrument.Quantity{Name: strings.TrimSuffix(name, " idle"), Form: instrument.IdleState, CPU: cpu, Scale: microseconds})
	}
}
