package procfile

import (
	"bytes"
	"fmt"
	"os"
)

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
		if low, rest, ok := Uint(b[:end]); ok && len(rest) == 0 && low <= uint64(n) {
			cores[i] = int(low)
		}
	}
	return cores
}
