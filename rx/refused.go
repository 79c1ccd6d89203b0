package rx

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/genl"
)

// refusals are what drivers and the kernel say when memory is not to be bound to a
// queue, and what helps. The texts are from net/core and drivers/net/ethernet, 7.3.
var refusals = []struct {
	driver string // "": any
	errno  unix.Errno
	text   string // part of what it says; "": nothing at all
	kind   fault.Kind
	cure   string // IFACE is the interface
}{
	{"", unix.EINVAL, "tcp-data-split", fault.Unsupported, "turn header split on: ethtool -G IFACE tcp-data-split on"},
	{"", unix.EINVAL, "hds-thresh", fault.Unsupported, "split all headers: ethtool -G IFACE hds-thresh 0"},
	{"", unix.EEXIST, "XDP", fault.Unsupported, "take the XDP program off: ip link set dev IFACE xdp off"},
	{"", unix.EBUSY, "AF_XDP", fault.Failed, "an AF_XDP socket has the queue: choose another with the option queue, or end what holds it"},
	{"", unix.EEXIST, "*", fault.Failed, "the queue is taken, by another program or XDP: choose another with the option queue, or end what " +
		"holds it (ip link show IFACE)"},
	{"", unix.EBUSY, "leased", fault.Failed, "a container has the queue: choose another with the option queue (ip link show IFACE)"},
	{"", unix.EINVAL, "multi-PF", fault.Unsupported, "the queues belong to two PCI functions of one NIC: take fewer with the option queues, " +
		"of one function (ls /sys/class/net/IFACE/device)"},
	{"", unix.EOPNOTSUPP, "rx_page_size", fault.Unsupported, "the driver of IFACE fills buffers of a page only: leave --rx-buf-len out"},
	{"", unix.EINVAL, "not aligned to niov", fault.Failed, "the memory is in pieces smaller than rx-buf-len: reserve huge pages (sysctl " +
		"vm.nr_hugepages) and take a dma-buf of them (--mem hugepages)"},
	{"", unix.EINVAL, "unknown attribute", fault.Unsupported, "this kernel fills pages only: leave --rx-buf-len out, or take Linux 7.3"},
	{"", unix.ERANGE, "page size", fault.Unsupported, "the driver of IFACE cannot fill buffers of that size: take a smaller --rx-buf-len"},
	{"", unix.EOPNOTSUPP, "DMA", fault.Unsupported, "IFACE has no DMA of its own: name the NIC beneath it"},
	// What mlx5e_queue_mem_alloc refuses for is in the kernel's log alone.
	{"mlx5_core", unix.EOPNOTSUPP, "", fault.Unsupported, "mlx5 restarts no queue while there is XDP, PTP or HTB: ip link set dev IFACE xdp " +
		"off; ethtool --set-priv-flags IFACE tx_port_ts off; hwstamp_ctl -i IFACE -r 0; tc qdisc del dev IFACE root"},
	{"bnxt_en", unix.EOPNOTSUPP, "", fault.Unsupported, "bnxt lets queues go from the P5 chips on, with firmware that can (ethtool -i IFACE " +
		"shows it)"},
	{"gve", unix.EOPNOTSUPP, "", fault.Unsupported, "gve lets queues of IFACE go in the format DQO RDA only, which the machine type decides"},
	{"", unix.EOPNOTSUPP, "*", fault.Unsupported, "the driver of IFACE cannot let a queue go; zcbench probe -i IFACE says more"},
	{"", unix.EPERM, "*", fault.Unsupported, "needs CAP_NET_ADMIN: run as root"},
	{"", unix.ENOMEM, "*", fault.Failed, "the memory is too small to fill the queue's ring: a larger mem-size, or a smaller ring: ethtool " +
		"-G IFACE rx N"},
	{"", unix.ERANGE, "*", fault.Failed, "see which queues there are: ls /sys/class/net/IFACE/queues; more: ethtool -L IFACE"},
	{"", unix.EINVAL, "mtu", fault.Unsupported, "lower the MTU: ip link set IFACE mtu 1500"},
}

// cure finds what helps against a refusal; "" is that nothing is known.
func cure(driver, iface string, err error) (fault.Kind, string) {
	text := ""
	if e, ok := errors.AsType[*genl.Error](err); ok {
		text = e.Message
		if strings.HasSuffix(e.Attribute, ".queues.id") {
			err = unix.ERANGE
		}
	}
	for _, r := range refusals {
		says := r.text == "*" || r.text == "" && text == "" || r.text != "" && strings.Contains(strings.ToLower(text), strings.ToLower(r.text))
		if (r.driver == "" || r.driver == driver) && errors.Is(err, r.errno) && says {
			return r.kind, strings.ReplaceAll(r.cure, "IFACE", iface)
		}
	}
	return fault.Failed, ""
}
