package reports

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Study is what others have published: for orientation, as their hosts and
// NICs are not the reader's.
type Study struct {
	Name   string      `json:"name"`
	Title  string      `json:"title"`
	Setup  string      `json:"setup"`
	Source string      `json:"source"`
	Points []Published `json:"points"`
}

// Published is one figure of a Study.
type Published struct {
	// Axes say what was run, by the names and values of an experiment's axes.
	Axes  map[string]string `json:"axes"`
	What  string            `json:"what"`                 // what the axes do not say; often nothing
	Gbps  float64           `json:"gbps"`                 // 10⁹ payload bits per second, one flow unless What says more
	Upper float64           `json:"gbps_upper,omitempty"` // where a range was published
}

// studies are those that --reference knows.
var studies = []Study{
	{
		Name:   "netdev-0x19",
		Title:  "RX and TX TCP zero copy with devmem TCP and io_uring",
		Setup:  "one IPv4 flow, 64 MiB messages, MTU 4148; Sapphire Rapids 48 cores, Intel E2100 200G (idpf), Linux 6.14-rc1; 5 runs of 100 s, first and last dropped; the receiver's application and softirq on 2 CPUs, or both on 1",
		Source: "talk at netdev 0x19, 2025",
		Points: []Published{
			talk("baseline", "sw", "2", "", 83.85), talk("baseline", "hw", "2", "", 84.03), talk("baseline", "sw", "1", "", 60.99),
			talk("devmem", "sw", "2", "", 118.47), talk("devmem", "hw", "2", "", 111.95), talk("devmem", "sw", "1", "", 74.39), talk("devmem", "hw", "1", "", 131.25),
			talk("devmem", "sw", "2", "token batching in the kernel", 128.77), talk("devmem", "sw", "1", "token batching in the kernel", 92.42),
			talk("iouring", "sw", "2", "", 139.46), talk("iouring", "hw", "2", "", 190.06), talk("iouring", "hw", "1", "", 183.63),
		},
	},
	{
		Name:   "zcrx",
		Title:  "io_uring zero-copy receive",
		Setup:  "EPYC 9454, Broadcom BCM957508 200G, MTU 4096; application and softirq on 2 CPUs, or both on 1",
		Source: "cover letters of the io_uring zero-copy receive series on the netdev list, 2024 and 2025",
		Points: []Published{
			{Axes: axesOf("rx", "baseline", "cpus", "2"), What: "copy", Gbps: 82.2}, {Axes: axesOf("rx", "zcrx", "cpus", "2"), Gbps: 116.2},
			{Axes: axesOf("rx", "baseline", "cpus", "1"), What: "copy", Gbps: 62.6}, {Axes: axesOf("rx", "zcrx", "cpus", "1"), Gbps: 80.9},
		},
	},
	{
		Name:   "kperf",
		Title:  "kperf",
		Setup:  "mlx5, MTU 4200, header split, HW GRO",
		Source: "github.com/facebookexperimental/kperf, commits c549fb5, c0630d9 and 50d23b3",
		Points: []Published{
			{Axes: axesOf("tx", "msgzc", "rx", "trunc"), Gbps: 188.1}, {Axes: axesOf("tx", "msgzc", "rx", "devmem"), What: "udmabuf", Gbps: 108.9},
			{Axes: axesOf("rx", "devmem"), What: "1 queue, 256 MiB", Gbps: 100.4}, {Axes: axesOf("rx", "devmem"), What: "2 queues, 256 MiB", Gbps: 179.4},
			{Axes: axesOf("tx", "devmem", "rx", "devmem"), What: "CUDA memory, 4 flows", Gbps: 389.6},
		},
	},
	{
		Name:   "tcp-mmap",
		Title:  "TCP_ZEROCOPY_RECEIVE over loopback",
		Setup:  "loopback",
		Source: "tools/testing/selftests/net/tcp_mmap.c",
		Points: []Published{
			{Axes: axesOf("rx", "baseline"), Gbps: 18, Upper: 25}, {Axes: axesOf("rx", "mmap"), Gbps: 36, Upper: 41},
		},
	},
	{
		Name:   "msgzc-bigtcp",
		Title:  "MSG_ZEROCOPY with BIG TCP",
		Setup:  "gve 200G, MTU 9000, neper",
		Source: "Linux commit a695641c8eaa",
		Points: []Published{
			{Axes: axesOf("tx", "baseline"), What: "64k packets", Gbps: 64.9}, {Axes: axesOf("tx", "baseline"), What: "BIG TCP of 185k", Gbps: 64.6},
			{Axes: axesOf("tx", "msgzc"), What: "64k packets", Gbps: 131.4}, {Axes: axesOf("tx", "msgzc"), What: "BIG TCP of 185k", Gbps: 146.6},
		},
	},
	{
		Name:   "msgzc-hugepages",
		Title:  "MSG_ZEROCOPY from huge pages",
		Setup:  "one flow, AMD Rome with its IOMMU on",
		Source: "Linux commit 394fcd8a8134",
		Points: []Published{
			{Axes: axesOf("tx", "baseline"), Gbps: 65}, {Axes: axesOf("tx", "msgzc"), What: "4 KiB pages", Gbps: 55}, {Axes: axesOf("tx", "msgzc"), What: "huge pages", Gbps: 100},
		},
	},
}

func talk(mode, gro, cpus, what string, gbps float64) Published {
	return Published{Axes: axesOf("mode", mode, "gro", gro, "cpus", cpus), What: what, Gbps: gbps}
}

func axesOf(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// References are the names of the studies there are.
func References() []string {
	var names []string
	for _, s := range studies {
		names = append(names, s.Name)
	}
	return names
}

// reference finds a study by its name.
func reference(name string) (Study, error) {
	i := slices.Index(References(), name)
	if i < 0 {
		return Study{}, fmt.Errorf("no reference %q%s; there are %s", name, nearest(name, References()), strings.Join(References(), ", "))
	}
	return studies[i], nil
}

// text is what was run, in words.
func (p Published) text() string {
	var parts []string
	for _, k := range slices.SortedFunc(maps.Keys(p.Axes), func(a, b string) int { return axisOrder(a) - axisOrder(b) }) {
		parts = append(parts, k+" "+p.Axes[k])
	}
	if p.What != "" {
		parts = append(parts, p.What)
	}
	return strings.Join(parts, ", ")
}

func axisOrder(name string) int {
	return slices.Index([]string{"mode", "tx", "rx", "gro", "cpus"}, name)
}

func (p Published) value() string {
	if p.Upper > 0 {
		return fmt.Sprintf("%g–%g", p.Gbps, p.Upper)
	}
	return fmt.Sprintf("%g", p.Gbps)
}

// like finds the report's own cell of the same axes, where they decide.
func (r *Report) like(p Published) *cell {
	var found *cell
	for _, c := range r.cells {
		if len(c.runs) == 0 || p.What != "" {
			continue
		}
		same := true
		for k, v := range p.Axes {
			same = same && r.set.attribute(c.runs[0], k) == v
		}
		if same && found != nil {
			return nil // several: none of them is the one
		}
		if same {
			found = c
		}
	}
	return found
}
