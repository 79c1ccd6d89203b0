package hostfacts

import (
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"zcbench/results"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// server is a machine with two sockets, four cores with two threads each, and
// a governor that somebody changed on one of them.
func server() fstest.MapFS {
	m := fstest.MapFS{
		"proc/cmdline": file("BOOT_IMAGE=/vmlinuz ro isolcpus=2,3\n"),
		"proc/cpuinfo": file("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Gold 6442Y\n" +
			"microcode\t: 0x2b000603\nflags\t\t: fpu vme hypervisory sse\n\nprocessor\t: 1\nmodel name\t: another\n"),
		"sys/devices/system/clocksource/clocksource0/current_clocksource": file("tsc\n"),
		"sys/class/dmi/id/sys_vendor":                                     file("Dell Inc.\n"),
		"sys/class/dmi/id/product_name":                                   file("PowerEdge R760\n"),
		"sys/devices/system/cpu/online":                                   file("0-7\n"),
		"sys/devices/system/cpu/isolated":                                 file("2-3\n"),
		"sys/devices/system/cpu/nohz_full":                                file("\n"),
		"sys/devices/system/cpu/smt/control":                              file("on\n"),
		"sys/devices/system/cpu/intel_pstate/no_turbo":                    file("1\n"),
		"sys/devices/system/cpu/intel_pstate/status":                      file("active\n"),
		"sys/devices/system/cpu/cpuidle/current_driver":                   file("intel_idle\n"),
		"sys/devices/system/cpu/cpuidle/current_governor":                 file("menu\n"),
		"sys/devices/system/cpu/vulnerabilities/meltdown":                 file("Not affected\n"),
		"sys/devices/system/cpu/vulnerabilities/spectre_v2":               file("Mitigation: Enhanced IBRS\n"),
		"sys/devices/system/node/online":                                  file("0-1\n"),
		"sys/devices/system/node/node0/cpulist":                           file("0,2,4,6\n"),
		"sys/devices/system/node/node1/cpulist":                           file("1,3,5,7\n"),
		"sys/devices/system/node/node0/distance":                          file("10 21\n"),
		"sys/devices/system/node/node1/distance":                          file("21 10\n"),
		"sys/kernel/mm/transparent_hugepage/enabled":                      file("always [madvise] never\n"),
		"sys/kernel/mm/transparent_hugepage/defrag":                       file("always defer defer+madvise [madvise] never\n"),
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":           file("512\n"),
		"proc/sys/net/ipv4/tcp_rmem":                                      file("4096\t131072\t6291456\n"),
		"proc/sys/net/ipv4/tcp_congestion_control":                        file("cubic\n"),
		"proc/sys/net/core/rmem_max":                                      file("212992\n"),
		"proc/sys/kernel/io_uring_disabled":                               file("2\n"),
		"sys/bus/pci/devices/0000:3b:00.0/numa_node":                      file("1\n"),
		"sys/bus/pci/devices/0000:3b:00.0/current_link_speed":             file("32.0 GT/s PCIe\n"),
		"sys/bus/pci/devices/0000:3b:00.0/current_link_width":             file("16\n"),
		"sys/bus/pci/devices/0000:3b:00.0/iommu_group/type":               file("DMA-FQ\n"),
		"sys/bus/pci/devices/0000:d8:00.0/numa_node":                      file("0\n"),
	}
	for i, siblings := range []string{"0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"} {
		cpu := "sys/devices/system/cpu/cpu" + string(rune('0'+i)) + "/topology/"
		m[cpu+"physical_package_id"] = file([]string{"0\n", "1\n"}[i%2])
		m[cpu+"thread_siblings_list"] = file(siblings + "\n")
		policy := "sys/devices/system/cpu/cpufreq/policy" + string(rune('0'+i)) + "/"
		m[policy+"affected_cpus"] = file(string(rune('0'+i)) + "\n")
		m[policy+"scaling_driver"] = file("intel_pstate\n")
		m[policy+"scaling_governor"] = file("performance\n")
		m[policy+"scaling_min_freq"] = file("800000\n")
		m[policy+"scaling_max_freq"] = file("4000000\n")
	}
	m["sys/devices/system/cpu/cpufreq/policy5/scaling_governor"] = file("powersave\n")
	return m
}

func TestFixture(t *testing.T) {
	c := newCollector(server())
	c.files()
	c.pci("0000:3b:00.0")
	for group, want := range map[string]map[string]any{
		"kernel":  {"cmdline": "BOOT_IMAGE=/vmlinuz ro isolcpus=2,3", "clocksource": "tsc"},
		"machine": {"vendor": "Dell Inc.", "product": "PowerEdge R760", "hypervisor": false},
		"cpu": {"model": "Intel(R) Xeon(R) Gold 6442Y", "microcode": "0x2b000603", "sockets": 2, "cores": 4, "threads": 8,
			"online": "0-7", "isolated": "2-3", "smt": "on", "driver": "intel_pstate",
			"governor": "performance 0-4,6-7; powersave 5", "min_khz": int64(800000), "max_khz": int64(4000000),
			"pstate": "active", "turbo": "off", "idle_driver": "intel_idle", "idle_governor": "menu"},
		"numa":        {"nodes": 2, "node0_cpus": "0,2,4,6", "node0_distance": "10 21", "node1_cpus": "1,3,5,7", "node1_distance": "21 10"},
		"memory":      {"thp": "madvise", "thp_defrag": "madvise", "hugepages_2048kB": int64(512)},
		"mitigations": {"meltdown": "Not affected", "spectre_v2": "Mitigation: Enhanced IBRS"},
		"sysctl": {"net.ipv4.tcp_rmem": "4096 131072 6291456", "net.ipv4.tcp_congestion_control": "cubic",
			"net.core.rmem_max": int64(212992), "kernel.io_uring_disabled": int64(2)},
		"nic": {"numa_node": int64(1), "pci_speed": "32.0 GT/s PCIe", "pci_width": int64(16), "iommu": "DMA-FQ"},
	} {
		if got := c.facts[group]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %#v\nwant %#v", group, got, want)
		}
	}
	missing := c.facts["missing"].(map[string]any)
	for name, want := range map[string]string{
		"memory.thp_shmem":          "no /sys/kernel/mm/transparent_hugepage/shmem_enabled",
		"sysctl.vm.max_map_count":   "no /proc/sys/vm/max_map_count",
		"sysctl.net.core.busy_poll": "initial network namespace",
	} {
		if got, _ := missing[name].(string); !strings.Contains(got, want) {
			t.Errorf("missing %s: %q, want %q", name, got, want)
		}
	}
}

