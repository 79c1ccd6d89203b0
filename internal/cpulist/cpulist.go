// Package cpulist has lists of CPUs as the kernel writes them: "0-3,8"
// (cpuset(7), List format).
package cpulist

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// most CPUs are beyond what any kernel can have.
const most = 1 << 14

// Format writes CPUs in order.
func Format(cpus []int) string {
	cpus = slices.Compact(slices.Sorted(slices.Values(cpus)))
	var parts []string
	for i := 0; i < len(cpus); {
		k := i
		for k+1 < len(cpus) && cpus[k+1] == cpus[k]+1 {
			k++
		}
		part := strconv.Itoa(cpus[i])
		if k > i {
			part += "-" + strconv.Itoa(cpus[k])
		}
		parts = append(parts, part)
		i = k + 1
	}
	return strings.Join(parts, ",")
}

// Parse gives the CPUs of a list in order, each once.
func Parse(s string) ([]int, error) {
	var all []int
	for item := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(item, "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.ParseUint(low, 10, 16)
		b, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || b < a || b >= most {
			return nil, fmt.Errorf("%q is no list of CPUs such as 0-2,5", s)
		}
		for n := a; n <= b; n++ {
			all = append(all, int(n))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
