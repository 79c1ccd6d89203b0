package main

import (
	"fmt"
	"strings"
	"testing"

	"zcbench/experiment"
	"zcbench/internal/feature"
	"zcbench/results"
	"zcbench/ringcfg"
)

// twoCPUs is a pair within a machine on which every engine runs, with the
// settings of an ordinary NIC.
func twoCPUs() results.Pair[experiment.Survey] {
	end := func(iface string, engines map[string]feature.Verdict) experiment.Survey {
		return experiment.Survey{
			Host: results.Facts{"kernel": map[string]any{"release": "7.3"}}, Engines: engines, CPUs: []int{0, 1}, BootID: "b", Transport: "link",
			Interface: iface, Addr4: "198.18.0.1", Addr6: "2001:2::1",
			View: ringcfg.View{Driver: "zcnic", Settings: ringcfg.Settings{
				"link.mtu": "1500", "feature.rx-gro": "on", "feature.rx-gro-hw": "off", "ring.rx": "1024", "ring.tx": "1024",
			}},
		}
	}
	rx, tx := map[string]feature.Verdict{}, map[string]feature.Verdict{}
	for _, e := range rxEngines() {
		rx[e.Name()] = feature.Possible()
	}
	for _, e := range txEngines() {
		tx[e.Name()] = feature.Possible()
	}
	return results.Pair[experiment.Survey]{RX: end("zc1", rx), TX: end("zc0", tx)}
}

// 10,000 cells plan in under a second: the metric is cells a second.
func BenchmarkPlan(b *testing.B) {
	var lengths []string
	for i := range 250 {
		lengths = append(lengths, fmt.Sprintf("%dK", i+4))
	}
	text := "axes:\n  mode: [baseline, msgzc, devmem, iouring]\n  parallel: [1,2,3,4,5,6,7,8,9,10]\n  length: [" + strings.Join(lengths, ", ") + "]\n"
	at := map[string]results.Pair[experiment.Survey]{"": twoCPUs()}
	for b.Loop() {
		spec, err := experiment.Load("big.yaml", []byte(text), specFlags())
		if err != nil {
			b.Fatal(err)
		}
		p, err := spec.Expand(at, resolver())
		if err != nil || len(p.Cells) != 10000 || len(p.Runs()) != 10000 {
			b.Fatal(len(p.Cells), err)
		}
	}
	b.ReportMetric(10000*float64(b.N)/b.Elapsed().Seconds(), "cells/s")
}
