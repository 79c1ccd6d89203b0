package ethtool

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// Match is the TCP packets that a flow rule catches: the address family is
// that of the addresses, an invalid address or a port of 0 matches any.
type Match struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
}

// String is the match as ethtool(8) writes it: "tcp4 dst-ip 198.18.0.2
// dst-port 5302".
func (m Match) String() string {
	var b strings.Builder
	b.WriteString("tcp4")
	if m.is6() {
		b.Reset()
		b.WriteString("tcp6")
	}
	if m.Src.IsValid() {
		fmt.Fprintf(&b, " src-ip %s", m.Src)
	}
	if m.Dst.IsValid() {
		fmt.Fprintf(&b, " dst-ip %s", m.Dst)
	}
	if m.SrcPort != 0 {
		fmt.Fprintf(&b, " src-port %d", m.SrcPort)
	}
	if m.DstPort != 0 {
		fmt.Fprintf(&b, " dst-port %d", m.DstPort)
	}
	return b.String()
}

func (m Match) is6() bool { return m.Src.Is6() || m.Dst.Is6() }

// Check reports a match that no rule can express.
func (m Match) Check() error {
	if m.Src.IsValid() && m.Dst.IsValid() && m.Src.Is6() != m.Dst.Is6() {
		return fmt.Errorf("flow %s: addresses of two families", m)
	}
	if !m.Src.IsValid() && !m.Dst.IsValid() {
		return fmt.Errorf("flow %s: needs an address", m)
	}
	return nil
}

// Rule is a flow rule of the NIC. Exactly one of Queue and Context says where
// it delivers: Context when it is not 0.
type Rule struct {
	Location uint32
	Match    Match
	Queue    uint32
	Context  uint32
	// Other is set when the rule is of a kind that Match cannot express; it
	// is then the kernel's structure in hexadecimal, and says all there is.
	Other string
}

// Rules lists the flow rules of an interface by location. A driver without
// flow rules gives EOPNOTSUPP.
func (c *Conn) Rules(iface string) ([]Rule, error) {
	locs, err := c.ruleLocations(iface)
	if err != nil {
		return nil, err
	}
	var all []Rule
	for _, loc := range locs {
		n := abi.EthtoolRxnfc{Cmd: unix.ETHTOOL_GRXCLSRULE}
		n.Fs.Location = loc
		if err := c.nfc(iface, "ETHTOOL_GRXCLSRULE", &n); err != nil {
			return nil, fmt.Errorf("%s: flow rule %d: %w", iface, loc, err)
		}
		all = append(all, parseRule(&n))
	}
	return all, nil
}

// nfc is abi.EthtoolNFC, by the name of its command.
func (c *Conn) nfc(iface, name string, n *abi.EthtoolRxnfc) error {
	b, err := c.ioctl(name, n.Bytes(), func() ([]byte, error) {
		err := abi.EthtoolNFC(c.fd, iface, n)
		return n.Bytes(), err
	})
	if err == nil && copy(n.Bytes(), b) != len(n.Bytes()) {
		err = fmt.Errorf("malformed answer: %d bytes", len(b))
	}
	return err
}

// listRules gives the locations of at most most rules, and the size of their table.
func (c *Conn) listRules(iface string, most uint32) (locs []uint32, size uint64, err error) {
	b, err := c.ioctl("ETHTOOL_GRXCLSRLALL", binary.NativeEndian.AppendUint32(nil, most), func() ([]byte, error) {
		locs, size, err := abi.EthtoolRuleLocations(c.fd, iface, most)
		return append(binary.NativeEndian.AppendUint64(nil, size), table32(locs)...), err
	})
	if err == nil && (len(b) < 8 || len(b)%4 != 0) {
		err = fmt.Errorf("malformed answer: %d bytes", len(b))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: list flow rules: %w", iface, err)
	}
	size = binary.NativeEndian.Uint64(b)
	for b = b[8:]; len(b) > 0; b = b[4:] {
		locs = append(locs, binary.NativeEndian.Uint32(b))
	}
	return locs, size, nil
}

func (c *Conn) ruleLocations(iface string) ([]uint32, error) {
	n := abi.EthtoolRxnfc{Cmd: unix.ETHTOOL_GRXCLSRLCNT}
	if err := c.nfc(iface, "ETHTOOL_GRXCLSRLCNT", &n); err != nil {
		return nil, fmt.Errorf("%s: count flow rules: %w", iface, err)
	}
	locs, _, err := c.listRules(iface, n.Context)
	slices.Sort(locs)
	return locs, err
}

// FreeLocation gives a place for a rule that does not take precedence over
// those that exist, or abi.RX_CLS_LOC_ANY when the driver chooses.
func (c *Conn) FreeLocation(iface string) (uint32, error) {
	n := abi.EthtoolRxnfc{Cmd: unix.ETHTOOL_GRXCLSRLCNT}
	if err := c.nfc(iface, "ETHTOOL_GRXCLSRLCNT", &n); err != nil {
		return 0, fmt.Errorf("%s: count flow rules: %w", iface, err)
	}
	if n.Data&abi.RX_CLS_LOC_SPECIAL != 0 {
		return abi.RX_CLS_LOC_ANY, nil
	}
	locs, size, err := c.listRules(iface, n.Context)
	if err != nil {
		return 0, err
	}
	for loc := uint32(size); loc > 0; loc-- {
		if !slices.Contains(locs, loc-1) {
			return loc - 1, nil
		}
	}
	return 0, fmt.Errorf("%s: its table of %d flow rules is full: %w", iface, size, unix.ENOSPC)
}

