package ethtool

import (
	"golang.org/x/sys/unix"

	"zcbench/internal/genl"
)

var pause = table{
	get: genl.Op{Cmd: unix.ETHTOOL_MSG_PAUSE_GET, Name: "pause-get"},
	set: genl.Op{Cmd: unix.ETHTOOL_MSG_PAUSE_SET, Name: "pause-set"},
	fields: []field{
		{unix.ETHTOOL_A_PAUSE_AUTONEG, "autoneg", 1},
		{unix.ETHTOOL_A_PAUSE_RX, "rx", 1},
		{unix.ETHTOOL_A_PAUSE_TX, "tx", 1},
	},
}

// Pause reads flow control of the link, each 0 or 1: "autoneg", "rx", "tx".
func (c *Conn) Pause(iface string) (Values, error) { return c.read(pause, iface) }

// SetPause writes the values given and leaves the others.
func (c *Conn) SetPause(iface string, v Values) error { return c.write(pause, iface, v) }
