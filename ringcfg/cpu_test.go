package ringcfg

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vishvananda/netns"

	"zcbench/internal/fault"
)

// machine lays out files of a machine of two CPUs and two NUMA nodes.
func machine(t *testing.T, files map[string]string) *host {
	t.Helper()
	h := &host{root: t.TempDir(), ns: netns.None(), initial: netns.None()}
	for path, text := range files {
		path = filepath.Join(h.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestMachineFiles(t *testing.T) {
	const cpu, node = "sys/devices/system/cpu/", "sys/devices/system/node/"
	h := machine(t, map[string]string{
		cpu + "cpu0/cpufreq/scaling_governor":                      "powersave\n",
		cpu + "cpu0/cpufreq/energy_performance_preference":         "balance_performance\n",
		cpu + "cpu0/cpufreq/scaling_min_freq":                      "800000\n",
		cpu + "cpu0/cpuidle/state0/name":                           "POLL\n",
		cpu + "cpu0/cpuidle/state0/disable":                        "0\n",
		cpu + "cpu0/cpuidle/state1/name":                           "C6 deep\n",
		cpu + "cpu0/cpuidle/state1/disable":                        "1\n",
		cpu + "cpu13/cpufreq/scaling_governor":                     "performance\n",
		cpu + "cpufreq/boost":                                      "1\n",
		cpu + "intel_pstate/no_turbo":                              "1\n",
		cpu + "smt/control":                                        "on\n",
		node + "node0/hugepages/hugepages-2048kB/nr_hugepages":     "0\n",
		node + "node1/hugepages/hugepages-2048kB/nr_hugepages":     "16\n",
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":    "16\n",
		"sys/module/udmabuf/parameters/size_limit_mb":              "64\n",
		"sys/module/udmabuf/parameters/list_limit":                 "1024\n",
		"dev/cpu_dma_latency":                                      "\x00\x94\x35\x77",
		cpu + "cpu0/cpufreq/scaling_available_governors_unrelated": "x\n",
	})
	was := Settings{
		"cpu.0.governor": "powersave", "cpu.0.epp": "balance_performance", "cpu.0.min-khz": "800000", "cpu.0.idle-POLL": "on",
		"cpu.0.idle-C6-deep": "off",
		"cpu.13.governor":    "performance", "cpu.turbo": "off", "smt.control": "on", "cpu.dma-latency": "2000000000",
		"hugepages.node0.2048kB": "0", "hugepages.node1.2048kB": "16", "udmabuf.size-limit-mb": "64", "udmabuf.list-limit": "1024",
	}
	groups := []family{{read: readSMT, write: writeSMT, name: "smt"}, {read: readCPUs, write: writeCPUs, name: "cpu"},
		{read: readHugePages, write: writeHugePages, name: "hugepages"}, {read: readUDMABuf, write: writeUDMABuf, name: "udmabuf"}}
	read := func() Settings {
		s := Settings{}
		for _, f := range groups {
			if err := f.read(h, s); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	if got := read(); !reflect.DeepEqual(got, was) {
		t.Fatalf("got  %v\nwant %v", got, was)
	}
	want := Settings{
		"cpu.0.governor": "performance", "cpu.0.epp": "performance", "cpu.0.min-khz": "4000000", "cpu.0.idle-POLL": "off",
		"cpu.0.idle-C6-deep": "on",
		"cpu.13.governor":    "powersave", "cpu.turbo": "on", "smt.control": "off", "cpu.dma-latency": "2000000000",
		"hugepages.node0.2048kB": "512", "hugepages.node1.2048kB": "0", "udmabuf.size-limit-mb": "1024", "udmabuf.list-limit": "4096",
	}
	for _, target := range []Settings{want, was} {
		for _, f := range groups {
			set := Settings{}
			for name, value := range target {
				if g, _, err := familyOf(name); err == nil && g.name == f.name {
					set[name] = value
				}
			}
			if err := f.write(h, set); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(); !reflect.DeepEqual(got, target) {
			t.Fatalf("got  %v\nwant %v", got, target)
		}
	}
	for name := range map[string]bool{"cpu.7.governor": true, "hugepages.node9.2048kB": true, "udmabuf.none": true} {
		f, _, err := familyOf(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.write(h, Settings{name: "1"}); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

// TestLatency holds a limit as long as it is applied.
func TestLatency(t *testing.T) {
	now, err := Snapshot("")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 || now["cpu.dma-latency"] == "" {
		t.Skip("needs root and /dev/cpu_dma_latency")
	}
	_, undo, err := Apply(background, Want{Settings: map[string]string{"dma-latency": "77"}}, Journal(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if held, err := Snapshot(""); err != nil || held["cpu.dma-latency"] != "77" {
		t.Errorf("held: %s, %v", held["cpu.dma-latency"], err)
	}
	if drift, err := undo(background); err != nil || drift != nil {
		t.Errorf("undo: %v, %v", drift, err)
	}
	if after, err := Snapshot(""); err != nil || after["cpu.dma-latency"] != now["cpu.dma-latency"] {
		t.Errorf("after: %s, %v; was %s", after["cpu.dma-latency"], err, now["cpu.dma-latency"])
	}
}

// What no file of the family takes is refused before anything is written: an idle
// state's "no" was written as nothing at all.
func TestParseNumbers(t *testing.T) {
	h := machine(t, nil)
	for _, c := range [][3]string{
		{"cpu.0.idle-C6", "0", "off"}, {"cpu.0.idle-C6", "no", ""}, {"cpu.turbo", "true", "on"}, {"cpu.turbo", "yes", ""}, {"cpu.3.governor",
			"performance", "performance"},
		{"cpu.0.max-khz", "02400000", "2400000"}, {"cpu.0.min-khz", "2.4GHz", ""}, {"cpu.0.min-khz", "-1", ""}, {"cpu.dma-latency", "10",
			"10"}, {"cpu.dma-latency", "4294967296", ""},
		{"hugepages.node0.2048kB", "64", "64"}, {"hugepages.node0.2048kB", "64M", ""}, {"udmabuf.list-limit", "2147483648", ""},
		{"napi.defer-hard-irqs", "200", "200"}, {"napi.defer-hard-irqs", "-1", ""}, {"napi.rx-0.defer-hard-irqs", "2147483648", ""},
		{"napi.gro-flush-timeout", "18446744073709551615", "18446744073709551615"}, {"napi.gro-flush-timeout", "20us",
			""}, {"napi.rx-0.irq-suspend-timeout", "x", ""},
		{"eee.tx-lpi-timer", "17", "17"}, {"eee.tx-lpi-timer", "4294967296", ""}, {"eee.enabled", "17", ""},
	} {
		set := map[string]Settings{}
		got, err := h.put(set, Settings{}, c[0], c[1])
		if got != c[2] || (err == nil) != (c[2] != "") || err != nil && fault.Of(err) != fault.Usage {
			t.Errorf("%s=%s: %q, %v", c[0], c[1], got, err)
		}
	}
}