// A host that shows nothing gives a reason for everything that is not
// optional, and no fact.
func TestNothingToRead(t *testing.T) {
	c := newCollector(fstest.MapFS{})
	c.files()
	c.pci("../../../etc")
	if len(c.facts) != 1 {
		t.Errorf("facts out of nothing: %v", c.facts)
	}
	missing, _ := c.facts["missing"].(map[string]any)
	for _, name := range []string{"cpu.model", "cpu.online", "cpu.turbo", "cpu.governor", "cpu.smt", "kernel.cmdline",
		"kernel.clocksource", "memory.thp", "memory.hugepages", "mitigations.all", "numa.nodes", "sysctl.net.core.optmem_max"} {
		if s, _ := missing[name].(string); s == "" {
			t.Errorf("no reason for %s", name)
		}
	}
}

func TestDeniedIsNotAbsent(t *testing.T) {
	c := newCollector(denied{server(), "sys/class/dmi/id/product_name"})
	c.files()
	missing := c.facts["missing"].(map[string]any)
	if got, want := missing["machine.product"], "/sys/class/dmi/id/product_name: permission denied"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type denied struct {
	fs.FS
	path string
}

func (d denied) Open(name string) (fs.File, error) {
	if name == d.path {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.FS.Open(name)
}

func TestTurbo(t *testing.T) {
	for _, c := range []struct {
		file, text string
		want       any
	}{
		{"sys/devices/system/cpu/intel_pstate/no_turbo", "0\n", "on"},
		{"sys/devices/system/cpu/intel_pstate/no_turbo", "1\n", "off"},
		{"sys/devices/system/cpu/cpufreq/boost", "1\n", "on"},
		{"sys/devices/system/cpu/cpufreq/boost", "0\n", "off"},
	} {
		k := newCollector(fstest.MapFS{c.file: file(c.text)})
		k.turbo()
		if got := k.facts["cpu"].(map[string]any)["turbo"]; got != c.want {
			t.Errorf("%s %q: got %v, want %v", c.file, c.text, got, c.want)
		}
	}
}

func TestScalar(t *testing.T) {
	for in, want := range map[string]any{
		"0": int64(0), "-1": int64(-1), "4096": int64(4096), "007": "007", "+1": "+1", "": "", "1 2": "1 2",
		"9223372036854775807": "9223372036854775807", // JSON would round it
	} {
		if got := scalar(in); got != want {
			t.Errorf("%q: got %#v, want %#v", in, got, want)
		}
	}
}

func TestARM(t *testing.T) {
	c := newCollector(fstest.MapFS{"proc/cpuinfo": file("processor\t: 0\nBogoMIPS\t: 2000.00\nCPU implementer\t: 0x41\nCPU part\t: " +
		"0xd4f\nCPU revision\t: 0\n\n")})
	c.cpuModel()
	if got, want := c.facts["cpu"].(map[string]any)["model"], "implementer 0x41 part 0xd4f revision 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := c.facts["machine"]; ok {
		t.Error("guessed whether there is a hypervisor")
	}
}

// On the real host: scalars only, all that JSON can carry, quickly.
func TestCollect(t *testing.T) {
	start := time.Now()
	facts := Collect("lo", "test")
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v", d)
	}
	for group, v := range facts {
		g, ok := v.(map[string]any)
		if !ok {
			t.Errorf("%s is a %T", group, v)
			continue
		}
		for name, v := range g {
			switch v.(type) {
			case string, bool, int, int64, uint32, uint64:
			default:
				t.Errorf("%s.%s is a %T", group, name, v)
			}
		}
	}
	b, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	var back results.Facts
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if d := results.Diff(facts, back); len(d) > 0 {
		t.Errorf("not the same after storing: %v", d)
	}
	if d := results.Diff(facts, Collect("lo", "test")); len(d) > 0 {
		t.Errorf("not the same when read again: %v", d)
	}
	for _, name := range []string{"kernel.release", "kernel.version", "kernel.cmdline", "cpu.model", "cpu.threads", "zcbench.version",
		"process.command", "nic.mtu"} {
		if !has(facts, name) {
			t.Errorf("no %s", name)
		}
	}
}

func has(f results.Facts, name string) bool {
	for _, fact := range f.Flat() {
		if fact.Name == name || fact.Name == "missing."+name {
			return true
		}
	}
	return false
}

func TestNoSuchInterface(t *testing.T) {
	missing := Collect("nosuch0", "test")["missing"].(map[string]any)
	if s, _ := missing["nic.mtu"].(string); !strings.Contains(s, "nosuch0") {
		t.Errorf("got %q", s)
	}
}

func TestReadable(t *testing.T) {
	if got := readable("a/b", errors.New("strange")).Error(); got != "/a/b: strange" {
		t.Errorf("got %q", got)
	}
}
