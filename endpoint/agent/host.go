package agent

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
)

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
	return cpusOf(&set)
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
