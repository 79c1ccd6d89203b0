package rx

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/genl"
)

// What the kernel and drivers refuse for is told with what helps, also where they
// give no reason.
func TestCure(t *testing.T) {
	for _, c := range []struct {
		driver string
		err    error
		kind   fault.Kind
		help   string
	}{
		{"mlx5_core", &genl.Error{Errno: unix.EINVAL, Message: "tcp-data-split is disabled"}, fault.Unsupported,
			"ethtool -G eth7 tcp-data-split on"},
		{"mlx5_core", &genl.Error{Errno: unix.EOPNOTSUPP}, fault.Unsupported, "tx_port_ts off"},
		{"mlx5_core", unix.EOPNOTSUPP, fault.Unsupported, "ip link set dev eth7 xdp off"},
		{"mlx5_core", &genl.Error{Errno: unix.EINVAL, Message: "DMA device mismatch between queue 1 and 9 (multi-PF device?)"}, fault.Unsupported,
			"two PCI functions"},
		{"mlx5_core", &genl.Error{Errno: unix.EOPNOTSUPP, Message: "Device doesn't support DMA"}, fault.Unsupported, "no DMA of its own"},
		{"bnxt_en", &genl.Error{Errno: unix.EOPNOTSUPP}, fault.Unsupported, "ethtool -i eth7"},
		{"bnxt_en", &genl.Error{Errno: unix.EEXIST, Message: "unable to custom memory provider to device with XDP program attached"},
			fault.Unsupported, "xdp off"},
		{"gve", unix.EOPNOTSUPP, fault.Unsupported, "DQO RDA"},
		{"ena", unix.EOPNOTSUPP, fault.Unsupported, "probe -i eth7"},
		{"gve", &genl.Error{Errno: unix.EOPNOTSUPP, Message: "device does not support: rx_page_size"}, fault.Unsupported, "--rx-buf-len"},
		{"fbnic", &genl.Error{Errno: unix.EEXIST, Message: "designated queue already memory provider bound"}, fault.Failed, "is taken"},
		{"fbnic", &genl.Error{Errno: unix.EBUSY, Message: "designated queue already in use by AF_XDP"}, fault.Failed, "AF_XDP socket"},
		{"fbnic", &genl.Error{Errno: unix.EBUSY, Message: "rx queue leased to a virtual netdev"}, fault.Failed, "a container"},
		{"fbnic", &genl.Error{Errno: unix.EINVAL, Attribute: ".queues.id"}, fault.Failed, "/sys/class/net/eth7/queues"},
		{"fbnic", &genl.Error{Errno: unix.EINVAL, Message: "MTU is too large"}, fault.Unsupported, "ip link set eth7 mtu 1500"},
		{"fbnic", unix.EIO, fault.Failed, ""},
	} {
		kind, help := cure(c.driver, "eth7", fmt.Errorf("bind: %w", c.err))
		if kind != c.kind || !strings.Contains(help, c.help) || (c.help == "") != (help == "") || strings.Contains(help, "IFACE") {
			t.Errorf("%s: %v: %s, %q; want %s, %q", c.driver, c.err, kind, help, c.kind, c.help)
		}
	}
}
