package counters

import (
	"fmt"
	"strings"

	"zcbench/endpoint"
	"zcbench/internal/procfile"
)

// cpuidle is the residency of each CPU in each C-state. The kernel counts a
// stay when it ends: one CPU's figure over a short interval can be above 100 %,
// or 0 while it sleeps (Documentation/admin-guide/pm/cpuidle.rst).
func cpuidle(root string) endpoint.Meter {
	return endpoint.Meter{
		Name: "cpuidle", About: "time of each CPU in each C-state",
		Open: func(s endpoint.Site) (endpoint.Reader, error) {
			r := &cpuidleReader{}
			for _, n := range s.CPUs {
				if err := r.add(root, n); err != nil {
					_ = r.Close()
					return nil, err
				}
			}
			if len(r.q) == 0 {
				return nil, endpoint.Errorf(endpoint.Unsupported, "no /sys/devices/system/cpu/cpu%d/cpuidle: this kernel has no cpuidle driver here (it was started with cpuidle.off=1 or idle=poll, or the hypervisor keeps C-states to itself)", s.CPUs[0])
			}
			return r, nil
		},
	}
}

type cpuidleReader struct {
	files
	q []endpoint.Quantity
}

func (r *cpuidleReader) add(root string, cpu int) error {
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
		r.files = append(r.files, f)
		const microseconds = 1e-6
		r.q = append(r.q, endpoint.Quantity{Name: strings.TrimSuffix(name, " idle"), Form: endpoint.IdleState, CPU: cpu, Scale: microseconds})
	}
}

func (r *cpuidleReader) Quantities() []endpoint.Quantity { return r.q }

func (r *cpuidleReader) Read(to []uint64) error {
	for i, f := range r.files {
		v, err := f.Int()
		if err != nil {
			return err
		}
		to[i] = uint64(v)
	}
	return nil
}
