// Package hostfacts describes the host a run took place on, for its record:
// what a reader needs to repeat the run, or to see why two runs differ.
//
// Facts are one level of groups with scalars in them:
//
//	zcbench     version, go
//	process     command, memlock_bytes (or "unlimited")
//	kernel      release, version, cmdline, clocksource
//	machine     hostname, arch, vendor, product, bios, memory_bytes,
//	            hypervisor (whether the CPU says that it runs under one)
//	cpu         model, microcode, sockets, cores, threads, online, isolated,
//	            nohz_full, smt, driver, governor, epp, min_khz, max_khz,
//	            pstate, turbo, idle_driver, idle_governor
//	numa        nodes, node0_cpus, node0_distance (to each node), node1_cpus, …
//	memory      thp, thp_defrag, thp_shmem, hugepages_2048kB, …
//	mitigations one for each file of /sys/devices/system/cpu/vulnerabilities
//	sysctl      by their sysctl(8) names
//	nic         name, kind, driver, driver_version, firmware, bus, pci_speed,
//	            pci_width, numa_node, iommu, speed_mbps, link, mtu, qdisc, xdp,
//	            rx_queues, tx_queues, channels_{rx,tx,combined}[_max],
//	            ring_{rx,tx}[_max], rx_buf_len, tcp_data_split, hds_thresh,
//	            {gso,gro}[_ipv4]_max_size, gso_max_segs, tso_max_size
//	offload     "on" or "off", by their ethtool(8) names
//	missing     for each fact that could not be read, by group.name: why
//
// A setting of each CPU that is not the same on all reads like
// "performance 0-3; powersave 4-7". Nothing is guessed: what is in no group
// is in missing, or does not exist on this kind of machine.
package hostfacts

import (
	"zcbench/internal/cpulist"

	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/results"
)

// sysctls are those that change what TCP does, or what an engine may use.
var sysctls = []string{
	"kernel.io_uring_disabled",
	"kernel.numa_balancing",
	"net.core.busy_poll",
	"net.core.busy_read",
	"net.core.default_qdisc",
	"net.core.netdev_budget",
	"net.core.netdev_budget_usecs",
	"net.core.netdev_max_backlog",
	"net.core.optmem_max",
	"net.core.rmem_default",
	"net.core.rmem_max",
	"net.core.wmem_default",
	"net.core.wmem_max",
	"net.ipv4.tcp_congestion_control",
	"net.ipv4.tcp_limit_output_bytes",
	"net.ipv4.tcp_mem",
	"net.ipv4.tcp_moderate_rcvbuf",
	"net.ipv4.tcp_mtu_probing",
	"net.ipv4.tcp_no_metrics_save",
	"net.ipv4.tcp_notsent_lowat",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_sack",
	"net.ipv4.tcp_timestamps",
	"net.ipv4.tcp_wmem",
	"vm.max_map_count",
	"vm.nr_hugepages",
}

// Collect describes this host and, when iface is not empty, that interface.
// Interface and net sysctls are those of the calling thread's network
// namespace. It needs no rights, changes nothing and starts no program.
func Collect(iface, version string) results.Facts {
	c := newCollector(os.DirFS("/"))
	c.put("zcbench", "version", version)
	c.put("zcbench", "go", runtime.Version())
	c.put("process", "command", strings.Join(os.Args, " "))
	c.memlock()
	c.uname()
	c.memorySize()
	c.files()
	if iface != "" {
		c.nic(iface)
	}
	return c.facts
}

// collector gathers facts of the host whose file system is root.
type collector struct {
	root  fs.FS
	facts results.Facts
}

func newCollector(root fs.FS) *collector {
	return &collector{root: root, facts: results.Facts{}}
}

func (c *collector) put(group, name string, v any) {
	g, ok := c.facts[group].(map[string]any)
	if !ok {
		g = map[string]any{}
		c.facts[group] = g
	}
	g[name] = v
}

func (c *collector) miss(group, name string, why error) {
	c.put("missing", group+"."+name, why.Error())
}

// read gives a file's text without the space around it. The path has no
// leading slash, as fs.FS wants it; the error has one.
func (c *collector) read(path string) (string, error) {
	b, err := fs.ReadFile(c.root, path)
	if err != nil {
		return "", readable(path, err)
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " ")), nil
}

func readable(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("no /" + path)
	}
	return errors.New("/" + path + ": " + err.Error())
}

// file makes a fact of a file that holds one value.
func (c *collector) file(group, name, path string) {
	if v, err := c.read(path); err != nil {
		c.miss(group, name, err)
	} else {
		c.put(group, name, scalar(v))
	}
}

