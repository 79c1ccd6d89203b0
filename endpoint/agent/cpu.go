package agent

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/wire"
	"zcbench/internal/cpuclock"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
)

// cpuTime is CPU time of one end, cumulative, in seconds; what the scope cannot
// know is nil.
type cpuTime struct {
	busy         float64
	second       *float64 // by another clock that was right when they were calibrated
	ticks        *float64 // by the columns of /proc/stat
	iowait, idle *float64 // likewise
}

// cpuClock reads the CPU time of a scope, and /proc/stat with it.
type cpuClock interface {
	read() (cpuTime, error)
	// of is what one CPU was busy at the last reading, if that is known.
	of(cpu int) (seconds float64, ok bool)
	close()
}

// calibrate finds out which clock of CPU time is right on this host, before
// anything is changed or runs.
func (r *run) calibrate() (err error) {
	if r.stat, err = procfile.OpenStat("/"); err == nil {
		err = r.stat.Read()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.p.Role, err)
	}
	if r.p.Scope != wire.ScopeHost && r.p.Scope != wire.ScopeCPUSet {
		return nil // threads have an exact clock
	}
	for _, n := range r.p.ScopeSet {
		if n >= len(r.stat.Online) || !r.stat.Online[n] {
			return fault.Errorf(fault.Usage, "%s: CPU %d is to be counted, and /proc/stat has none of that number", r.p.Role, n)
		}
	}
	dir, err := noJournal.Dir()
	if err != nil {
		dir = os.DevNull // nothing is kept
	}
	if r.calibration, err = cpuclock.For(r.ctx, dir, r.site().CPUs, AllowedCPUs()); err != nil {
		return fmt.Errorf("%s: %w", r.p.Role, err)
	}
	return nil
}

// newCPUClock makes the clock of a scope, for cpus.
func newCPUClock(scope wire.Scope, cpus []int, stat *procfile.Stat, c cpuclock.Calibration) (cpuClock, error) {
	switch scope {
	case wire.ScopeThread:
		return processClock{stat}, nil
	case wire.ScopeHost, wire.ScopeCPUSet:
		if len(cpus) == 0 {
			return nil, fault.Errorf(fault.Usage, "a cpuset scope needs CPUs")
		}
		k, err := cpuclock.Open(c, cpus)
		if err != nil {
			return nil, err
		}
		return hostClock{k, stat, cpus, scope == wire.ScopeHost}, nil
	}
	return nil, fault.Errorf(fault.Usage, "unknown CPU scope %q", wire.Clip(string(scope)))
}

// hostClock is the calibrated clock, summed over CPUs, and the columns of
// /proc/stat beside it. Those are user + nice + system + irq + softirq + steal;
// guest time is in user already, and iowait is idle time with a name (proc(5)).
type hostClock struct {
	clock *cpuclock.Clock
	stat  *procfile.Stat
	cpus  []int
	all   bool
}

func (c hostClock) read() (cpuTime, error) {
	if err := c.clock.Read(c.stat); err != nil {
		return cpuTime{}, err
	}
	total := c.stat.Total // known better than a sum, whose parts are rounded
	if !c.all {
		total = procfile.CPU{}
		for _, n := range c.cpus {
			total.Add(&c.stat.CPUs[n])
		}
	}
	ticks, iowait, idle := float64(total.Busy())/procfile.Hz, float64(total.Iowait)/procfile.Hz, float64(total.Idle)/procfile.Hz
	t := cpuTime{busy: c.clock.Busy(), ticks: &ticks, iowait: &iowait, idle: &idle}
	if v, ok := c.clock.Second(); ok {
		t.second = &v
	}
	return t, nil
}

func (c hostClock) of(cpu int) (float64, bool) { return c.clock.CPU(cpu), true }

func (c hostClock) close() { c.clock.Close() }

// processClock is the CPU time of every thread of this process, io_uring
// workers included (clock_getres(2), CLOCK_PROCESS_CPUTIME_ID).
type processClock struct{ stat *procfile.Stat }

func (c processClock) read() (cpuTime, error) {
	if err := c.stat.Read(); err != nil {
		return cpuTime{}, err
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		return cpuTime{}, fmt.Errorf("read the process CPU clock: %w", err)
	}
	return cpuTime{busy: float64(ts.Nano()) / 1e9}, nil
}

func (processClock) of(int) (float64, bool) { return 0, false }

func (processClock) close() {}

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

func cpusOf(set *unix.CPUSet) (cpus []int) {
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
		return fault.Errorf(fault.Usage, "run on CPU %d: %w (this end may use CPUs %s)", cpu, err, strings.Trim(fmt.Sprint(AllowedCPUs()), "[]"))
	}
	return nil
}
