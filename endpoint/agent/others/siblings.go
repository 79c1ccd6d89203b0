package others

import (
	"os"
	"slices"

	"zcbench/internal/procfile"
)

// A thread's sibling slows it down when it is busy for more than this share of
// the window; housekeeping stays below.
const siblingBusy = 0.1

// siblings says which CPUs that share a core with a worker's were busy. core
// gives the core of each CPU.
func (o *Watch) siblings(seconds float64, core []int) (busy []int) {
	for n := range min(len(o.first), len(o.last), len(core)) {
		shares := slices.ContainsFunc(o.workers, func(w int) bool { return w != n && w < len(core) && core[w] == core[n] })
		if shares && o.ticks([]int{n}, (*procfile.CPU).Busy)/100 > siblingBusy*seconds {
			busy = append(busy, n)
		}
	}
	return busy
}

// coresOfAll are the cores of CPUs 0 to n-1.
func coresOfAll(n int) []int {
	if _, err := os.Stat("/sys/devices/system/cpu/cpu0/topology"); err != nil {
		return nil
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return procfile.Cores(all)
}
