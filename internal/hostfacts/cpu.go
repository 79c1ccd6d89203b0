package hostfacts

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"zcbench/internal/cpulist"
)

const cpuDir = "sys/devices/system/cpu/"

func (c *collector) cpu() {
	c.cpuModel()
	online, err := c.read(cpuDir + "online")
	if err != nil {
		c.miss("cpu", "online", err)
	} else {
		c.put("cpu", "online", online)
		c.topology(online)
	}
	c.optional("cpu", "isolated", cpuDir+"isolated")
	c.optional("cpu", "nohz_full", cpuDir+"nohz_full")
	c.file("cpu", "smt", cpuDir+"smt/control")
	c.frequency()
	c.turbo()
	c.optional("cpu", "pstate", cpuDir+"intel_pstate/status")
	c.optional("cpu", "pstate", cpuDir+"amd_pstate/status")
	c.file("cpu", "idle_driver", cpuDir+"cpuidle/current_driver")
	c.file("cpu", "idle_governor", cpuDir+"cpuidle/current_governor")
}

// cpuModel reads the first CPU of /proc/cpuinfo and no more: the kernel writes
// that file one CPU at a time, and there may be hundreds.
func (c *collector) cpuModel() {
	const path = "proc/cpuinfo"
	f, err := c.root.Open(path)
	if err != nil {
		c.miss("cpu", "model", readable(path, err))
		return
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		c.miss("cpu", "model", readable(path, err))
		return
	}
	info := parseCPUInfo(b)
	if m := info["model name"]; m != "" {
		c.put("cpu", "model", m)
	} else if m := info["CPU part"]; m != "" { // arm64 has numbers only
		c.put("cpu", "model", "implementer "+info["CPU implementer"]+" part "+m+" revision "+info["CPU revision"])
	} else {
		c.miss("cpu", "model", errors.New("/"+path+" does not say"))
	}
	if m := info["microcode"]; m != "" {
		c.put("cpu", "microcode", m)
	}
	if flags, ok := info["flags"]; ok { // x86
		c.put("machine", "hypervisor", slices.Contains(strings.Fields(flags), "hypervisor"))
	}
}

func parseCPUInfo(b []byte) map[string]string {
	b, _, _ = bytes.Cut(b, []byte("\n\n"))
	info := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			info[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return info
}

func (c *collector) topology(online string) {
	cpus, err := cpulist.Parse(online)
	if err != nil {
		c.miss("cpu", "threads", err)
		return
	}
	c.put("cpu", "threads", len(cpus))
	sockets, cores := map[string]bool{}, map[string]bool{}
	for _, n := range cpus {
		dir := fmt.Sprintf("%scpu%d/topology/", cpuDir, n)
		socket, err := c.read(dir + "physical_package_id")
		if err != nil {
			c.miss("cpu", "sockets", err)
			return
		}
		// A core is the set of its threads: core_id repeats across sockets.
		core, err := c.read(dir + "thread_siblings_list")
		if err != nil {
			c.miss("cpu", "cores", err)
			return
		}
		sockets[socket], cores[core] = true, true
	}
	c.put("cpu", "sockets", len(sockets))
	c.put("cpu", "cores", len(cores))
}

func (c *collector) frequency() {
	policies, err := fs.Glob(c.root, cpuDir+"cpufreq/policy[0-9]*")
	if err == nil && len(policies) == 0 {
		err = errors.New("no cpufreq driver: no /" + cpuDir + "cpufreq/policy*")
	}
	for _, v := range []struct {
		name, file string
		optional   bool // not with every driver
	}{
		{"driver", "scaling_driver", false},
		{"governor", "scaling_governor", false},
		{"min_khz", "scaling_min_freq", false},
		{"max_khz", "scaling_max_freq", false},
		{"epp", "energy_performance_preference", true},
	} {
		if err != nil {
			if !v.optional {
				c.miss("cpu", v.name, err)
			}
			continue
		}
		c.perCPU(v.name, v.file, policies, v.optional)
	}
}

// perCPU makes one fact of a setting that each cpufreq policy has of its own.
func (c *collector) perCPU(name, file string, policies []string, optional bool) {
	sets := map[string][]int{}
	for _, p := range policies {
		v, err := c.read(p + "/" + file)
		if err != nil {
			if _, serr := fs.Stat(c.root, p+"/"+file); !optional || !errors.Is(serr, fs.ErrNotExist) {
				c.miss("cpu", name, err)
			}
			return
		}
		text, err := c.read(p + "/affected_cpus")
		if err != nil {
			c.miss("cpu", name, err)
			return
		}
		var cpus []int
		if list := strings.Fields(text); len(list) > 0 {
			cpus, err = cpulist.Parse(strings.Join(list, ","))
		}
		if err != nil {
			c.miss("cpu", name, fmt.Errorf("/%s/affected_cpus: %w", p, err))
			return
		}
		sets[v] = append(sets[v], cpus...)
	}
	c.put("cpu", name, describe(sets))
}

// describe names the CPUs of each value, unless there is only one.
func describe(sets map[string][]int) any {
	if len(sets) == 1 {
		for v := range sets {
			return scalar(v)
		}
	}
	type set struct {
		value string
		cpus  []int
	}
	var all []set
	for v, cpus := range sets {
		slices.Sort(cpus)
		all = append(all, set{v, cpus})
	}
	slices.SortFunc(all, func(a, b set) int {
		return cmp.Or(slices.Compare(a.cpus, b.cpus), cmp.Compare(a.value, b.value))
	})
	var parts []string
	for _, s := range all {
		parts = append(parts, s.value+" "+cpulist.Format(s.cpus))
	}
	return strings.Join(parts, "; ")
}

// turbo is "on" or "off"; each driver has a switch of its own.
func (c *collector) turbo() {
	for _, s := range []struct{ path, off string }{
		{cpuDir + "intel_pstate/no_turbo", "1"},
		{cpuDir + "cpufreq/boost", "0"},
	} {
		v, err := c.read(s.path)
		if err != nil {
			continue
		}
		if v == s.off {
			c.put("cpu", "turbo", "off")
		} else {
			c.put("cpu", "turbo", "on")
		}
		return
	}
	c.miss("cpu", "turbo", errors.New("neither intel_pstate/no_turbo nor cpufreq/boost in /"+cpuDir))
}
