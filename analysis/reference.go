package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"zcbench/internal/fault"
	"zcbench/internal/printable"
)

// Study is what others have published: for orientation, as their hosts and
// NICs are not the reader's.
type Study struct {
	Name   string      `json:"name"`
	Title  string      `json:"title"`
	Setup  string      `json:"setup"`
	Source string      `json:"source"`
	Points []Published `json:"points"`

	// What a run must share to stand beside them, and what is told where it
	// does not; empty: not published.
	Link   string `json:"link"` // nic or loopback
	gro    string // sw or hw, where no axis says it
	Driver string `json:"driver,omitempty"`
	Speed  string `json:"speed_mbps,omitempty"`
	MTU    string `json:"mtu,omitempty"`
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
		Name:  "netdev-0x19",
		Title: "RX and TX TCP zero copy with devmem TCP and io_uring",
		Setup: "one IPv4 flow, 64 MiB messages, MTU 4148; Sapphire Rapids 48 cores, Intel E2100 200G (idpf), Linux 6.14-rc1; " +
			"5 runs of 100 s, first and last dropped; the receiver's application and softirq on 2 CPUs, or both on 1",
		Source: "talk at netdev 0x19, 2025",
		Link:   "nic", Driver: "idpf", Speed: "200000", MTU: "4148",
		Points: []Published{
			talk("baseline", "sw", "2", "", 83.85), talk("baseline", "hw", "2", "", 84.03), talk("baseline", "sw", "1", "", 60.99),
			talk("devmem", "sw", "2", "", 118.47), talk("devmem", "hw", "2", "", 111.95),
			talk("devmem", "sw", "1", "", 74.39), talk("devmem", "hw", "1", "", 131.25),
			talk("devmem", "sw", "2", "token batching in the kernel", 128.77),
			talk("devmem", "sw", "1", "token batching in the kernel", 92.42),
			talk("iouring", "sw", "2", "", 139.46), talk("iouring", "hw", "2", "", 190.06), talk("iouring", "hw", "1", "", 183.63),
		},
	},
	{
		Name:   "zcrx",
		Title:  "io_uring zero-copy receive",
		Setup:  "EPYC 9454, Broadcom BCM957508 200G, MTU 4096; application and softirq on 2 CPUs, or both on 1",
		Source: "cover letters of the io_uring zero-copy receive series on the netdev list, 2024 and 2025",
		Link:   "nic", Driver: "bnxt_en", Speed: "200000", MTU: "4096",
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
		Link:   "nic", gro: "hw", Driver: "mlx5_core", MTU: "4200",
		Points: []Published{
			{Axes: axesOf("tx", "msgzc", "rx", "trunc"), Gbps: 188.1},
			{Axes: axesOf("tx", "msgzc", "rx", "devmem"), What: "udmabuf", Gbps: 108.9},
			{Axes: axesOf("rx", "devmem"), What: "1 queue, 256 MiB", Gbps: 100.4},
			{Axes: axesOf("rx", "devmem"), What: "2 queues, 256 MiB", Gbps: 179.4},
			{Axes: axesOf("tx", "devmem", "rx", "devmem"), What: "CUDA memory, 4 flows", Gbps: 389.6},
		},
	},
	{
		Name:   "tcp-mmap",
		Title:  "TCP_ZEROCOPY_RECEIVE over loopback",
		Setup:  "loopback, MTU 61512",
		Source: "tools/testing/selftests/net/tcp_mmap.c",
		Link:   "loopback", MTU: "61512",
		Points: []Published{
			{Axes: axesOf("tx", "msgzc", "rx", "baseline"), Gbps: 18, Upper: 25},
			{Axes: axesOf("tx", "msgzc", "rx", "mmap"), Gbps: 36, Upper: 41},
		},
	},
	{
		Name:   "msgzc-bigtcp",
		Title:  "MSG_ZEROCOPY with BIG TCP",
		Setup:  "gve 200G, MTU 9000, neper",
		Source: "Linux commit a695641c8eaa",
		Link:   "nic", Driver: "gve", Speed: "200000", MTU: "9000",
		Points: []Published{
			{Axes: axesOf("tx", "baseline"), What: "64k packets", Gbps: 64.9},
			{Axes: axesOf("tx", "baseline"), What: "BIG TCP of 185k", Gbps: 64.6},
			{Axes: axesOf("tx", "msgzc"), What: "64k packets", Gbps: 131.4},
			{Axes: axesOf("tx", "msgzc"), What: "BIG TCP of 185k", Gbps: 146.6},
		},
	},
	{
		Name:   "msgzc-hugepages",
		Title:  "MSG_ZEROCOPY from huge pages",
		Setup:  "one flow, AMD Rome with its IOMMU on",
		Source: "Linux commit 394fcd8a8134",
		Link:   "nic",
		Points: []Published{
			{Axes: axesOf("tx", "baseline"), Gbps: 65}, {Axes: axesOf("tx", "msgzc"), What: "4 KiB pages", Gbps: 55},
			{Axes: axesOf("tx", "msgzc"), What: "huge pages", Gbps: 100},
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
		return Study{}, fault.Errorf(fault.Usage, "no reference %q%s; there are %s", name, nearest(name, References()),
			strings.Join(References(), ", "))
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

// Reference is a study beside a report's own figures.
type Reference struct {
	Study  Study
	Points []Beside
	// What is not as published, and what is left out for it, in a line each.
	Differing []string
}

// Beside is what a report has to show beside one published figure.
type Beside struct {
	Published
	Text    string   // was run, in words
	Value   string   // as published
	Here    string   // the report's own figure
	Cell    *Cell    // its own; nil: none
	Differs []string // what is not as published there
	not     []string // cells of the same axes that are of another kind, and why
}

// beside finds the report's own cells of a study's figures: of the same engine
// pair, link and GRO, so far as the records tell. Several of one kind: none of
// them is the one.
func (r *Report) beside(s Study) Reference {
	var list []Beside
	for _, p := range s.Points {
		b := Beside{Published: p, Text: p.text(), Value: p.value(), Here: "–"}
		var found []*Cell
		for _, c := range r.Cells {
			if len(c.Runs) == 0 || p.What != "" || !r.sameAxes(c, p) {
				continue
			}
			if why := r.unlike(c, s, p); why != "" {
				b.not = append(b.not, r.Labelled(c)+" "+why)
			} else {
				found = append(found, c)
			}
		}
		if len(found) == 1 {
			f := Known("gbps").Over(found[0].Runs)
			b.Cell, b.Differs, b.Here = found[0], s.differs(found[0]), f.Text(Places(f))
		}
		list = append(list, b)
	}
	return Reference{s, list, differing(list)}
}

func (r *Report) sameAxes(c *Cell, p Published) bool {
	for k, v := range p.Axes {
		if slices.ContainsFunc(c.Runs, func(one *Run) bool { return r.set.attribute(one, k) != v }) {
			return false
		}
	}
	return true
}

// unlike says why a cell of the right axes must not stand beside a figure.
func (r *Report) unlike(c *Cell, s Study, p Published) string {
	// An end that was not published is the ordinary one: the other was studied.
	tx, rx := cmp.Or(p.Axes["tx"], "baseline"), cmp.Or(p.Axes["rx"], "baseline")
	if i := slices.IndexFunc(modes, func(m pairOfEngines) bool { return m.name == p.Axes["mode"] }); i >= 0 {
		tx, rx = modes[i].tx, modes[i].rx
	}
	gro := cmp.Or(p.Axes["gro"], s.gro)
	for _, one := range c.Runs {
		if t, x := engine(one.Record, one.TX, "tx"), engine(one.Record, one.RX, "rx"); t != tx || x != rx {
			return fmt.Sprintf("is %s → %s, published is %s → %s", t, x, tx, rx)
		}
		if l := link(one); l != "" && l != s.Link {
			return fmt.Sprintf("went over %s, published is %s", l, s.Link)
		}
		if g := groOf(one.flat.rx); gro != "" && g != "" && g != gro {
			return fmt.Sprintf("had GRO %s, published is %s", g, gro)
		}
	}
	return ""
}

// link is what a run went over: nic, loopback, or the kind of a software
// interface; empty where no end says it.
func link(r *Run) string {
	kind := ""
	for _, f := range []facts{r.flat.tx, r.flat.rx} {
		k, driver := f.value("nic.kind"), f.value("nic.driver")
		switch {
		case f.value("nic.name") == "lo":
			return "loopback"
		case k != "" && k != "device":
			return k
		case slices.Contains([]string{"virtio_net", "vmxnet3", "hv_netvsc", "xen_netfront", "netdevsim", "zcnic", "tun"}, driver):
			return driver // its wire is a program
		case strings.HasPrefix(f.value("nic.bus"), "zcnic"):
			return "zcnic" // which answers as another driver where it is told to
		case driver != "" || k != "":
			kind = "nic"
		}
	}
	return kind
}

// groOf is the kind of GRO that a receiver's NIC had on; empty: not known.
func groOf(f facts) string {
	hw, sw := f.value("offload.rx-gro-hw"), f.value("offload.rx-gro")
	switch {
	case hw == "on":
		return "hw"
	case hw == "off" && sw == "on":
		return "sw"
	case hw == "off" && sw == "off":
		return "off"
	}
	return ""
}

// differs says what of a cell's runs is not as published, or not recorded.
func (s Study) differs(c *Cell) []string {
	var texts []string
	seen := func(of func(flat) string) string {
		var values []string
		for _, one := range c.Runs {
			values = add(values, cmp.Or(of(one.flat), "not recorded"))
		}
		return strings.Join(printable.Shorten(values), " / ")
	}
	either := func(name string) func(flat) string {
		return func(f flat) string {
			tx, rx := f.tx.value(name), f.rx.value(name)
			if tx == rx {
				return rx
			}
			return cmp.Or(tx, "?") + " → " + cmp.Or(rx, "?")
		}
	}
	if slices.ContainsFunc(c.Runs, func(one *Run) bool { return link(one) == "" }) {
		texts = append(texts, "what it went over is not recorded")
	}
	driver, speed := seen(either("nic.driver")), seen(either("nic.speed_mbps"))
	if s.Link == "nic" && (driver != s.Driver || speed != s.Speed && s.Speed != "") {
		text := "NIC " + driver
		if speed != "not recorded" {
			text += " at " + speed + " Mbit/s"
		}
		texts = append(texts, text)
	}
	if v := seen(either("nic.mtu")); v != s.MTU && s.MTU != "" {
		texts = append(texts, "MTU "+v)
	}
	if v := seen(func(f flat) string { return f.settings.value("flows") }); v != "1" && v != "not recorded" {
		texts = append(texts, v+" flows")
	}
	return texts
}

// differing gathers what is not as published beside the figures of a study, and what
// is left out for it.
func differing(list []Beside) []string {
	var texts []string
	cells := map[string][]string{}
	var order, not []string
	for _, b := range list {
		not = append(not, b.not...)
		if b.Cell == nil || len(b.Differs) == 0 {
			continue
		}
		text := strings.Join(b.Differs, ", ")
		order = add(order, text)
		cells[text] = add(cells[text], b.Text)
	}
	for _, text := range order {
		on := ""
		if len(order) > 1 {
			on = " (" + strings.Join(printable.Shorten(cells[text]), "; ") + ")"
		}
		texts = append(texts, "Not as published here: "+text+on+".")
	}
	if len(not) > 0 {
		texts = append(texts, "Left out: "+strings.Join(printable.Shorten(not), "; ")+".")
	}
	return texts
}
