package ringcfg

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"zcbench/internal/genl/netdev"
)

// NAPI instances and interrupts are named by the queue they serve ("rx-2"),
// because their own numbers change with the channels. napi.defer-hard-irqs,
// napi.gro-flush-timeout and napi.threaded are those of the whole interface,
// which instances to come begin with.

var napiFiles = map[string]string{
	"napi.defer-hard-irqs":   "napi_defer_hard_irqs",
	"napi.gro-flush-timeout": "gro_flush_timeout",
	"napi.threaded":          "threaded",
}

func readNAPI(h *host, to Settings) error {
	if h.sys != "" {
		for name, file := range napiFiles {
			addFile(to, name, filepath.Join(h.sys, "class/net", h.iface, file))
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
		}{{"defer-hard-irqs", n.DeferHardIRQs}, {"gro-flush-timeout", n.GROFlushTimeout}, {"irq-suspend-timeout", n.IRQSuspendTimeout}, {"threaded", n.Threaded}} {
			if s.v != nil {
				to["napi."+queue+"."+s.name] = strconv.FormatUint(*s.v, 10)
			}
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

func writeNAPI(h *host, set Settings) error {
	// The interface's values first: they overwrite those of its instances.
	for _, name := range set.names() {
		if file := napiFiles[name]; file != "" {
			if err := writeFile(filepath.Join(h.sys, "class/net", h.iface, file), set[name]); err != nil {
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
		v, err := number(name, set[name])
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

// irq.rx-2 is the list of CPUs that the interrupt of a queue may go to.

func readIRQs(h *host, to Settings) error {
	irqs, err := h.irqs()
	for queue, irq := range irqs {
		addFile(to, "irq."+queue, affinityFile(irq))
	}
	return err
}

func (h *host) irqs() (map[string]uint32, error) {
	if h.dev == nil {
		return nil, nil
	}
	byQueue, err := h.napis()
	if err != nil {
		return nil, err
	}
	irqs := map[string]uint32{}
	for queue, n := range byQueue {
		if n.IRQ != nil && *n.IRQ != 0 {
			irqs[queue] = *n.IRQ
		}
	}
	return irqs, nil
}

func affinityFile(irq uint32) string { return fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq) }

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
