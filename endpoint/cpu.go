package endpoint

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
)

// cpuTime is CPU time of one end, cumulative, in seconds; iowait and idle are
// nil where the scope cannot know them.
type cpuTime struct {
	busy         float64
	iowait, idle *float64
}

type cpuClock interface {
	read() (cpuTime, error)
}

// newCPUClock makes the clock of a scope; stat is read by the caller.
func newCPUClock(scope Scope, cpus []int, stat *procfile.Stat) (cpuClock, error) {
	switch scope {
	case ScopeThread:
		return processClock{}, nil
	case ScopeHost, ScopeCPUSet:
		if scope == ScopeCPUSet && len(cpus) == 0 {
			return nil, Errorf(Usage, "a cpuset scope needs CPUs")
		}
		if scope == ScopeHost {
			cpus = nil
		}
		return statClock{stat, cpus}, nil
	}
	return nil, Errorf(Usage, "unknown CPU scope %q", clip(string(scope)))
}

// statClock is /proc/stat, summed over cpus, or over the host when there are
// none. Busy is user + nice + system + irq + softirq + steal; guest time is in
// user already, and iowait is idle time with a name (proc(5)).
type statClock struct {
	stat *procfile.Stat
	cpus []int
}

func (c statClock) read() (cpuTime, error) {
	total := c.stat.Total
	if c.cpus != nil {
		total = procfile.CPU{}
		for _, n := range c.cpus {
			if n >= len(c.stat.CPUs) || !c.stat.Online[n] {
				return cpuTime{}, fmt.Errorf("/proc/stat has no CPU %d", n)
			}
			total.Add(&c.stat.CPUs[n])
		}
	}
	iowait, idle := float64(total.Iowait)/procfile.Hz, float64(total.Idle)/procfile.Hz
	return cpuTime{busy: float64(total.Busy()) / procfile.Hz, iowait: &iowait, idle: &idle}, nil
}

// processClock is the CPU time of every thread of this process, io_uring
// workers included (clock_getres(2), CLOCK_PROCESS_CPUTIME_ID).
type processClock struct{}

func (processClock) read() (cpuTime, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		return cpuTime{}, fmt.Errorf("read the process CPU clock: %w", err)
	}
	return cpuTime{busy: float64(ts.Nano()) / 1e9}, nil
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

// ownCounters are totals of this process that explain a result.
func ownCounters() map[string]float64 {
	m := map[string]float64{}
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
		m["rusage_user_seconds"] = float64(ru.Utime.Nano()) / 1e9
		m["rusage_system_seconds"] = float64(ru.Stime.Nano()) / 1e9
		m["voluntary_switches"] = float64(ru.Nvcsw)
		m["involuntary_switches"] = float64(ru.Nivcsw)
		m["minor_faults"] = float64(ru.Minflt)
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
