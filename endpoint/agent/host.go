package agent

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
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

// BootID tells one boot of a kernel from another (random(4)). A container may
// show one of its own.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
