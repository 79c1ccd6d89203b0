package ringcfg

import (
	"maps"
	"os"
	"testing"
)

// A handler is a folder, whatever the names of the files beside it.
func TestHandlers(t *testing.T) {
	root := t.TempDir()
	h := &host{root: root, sys: root + "/sys", iface: "eth0"}
	for _, dir := range []string{"/sys/class/net/eth0/device/msi_irqs", "/proc/irq/9/eth0-TxRx-0", "/proc/irq/10/eth0",
		"/proc/irq/11/a name"} {
		if err := os.MkdirAll(root+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"sys/class/net/eth0/device/msi_irqs/9", "sys/class/net/eth0/device/msi_irqs/10",
		"sys/class/net/eth0/device/msi_irqs/11",
		"proc/irq/9/affinity_hint", "proc/irq/9/smp_affinity_list", "proc/irq/9/spurious", "proc/irq/11/spurious"} {
		if err := os.WriteFile(root+"/"+file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := h.handlers(), map[uint32]string{9: "eth0-TxRx-0", 11: "a name"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestInterruptsByHandler: the names are those that Linux 7.3's drivers give.
func TestInterruptsByHandler(t *testing.T) {
	for driver, c := range map[string]struct {
		handlers map[uint32]string
		want     map[string]uint32
	}{
		"virtio_net": {map[uint32]string{33: "virtio3-config", 34: "virtio3-input.0", 35: "virtio3-output.0"},
			map[string]uint32{"rx-0": 34, "tx-0": 35}},
		"vmxnet3": {map[uint32]string{33: "zc1-rxtx-0", 34: "zc1-rxtx-1", 35: "zc1-event-2"}, map[string]uint32{"rx-0": 33,
			"tx-0": 33, "rx-1": 34, "tx-1": 34}},
		"vmxnet3, not shared": {map[uint32]string{33: "zc1-tx-0", 34: "zc1-tx-1", 35: "zc1-rx-2", 36: "zc1-rx-3"},
			map[string]uint32{"rx-0": 35, "tx-0": 33, "rx-1": 36, "tx-1": 34}},
		"e1000e": {map[uint32]string{33: "zc1-rx-0", 34: "zc1-tx-0"}, map[string]uint32{"rx-0": 33, "tx-0": 34}},
		"igb, ixgbe, bnxt": {map[uint32]string{9: "eth0-TxRx-1", 10: "eth0-TxRx-0"}, map[string]uint32{"rx-0": 10, "tx-0": 10, "rx-1": 9,
			"tx-1": 9}},
		"i40e, ice": {map[uint32]string{9: "i40e-eth0-TxRx-0", 10: "i40e-0000:01:00.0:misc"}, map[string]uint32{"rx-0": 9,
			"tx-0": 9}},
		"ena": {map[uint32]string{8: "ena-mgmnt@pci:0000:00:05.0", 9: "ens5-Tx-Rx-0"}, map[string]uint32{"rx-0": 9,
			"tx-0": 9}},
		"more than ten":          {map[uint32]string{1: "e-rx-10", 2: "e-rx-9", 3: "e-rx-8"}, map[string]uint32{"rx-0": 3, "rx-1": 2, "rx-2": 1}},
		"mlx5, which has no say": {map[uint32]string{9: "mlx5_comp0@pci:0000:01:00.0", 10: "mlx5_async0@pci:0000:01:00.0"}, map[string]uint32{}},
	} {
		if got := byHandler(c.handlers); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", driver, got, c.want)
		}
	}
	if !before("rx-10", "tx-0") || !before("rx-9", "rx-10") || before("rx-1", "rx-1") {
		t.Error("order of queues")
	}
}
