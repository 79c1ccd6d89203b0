package counters

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/perf"
	"zcbench/results/caveat"
)

// pmu is what the CPUs' own counters say the payload took, over the scope's
// CPUs, or over this process's threads where only they can be told apart.
// Reading one interrupts its CPU, so it is read at the window's edges only.
//
// The kernel's generic event of cache misses is the last level's on Intel and
// the L2's on AMD Zen, hence its name.
func pmu() instrument.Counter {
	return instrument.Counter{
		Name: "pmu", About: "cycles, instructions and cache misses, over the window and a payload byte", Edges: true,
		Open: func(s instrument.Place) (instrument.Reader, error) {
			r := &perfReader{}
			for _, at := range places(s) {
				for _, e := range [...]struct {
					name   string
					config uint64
				}{{"cycles", unix.PERF_COUNT_HW_CPU_CYCLES}, {"instructions", unix.PERF_COUNT_HW_INSTRUCTIONS}, {"cache_misses",
					unix.PERF_COUNT_HW_CACHE_MISSES}} {
					c, err := perf.Count(perf.Event{Type: unix.PERF_TYPE_HARDWARE, Config: e.config}, at.tid, at.cpu)
					if errors.Is(err, unix.ESRCH) {
						break // a thread that has ended
					}
					if err != nil {
						_ = r.Close()
						return nil, err
					}
					r.add(c, instrument.Quantity{Name: e.name, PerByte: true})
				}
			}
			return r, nil
		},
	}
}

// perfReader reads counters of the kernel's performance events.
type perfReader struct {
	counters []*perf.Counter
	q        []instrument.Quantity
	shared   bool
}

// place is where an event is counted: a thread wherever it runs, or a CPU
// whoever runs there.
type place struct{ tid, cpu int }

func places(s instrument.Place) []place {
	var all []place
	if s.Scope != wire.ScopeThread {
		for _, n := range s.CPUs {
			all = append(all, place{perf.Any, n})
		}
		return all
	}
	for _, tid := range threads() {
		all = append(all, place{tid, perf.Any})
	}
	return all
}

// threads lists this process's.
func threads() []int {
	var all []int
	entries, _ := os.ReadDir("/proc/self/task") // cannot fail where /proc is
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, n)
		}
	}
	return all
}

func (r *perfReader) add(c *perf.Counter, q instrument.Quantity) {
	r.counters, r.q = append(r.counters, c), append(r.q, q)
}

func (r *perfReader) Quantities() []instrument.Quantity { return r.q }

func (r *perfReader) Read(to []uint64) error {
	for i, c := range r.counters {
		v, whole, err := c.Read()
		if err != nil {
			return err
		}
		r.shared = r.shared || !whole
		to[i] = v
	}
	return nil
}

// Warnings tells of counters that were not ours all the time.
func (r *perfReader) Warnings() (warnings []string) {
	if !r.shared {
		return nil
	}
	return []string{caveat.Warn(caveat.CountersShared, "the hardware has too few counters for all that use them (perf, the NMI watchdog): "+
		"values are extrapolated from the time they were counted")}
}

func (r *perfReader) Close() error {
	var errs []error
	for _, c := range r.counters {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
