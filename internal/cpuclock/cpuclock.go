// Package cpuclock is the CPU time of a set of CPUs by the clock that was
// calibrated as right on this host.
//
// The kernel has several figures of how busy a CPU was, and each is wrong on
// some kernels: see method.go. Which is right follows from neither version nor
// configuration alone, so they are tried on work that is known.
package cpuclock

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
)

// Clock reads the CPU time of some CPUs. It is used by one goroutine at a time.
type Clock struct {
	cpus   []int
	list   []*reading // the clock, and the second where there is one
	visits []unix.CPUSet
}

// reading is what a method said last.
type reading struct {
	name string
	method
	busy []int64 // ns by CPU number
}

// Open makes the clock that was calibrated as right, for cpus.
func Open(c Calibration, cpus []int) (*Clock, error) {
	k := &Clock{cpus: cpus}
	most := 0
	for _, n := range cpus {
		most = max(most, n)
	}
	for _, name := range []string{c.Method, c.Second} {
		if name == "" {
			continue
		}
		m, err := open(name, "/", cpus)
		if err != nil {
			k.Close()
			return nil, fmt.Errorf("the clock of CPU time %s: %w", name, err)
		}
		k.list = append(k.list, &reading{name: name, method: m, busy: make([]int64, most+1)})
		if Tasks(base(name)) || name == CPUIdle {
			k.visits = make([]unix.CPUSet, len(cpus))
			for i, n := range cpus {
				k.visits[i].Set(n)
			}
		}
	}
	return k, nil
}

// Read takes a new reading; it reads stat too. It allocates nothing.
func (k *Clock) Read(stat *procfile.Stat) error {
	k.visit()
	if err := stat.Read(); err != nil {
		return err
	}
	now := monotonic()
	for _, n := range k.cpus {
		if n >= len(stat.CPUs) || !stat.Online[n] {
			return fmt.Errorf("/proc/stat has no CPU %d", n)
		}
	}
	for _, r := range k.list {
		if err := r.read(now, stat, r.busy); err != nil {
			return err
		}
	}
	return nil
}

// visit runs on each CPU for a moment. The kernel sums up a task's time when
// another takes its place, and idle time when it ends: a visitor makes that
// happen, for else a thread that never waits would be in no reading. CPUs that
// this process may not run on are left out.
func (k *Clock) visit() {
	if len(k.visits) == 0 {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var home unix.CPUSet
	if unix.SchedGetaffinity(0, &home) != nil {
		return
	}
	for i := range k.visits {
		_ = unix.SchedSetaffinity(0, &k.visits[i])
	}
	_ = unix.SchedSetaffinity(0, &home)
}

// Busy is the time that the CPUs were busy, all together, in seconds from any
// beginning.
func (k *Clock) Busy() float64 { return k.list[0].sum(k.cpus) }

// Second is the same by another clock that was right too, if there is one.
func (k *Clock) Second() (seconds float64, ok bool) {
	if len(k.list) < 2 {
		return 0, false
	}
	return k.list[1].sum(k.cpus), true
}

// CPU is the time that one of the CPUs was busy, in seconds.
func (k *Clock) CPU(n int) float64 { return float64(k.list[0].busy[n]) / 1e9 }

func (r *reading) sum(cpus []int) float64 {
	var ns int64
	for _, n := range cpus {
		ns += r.busy[n]
	}
	return float64(ns) / 1e9
}

// Close gives the files back.
func (k *Clock) Close() {
	for _, r := range k.list {
		r.close()
	}
}
