package ethtool

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/genl"
)

// Monitor knows how to read what the kernel tells everybody of changes made by
// ethtool, with either of its interfaces.
type Monitor struct {
	Group  uint32 // of multicast, to join
	Family uint16 // type of the messages
	names  map[int]string
}

// Notice is one such message.
type Notice struct {
	Index int    // of the interface
	Name  string // of it
	What  string // was changed: "rings"
	// Features are where they are what was changed; only Active is known.
	Features map[string]Feature
}

// Monitor asks the kernel how it would tell of an interface.
func (c *Conn) Monitor(iface string) (m Monitor, err error) {
	var ok bool
	if m.Group, ok = c.c.Group(abi.ETHTOOL_MCGRP_MONITOR_NAME); !ok {
		return m, errors.New("this kernel's ethtool family has no group " + abi.ETHTOOL_MCGRP_MONITOR_NAME)
	}
	m.Family = c.c.ID()
	m.names, err = c.featureNames(iface)
	return m, err
}

// noticed are what messages are about. The rest are of no setting.
var noticed = map[uint8]string{
	unix.ETHTOOL_MSG_LINKINFO_NTF:  "port",
	unix.ETHTOOL_MSG_LINKMODES_NTF: "link speed, duplex or autonegotiation",
	unix.ETHTOOL_MSG_FEATURES_NTF:  "offloads",
	unix.ETHTOOL_MSG_PRIVFLAGS_NTF: "private flags",
	unix.ETHTOOL_MSG_RINGS_NTF:     "rings",
	unix.ETHTOOL_MSG_CHANNELS_NTF:  "channels",
	unix.ETHTOOL_MSG_COALESCE_NTF:  "interrupt coalescing",
	unix.ETHTOOL_MSG_PAUSE_NTF:     "flow control",
	unix.ETHTOOL_MSG_EEE_NTF:       "energy-efficient Ethernet",
	unix.ETHTOOL_MSG_FEC_NTF:       "forward error correction",
	unix.ETHTOOL_MSG_MODULE_NTF:    "module power mode",
	abi.ETHTOOL_MSG_RSS_NTF:        "RSS",
	abi.ETHTOOL_MSG_RSS_CREATE_NTF: "RSS contexts",
	abi.ETHTOOL_MSG_RSS_DELETE_NTF: "RSS contexts",
}

// Parse reads a message from its generic header on. One that tells of no change
// has no What.
func (m *Monitor) Parse(b []byte) (n Notice, err error) {
	const genericHeader = 4
	if len(b) < genericHeader {
		return n, fmt.Errorf("malformed notice of ethtool: %d bytes", len(b))
	}
	cmd := b[0]
	if n.What = noticed[cmd]; n.What == "" {
		return n, nil
	}
	for a := range genl.Attrs(b[genericHeader:], &err) {
		switch {
		case a.Type == unix.ETHTOOL_A_FEATURES_HEADER: // it is 1 in every message
			for v := range a.Nest() {
				switch v.Type {
				case unix.ETHTOOL_A_HEADER_DEV_INDEX:
					n.Index = int(v.U32())
				case unix.ETHTOOL_A_HEADER_DEV_NAME:
					n.Name = v.String()
				}
			}
		case cmd == unix.ETHTOOL_MSG_FEATURES_NTF && a.Type == unix.ETHTOOL_A_FEATURES_ACTIVE:
			n.Features = compact(a, m.names)
		}
	}
	return n, err
}
