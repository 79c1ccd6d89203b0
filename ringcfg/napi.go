package ringcfg

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/cpulist"
	"zcbench/internal/genl/netdev"
)

// NAPI instances and interrupts are named by the queue they serve ("rx-2"),
// because their own numbers change with the channels. napi.defer-hard-irqs,
// napi.gro-flush-timeout and napi.threaded are those of the whole interface,
// which instances to come begin with.

var napiFiles = map[string]string{
	"napi.defer-hard-irqs":   "napi_defer_hard_irqs",
	"napi.gro-flush-timeout": "gro_flush_timeout",
	threaded:                 "threaded",
}

// threaded says whether NAPI runs in threads of its own, for the whole interface.
// One instance's may poll all of the time too (Linux 6.18), as
// NETDEV_NAPI_THREADED_BUSY_POLL does.
const threaded = "napi.threaded"

// threadedNames are in the order of the kernel's numbers, NETDEV_NAPI_THREADED_*.
var threadedNames = []string{abi.NETDEV_NAPI_THREADED_DISABLED: "off", abi.NETDEV_NAPI_THREADED_ENABLED: "on",
	abi.NETDEV_NAPI_THREADED_BUSY_POLL: "busy-poll"}

// threadedName is the name of a kernel's number; one that has none stays.
func threadedName(v string) string {
	if n, err := strconv.Atoi(v); err == nil && n >= 0 && n < len(threadedNames) {
		return threadedNames[n]
	}
	return v
}

// threadedNumber is the other way round.
func threadedNumber(v string) string {
	if i := slices.Index(threadedNames, v); i >= 0 {
		return strconv.Itoa(i)
	}
	return v
}

func parseNAPI(h *host, now Settings, name, value string) (string, error) {
	switch {
	case strings.HasSuffix(name, ".defer-hard-irqs"):
		return parseCount(h, now, name, value)
	case !strings.HasSuffix(name, ".threaded"):
		return atMost(name, value, math.MaxUint64) // ns
	}
	value = threadedName(value)
	switch i := slices.Index(threadedNames, value); {
	case i < 0:
		return "", fmt.Errorf("%s: %q is not off, on or busy-poll", name, value)
	case name == threaded && i > abi.NETDEV_NAPI_THREADED_ENABLED:
		return "", fmt.Errorf("%s: the kernel takes %s by queue only: napi.*.threaded=%s (Linux 6.18)", name, value, value)
	}
	return value, nil
}

func readNAPI(h *host, to Settings) error {
	if h.sys != "" {
		for name, file := range napiFiles {
			h.addFile(to, name, h.classFile(file))
		}
		if v, ok := to[threaded]; ok {
			to[threaded] = threadedName(v)
		}
	}
	if h.dev == nil || !h.dev.CanSetNAPI() {
		return nil
	}
	byQueue, err := h.napis()
	if err != nil {
		return err
	}
	for queue, n := range byQueue {
		for _, s := range []struct {
			name string
			v    *uint64
		}{{"defer-hard-irqs", n.DeferHardIRQs}, {"gro-flush-timeout", n.GROFlushTimeout}, {"irq-suspend-timeout", n.IRQSuspendTimeout}} {
			if s.v != nil {
				to["napi."+queue+"."+s.name] = strconv.FormatUint(*s.v, 10)
			}
		}
		if n.Threaded != nil {
			to["napi."+queue+".threaded"] = threadedName(strconv.FormatUint(*n.Threaded, 10))
		}
	}
	return nil
}

