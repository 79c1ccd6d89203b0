package ringcfg

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"

	"zcbench/internal/printable"
)

// sysctls are those that runs of TCP depend on; a user may name others that
// mayBeSet lets through.
var sysctls = []string{
	"kernel.io_uring_disabled",
	"kernel.numa_balancing",
	"net.core.busy_poll",
	"net.core.busy_read",
	"net.core.high_order_alloc_disable",
	"net.core.netdev_budget",
	"net.core.netdev_budget_usecs",
	"net.core.netdev_max_backlog",
	"net.core.optmem_max",
	"net.core.rmem_default",
	"net.core.rmem_max",
	"net.core.rps_sock_flow_entries",
	"net.core.skb_defer_max",
	"net.core.wmem_default",
	"net.core.wmem_max",
	"net.ipv4.tcp_allowed_congestion_control",
	"net.ipv4.tcp_congestion_control",
	"net.ipv4.tcp_limit_output_bytes",
	"net.ipv4.tcp_mem",
	"net.ipv4.tcp_moderate_rcvbuf",
	"net.ipv4.tcp_no_metrics_save",
	"net.ipv4.tcp_notsent_lowat",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_sack",
	"net.ipv4.tcp_shrink_window",
	"net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_timestamps",
	"net.ipv4.tcp_wmem",
	"vm.compaction_proactiveness",
	"vm.max_map_count",
	"vm.zone_reclaim_mode",
}

// settable are the sysctls that zcbench may be asked to set, as patterns: what bears on
// how fast TCP moves bytes, on the CPU time that takes and on its memory. None of them
// routes, guards or authenticates, names a program, a file or a user, or changes what
// is not read back beside it, as disable_ipv6, ip_forward, vm.dirty_bytes and
// kernel.watchdog do.
var settable = []string{
	"kernel.io_uring_disabled",
	"kernel.nmi_watchdog",
	"kernel.numa_balancing",
	"kernel.numa_balancing_promote_rate_limit_MBps",
	"kernel.sched_autogroup_enabled",
	"kernel.sched_cfs_bandwidth_slice_us",
	"kernel.sched_energy_aware",
	"kernel.sched_rt_period_us",
	"kernel.sched_rt_runtime_us",
	"kernel.sched_schedstats",
	"kernel.soft_watchdog",
	"kernel.timer_migration",
	"net.core.busy_poll",
	"net.core.busy_read",
	"net.core.bypass_prot_mem",
	"net.core.dev_weight",
	"net.core.dev_weight_[rt]x_bias",
	"net.core.flow_limit_cpu_bitmap",
	"net.core.flow_limit_table_len",
	"net.core.gro_normal_batch",
	"net.core.high_order_alloc_disable",
	"net.core.max_skb_frags",
	"net.core.mem_pcpu_rsv",
	"net.core.netdev_budget",
	"net.core.netdev_budget_usecs",
	"net.core.netdev_max_backlog",
	"net.core.netdev_tstamp_prequeue",
	"net.core.optmem_max",
	"net.core.[rw]mem_default",
	"net.core.[rw]mem_max",
	"net.core.rps_default_mask",
	"net.core.rps_sock_flow_entries",
	"net.core.skb_defer_max",
	"net.core.txrehash",
	"net.ipv4.ip_early_demux",
	"net.ipv4.tcp_adv_win_scale",
	"net.ipv4.tcp_allowed_congestion_control", // which grows with tcp_congestion_control
	"net.ipv4.tcp_app_win",
	"net.ipv4.tcp_autocorking",
	"net.ipv4.tcp_backlog_ack_defer",
	"net.ipv4.tcp_base_mss",
	"net.ipv4.tcp_comp_sack_*",
	"net.ipv4.tcp_congestion_control",
	"net.ipv4.tcp_dsack",
	"net.ipv4.tcp_early_demux",
	"net.ipv4.tcp_early_retrans",
	"net.ipv4.tcp_ecn",
	"net.ipv4.tcp_ecn_fallback",
	"net.ipv4.tcp_ecn_option",
	"net.ipv4.tcp_ecn_option_beacon",
	"net.ipv4.tcp_frto",
	"net.ipv4.tcp_limit_output_bytes",
	"net.ipv4.tcp_low_latency",
	"net.ipv4.tcp_max_reordering",
	"net.ipv4.tcp_mem",
	"net.ipv4.tcp_min_rtt_wlen",
	"net.ipv4.tcp_min_tso_segs",
	"net.ipv4.tcp_moderate_rcvbuf",
	"net.ipv4.tcp_mtu_probe_floor",
	"net.ipv4.tcp_mtu_probing",
	"net.ipv4.tcp_no_metrics_save",
	"net.ipv4.tcp_no_ssthresh_metrics_save",
	"net.ipv4.tcp_notsent_lowat",
	"net.ipv4.tcp_pacing_??_ratio",
	"net.ipv4.tcp_pingpong_thresh",
	"net.ipv4.tcp_plb_*",
	"net.ipv4.tcp_probe_interval",
	"net.ipv4.tcp_probe_threshold",
	"net.ipv4.tcp_rcvbuf_low_rtt",
	"net.ipv4.tcp_recovery",
	"net.ipv4.tcp_reordering",
	"net.ipv4.tcp_retrans_collapse",
	"net.ipv4.tcp_[rw]mem",
	"net.ipv4.tcp_rto_max_ms",
	"net.ipv4.tcp_rto_min_us",
	"net.ipv4.tcp_sack",
	"net.ipv4.tcp_shrink_window",
	"net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_thin_linear_timeouts",
	"net.ipv4.tcp_timestamps",
	"net.ipv4.tcp_tso_rtt_log",
	"net.ipv4.tcp_tso_win_divisor",
	"net.ipv4.tcp_window_scaling",
	"vm.compaction_proactiveness",
	"vm.max_map_count",
	"vm.min_free_kbytes",
	"vm.percpu_pagelist_high_fraction",
	"vm.stat_interval",
	"vm.swappiness",
	"vm.watermark_boost_factor",
	"vm.watermark_scale_factor",
	"vm.zone_reclaim_mode",
}

