package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"zcbench/experiment"
	"zcbench/internal/feature"
	"zcbench/internal/genl/ethtool"
	"zcbench/results"
	"zcbench/ringcfg"
)

// threeCPUs is twoCPUs with one more.
func threeCPUs() results.Pair[experiment.Survey] {
	at := twoCPUs()
	at.RX.CPUs, at.TX.CPUs = []int{0, 1, 2}, []int{0, 1, 2}
	return at
}

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
	text := "axes:\n  mode: [baseline, msgzc, devmem, iouring]\n  parallel: [1,2,3,4,5,6,7,8,9,10]\n  length: [" +
		strings.Join(lengths, ", ") + "]\n"
	at := map[string]results.Pair[experiment.Survey]{"": twoCPUs()}
	for b.Loop() {
		spec, err := experiment.Load("big.yaml", []byte(text), known().SpecFields())
		if err != nil {
			b.Fatal(err)
		}
		p, err := spec.Expand(at, known().Resolve)
		if err != nil || len(p.Cells) != 10000 || len(p.Runs()) != 10000 {
			b.Fatal(len(p.Cells), err)
		}
	}
	b.ReportMetric(10000*float64(b.N)/b.Elapsed().Seconds(), "cells/s")
}

// Every experiment that zcbench comes with makes sense on hosts that can all.
func TestShippedExperiments(t *testing.T) {
	want := map[string]struct{ cells, repeats int }{
		"quick": {8, 4}, "lab": {16, 2}, "netdev-0x19": {16, 5}, "bigtcp": {12, 8}, "token-batch": {4, 8}, "zcrx-buffers": {8,
			8}, "devmem-buffers": {8, 8}, "demo": {7, 3},
	}
	for _, name := range shippedSpecs() {
		t.Run(name, func(t *testing.T) {
			spec, err := loadSpec(t.Context(), []string{name}, "plan")
			if err != nil {
				t.Fatal(err)
			}
			at := map[string]results.Pair[experiment.Survey]{}
			for _, p := range spec.Pairs {
				at[p.Name] = threeCPUs() // netdev-0x19 names CPU 2
			}
			p, err := spec.Expand(at, known().Resolve)
			if err != nil {
				t.Fatal(err)
			}
			w := want[name]
			if len(p.Cells) != w.cells || spec.Repeats != w.repeats || spec.About == "" {
				t.Errorf("%d cells × %d, want %d × %d", len(p.Cells), spec.Repeats, w.cells, w.repeats)
			}
			// Over a veth pair the host's own choice decides who wins.
			if c := p.Cells[0].Trial; name != "netdev-0x19" && (c.TX.Congestion != "reno" || c.RX.Congestion != "reno" ||
				c.Settings["congestion"] != "reno") {
				t.Errorf("congestion control %q and %q", c.TX.Congestion, c.RX.Congestion)
			}
			if d := p.Time(p.Runs()); name == "quick" && d > 150*time.Second {
				t.Errorf("it takes %s", d)
			}
			delete(want, name)
		})
	}
	if len(want) > 0 {
		t.Errorf("there is no %v", slices.Collect(maps.Keys(want)))
	}
}

// The talk's runs are the talk's.
func TestNetdev0x19(t *testing.T) {
	spec, err := loadSpec(t.Context(), []string{"netdev-0x19"}, "plan")
	if err != nil {
		t.Fatal(err)
	}
	p, err := spec.Expand(map[string]results.Pair[experiment.Survey]{"e2100": threeCPUs()}, known().Resolve)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Cells {
		c := &p.Cells[i]
		rx := c.Trial.RX
		label := map[string]string{}
		for _, l := range c.Axes {
			label[l.Axis] = l.Value
		}
		if rx.Time != 100*time.Second || rx.Length != 64<<20 || rx.Family != 4 || rx.Flows != 1 || rx.Settings["link.mtu"] != "4148" ||
			rx.Settings["irq.*"] != "1" {
			t.Errorf("%s: %+v", c, rx)
		}
		if hw := map[string]string{"sw": "off", "hw": "on"}[label["gro"]]; rx.Settings["feature.rx-gro-hw"] != hw ||
			c.Trial.TX.Settings["feature.rx-gro-hw"] != "" {
			t.Errorf("%s: GRO %v", c, rx.Settings)
		}
		if app := map[string]int{"1": 1, "2": 2}[label["cpus"]]; !slices.Equal(rx.CPUs, []int{app}) {
			t.Errorf("%s: CPUs %v", c, rx.CPUs)
		}
	}
	kept := 0
	for _, r := range p.Runs() {
		if r.Dropped == "" {
			kept++
		}
	}
	if kept != 3*len(p.Cells) {
		t.Errorf("%d runs count, want the middle three of each cell", kept)
	}
}