// AddRule inserts a rule at r.Location, replacing one that is there, and gives
// the location it got.
func (c *Conn) AddRule(iface string, r Rule) (uint32, error) {
	var n abi.EthtoolRxnfc
	what := r.Match.String()
	if r.Other != "" {
		what = fmt.Sprintf("at %d", r.Location)
		b, err := hex.DecodeString(r.Other)
		if err != nil || copy(n.Bytes(), b) != len(n.Bytes()) {
			return 0, fmt.Errorf("flow rule %s: %q is not the bytes of one", what, r.Other)
		}
		n.Fs.Location = r.Location
	} else {
		if err := r.Match.Check(); err != nil {
			return 0, err
		}
		n = encodeRule(r)
	}
	n.Cmd = unix.ETHTOOL_SRXCLSRLINS
	if err := c.nfc(iface, "ETHTOOL_SRXCLSRLINS", &n); err != nil {
		return 0, fmt.Errorf("%s: add flow rule %s: %w", iface, what, err)
	}
	return n.Fs.Location, nil
}

// DeleteRule removes the rule at a location.
func (c *Conn) DeleteRule(iface string, location uint32) error {
	n := abi.EthtoolRxnfc{Cmd: unix.ETHTOOL_SRXCLSRLDEL}
	n.Fs.Location = location
	if err := c.nfc(iface, "ETHTOOL_SRXCLSRLDEL", &n); err != nil {
		return fmt.Errorf("%s: delete flow rule %d: %w", iface, location, err)
	}
	return nil
}

// encodeRule fills in value and mask; a field that matches anything has both
// zero.
func encodeRule(r Rule) abi.EthtoolRxnfc {
	var n abi.EthtoolRxnfc
	n.Fs.Location = r.Location
	n.Fs.RingCookie = uint64(r.Queue)
	m := r.Match
	if m.is6() {
		n.Fs.FlowType = abi.TCP_V6_FLOW
		h, mask := n.Fs.H.Tcpip6(), n.Fs.M.Tcpip6()
		if m.Src.IsValid() {
			h.Src, mask.Src = m.Src.As16(), ones16
		}
		if m.Dst.IsValid() {
			h.Dst, mask.Dst = m.Dst.As16(), ones16
		}
		h.PSrc, mask.PSrc = port(m.SrcPort)
		h.PDst, mask.PDst = port(m.DstPort)
	} else {
		n.Fs.FlowType = abi.TCP_V4_FLOW
		h, mask := n.Fs.H.Tcpip4(), n.Fs.M.Tcpip4()
		if m.Src.IsValid() {
			h.Src, mask.Src = m.Src.As4(), ones4
		}
		if m.Dst.IsValid() {
			h.Dst, mask.Dst = m.Dst.As4(), ones4
		}
		h.PSrc, mask.PSrc = port(m.SrcPort)
		h.PDst, mask.PDst = port(m.DstPort)
	}
	if r.Context != 0 {
		n.Fs.FlowType |= abi.FLOW_RSS
		n.Context = r.Context
		n.Fs.RingCookie = 0 // added to the queue that the context gives
	}
	return n
}

var (
	ones2  = [2]byte{255, 255}
	ones4  = [4]byte{255, 255, 255, 255}
	ones16 = [16]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}
)

func port(p uint16) (value, mask [2]byte) {
	if p == 0 {
		return value, mask
	}
	binary.BigEndian.PutUint16(value[:], p)
	return value, ones2
}

// parseRule reads what encodeRule writes, and keeps any other rule as it is:
// encoding the result again must give the same structure.
func parseRule(n *abi.EthtoolRxnfc) Rule {
	r := Rule{Location: n.Fs.Location, Queue: uint32(n.Fs.RingCookie)}
	if n.Fs.FlowType&abi.FLOW_RSS != 0 {
		r.Queue, r.Context = 0, n.Context
	}
	switch n.Fs.FlowType &^ abi.FLOW_RSS {
	case abi.TCP_V4_FLOW:
		h, mask := n.Fs.H.Tcpip4(), n.Fs.M.Tcpip4()
		if mask.Src == ones4 {
			r.Match.Src = netip.AddrFrom4(h.Src)
		}
		if mask.Dst == ones4 {
			r.Match.Dst = netip.AddrFrom4(h.Dst)
		}
		r.Match.SrcPort = binary.BigEndian.Uint16(h.PSrc[:])
		r.Match.DstPort = binary.BigEndian.Uint16(h.PDst[:])
	case abi.TCP_V6_FLOW:
		h, mask := n.Fs.H.Tcpip6(), n.Fs.M.Tcpip6()
		if mask.Src == ones16 {
			r.Match.Src = netip.AddrFrom16(h.Src)
		}
		if mask.Dst == ones16 {
			r.Match.Dst = netip.AddrFrom16(h.Dst)
		}
		r.Match.SrcPort = binary.BigEndian.Uint16(h.PSrc[:])
		r.Match.DstPort = binary.BigEndian.Uint16(h.PDst[:])
	}
	want := encodeRule(r)
	got := *n
	want.Cmd, want.Data, got.Cmd, got.Data = 0, 0, 0, 0
	want.FlowType, got.FlowType = 0, 0
	if r.Context == 0 {
		got.Context = 0 // on return it may hold the count of rules
	}
	if r.Match.Check() != nil || want != got {
		return Rule{Location: r.Location, Other: hex.EncodeToString(got.Bytes())}
	}
	return r
}