// napis lists the NAPI instances by the first queue that each serves.
func (h *host) napis() (map[string]netdev.NAPI, error) {
	queues, err := h.dev.Queues(h.index)
	if err != nil {
		return nil, err
	}
	list, err := h.dev.NAPIs(h.index)
	if err != nil {
		return nil, err
	}
	byID := map[uint32]netdev.NAPI{}
	for _, n := range list {
		byID[n.ID] = n
	}
	byQueue := map[string]netdev.NAPI{}
	for _, d := range []netdev.Direction{netdev.RX, netdev.TX} {
		for _, q := range queues {
			if n, ok := byID[q.NAPI]; ok && q.Direction == d {
				byQueue[fmt.Sprintf("%s-%d", d, q.ID)] = n
				delete(byID, q.NAPI)
			}
		}
	}
	return byQueue, nil
}

func refuseNAPI(h *host, name, _ string) error {
	if file := napiFiles[name]; file != "" {
		return refuseFile(filepath.Join(h.sys, "class/net", h.iface, file))
	}
	return nil // netlink
}

func writeNAPI(h *host, set Settings) error {
	// The interface's values first: they overwrite those of its instances.
	for _, name := range set.names() {
		if file := napiFiles[name]; file != "" {
			if err := writeFile(filepath.Join(h.sys, "class/net", h.iface, file), threadedNumber(set[name])); err != nil {
				return fmt.Errorf("set %s of %s: %w", name, h.iface, err)
			}
		}
	}
	var byQueue map[string]netdev.NAPI
	for _, name := range set.names() {
		if napiFiles[name] != "" {
			continue
		}
		if byQueue == nil {
			var err error
			if byQueue, err = h.napis(); err != nil {
				return err
			}
		}
		queue, key, _ := strings.Cut(strings.TrimPrefix(name, "napi."), ".")
		n, ok := byQueue[queue]
		if !ok {
			return missing(name)
		}
		v, err := number(name, threadedNumber(set[name]))
		if err != nil {
			return err
		}
		want := netdev.NAPI{ID: n.ID}
		switch key {
		case "defer-hard-irqs":
			want.DeferHardIRQs = &v
		case "gro-flush-timeout":
			want.GROFlushTimeout = &v
		case "irq-suspend-timeout":
			want.IRQSuspendTimeout = &v
		case "threaded":
			want.Threaded = &v
		default:
			return missing(name)
		}
		if err := h.dev.SetNAPI(want); err != nil {
			return fmt.Errorf("set %s of %s: %w", name, h.iface, err)
		}
	}
	return nil
}

// irq.rx-2 is the list of CPUs that the interrupt of a queue may go to. One that
// serves several queues has the name of the first.

func readIRQs(h *host, to Settings) error {
	irqs, err := h.irqs()
	for queue, irq := range irqs {
		h.addFile(to, "irq."+queue, affinityFile(irq))
	}
	return err
}

func (h *host) irqs() (map[string]uint32, error) {
	all, err := h.queueIRQs()
	if err != nil {
		return nil, err
	}
	first := map[uint32]string{}
	for queue, irq := range all {
		if other, ok := first[irq]; !ok || before(queue, other) {
			first[irq] = queue
		}
	}
	irqs := map[string]uint32{}
	for irq, queue := range first {
		irqs[queue] = irq
	}
	return irqs, nil
}

// before orders queues: those that receive come first, 2 before 10.
func before(a, b string) bool {
	return cmp.Or(strings.Compare(a[:2], b[:2]), cmp.Compare(len(a), len(b)), strings.Compare(a, b)) < 0
}

// queueIRQs finds the interrupt of each queue. Drivers tell the kernel which
// interrupt a NAPI instance is served by, or not; then the names of the device's
// handlers tell.
func (h *host) queueIRQs() (map[string]uint32, error) {
	irqs, known := map[string]uint32{}, map[uint32]bool{}
	var queues []netdev.Queue
	var napis []netdev.NAPI
	var err error
	if h.dev != nil {
		if queues, err = h.dev.Queues(h.index); err == nil {
			napis, err = h.dev.NAPIs(h.index)
		}
	}
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // before Linux 6.8
		return nil, err
	}
	for _, q := range queues {
		for _, n := range napis {
			if n.ID == q.NAPI && n.IRQ != nil && *n.IRQ != 0 {
				irqs[fmt.Sprintf("%s-%d", q.Direction, q.ID)] = *n.IRQ
				known[*n.IRQ] = true
			}
		}
	}
	for queue, irq := range byHandler(h.handlers()) {
		if !known[irq] {
			irqs[queue] = irq
		}
	}
	return irqs, nil
}