// The schedulers' examples run what they say, each task its own shard.
func TestSchedulerExamples(t *testing.T) {
	dir := t.TempDir()
	fake := filepath.Join(dir, "zcbench")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	job, err := os.ReadFile("../../experiments/kubernetes.yml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		Spec struct {
			CompletionMode string `yaml:"completionMode"`
			Completions    int
			Template       struct {
				Spec struct {
					Containers []struct {
						Command []string
						Env     []struct{ Name, Value string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(job, &k); err != nil {
		t.Fatal(err)
	}
	if len(k.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%+v", k)
	}
	c := k.Spec.Template.Spec.Containers[0]
	if k.Spec.CompletionMode != "Indexed" || len(c.Env) != 1 || c.Env[0].Value != strconv.Itoa(k.Spec.Completions) {
		t.Errorf("%+v", k)
	}
	for _, e := range []struct {
		argv []string
		env  []string
		want string
	}{
		{[]string{"../../experiments/slurm.sh", "my.yaml", "/r"}, []string{"SLURM_ARRAY_TASK_ID=3", "SLURM_ARRAY_TASK_COUNT=8", "ZCBENCH=" +
			fake}, "run my.yaml --shard 3/8 -o /r/shard-3 --resume\n"},
		{c.Command, []string{"JOB_COMPLETION_INDEX=7", c.Env[0].Name + "=" + c.Env[0].Value},
			"run /spec/my.yaml --shard 8/8 -o /results/shard-7 --resume\n"},
	} {
		cmd := exec.Command(e.argv[0], e.argv[1:]...)
		cmd.Env = append(os.Environ(), append(e.env, "PATH="+dir+":"+os.Getenv("PATH"))...)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != e.want {
			t.Errorf("%v: %q %v, want %q", e.argv, out, err, e.want)
		}
	}
}

// What a user reads of a plan, but for the cells' ids.
func TestPlanText(t *testing.T) {
	spec, err := experiment.Load("some.yaml", []byte(`
base: {time: 10, omit: 1}
axes:
  mode: [baseline, devmem]
  gro:
    sw: {rx-set: {gro-hw: off}}
    hw: {rx-set: {rx-ring: 99999}}
repeats: 2
drop: [first]
`), known().SpecFields())
	if err != nil {
		t.Fatal(err)
	}
	at := twoCPUs()
	at.TX.Engines["devmem"] = feature.Impossible("no dma-buf", "another kernel")
	at.RX.View.Limits = ethtool.Values{"ring.rx-max": 4096}
	p, err := spec.Expand(map[string]results.Pair[experiment.Survey]{"": at}, known().Resolve)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := planText(&out, p, []part{newPart("1/1", p)}); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`\b[0-9a-f]{12}\b`).ReplaceAllString(out.String(), "ID")
	want := `experiment some: 4 cells × 2 runs, 2 of these 8 can run here, about 25s, seed 1

#  cell                  sender → receiver    id
1  mode=baseline gro=sw  baseline → baseline  ID
2  mode=baseline gro=hw  baseline → baseline  ID  cannot: rx setting ring.rx: at most 4096 here, not 99999
3  mode=devmem gro=sw    devmem → devmem      ID  cannot: tx engine devmem: no dma-buf (another kernel)
4  mode=devmem gro=hw    devmem → devmem      ID  cannot: rx setting ring.rx: at most 4096 here, not 99999; tx engine devmem: no dma-buf (another kernel)

missing here:
  rx setting ring.rx: at most 4096 here, not 99999 [2 cells]
  tx engine devmem: no dma-buf (another kernel) [2 cells]

order:
  run 1 (not in the figures): 1
  run 2: 1

shards, each for run --shard:
  1/1  4 cells  2 runs  about 25s
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What a user reads of a run that is over.
func TestOutcome(t *testing.T) {
	p := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		rec  results.Record
		want string
	}{
		{results.Record{Status: results.OK, Gbps: 12.345, RX: &results.End{CPUPercent: p(99.6), Watts: p(200)},
			TX: &results.End{CPUPercent: p(50)}},
			"12.35 Gbit/s, tx 50 % CPU, rx 100 % CPU 200.0 W"},
		{results.Record{Status: results.OK, Gbps: 1, TX: &results.End{}, Warnings: []string{"a", "b"}}, "1.00 Gbit/s, 2 warnings"},
		{results.Record{Status: results.Failed, Reason: "it broke\nbadly"}, "failed: it broke"},
	} {
		if got := outcome(&c.rec); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
