package others

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"zcbench/internal/cgroup"
	"zcbench/internal/procfile"
	"zcbench/results/caveat"
)

// group is a control group that may have a quota of CPU time: this process's own and those
// above it, as far as they can be seen.
type group struct {
	dir   string
	quota string         // the file that sets it
	stat  *procfile.File // cpu.stat
}

// throttle is what cpu.stat says: how often the group was stopped, and for how
// long, summed over CPUs.
type throttle struct {
	times uint64
	ns    uint64
}

// ownCgroups opens their cpu.stat in both versions (cgroups(7),
// proc_pid_mountinfo(5)). Where another sysfs hides them, as ip netns exec mounts
// one, the hierarchies are mounted anew, nowhere, if the right is there.
func ownCgroups() []group {
	mine, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var all []group
	for _, g := range cgroupsOf(string(mine), string(mounts)) {
		if g.stat, err = procfile.Open("/", g.dir[1:]+"/cpu.stat"); err == nil {
			all = append(all, g)
		}
	}
	if all != nil {
		return all
	}
	there, _ := os.ReadFile("/proc/cgroups") // without it there is no version 1
	for _, v := range []struct{ kind, controllers, at string }{{"cgroup2", "", "/sys/fs/cgroup"},
		{"cgroup", cgroup.Together(string(there), "cpu"), "/sys/fs/cgroup/cpu"}} {
		if v.kind == "cgroup" && v.controllers == "" {
			continue
		}
		root, err := cgroup.Mount(v.kind, v.controllers)
		if err != nil {
			continue
		}
		line := fmt.Sprintf("1 1 0:1 / %s rw - %s cgroup rw,%s\n", v.at, v.kind, v.controllers)
		for _, g := range cgroupsOf(string(mine), line) {
			path := fmt.Sprintf("proc/self/fd/%d%s/cpu.stat", root.Fd(), strings.TrimPrefix(g.dir, v.at))
			if g.stat, err = procfile.Open("/", path); err == nil {
				all = append(all, g)
			}
		}
		root.Close()
	}
	return all
}

func cgroupsOf(mine, mounts string) []group {
	var all []group
	for line := range strings.Lines(mine) {
		words := strings.SplitN(strings.TrimSpace(line), ":", 3) // ID, controllers, path
		if len(words) != 3 {
			continue
		}
		v2 := words[0] == "0" && words[1] == ""
		if !v2 && !slices.Contains(strings.Split(words[1], ","), "cpu") {
			continue
		}
		root, at, ok := cgroupMount(mounts, v2)
		if !ok {
			continue
		}
		// The mount may show a part of the tree, and its root may be above ours.
		path, ok := strings.CutPrefix(words[2], strings.TrimSuffix(root, "/"))
		if !ok || strings.Contains(path, "..") {
			path = ""
		}
		quota := "cpu.cfs_quota_us"
		if v2 {
			quota = "cpu.max"
		}
		for path = strings.TrimSuffix(path, "/"); ; path = path[:max(0, strings.LastIndexByte(path, '/'))] {
			all = append(all, group{dir: at + path, quota: quota})
			if path == "" {
				break
			}
		}
	}
	return all
}

// cgroupMount finds where the hierarchy is mounted, and which part of it.
func cgroupMount(mounts string, v2 bool) (root, at string, ok bool) {
	for line := range strings.Lines(mounts) {
		mount, super, found := strings.Cut(strings.TrimSpace(line), " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if !found || len(m) < 5 || len(s) < 3 {
			continue
		}
		if v2 && s[0] == "cgroup2" || !v2 && s[0] == "cgroup" && slices.Contains(strings.Split(s[2], ","), "cpu") {
			return m[3], m[4], true
		}
	}
	return "", "", false
}

func readThrottles(groups []group) []throttle {
	all := make([]throttle, len(groups))
	for i, g := range groups {
		if b, err := g.stat.Read(); err == nil {
			all[i] = parseThrottle(b)
		}
	}
	return all
}

func parseThrottle(b []byte) (t throttle) {
	for len(b) > 0 {
		line := procfile.Line(&b)
		name := procfile.Word(&line)
		v, _, _ := procfile.Uint(line)
		switch string(name) {
		case "nr_throttled":
			t.times = v
		case "throttled_usec": // version 2
			t.ns = v * 1000
		case "throttled_time": // version 1
			t.ns = v
		}
	}
	return t
}

// throttled tells of quotas that stopped this end in more than a hundredth of
// the window: less does not move a figure.
func (o *Watch) throttled(warn func(caveat.Code, string, ...any), seconds float64) {
	for i, g := range o.cgroups {
		if i >= len(o.before.throttles) || i >= len(o.after.throttles) {
			return
		}
		a, b := o.before.throttles[i], o.after.throttles[i]
		if b.times > a.times && float64(b.ns-min(b.ns, a.ns)) > 1e9*seconds/100 {
			warn(caveat.CPUThrottled, "the CPU quota of its cgroup stopped it %d times, for %.2f s of all CPUs together: throughput and CPU are "+
				"the quota's, not the engine's; lift it in %s/%s", b.times-a.times, float64(b.ns-a.ns)/1e9, g.dir, g.quota)
		}
	}
}