// handlers are the names of the handlers of the device's interrupts.
func (h *host) handlers() map[uint32]string {
	names := map[uint32]string{}
	if h.sys == "" {
		return names
	}
	device := h.classFile("device")
	if bus, err := h.readLink(filepath.Join(device, "subsystem")); err == nil && filepath.Base(bus) == "virtio" {
		device += "/.." // which has the interrupts; Join would take this as text
	}
	for _, file := range h.glob(device + "/msi_irqs/*") { // it has none, or is no device
		irq, err := strconv.ParseUint(filepath.Base(file), 10, 32)
		if err != nil {
			continue
		}
		// Each handler has a folder of its name, beside files.
		for _, name := range h.folders(fmt.Sprintf("/proc/irq/%d", irq)) {
			if name != h.iface { // as drivers name what is no queue's
				names[uint32(irq)] = name
			}
		}
	}
	return names
}

// handlerName is how drivers name the handler of a queue's interrupt: zc1-TxRx-3 and
// so on, and virtio3-input.0.
var handlerName = regexp.MustCompile(`(?i)[-_](tx-?rx|rx-?tx|rx|tx|input|output)[-.](\d+)$`)

// byHandler gives the interrupts of queues by the names of their handlers. Some
// drivers number their interrupts in one series and not the queues: those of a
// direction are then in the order of these numbers.
func byHandler(handlers map[uint32]string) map[string]uint32 {
	type numbered struct {
		n   int
		irq uint32
	}
	byDirection := map[netdev.Direction][]numbered{}
	for irq, name := range handlers {
		m := handlerName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		kind := strings.ToLower(m[1])
		if kind == "input" || strings.Contains(kind, "rx") {
			byDirection[netdev.RX] = append(byDirection[netdev.RX], numbered{n, irq})
		}
		if kind == "output" || strings.Contains(kind, "tx") {
			byDirection[netdev.TX] = append(byDirection[netdev.TX], numbered{n, irq})
		}
	}
	irqs := map[string]uint32{}
	for d, list := range byDirection {
		slices.SortFunc(list, func(a, b numbered) int { return cmp.Compare(a.n, b.n) })
		for i, l := range list {
			irqs[fmt.Sprintf("%s-%d", d, i)] = l.irq
		}
	}
	return irqs
}

func affinityFile(irq uint32) string { return fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq) }

// refuseIRQ: an interrupt that the kernel spreads by itself (a managed one) stays
// where it is, and newer kernels give its file no writer (register_irq_proc).
func refuseIRQ(h *host, name, _ string) error {
	irqs, err := h.irqs()
	if irq, ok := irqs[strings.TrimPrefix(name, "irq.")]; ok && err == nil {
		return refuseFile(affinityFile(irq))
	}
	return err
}

// parseIRQ takes a list of CPUs, as smp_affinity_list does.
func parseIRQ(h *host, _ Settings, name, value string) (string, error) {
	cpus, err := parseList(value)
	if err == nil {
		err = h.possible(cpus)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return cpulist.Format(cpus), nil
}

func writeIRQs(h *host, set Settings) error {
	irqs, err := h.irqs()
	if err != nil {
		return err
	}
	for _, name := range set.names() {
		irq, ok := irqs[strings.TrimPrefix(name, "irq.")]
		if !ok {
			return missing(name)
		}
		if err := writeFile(affinityFile(irq), set[name]); err != nil {
			return fmt.Errorf("send interrupt %d (%s of %s) to CPUs %s: %w", irq, name, h.iface, set[name], err)
		}
	}
	return nil
}
