package agent

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"zcbench/power"
	"zcbench/results"
)

// shownFacts are those that a driver without a token is told, by group: what the
// figures depend on. Names of hosts, command lines with their paths, and which
// attacks the host is open to are not among them.
var shownFacts = map[string][]string{ // nil: the whole group
	"zcbench": nil,
	"process": {"memlock_bytes"},
	"kernel":  {"release", "clocksource"},
	"machine": {"arch", "memory_bytes", "hypervisor"},
	"cpu":     nil,
	"numa":    nil,
	"memory":  nil,
	"sysctl":  nil,
	"nic": {
		"name", "kind", "driver", "driver_version", "firmware", "pci_speed", "pci_width", "numa_node", "iommu", "speed_mbps", "link", "mtu",
		"qdisc", "xdp",
		"rx_queues", "tx_queues", "channels_rx", "channels_tx", "channels_combined", "channels_rx_max", "channels_tx_max",
		"channels_combined_max",
		"ring_rx", "ring_tx", "ring_rx_max", "ring_tx_max", "rx_buf_len", "tcp_data_split", "hds_thresh",
		"gso_max_size", "gro_max_size", "gso_ipv4_max_size", "gro_ipv4_max_size", "gso_max_segs", "tso_max_size",
	},
	"offload": nil,
}

// notTold is why a fact is missing.
const notTold = "the receiver does not tell it without a token"

// shown is what a driver without a token learns of a host.
func shown(facts results.Facts) results.Facts {
	out := results.Facts{}
	missing := map[string]any{}
	for group, of := range facts {
		values, ok := of.(map[string]any)
		if !ok || group == "missing" {
			continue
		}
		names, known := shownFacts[group]
		if !known {
			missing[group+".all"] = notTold
			continue
		}
		told := map[string]any{}
		for name, v := range values {
			if names == nil || slices.Contains(names, name) {
				told[name] = v
			} else {
				missing[group+"."+name] = notTold
			}
		}
		out[group] = told
	}
	if lacks, ok := facts["missing"].(map[string]any); ok {
		maps.Copy(missing, lacks)
	}
	out["missing"] = missing
	return out
}

// shownMeter is what a driver without a token learns of a meter of this end's own
// user: what its watts mean, and not where it is or what is run for them.
func shownMeter(i power.Info) power.Info {
	if kind, err := power.Describe(i.Name); err == nil && kind.Local && !kind.AsUser {
		return i
	}
	kind, _, _ := strings.Cut(i.Name, ":")
	i.Name, i.Source, i.Of = kind+":", "", nil
	return i
}

var errNotTold = errors.New("what is wrong is in the receiver's own output")

// shownTrace is a meter's trace for a driver without a token.
func shownTrace(t power.Trace) power.Trace {
	t.Info = shownMeter(t.Info)
	if t.Err != nil {
		t.Err = errNotTold
	}
	return t
}
