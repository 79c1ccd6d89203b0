package hostfacts

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// offloads are the ethtool features that decide how payload is cut, merged,
// checked and steered.
var offloads = []string{
	"rx-checksum",
	"rx-gro",
	"rx-gro-hw",
	"rx-gro-list",
	"rx-hashing",
	"rx-lro",
	"rx-ntuple-filter",
	"tls-hw-rx-offload",
	"tls-hw-tx-offload",
	"tx-checksum-ip-generic",
	"tx-checksum-ipv4",
	"tx-checksum-ipv6",
	"tx-generic-segmentation",
	"tx-gso-partial",
	"tx-scatter-gather",
	"tx-scatter-gather-fraglist",
	"tx-tcp-segmentation",
	"tx-tcp6-segmentation",
}

// nic asks the kernel, not /sys/class/net: a mounted sysfs shows the network
// namespace of whoever mounted it.
func (c *collector) nic(iface string) {
	c.put("nic", "name", iface)
	link, err := netlink.LinkByName(iface)
	if err != nil {
		c.miss("nic", "mtu", fmt.Errorf("interface %s: %w", iface, err))
		return
	}
	a := link.Attrs()
	c.put("nic", "kind", link.Type())
	c.put("nic", "mtu", a.MTU)
	c.put("nic", "link", a.OperState.String())
	c.put("nic", "rx_queues", a.NumRxQueues)
	c.put("nic", "tx_queues", a.NumTxQueues)
	c.put("nic", "xdp", a.Xdp != nil && a.Xdp.Attached)
	for name, v := range map[string]uint32{
		"gso_max_size": a.GSOMaxSize, "gso_max_segs": a.GSOMaxSegs, "gro_max_size": a.GROMaxSize,
		"gso_ipv4_max_size": a.GSOIPv4MaxSize, "gro_ipv4_max_size": a.GROIPv4MaxSize, "tso_max_size": a.TSOMaxSize,
	} {
		if v == 0 {
			c.miss("nic", name, fmt.Errorf("this kernel does not tell"))
			continue
		}
		c.put("nic", name, v)
	}
	c.qdisc(link)
	c.driver(iface)
	c.ethtool(a.Index)
}

// qdisc is the root's kind, and for a root of many queues theirs too: "mq fq".
func (c *collector) qdisc(link netlink.Link) {
	list, err := netlink.QdiscList(link)
	if err != nil {
		c.miss("nic", "qdisc", err)
		return
	}
	var root string
	var below []string
	for _, q := range list {
		a := q.Attrs()
		if a.Parent == netlink.HANDLE_ROOT {
			root = q.Type()
		} else if a.Parent != netlink.HANDLE_INGRESS && !slices.Contains(below, q.Type()) {
			below = append(below, q.Type())
		}
	}
	slices.Sort(below)
	c.put("nic", "qdisc", strings.TrimSpace(root+" "+strings.Join(below, " ")))
}

func (c *collector) driver(iface string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.miss("nic", "driver", fmt.Errorf("socket for ethtool: %w", err))
		return
	}
	defer unix.Close(fd)
	d, err := unix.IoctlGetEthtoolDrvinfo(fd, iface)
	if err != nil {
		c.miss("nic", "driver", fmt.Errorf("ETHTOOL_GDRVINFO: %w", err))
		return
	}
	for _, v := range []struct {
		name string
		text []byte
	}{{"driver", d.Driver[:]}, {"driver_version", d.Version[:]}, {"firmware", d.Fw_version[:]}, {"bus", d.Bus_info[:]}} {
		if s := unix.ByteSliceToString(v.text); s != "" && s != "N/A" {
			c.put("nic", v.name, s)
		}
	}
	c.pci(unix.ByteSliceToString(d.Bus_info[:]))
}

func (c *collector) pci(bus string) {
	dir := "sys/bus/pci/devices/" + bus
	if strings.Contains(bus, "/") || !fs.ValidPath(dir) || bus == "" {
		return
	}
	if _, err := fs.Stat(c.root, dir); err != nil {
		return // not a PCI device
	}
	c.file("nic", "numa_node", dir+"/numa_node")
	c.file("nic", "pci_speed", dir+"/current_link_speed")
	c.file("nic", "pci_width", dir+"/current_link_width")
	// The type of the group's domain: DMA, DMA-FQ, identity. It decides what
	// mapping a page for the NIC costs.
	if _, err := fs.Stat(c.root, dir+"/iommu_group"); err != nil {
		c.put("nic", "iommu", "none")
		return
	}
	c.file("nic", "iommu", dir+"/iommu_group/type")
}