// mayBeSet refuses a sysctl that zcbench never sets, whoever asks for it: a
// user, the other end, or a journal.
func mayBeSet(key string) error {
	for _, pattern := range settable {
		if ok, _ := path.Match(pattern, key); ok {
			return nil
		}
	}
	for _, known := range slices.Concat(sysctls, settable) {
		if near(key, known) && !strings.ContainsAny(known, "*?[") {
			return fmt.Errorf("sysctl %s is none that zcbench sets; did you mean %q?", key, "sysctl."+known)
		}
	}
	return fmt.Errorf("sysctl %s is none that zcbench sets: those are TCP's and of net.core, kernel and vm what bears on how fast it moves "+
		"bytes; set it yourself: sysctl -w", key)
}

// sysctlKey gives the sysctl that a setting is, if it is one.
func sysctlKey(name string) (key string, ok bool) {
	if key, ok = strings.CutPrefix(name, "sysctl."); !ok {
		key, ok = strings.CutPrefix(name, "shared.")
	}
	return key, ok
}

// A sysctl of the network namespace, or any where the namespace is the initial
// one, is sysctl.NAME. In another namespace those that all share are
// shared.NAME: they outlive the namespace, and are written from the initial one.

func readSysctls(h *host, to Settings) error {
	return within(h.ns, func() error {
		for _, name := range h.sysctls() {
			if h.inInitial() || isOwn(name) {
				addFile(to, "sysctl."+name, sysctlFile(name))
			}
		}
		return nil
	})
}

