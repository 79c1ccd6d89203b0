package agent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zcbench/endpoint"
	"zcbench/internal/cpulist"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Conditions of a host that decide a comparison, and that no setting of the run
// shows: what the facts say of them becomes a warning where it bears on the run.

// workerCPUs are the CPUs that the workers are pinned to, each once, in order.
func (r *run) workerCPUs() []int {
	cpus := slices.Clone(r.p.CPUs[:min(len(r.p.CPUs), len(r.workers))])
	slices.Sort(cpus)
	return slices.Compact(cpus)
}

// conditions holds the facts of an end's host against its run.
func conditions(role endpoint.Role, cpus []int, zeroCopy bool, facts results.Facts) (warnings []string) {
	fact := func(group, name string) string {
		g, _ := facts[group].(map[string]any)
		if v, ok := g[name]; ok {
			return fmt.Sprint(v)
		}
		return ""
	}
	nic := fact("nic", "name")
	if node := fact("nic", "numa_node"); node != "" && node != "-1" { // which is: it has none
		var far []int
		distance := ""
		for _, n := range cpus {
			if on := nodeOf(n, fact); on != "" && on != node {
				far = append(far, n)
				distance = distanceOf(fact("numa", "node"+on+"_distance"), node)
			}
		}
		if len(far) > 0 {
			warnings = append(warnings, caveat.Warn(caveat.NUMAFar, "%s: workers run on CPUs %s, which are on another NUMA node than %s (node "+
				"%s%s): payload and descriptors cross between the nodes; run them on that node's CPUs, --affinity %s", role, cpulist.Format(far), nic,
				node, distance, fact("numa", "node"+node+"_cpus")))
		}
	}
	// What the IOMMU costs is paid for each mapping, and engines map differently:
	// receive pools keep the pages mapped that copying gives back to them, while
	// pages that zero copy hands out are unmapped and others mapped.
	if kind, ok := map[string]string{"DMA": "strictly", "DMA-FQ": "lazily"}[fact("nic", "iommu")]; ok && zeroCopy {
		warnings = append(warnings, caveat.Warn(caveat.IOMMUTranslates, "%s: the IOMMU translates for %s and unmaps %s (domain %s), which "+
			"costs zero copy and copying differently; to know how much, compare with iommu.passthrough=1 on the kernel's command line", role, nic,
			kind, fact("nic", "iommu")))
	}
	return warnings
}

// nodeOf is the NUMA node of a CPU, "" where the facts do not tell.
func nodeOf(cpu int, fact func(group, name string) string) string {
	for node := range 1 << 10 {
		list := fact("numa", fmt.Sprintf("node%d_cpus", node))
		if list == "" && node > 0 && fact("numa", fmt.Sprintf("node%d_cpus", node+1)) == "" {
			return ""
		}
		for part := range strings.SplitSeq(list, ",") {
			low, high, ranged := strings.Cut(part, "-")
			if !ranged {
				high = low
			}
			a, e1 := strconv.Atoi(low)
			b, e2 := strconv.Atoi(high)
			if e1 == nil && e2 == nil && a <= cpu && cpu <= b {
				return strconv.Itoa(node)
			}
		}
	}
	return ""
}

// distanceOf reads the distance to a node from a node's list of them.
func distanceOf(list, node string) string {
	all := strings.Fields(list)
	n, err := strconv.Atoi(node)
	if err != nil || n >= len(all) { // nodes with gaps in their numbers have shorter lists
		return ""
	}
	return ", distance " + all[n]
}
