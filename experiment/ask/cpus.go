package ask

import (
	"slices"
	"strconv"
	"strings"
)

// ParseCPUs reads "2,3", "0-3,4-7" or "0+2+4,1": the CPUs of the first end and
// of the second, either possibly empty.
func ParseCPUs(flag, v string) (first, second []int, err error) {
	if v == "" {
		return nil, nil, nil
	}
	parts := strings.Split(v, ",")
	if len(parts) > 2 {
		return nil, nil, bad("%s %q: one comma separates the two ends; join CPUs of one end with + or -", flag, v)
	}
	lists := make([][]int, 2)
	for i, part := range parts {
		for item := range strings.SplitSeq(part, "+") {
			if item == "" && part == "" {
				continue
			}
			low, high, isRange := strings.Cut(item, "-")
			a, err1 := strconv.Atoi(low)
			b := a
			var err2 error
			if isRange {
				b, err2 = strconv.Atoi(high)
			}
			if err1 != nil || err2 != nil || a < 0 || b < a || b > 1<<14 {
				return nil, nil, bad("%s %q: %q is not a CPU or a range of CPUs", flag, v, item)
			}
			for cpu := a; cpu <= b; cpu++ {
				if !slices.Contains(lists[i], cpu) {
					lists[i] = append(lists[i], cpu)
				}
			}
		}
	}
	return lists[0], lists[1], nil
}
