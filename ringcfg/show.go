package ringcfg

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"

	"zcbench/internal/answers"
	"zcbench/internal/egress"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
)

// View is everything that bears on zero copy as it is now.
type View struct {
	Interface string    `json:"interface,omitempty"`
	Driver    string    `json:"driver,omitempty"`
	Speed     uint64    `json:"speed_mbps,omitempty"` // 0: not known
	Settings  Settings  `json:"settings"`
	Concerns  []Concern `json:"concerns"`
	// ReadsSo are settings that show what the driver does and not what anybody
	// configured, and what that means.
	ReadsSo []Concern `json:"reads_so,omitempty"`
	// InMemory: no NIC and no wire is behind the interface, as with veth.
	InMemory bool `json:"in_memory,omitempty"`
	// Fixed are settings that are as they are: by name, what they are.
	Fixed     Settings       `json:"fixed,omitempty"`
	Limits    ethtool.Values `json:"limits"` // what settings cannot exceed: ring.rx-max …
	Queues    []QueueView    `json:"queues"`
	PagePools []PoolView     `json:"page_pools"`
	SMT       string         `json:"smt,omitempty"` // as in /sys/devices/system/cpu/smt/control
	// IRQBalance is the process that moves interrupts about, 0: there is none.
	IRQBalance int `json:"irqbalance_pid,omitempty"`
}

// Concern is a setting that hurts zero copy as it is, and why.
type Concern struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// QueueView tells how a queue's packets reach a CPU.
type QueueView struct {
	Name     string `json:"name"` // rx-0
	NAPI     uint32 `json:"napi,omitempty"`
	Thread   uint32 `json:"napi_pid,omitempty"` // 0: it runs in softirq
	IRQ      uint32 `json:"irq,omitempty"`
	CPUs     string `json:"irq_cpus,omitempty"`
	Provider string `json:"memory_provider,omitempty"` // empty: ordinary memory
}

// PoolView is a page pool.
type PoolView struct {
	ID       uint32 `json:"id"`
	Inflight uint64 `json:"inflight"` // pages
	Bytes    uint64 `json:"inflight_bytes"`
	Detached bool   `json:"detached,omitempty"`
	Provider string `json:"memory_provider,omitempty"`
}

// Show reads everything about the host and, unless it is empty, an interface
// in the network namespace of the calling thread. It needs no rights; what
// cannot be read without them is left out.
func Show(iface string) (View, error) { return ShowFrom(nil, iface) }

// ShowFrom is Show where another than the kernel may answer what the interface is
// asked. A capture has nothing of the host.
func ShowFrom(from *answers.Source, iface string) (View, error) {
	h, err := hereFrom(from, iface)
	if err != nil {
		return View{}, err
	}
	defer h.close()
	v := View{Interface: iface, Driver: h.driver, Limits: ethtool.Values{}, Concerns: []Concern{}, Queues: []QueueView{},
		PagePools: []PoolView{}}
	if v.Settings, err = h.all(); err != nil {
		return View{}, err
	}
	v.Fixed = h.fixed
	if !from.Playing() {
		v.SMT, _ = readFile(h.smtFile()) // empty on a kernel without SMT
		v.IRQBalance = findProcess("irqbalance")
	}
	if iface != "" {
		h.showNIC(&v)
	}
	v.Concerns, v.ReadsSo = append(v.Concerns, h.concerns(v)...), readsSo(v)
	if iface != "" && v.Settings["feature.tx-scatter-gather"] != "off" { // that is told already
		switch w, err := h.way(); {
		case err == nil && w.Verdict == egress.Copies:
			v.Concerns = append(v.Concerns, Concern{"zero-copy sends", w.Why})
		case v.InMemory:
			v.Concerns = append(v.Concerns, Concern{"zero-copy sends", egress.Delivery})
		case err == nil && w.Verdict == egress.Hidden:
			v.Concerns = append(v.Concerns, Concern{"zero-copy sends", w.Why})
		}
	}
	return v, nil
}

// way judges the way out of the interface: that of a capture ends with it.
func (h *host) way() (egress.Way, error) {
	if !h.from.Playing() {
		return egress.Interface(h.iface)
	}
	f, err := h.eth.Features(h.iface)
	if err != nil {
		return egress.Way{}, err
	}
	return egress.Offloads(h.iface, f, netip.Addr{}), nil
}

