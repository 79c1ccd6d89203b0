package hostfacts

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ethtool asks the kernel's ethtool netlink family
// (Documentation/netlink/specs/ethtool.yaml) what the interface is set to.
func (c *collector) ethtool(index int) {
	family, err := netlink.GenlFamilyGet(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		err = fmt.Errorf("the kernel's ethtool family: %w", err)
	}
	for _, q := range []struct {
		what    string
		command uint8
		header  uint16
		parse   func(*collector, attrs) error
	}{
		{"speed_mbps", unix.ETHTOOL_MSG_LINKMODES_GET, unix.ETHTOOL_A_LINKMODES_HEADER, (*collector).linkModes},
		{"rings", unix.ETHTOOL_MSG_RINGS_GET, unix.ETHTOOL_A_RINGS_HEADER, (*collector).rings},
		{"channels", unix.ETHTOOL_MSG_CHANNELS_GET, unix.ETHTOOL_A_CHANNELS_HEADER, (*collector).channels},
		{"offload", unix.ETHTOOL_MSG_FEATURES_GET, unix.ETHTOOL_A_FEATURES_HEADER, (*collector).features},
	} {
		if err != nil {
			c.miss("nic", q.what, err)
			continue
		}
		reply, qerr := ask(family.ID, q.command, q.header, index)
		if qerr == nil {
			qerr = q.parse(c, reply)
		}
		if errors.Is(qerr, unix.EOPNOTSUPP) {
			qerr = errors.New("this driver has none")
		}
		if qerr != nil {
			c.miss("nic", q.what, qerr)
		}
	}
}

func ask(family uint16, command uint8, header uint16, index int) (attrs, error) {
	req := nl.NewNetlinkRequest(int(family), 0)
	req.AddData(&nl.Genlmsg{Command: command, Version: unix.ETHTOOL_GENL_VERSION})
	h := nl.NewRtAttr(int(header)|unix.NLA_F_NESTED, nil)
	h.AddRtAttr(unix.ETHTOOL_A_HEADER_DEV_INDEX, nl.Uint32Attr(uint32(index)))
	req.AddData(h)
	msgs, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, fmt.Errorf("ethtool netlink command %d: %w", command, err)
	}
	if len(msgs) != 1 || len(msgs[0]) < nl.SizeofGenlmsg {
		return nil, fmt.Errorf("ethtool netlink command %d: %d answers", command, len(msgs))
	}
	return parseAttrs(msgs[0][nl.SizeofGenlmsg:])
}

// attr is a netlink attribute, without the flags in its type.
type attr struct {
	kind  uint16
	value []byte
}

// attrs are the attributes of one message or nest.
type attrs []attr

// parseAttrs is not nl.ParseRouteAttr, which panics when the padding of the
// last attribute is not there.
func parseAttrs(b []byte) (attrs, error) {
	const header = unix.SizeofRtAttr
	var list attrs
	for len(b) >= header {
		size := int(binary.NativeEndian.Uint16(b))
		if size < header || size > len(b) {
			return nil, fmt.Errorf("attribute of %d bytes in %d of the ethtool answer", size, len(b))
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		list = append(list, attr{kind, b[header:size]})
		b = b[min(len(b), (size+3)&^3):]
	}
	return list, nil
}

// find gives the value of the first attribute of a type, nil when there is
// none. A flag's value is empty, not nil.
func (as attrs) find(t uint16) []byte {
	for _, a := range as {
		if a.kind == t {
			return a.value
		}
	}
	return nil
}

func (as attrs) u32(t uint16) (uint32, bool) {
	if v := as.find(t); len(v) == 4 {
		return binary.NativeEndian.Uint32(v), true
	}
	return 0, false
}

// putU32 makes facts of the attributes that the driver has.
func (c *collector) putU32(as attrs, names map[uint16]string) {
	for t, name := range names {
		if v, ok := as.u32(t); ok {
			c.put("nic", name, v)
		}
	}
}

func (c *collector) linkModes(as attrs) error {
	const unknown = 0xffffffff // SPEED_UNKNOWN of linux/ethtool.h
	v, ok := as.u32(unix.ETHTOOL_A_LINKMODES_SPEED)
	if !ok || v == unknown {
		return errors.New("the driver does not tell")
	}
	c.put("nic", "speed_mbps", v)
	return nil
}

func (c *collector) rings(as attrs) error {
	c.putU32(as, map[uint16]string{
		unix.ETHTOOL_A_RINGS_RX: "ring_rx", unix.ETHTOOL_A_RINGS_RX_MAX: "ring_rx_max",
		unix.ETHTOOL_A_RINGS_TX: "ring_tx", unix.ETHTOOL_A_RINGS_TX_MAX: "ring_tx_max",
		unix.ETHTOOL_A_RINGS_RX_BUF_LEN: "rx_buf_len", unix.ETHTOOL_A_RINGS_HDS_THRESH: "hds_thresh",
	})
	if v := as.find(unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT); len(v) == 1 {
		// enum ethtool_tcp_data_split of linux/ethtool.h
		names := []string{"unknown", "off", "on"}
		if int(v[0]) >= len(names) {
			return fmt.Errorf("tcp-data-split has a value of %d", v[0])
		}
		c.put("nic", "tcp_data_split", names[v[0]])
	}
	return nil
}

func (c *collector) channels(as attrs) error {
	c.putU32(as, map[uint16]string{
		unix.ETHTOOL_A_CHANNELS_RX_COUNT: "channels_rx", unix.ETHTOOL_A_CHANNELS_RX_MAX: "channels_rx_max",
		unix.ETHTOOL_A_CHANNELS_TX_COUNT: "channels_tx", unix.ETHTOOL_A_CHANNELS_TX_MAX: "channels_tx_max",
		unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT: "channels_combined", unix.ETHTOOL_A_CHANNELS_COMBINED_MAX: "channels_combined_max",
	})
	return nil
}

// features reads the active ones. That bitset lists the names that are on.
func (c *collector) features(as attrs) error {
	active := as.find(unix.ETHTOOL_A_FEATURES_ACTIVE)
	if active == nil {
		return errors.New("the answer has no list of active features")
	}
	on, err := bitNames(active)
	if err != nil {
		return err
	}
	for _, name := range offloads {
		if on[name] {
			c.put("offload", name, "on")
		} else {
			c.put("offload", name, "off")
		}
	}
	return nil
}

// bitNames gives the bits that are set in a bitset without a mask, in its
// verbose form: BITS{BIT{INDEX, NAME}…}.
func bitNames(b []byte) (map[string]bool, error) {
	set, err := parseAttrs(b)
	if err != nil {
		return nil, err
	}
	if set.find(unix.ETHTOOL_A_BITSET_NOMASK) == nil {
		return nil, errors.New("the list of active features has a mask")
	}
	bits, err := parseAttrs(set.find(unix.ETHTOOL_A_BITSET_BITS))
	if err != nil {
		return nil, err
	}
	on := map[string]bool{}
	for _, b := range bits {
		bit, err := parseAttrs(b.value)
		if err != nil {
			return nil, err
		}
		on[unix.ByteSliceToString(bit.find(unix.ETHTOOL_A_BITSET_BIT_NAME))] = true
	}
	return on, nil
}
