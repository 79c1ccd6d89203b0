package counters

import (
	"fmt"

	"zcbench/endpoint/instrument"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
)

// cpufreq is the frequency of each CPU as the kernel knows it at the sample:
// measured by hardware counters where the driver has them, else what was last
// asked for (Documentation/admin-guide/pm/cpufreq.rst, scaling_cur_freq).
func cpufreq(root string) instrument.Counter {
	return instrument.Counter{
		Name: "cpufreq", About: "frequency of each CPU",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			r := &valueReader{}
			for _, n := range s.CPUs {
				f, err := procfile.Open(root, fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", n))
				if err != nil {
					_ = r.Close()
					if isAbsent(err) {
						return nil, fault.Errorf(fault.Unsupported, "%w: this kernel has no cpufreq driver here (a hypervisor keeps frequencies to itself)",
							err)
					}
					return nil, err
				}
				const kHz = 1e-3
				r.add(f, instrument.Quantity{Form: instrument.Clock, CPU: n, Scale: kHz})
			}
			return r, nil
		},
	}
}