func readShared(h *host, to Settings) error {
	own := Settings{}
	if !h.inInitial() {
		if err := readSysctls(h, own); err != nil {
			return err
		}
	} else if !h.wide {
		return nil
	}
	return within(h.widest(), func() error {
		for _, name := range h.sysctls() {
			if own["sysctl."+name] == "" {
				addFile(to, "shared."+name, sysctlFile(name))
			}
		}
		return nil
	})
}

// widest is the namespace that shows all sysctls.
func (h *host) widest() netns.NsHandle {
	if h.initial.IsOpen() {
		return h.initial
	}
	return h.ns
}

// inInitial says whether the namespace is the initial one, or the only one
// that this process may enter.
func (h *host) inInitial() bool { return !h.initial.IsOpen() || h.ns.Equal(h.initial) }

// hidden says that some sysctls of the whole host are not to be seen from here: the
// kernel shows this one in the first network namespace alone.
func (h *host) hidden() (yes bool) {
	_ = within(h.widest(), func() error { // a namespace that cannot be entered shows nothing
		yes = !exist(sysctlFile("net.core.netdev_max_backlog"))
		return nil
	})
	return yes
}

// isOwn says whether the calling thread's namespace has a sysctl of its own:
// it cannot be written where it is another's.
func isOwn(name string) bool {
	i, err := os.Stat(sysctlFile(name))
	return err == nil && i.Mode().Perm()&0o222 != 0 && strings.HasPrefix(name, "net.")
}

// own says whether the namespace has all of some sysctls for itself.
func (h *host) own(names []string) bool { return len(h.owned(names)) == len(names) }

// owned are those that the namespace has for itself. The others are the
// machine's, under this name where the initial namespace cannot be entered.
func (h *host) owned(names []string) (own []string) {
	_ = within(h.ns, func() error { // a namespace that cannot be entered has none
		for _, name := range names {
			if isOwn(strings.TrimPrefix(name, "sysctl.")) {
				own = append(own, name)
			}
		}
		return nil
	})
	return own
}

func (h *host) sysctls() []string { return slices.Concat(sysctls, h.extra) }

// sysctlFile finds the file of a sysctl, in which an interface's name may have
// dots of its own.
func sysctlFile(name string) string {
	return "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
}

func writeSysctls(h *host, set Settings) error {
	return within(h.ns, func() error { return writeSysctlFiles("sysctl.", set) })
}

func writeShared(h *host, set Settings) error {
	return within(h.widest(), func() error { return writeSysctlFiles("shared.", set) })
}

func writeSysctlFiles(prefix string, set Settings) error {
	for _, name := range set.names() {
		key := strings.TrimPrefix(name, prefix)
		if err := writeFile(sysctlFile(key), set[name]); err != nil {
			if why := refuseSysctlFile(key); why != nil {
				return unsupported("set sysctl %s to %q: %w", key, set[name], why)
			}
			return fmt.Errorf("set sysctl %s to %q: %w", key, set[name], err)
		}
	}
	return nil
}

func refuseSysctl(h *host, name, _ string) error {
	return within(h.ns, func() error { return refuseSysctlFile(strings.TrimPrefix(name, "sysctl.")) })
}

func refuseShared(h *host, name, _ string) error {
	return within(h.widest(), func() error { return refuseSysctlFile(strings.TrimPrefix(name, "shared.")) })
}

// sysctlMasks are those sysctls whose digits are hexadecimal.
var sysctlMasks = []string{"net.core.flow_limit_cpu_bitmap", "net.core.rps_default_mask"}