// Lacks says, for each of some settings that cannot be had here, why. It goes
// by the view alone, so that it can be asked anywhere: what only the driver
// knows is found out by Apply.
func (v View) Lacks(settings map[string]string) []string {
	var all []string
	h := &host{driver: v.Driver, fixed: v.Fixed, ns: netns.None(), initial: netns.None()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		names, err := expand(name, v.Settings)
		if err != nil {
			all = append(all, err.Error())
			continue
		}
		if key, ok := strings.CutPrefix(name, "sysctl."); ok && len(names) == 0 && !slices.Contains(sysctls, key) {
			continue // a view shows only those that all runs depend on
		}
		if len(names) == 0 {
			if err := misspelt(Names(name)[0], v.Settings, v.Fixed); err != nil {
				all = append(all, err.Error())
			} else if !h.met(name, settings[name]) {
				all = append(all, h.lacks([]string{name}))
			}
			continue
		}
		if err := aboveLimit(v.Limits, names[0], settings[name]); err != nil {
			all = append(all, fmt.Sprintf("%s: %v", name, err))
		}
	}
	return all
}

// limits are what rings and channels cannot exceed: ring.rx-max and so on.
func (h *host) limits() ethtool.Values {
	all := ethtool.Values{}
	for prefix, read := range map[string]func(string) (ethtool.Values, error){"ring.": h.eth.Rings, "channels.": h.eth.Channels} {
		values, _ := read(h.iface)
		for name, n := range values {
			if strings.HasSuffix(name, "-max") {
				all[prefix+name] = n
			}
		}
	}
	return all
}

func refuseAboveLimit(h *host, name, value string) error { return aboveLimit(h.limits(), name, value) }

func aboveLimit(limits ethtool.Values, name, value string) error {
	n, err := strconv.ParseUint(value, 10, 64)
	if most, ok := limits[name+"-max"]; ok && err == nil && n > most {
		return unsupported("at most %d here, not %d", most, n)
	}
	return nil
}

// showNIC adds what is no setting. A driver that does not tell is no error.
func (h *host) showNIC(v *View) {
	v.Speed, _ = h.eth.Speed(h.iface)
	maps.Copy(v.Limits, h.limits())
	if d, err := h.device(); err == nil {
		v.InMemory = egress.IsInMemory(d.Link)
		if a := d.Attrs(); a.TSOMaxSize > 0 {
			v.Limits["link.tso-max-size"] = uint64(a.TSOMaxSize)
			v.Limits["link.tso-max-segs"] = uint64(a.TSOMaxSegs)
		}
	}
	if h.dev == nil {
		return
	}
	queues, _ := h.dev.Queues(h.index)
	napis, _ := h.dev.NAPIs(h.index)
	irqs, _ := h.queueIRQs()
	byID := map[uint32]netdev.NAPI{}
	for _, n := range napis {
		byID[n.ID] = n
	}
	for _, q := range queues {
		view := QueueView{Name: fmt.Sprintf("%s-%d", q.Direction, q.ID), NAPI: q.NAPI, Thread: byID[q.NAPI].PID, Provider: q.Provider()}
		if irq, ok := irqs[view.Name]; ok {
			view.IRQ = irq
			view.CPUs, _ = h.readFile(affinityFile(irq))
		}
		v.Queues = append(v.Queues, view)
	}
	pools, _ := h.dev.PagePools(h.index)
	for _, p := range pools {
		view := PoolView{ID: p.ID, Inflight: p.Inflight, Bytes: p.InflightMem, Detached: p.Detached}
		if p.DMABuf != 0 {
			view.Provider = fmt.Sprintf("dma-buf binding %d", p.DMABuf)
		} else if p.IOUring {
			view.Provider = "io_uring zcrx"
		}
		v.PagePools = append(v.PagePools, view)
	}
}

// findProcess gives the number of a process of a name, 0 when there is none.
func findProcess(name string) int {
	for _, path := range glob("/proc/[0-9]*/comm") {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == name {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // the pattern matches numbers
			return pid
		}
	}
	return 0
}

// concerns lists what hurts zero copy in a view, and why.
func concerns(v View) []Concern { return slices.Concat(concernsOfNIC(v), concernsOfHost(v)) }

// concerns leaves out the host where there is none, as in a capture.
func (h *host) concerns(v View) []Concern {
	if h.from.Playing() {
		return concernsOfNIC(v)
	}
	return concerns(v)
}

