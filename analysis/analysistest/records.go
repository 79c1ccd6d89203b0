// Package analysistest holds records, measured once or made up, for the tests of what
// is made of records.
package analysistest

import (
	"fmt"
	"math/rand/v2"

	"zcbench/results"
)

// OK is a run of a cell that went well: throughput and the CPU time of each end.
func OK(cell string, gbps, rxCPU, txCPU float64) results.Record {
	r := results.Record{Cell: cell, Status: results.OK, Gbps: gbps, Window: 1,
		RX: &results.End{Engine: "baseline", CPUPercent: &rxCPU, CPUScope: "thread", Bytes: 100, CopiedBytes: 100},
		TX: &results.End{Engine: "sendfile", CPUPercent: &txCPU, CPUScope: "thread", Bytes: 100, ZeroCopiedBytes: 100},
	}
	r.Derive()
	return r
}

// Matrix is a study of two axes with eight runs of each cell.
func Matrix() []results.Record {
	var list []results.Record
	rng := rand.New(rand.NewPCG(1, 2))
	for _, mode := range []string{"iouring", "baseline", "devmem"} {
		for _, gro := range []string{"hw", "sw"} {
			for i := range 8 {
				r := OK(mode+gro, 100+rng.Float64(), 90, 80)
				r.ID = fmt.Sprint(mode, gro, i)
				r.Repeat = i
				r.Axes = map[string]string{"mode": mode, "gro": gro}
				r.Settings = map[string]any{"length": 4096, "rx": "baseline", "tx": "sendfile", "rx_cpus": []any{2}}
				r.Facts.RX = results.Facts{"kernel": map[string]any{"release": "6.18"}, "nic": map[string]any{"mtu": 4148}}
				r.Facts.TX = results.Facts{"kernel": map[string]any{"release": "6.18"}, "nic": map[string]any{"mtu": 1500}}
				list = append(list, r)
			}
		}
	}
	return list
}

// SixOf are six runs of a cell, the last three changed by f.
func SixOf(cell string, f func(*results.Record)) []results.Record {
	var list []results.Record
	for i := range 6 {
		r := OK(cell, 100+float64(i), 90, 80)
		r.ID, r.Repeat = fmt.Sprint(cell, i), i
		r.Started = fmt.Sprintf("2026-11-21T0%d:00:00Z", i)
		r.Settings = map[string]any{"length": 4096, "tx": "sendfile", "rx": "baseline"}
		r.Facts.RX = results.Facts{"machine": map[string]any{"hostname": "b"}, "nic": map[string]any{"mtu": 1500}}
		r.TX.Congestion, r.RX.Congestion = "cubic", "cubic"
		if i >= 3 && f != nil {
			f(&r)
		}
		list = append(list, r)
	}
	return list
}

// BeforeAfter are eight runs each of three modes; one of them lost a
// twentieth, one gained a tenth, one is as it was.
func BeforeAfter() (before, after []results.Record) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i, factor := range []float64{1, 0.95, 1.1} {
		for k := range 8 {
			for side, list := range []*[]results.Record{&before, &after} {
				speed := 100 * (1 + 0.01*rng.NormFloat64())
				if side == 1 {
					speed *= factor
				}
				r := OK(fmt.Sprint("cell", i), speed, 90, 80)
				r.ID = fmt.Sprint(i, k, side)
				r.RX.Engine = []string{"baseline", "mmap", "zcrx"}[i]
				r.Settings = map[string]any{"length": 4096, "tx": "sendfile", "rx": r.RX.Engine}
				r.Facts.RX = results.Facts{"kernel": map[string]any{"release": []string{"6.18", "7.1"}[side]},
					"process": map[string]any{"command": fmt.Sprint(side)}}
				*list = append(*list, r)
			}
		}
	}
	return before, after
}

// OnNIC is a run between two hosts whose CPUs were seen one by one: system
// and softirq time of the busiest, in percent.
func OnNIC(gbps, txSystem, txSoftirq, rxSystem, rxSoftirq float64) results.Record {
	nic := func() results.Facts {
		return results.Facts{"nic": map[string]any{"kind": "device", "speed_mbps": 200000, "mtu": 4148}}
	}
	cpus := func(system, softirq float64) []results.CPUTime {
		return []results.CPUTime{
			{CPU: 4, States: map[string]float64{"system": 2, "idle": 98}},
			{CPU: 5, States: map[string]float64{"system": system, "softirq": softirq, "iowait": 0.5, "idle": 99.5 - system - softirq}},
		}
	}
	tx, rx := txSystem+txSoftirq+2, rxSystem+rxSoftirq+2
	return results.Record{
		ID: "run", Cell: "abcdef012345", Status: results.OK, Gbps: gbps, Window: 10,
		TX: &results.End{Engine: "sendzc", Bytes: 100, ZeroCopiedBytes: 100, CPUPercent: &tx, CPUScope: "host",
			CPUs: cpus(txSystem, txSoftirq),
			Counters: map[string]float64{"tcp_retransmits": 0, "tcp_segments_out": 1e6, "tcp_busy_us": 1e7, "tcp_rwnd_limited_us": 0,
				"tcp_sndbuf_limited_us": 0}},
		RX: &results.End{Engine: "zcrx", Bytes: 100, ZeroCopiedBytes: 100, CPUPercent: &rx, CPUScope: "host",
			CPUs: cpus(rxSystem, rxSoftirq), Counters: map[string]float64{}},
		Facts:    results.Pair[results.Facts]{RX: nic(), TX: nic()},
		Settings: map[string]any{"flows": 1},
	}
}

// AsTheMode gives a run the engines that its mode has.
func AsTheMode(r *results.Record) {
	engines := map[string][2]string{"baseline": {"baseline", "baseline"}, "devmem": {"devmem", "devmem"},
		"iouring": {"sendzc", "zcrx"}}[r.Axes["mode"]]
	r.TX.Engine, r.RX.Engine = engines[0], engines[1]
}
