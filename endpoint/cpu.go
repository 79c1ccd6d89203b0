package endpoint

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// cpuClock reads the CPU time of one end, cumulative, in seconds.
type cpuClock interface {
	read() (busy float64, iowait *float64, err error)
}

func newCPUClock(scope Scope, cpus []int) (cpuClock, error) {
	switch scope {
	case ScopeThread:
		return processClock{}, nil
	case ScopeHost, ScopeCPUSet:
		fs, err := procfs.NewDefaultFS()
		if err != nil {
			return nil, fmt.Errorf("read /proc/stat: %w", err)
		}
		if scope == ScopeCPUSet && len(cpus) == 0 {
			return nil, Errorf(Usage, "a cpuset scope needs CPUs")
		}
		if scope == ScopeHost {
			cpus = nil
		}
		return statClock{fs: fs, cpus: cpus}, nil
	}
	return nil, Errorf(Usage, "unknown CPU scope %q", clip(string(scope)))
}

// statClock is /proc/stat, summed over cpus, or over the host when there are
// none. Busy is user + nice + system + irq + softirq + steal; guest time is in
// user already, and iowait is idle time with a name (proc(5)).
type statClock struct {
	fs   procfs.FS
	cpus []int
}

func (c statClock) read() (float64, *float64, error) {
	s, err := c.fs.Stat()
	if err != nil {
		return 0, nil, fmt.Errorf("read /proc/stat: %w", err)
	}
	if c.cpus == nil {
		busy, iowait := busy(s.CPUTotal)
		return busy, &iowait, nil
	}
	var b, w float64
	for _, n := range c.cpus {
		cpu, ok := s.CPU[int64(n)]
		if !ok {
			return 0, nil, fmt.Errorf("/proc/stat has no CPU %d", n)
		}
		cb, cw := busy(cpu)
		b, w = b+cb, w+cw
	}
	return b, &w, nil
}

func busy(s procfs.CPUStat) (busy, iowait float64) {
	return s.User + s.Nice + s.System + s.IRQ + s.SoftIRQ + s.Steal, s.Iowait
}

// processClock is the CPU time of every thread of this process, io_uring
// workers included (clock_getres(2), CLOCK_PROCESS_CPUTIME_ID).
type processClock struct{}

func (processClock) read() (float64, *float64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		return 0, nil, fmt.Errorf("read the process CPU clock: %w", err)
	}
	return float64(ts.Nano()) / 1e9, nil, nil
}

// Monotonic is CLOCK_MONOTONIC in ns, the clock of Start.At and Sample.At.
func Monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot fail on Linux
	}
	return ts.Nano()
}

// sleepUntil waits for a time of CLOCK_MONOTONIC on this thread.
func sleepUntil(at int64) {
	ts := unix.NsecToTimespec(at)
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
	}
}

// hostCounters are totals of this host and process that explain a result:
// drops in the softnet backlog and what rusage knows.
func hostCounters() map[string]float64 {
	m := map[string]float64{}
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
		m["rusage_user_seconds"] = float64(ru.Utime.Nano()) / 1e9
		m["rusage_system_seconds"] = float64(ru.Stime.Nano()) / 1e9
		m["voluntary_switches"] = float64(ru.Nvcsw)
		m["involuntary_switches"] = float64(ru.Nivcsw)
		m["minor_faults"] = float64(ru.Minflt)
	}
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if cpus, err := fs.NetSoftnetStat(); err == nil {
			var dropped, squeezed float64
			for _, c := range cpus {
				dropped += float64(c.Dropped)
				squeezed += float64(c.TimeSqueezed)
			}
			m["softnet_dropped"] = dropped
			m["softnet_time_squeezed"] = squeezed
		}
	}
	return m
}

// AllowedCPUs are the CPUs this thread may run on.
func AllowedCPUs() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		cpus := make([]int, runtime.NumCPU())
		for i := range cpus {
			cpus[i] = i
		}
		return cpus
	}
	var cpus []int
	for i := 0; len(cpus) < set.Count(); i++ {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus
}

// pin binds this thread to one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return Errorf(Usage, "run on CPU %d: %w (this end may use CPUs %s)", cpu, err, strings.Trim(fmt.Sprint(AllowedCPUs()), "[]"))
	}
	return nil
}
