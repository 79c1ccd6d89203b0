package endpoint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"zcbench/internal/procfile"
)

// Sharing says whether two ends run on one kernel, and so on the same CPUs.
type Sharing string

// The answers. The zero value is that nobody has asked.
const (
	OneHost     Sharing = "one"
	TwoHosts    Sharing = "two"
	HostUnknown Sharing = "unknown"
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
	if masked(path) != "" {
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

// sureness is how unlikely an accident must be to be taken for one kernel.
const sureness = 1e-12

// between compares one end's totals with the other's before and after. chance is
// how likely it is that two kernels look like one, taking each total of a kernel
// for any number up to its size.
func between(before, middle, after []uint64) (one bool, chance float64) {
	chance = 1
	for i := range before {
		if middle[i] < before[i] || middle[i] > after[i] {
			return false, 0
		}
		chance *= float64(after[i]-before[i]+1) / float64(after[i]+1)
	}
	return true, chance
}

// Shared tells whether two agents run on one kernel.
func Shared(ctx context.Context, a, b *Client) (Sharing, error) {
	const tries = 3 // the shortest of them says most
	for range tries {
		var read [3][]uint64
		for i, c := range []*Client{a, b, a} {
			var err error
			if read[i], err = c.totals(ctx); err != nil {
				return "", err
			}
		}
		if n := len(kernelEvents) + len(kernelSoftirqs); len(read[0]) != n || len(read[1]) != n || len(read[2]) != n {
			break
		}
		one, chance := between(read[0], read[1], read[2])
		if !one {
			return TwoHosts, nil
		}
		if chance <= sureness {
			return OneHost, nil
		}
	}
	// Who runs without a container shows the kernel's own boot ID.
	if id := a.Welcome.BootID; id != "" && id == b.Welcome.BootID {
		return OneHost, nil
	}
	return HostUnknown, nil
}

func (c *Client) totals(ctx context.Context) ([]uint64, error) {
	m, err := c.ask(ctx, message{Clock: &clock{Count: true}}, upTo(owedWait, "say what its kernel has counted"))
	if err != nil {
		return nil, err
	}
	if m.Clock == nil {
		return nil, c.unexpected("clock")
	}
	return m.Clock.Totals, nil
}

// Cores gives, for each of cpus, the lowest number among the threads of its
// core, and its own where that is not known: CPUs with the same one share a
// core's units (Documentation/admin-guide/cputopology.rst).
func Cores(cpus []int) []int {
	cores := make([]int, len(cpus))
	for i, n := range cpus {
		cores[i] = n
		b, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", n))
		if err != nil {
			continue
		}
		end := bytes.IndexAny(b, ",-\n")
		if end < 0 {
			end = len(b)
		}
		if low, rest, ok := procfile.Uint(b[:end]); ok && len(rest) == 0 && low <= uint64(n) {
			cores[i] = int(low)
		}
	}
	return cores
}

// BootID tells one boot of a kernel from another (random(4)). A container may
// show one of its own.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