func concernsOfNIC(v View) []Concern {
	var all []Concern
	add := func(bad bool, name, why string) {
		if bad {
			all = append(all, Concern{name, why})
		}
	}
	s := v.Settings
	is := func(name, value string) bool { is, _, _ := strings.Cut(s[name], " ("); return is == value }
	if v.Interface != "" {
		// What moves in memory has no headers to split, and whole large segments
		// cross it, whatever its GRO and MTU.
		nic := !v.InMemory
		add(nic && s["ring.tcp-data-split"] == "", "ring.tcp-data-split", "this driver cannot split headers: devmem and zcrx cannot bind its "+
			"queues")
		add(is("ring.tcp-data-split", "off") || is("ring.tcp-data-split", "auto"), "ring.tcp-data-split",
			"devmem and zcrx bind a queue only when it is on")
		add(s["ring.hds-thresh"] != "" && !is("ring.hds-thresh", "0"), "ring.hds-thresh",
			"payload below it stays with the header and is copied; devmem wants 0")
		add(is("feature.rx-ntuple-filter", "off"), "feature.rx-ntuple-filter", "without flow rules no flow can be sent to a bound queue")
		add(is("feature.rx-lro", "on"), "feature.rx-lro", "LRO loses the bounds of segments: payload does not stay in whole pages")
		add(nic && is("feature.rx-gro", "off"), "feature.rx-gro", "every segment goes through the stack by itself")
		add(is("feature.tx-tcp-segmentation", "off"), "feature.tx-tcp-segmentation", "the CPU cuts segments, reading each header")
		add(is("feature.tx-scatter-gather", "off"), "feature.tx-scatter-gather", "without it every zero-copy send is copied into one buffer, "+
			"and the kernel does not report that")
		add(is("feature.rx-checksum", "off"), "feature.rx-checksum", "the CPU reads all payload to check it")
		add(nic && s["link.mtu"] == "1500", "link.mtu", "a payload of 1448 bytes fills no page: TCP_ZEROCOPY_RECEIVE maps whole pages only "+
			"(4148 gives 4096)")
		add(s.below("ring.rx", 1024) && v.Limits["ring.rx-max"] >= 1024, "ring.rx", fmt.Sprintf("a short ring overruns at high rates (at most "+
			"%d here)", v.Limits["ring.rx-max"]))
	}
	return all
}

func concernsOfHost(v View) []Concern {
	var all []Concern
	add := func(bad bool, name, why string) {
		if bad {
			all = append(all, Concern{name, why})
		}
	}
	s := v.Settings
	is := func(name, value string) bool { return s[name] == value }
	first := func(names ...string) string { // a namespace sees shared ones under that name
		for _, n := range names {
			if s[n] != "" {
				return n
			}
		}
		return ""
	}
	if n := first("sysctl.net.core.optmem_max", "shared.net.core.optmem_max"); s.below(n, 1<<20) {
		add(true, n, "MSG_ZEROCOPY's notifications are charged to it: with many sends in flight some meet ENOBUFS and wait (enobufs counts them)")
	}
	if n := first("sysctl.net.core.rmem_max", "shared.net.core.rmem_max"); s.below(n, 4<<20) {
		add(true, n, "receive buffers that a run asks for are cut to this")
	}
	for _, n := range []string{"sysctl.net.ipv4.tcp_rmem", "sysctl.net.ipv4.tcp_wmem"} {
		add(s.below(n, 4<<20), n, "its maximum is below a bandwidth-delay product of 2 MB, twice")
	}
	if n := first("sysctl.kernel.io_uring_disabled", "shared.kernel.io_uring_disabled"); n != "" {
		add(!is(n, "0"), n, "io_uring engines cannot run, or only as root")
	}
	slow := 0
	for name, value := range s {
		if strings.HasPrefix(name, "cpu.") && strings.HasSuffix(name, ".governor") && value != "performance" {
			slow++
		}
	}
	add(slow > 0, "cpu.*.governor", fmt.Sprintf("%d CPUs change their speed with load: results drift", slow))
	add(v.SMT == "on", "smt", "two threads share a core: CPU percentages do not add up (zcbench tune apply --set smt=off)")
	add(v.IRQBalance != 0, "irqbalance", fmt.Sprintf("process %d moves interrupts about while a run goes on (systemctl stop irqbalance)",
		v.IRQBalance))
	huge := ""
	for name, value := range s {
		if strings.HasPrefix(name, "hugepages.") && strings.HasSuffix(name, ".2048kB") && value != "0" {
			huge = name
		}
	}
	add(huge == "", "hugepages.*.2048kB", "none is reserved: --mem hugepages and --zcrx-area huge fail")
	return all
}

// readsSo tells of what is only read.
func readsSo(v View) (all []Concern) {
	if v.Settings[headerSplit] == "on" {
		all = append(all, Concern{headerSplit, "the driver does so; whether it is configured, by which the kernel lets memory be bound, " +
			"nothing shows: a run configures it"})
	}
	for _, name := range v.Settings.names() {
		switch v.Settings[name] {
		case wantedButOff:
			all = append(all, Concern{name, "asked for, and another setting stands in its way"})
		case onUnwanted:
			all = append(all, Concern{name, "the driver keeps it on, though it was asked to be off"})
		}
	}
	return all
}

// below says that the maximum that a setting has is a number less than least.
func (s Settings) below(name string, least uint64) bool {
	n, err := strconv.ParseUint(lastWord(s[name]), 10, 64)
	return err == nil && n < least
}

// lastWord is the maximum of a list of minimum, default and maximum.
func lastWord(s string) string {
	words := strings.Fields(s)
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}