// optional is file where having no such file, or nothing in it, says that
// there is no such thing.
func (c *collector) optional(group, name, path string) {
	if _, err := fs.Stat(c.root, path); errors.Is(err, fs.ErrNotExist) {
		return
	}
	if v, err := c.read(path); err != nil || v != "" {
		c.file(group, name, path)
	}
}

// choice is file for the kernel's "always [madvise] never".
func (c *collector) choice(group, name, path string) {
	v, err := c.read(path)
	if err != nil {
		c.miss(group, name, err)
		return
	}
	if _, after, ok := strings.Cut(v, "["); ok {
		v, _, _ = strings.Cut(after, "]")
	}
	c.put(group, name, v)
}

// scalar is a number where the text is one that JSON can carry exactly.
func scalar(v string) any {
	const exact = 1 << 53
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n <= exact && n >= -exact && strconv.FormatInt(n, 10) == v {
		return n
	}
	return v
}

// files makes the facts that the kernel shows as files.
func (c *collector) files() {
	c.file("kernel", "cmdline", "proc/cmdline")
	c.file("kernel", "clocksource", "sys/devices/system/clocksource/clocksource0/current_clocksource")
	// No DMI: not a PC, or a virtual machine that has none.
	c.optional("machine", "vendor", "sys/class/dmi/id/sys_vendor")
	c.optional("machine", "product", "sys/class/dmi/id/product_name")
	c.optional("machine", "bios", "sys/class/dmi/id/bios_version")
	c.cpu()
	c.numa()
	const thp = "sys/kernel/mm/transparent_hugepage/"
	c.choice("memory", "thp", thp+"enabled")
	c.choice("memory", "thp_defrag", thp+"defrag")
	c.choice("memory", "thp_shmem", thp+"shmem_enabled")
	for _, d := range c.list("memory", "hugepages", "sys/kernel/mm/hugepages") {
		c.file("memory", strings.ReplaceAll(d, "-", "_"), "sys/kernel/mm/hugepages/"+d+"/nr_hugepages")
	}
	const vulnerabilities = "sys/devices/system/cpu/vulnerabilities"
	for _, name := range c.list("mitigations", "all", vulnerabilities) {
		c.file("mitigations", name, vulnerabilities+"/"+name)
	}
	for _, name := range sysctls {
		v, err := c.read("proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if err != nil {
			if strings.HasPrefix(name, "net.core.") {
				err = fmt.Errorf("%w; the initial network namespace may show it", err)
			}
			c.miss("sysctl", name, err)
			continue
		}
		c.put("sysctl", name, scalar(strings.Join(strings.Fields(v), " ")))
	}
}

// list names what is in a folder; a folder that cannot be read is a missing
// fact.
func (c *collector) list(group, name, path string) []string {
	entries, err := fs.ReadDir(c.root, path)
	if err != nil {
		c.miss(group, name, readable(path, err))
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (c *collector) numa() {
	online, err := c.read("sys/devices/system/node/online")
	if err != nil {
		c.miss("numa", "nodes", err)
		return
	}
	nodes, err := cpulist.Parse(online)
	if err != nil {
		c.miss("numa", "nodes", err)
		return
	}
	c.put("numa", "nodes", len(nodes))
	for _, n := range nodes {
		node := "node" + strconv.Itoa(n)
		c.file("numa", node+"_cpus", "sys/devices/system/node/"+node+"/cpulist")
		c.optional("numa", node+"_distance", "sys/devices/system/node/"+node+"/distance")
	}
}

func (c *collector) uname() {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		c.miss("kernel", "release", err)
		return
	}
	c.put("kernel", "release", unix.ByteSliceToString(u.Release[:]))
	c.put("kernel", "version", unix.ByteSliceToString(u.Version[:]))
	c.put("machine", "arch", unix.ByteSliceToString(u.Machine[:]))
	c.put("machine", "hostname", unix.ByteSliceToString(u.Nodename[:]))
}

func (c *collector) memorySize() {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		c.miss("machine", "memory_bytes", err)
		return
	}
	c.put("machine", "memory_bytes", uint64(si.Totalram)*uint64(si.Unit))
}

func (c *collector) memlock() {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil {
		c.miss("process", "memlock_bytes", err)
	} else if l.Cur == unix.RLIM_INFINITY {
		c.put("process", "memlock_bytes", "unlimited")
	} else {
		c.put("process", "memlock_bytes", l.Cur)
	}
}