// parseSysctl refuses what the kernel would, as far as the value that there is tells: as
// many numbers as that, and of congestion controls those that are loaded. One that is
// not would be by its name, and nobody would unload it.
func parseSysctl(_ *host, now Settings, name, value string) (string, error) {
	key, _ := sysctlKey(name)
	words := strings.Fields(value)
	if strings.HasSuffix(key, "_congestion_control") {
		text, err := readFile(sysctlFile("net.ipv4.tcp_available_congestion_control"))
		if err != nil {
			return value, nil // the kernel will tell
		}
		for _, w := range words {
			if !slices.Contains(strings.Fields(text), w) {
				return "", fmt.Errorf("%s: %q is none of those that are there: %s (modprobe tcp_%s loads it, if this kernel has it as a module)", name,
					w, text, w)
			}
		}
		return value, nil
	}
	was := strings.Fields(now[name])
	if slices.Contains(sysctlMasks, key) || slices.ContainsFunc(was, noNumber) {
		return value, nil
	}
	if len(words) != len(was) || slices.ContainsFunc(words, noNumber) {
		return "", fmt.Errorf("%s is %s, such as %q, and not %q", name, printable.Count(len(was), "whole number"), now[name], value)
	}
	return value, nil
}

func noNumber(word string) bool {
	_, err := strconv.ParseInt(word, 10, 64)
	_, uerr := strconv.ParseUint(word, 10, 64)
	return err != nil && uerr != nil
}

// refuseSysctlFile looks at a sysctl of the calling thread's namespace.
func refuseSysctlFile(key string) error {
	err := refuseFile(sysctlFile(key))
	if errors.Is(err, errNoWriter) && strings.HasPrefix(key, "net.") {
		return unsupported("it is the whole host's, and read-only in this network namespace: set it in the host's own")
	}
	return err
}

// Huge pages are those of each NUMA node: hugepages.node0.2048kB.

func (h *host) hugePageFiles() map[string]string {
	files := map[string]string{}
	for _, file := range glob(h.root + "/sys/devices/system/node/node*/hugepages/hugepages-*/nr_hugepages") {
		size := filepath.Dir(file)
		node := filepath.Dir(filepath.Dir(size))
		files["hugepages."+filepath.Base(node)+"."+strings.TrimPrefix(filepath.Base(size), "hugepages-")] = file
	}
	if len(files) == 0 { // no NUMA in this kernel
		for _, file := range glob(h.root + "/sys/kernel/mm/hugepages/hugepages-*/nr_hugepages") {
			files["hugepages."+strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "hugepages-")] = file
		}
	}
	return files
}

func readHugePages(h *host, to Settings) error { return readFiles(h.hugePageFiles(), to) }

func refuseHugePages(h *host, name, _ string) error { return refuseFile(h.hugePageFiles()[name]) }

func writeHugePages(h *host, set Settings) error { return writeFiles(h.hugePageFiles(), set) }

// udmabuf's parameters limit the dma-bufs that it makes of memory files.

func (h *host) udmabufFiles() map[string]string {
	dir := h.root + "/sys/module/udmabuf/parameters/"
	return map[string]string{"udmabuf.size-limit-mb": dir + "size_limit_mb", "udmabuf.list-limit": dir + "list_limit"}
}

func readUDMABuf(h *host, to Settings) error { return readFiles(h.udmabufFiles(), to) }

func refuseUDMABuf(h *host, name, _ string) error { return refuseFile(h.udmabufFiles()[name]) }

func writeUDMABuf(h *host, set Settings) error { return writeFiles(h.udmabufFiles(), set) }

func readFiles(files map[string]string, to Settings) error {
	for name, file := range files {
		addFile(to, name, file)
	}
	return nil
}

// writeFiles writes in order of name.
func writeFiles(files map[string]string, set Settings) error {
	for _, name := range set.names() {
		file, ok := files[name]
		if !ok {
			return missing(name)
		}
		if err := writeFile(file, set[name]); err != nil {
			return fmt.Errorf("set %s to %s: %w", name, set[name], err)
		}
	}
	return nil
}

// addSysctls makes h read the sysctls that settings name beside the list.
func (h *host) addSysctls(names []string) {
	for _, n := range names {
		if key, ok := sysctlKey(n); ok && !strings.Contains(key, "*") && !slices.Contains(h.sysctls(), key) {
			h.extra = append(h.extra, key)
		}
	}
}
