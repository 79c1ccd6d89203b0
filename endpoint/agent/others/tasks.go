package others

import (
	"zcbench/internal/cpuclock"
	"zcbench/internal/procfile"
)

// tasks is what all tasks, whoever they are, had of the CPUs that are counted, by
// the kernel's exact figure of it. Its zero value knows nothing.
type tasks struct {
	clock       *cpuclock.Clock
	stat        *procfile.Stat
	first, last *float64 // seconds, at the edges of the window
}

// openTasks opens it, if this kernel has one.
func openTasks(cpus []int) (t tasks) {
	if len(cpus) == 0 {
		return t
	}
	for _, name := range []string{cpuclock.Schedstat, cpuclock.CPUAcct} {
		k, err := cpuclock.Open(cpuclock.Calibration{Method: name}, cpus)
		if err != nil {
			continue
		}
		if t.stat, err = procfile.OpenStat("/"); err != nil {
			k.Close()
			return tasks{}
		}
		t.clock = k
		return t
	}
	return t
}

func (t *tasks) opens()  { t.first = t.read() }
func (t *tasks) closes() { t.last = t.read() }

func (t *tasks) read() *float64 {
	if t.clock == nil || t.clock.Read(t.stat) != nil {
		return nil
	}
	v := t.clock.Busy()
	return &v
}

// percent is what tasks had in the window, in percent of one CPU.
func (t *tasks) percent(seconds float64) (v float64, known bool) {
	if t.first == nil || t.last == nil {
		return 0, false
	}
	return 100 * max(0, *t.last-*t.first) / seconds, true
}

func (t *tasks) close() {
	if t.clock != nil {
		t.clock.Close()
		_ = t.stat.Close() // nothing was written
	}
}
