package agent

import (
	"slices"
	"strings"
	"testing"

	"zcbench/endpoint"
	"zcbench/results"
	"zcbench/results/caveat"
	"zcbench/ringcfg"
)

func codesOf(warnings []string) (codes []caveat.Code) {
	for _, w := range warnings {
		codes = append(codes, caveat.CodeOf(w))
	}
	return codes
}

func TestConditions(t *testing.T) {
	host := func(node any, iommu string) results.Facts {
		return results.Facts{
			"numa": map[string]any{"nodes": 2, "node0_cpus": "0,2,4-6", "node1_cpus": "1,3,7", "node0_distance": "10 21", "node1_distance": "21 10"},
			"nic":  map[string]any{"name": "eth1", "numa_node": node, "iommu": iommu},
		}
	}
	for _, c := range []struct {
		name     string
		cpus     []int
		zeroCopy bool
		facts    results.Facts
		codes    []caveat.Code
		says     string
	}{
		{"all is near", []int{1, 3}, true, host(1.0, "none"), nil, ""},
		{"far from the NIC", []int{1, 5}, true, host(1.0, "none"), []caveat.Code{caveat.NUMAFar},
			"on CPUs 5, which are on another NUMA node than eth1 (node 1, distance 21)"},
		{"a NIC of no node", []int{1, 5}, true, host(-1.0, "none"), nil, ""},
		{"a host of one node", []int{0, 1}, true, results.Facts{"numa": map[string]any{"node0_cpus": "0-7"},
			"nic": map[string]any{"numa_node": 0.0}}, nil, ""},
		{"passthrough", []int{1}, true, host(1.0, "identity"), nil, ""},
		{"lazy", []int{1}, true, host(1.0, "DMA-FQ"), []caveat.Code{caveat.IOMMUTranslates}, "lazily"},
		{"strict", []int{1}, true, host(1.0, "DMA"), []caveat.Code{caveat.IOMMUTranslates}, "strictly"},
		{"lazy, with copies", []int{1}, false, host(1.0, "DMA-FQ"), nil, ""},
		{"not pinned", nil, true, host(1.0, "none"), nil, ""},
		{"nothing known", []int{1}, true, nil, nil, ""},
	} {
		got := conditions(endpoint.RX, c.cpus, c.zeroCopy, c.facts)
		if !slices.Equal(codesOf(got), c.codes) || !strings.Contains(strings.Join(got, "\n"), c.says) {
			t.Errorf("%s: %q, want %v with %q", c.name, got, c.codes, c.says)
		}
	}
}

// TestFactsChanged: facts that are not the same after the run are told, and what
// is of no host is not.
func TestFactsChanged(t *testing.T) {
	facts := func(governor string, more map[string]any) results.Facts {
		return results.Facts{"cpu": map[string]any{"governor": governor, "online": "0-1"}, "process": more, "missing": more}
	}
	if w := factsChanged(endpoint.RX, facts("performance", nil), facts("performance", map[string]any{"x": 1})); w != "" {
		t.Errorf("nothing was changed: %s", w)
	}
	w := factsChanged(endpoint.RX, facts("performance", nil), facts("powersave", nil))
	if caveat.CodeOf(w) != caveat.HostChanged || !strings.Contains(w, "rx: changed during the run: cpu.governor was performance and is "+
		"powersave") {
		t.Error(w)
	}
	rule := "flow.tcp4 dst-ip 198.18.0.2 dst-port 99"
	now := ringcfg.Settings{"irq.rx-0": "0", "sysctl.net.ipv4.tcp_rmem": "1 2 3", "napi.threaded": "off"}
	later := ringcfg.Settings{"irq.rx-0": "0-1", "sysctl.net.ipv4.tcp_rmem": "1 2 4", "napi.threaded": "off", rule: "queue 3 at 5"}
	for _, c := range []struct {
		before, after ringcfg.Settings
		trusted       bool
		want          string
	}{
		{now, now, true, ""}, {nil, now, true, ""}, {now, nil, true, ""}, {now, later, false,
			"rx: changed during the run: irq.rx-0 was 0 and is 0-1; the figures"},
		{now, later, true, "rx: changed during the run: " + rule + " was absent and is queue 3 at 5; irq.rx-0 was 0 and is 0-1; the figures"},
	} {
		w := settingsChanged(endpoint.RX, c.before, c.after, results.Facts{"sysctl": map[string]any{"net.ipv4.tcp_rmem": "1 2 3"}}, c.trusted)
		if (w == "") != (c.want == "") || c.want != "" && (caveat.CodeOf(w) != caveat.HostChanged || !strings.Contains(w, c.want)) {
			t.Errorf("%v to %v: %q, want %q", c.before, c.after, w, c.want)
		}
	}
	many := results.Facts{"sysctl": map[string]any{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}}
	if w := factsChanged(endpoint.RX, many, results.Facts{}); !strings.Contains(w, "sysctl.a was 1 and is absent") ||
		strings.Count(w, "absent") != mostNamed || !strings.Contains(w, "…") {
		t.Error(w)
	}
}
