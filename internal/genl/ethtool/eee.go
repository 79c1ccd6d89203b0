package ethtool

import (
	"golang.org/x/sys/unix"

	"zcbench/internal/genl"
)

var eee = table{
	get: genl.Op{Cmd: unix.ETHTOOL_MSG_EEE_GET, Name: "eee-get"},
	set: genl.Op{Cmd: unix.ETHTOOL_MSG_EEE_SET, Name: "eee-set"},
	fields: []field{
		{unix.ETHTOOL_A_EEE_ENABLED, "enabled", 1},
		{unix.ETHTOOL_A_EEE_TX_LPI_ENABLED, "tx-lpi-enabled", 1},
		{unix.ETHTOOL_A_EEE_TX_LPI_TIMER, "tx-lpi-timer", 4},
	},
}

// EEE reads energy-efficient Ethernet (IEEE 802.3az), by which an idle link sleeps:
// "enabled" and "tx-lpi-enabled" are 0 or 1, "tx-lpi-timer" is in µs.
func (c *Conn) EEE(iface string) (Values, error) { return c.read(eee, iface) }

// SetEEE writes the values given and leaves the others.
func (c *Conn) SetEEE(iface string, v Values) error { return c.write(eee, iface, v) }
