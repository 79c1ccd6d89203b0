package agent

import (
	"os"

	"zcbench/internal/procfile"
)

// Containers and namespaces may show any boot ID, hostname and clock, and a
// machine that was copied while it ran shows the same ones twice. What they
// cannot show is how often the kernel below has done something so far, since
// nothing virtualizes these totals, which only grow: /proc/vmstat's events
// (proc_vmstat(5)) and softirqs summed over CPUs (/proc/softirqs). What one end
// reads between two readings of the other must lie between them when the kernel
// is the same, and does so by chance only as often as the two are close.
var (
	kernelEvents   = []string{"pgfault", "pgfree", "pgalloc_dma32", "pgalloc_normal", "pgalloc_movable"}
	kernelSoftirqs = []string{"TIMER", "NET_TX", "NET_RX", "BLOCK", "TASKLET", "SCHED", "HRTIMER", "RCU"}
)

// kernelTotals are the events and softirqs so far, 0 for one that this kernel
// does not have; nil where the files cannot be read or are not the kernel's.
func kernelTotals() []uint64 {
	events, softirqs := ofProc("/proc/vmstat"), ofProc("/proc/softirqs")
	if events == nil || softirqs == nil {
		return nil
	}
	totals := make([]uint64, 0, len(kernelEvents)+len(kernelSoftirqs))
	for _, name := range kernelEvents {
		totals = append(totals, rowSum(events, name))
	}
	for _, name := range kernelSoftirqs {
		totals = append(totals, rowSum(softirqs, name+":"))
	}
	return totals
}

// ofProc reads a file of procfs itself, and not what may be mounted over it.
func ofProc(path string) []byte {
	if procfile.Masked(path) != "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return b
}

// rowSum adds up the numbers behind a name.
func rowSum(b []byte, name string) (sum uint64) {
	for len(b) > 0 {
		line := procfile.Line(&b)
		if string(procfile.Word(&line)) != name {
			continue
		}
		for {
			n, rest, ok := procfile.Uint(line)
			if !ok {
				return sum
			}
			sum, line = sum+n, rest
		}
	}
	return 0
}
