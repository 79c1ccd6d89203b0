package answers

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// Secrets are what tells whose a machine is, as far as it is known to be looked for.
type Secrets struct {
	MACs  []net.HardwareAddr
	Addrs []netip.Addr
	Names []string // of hosts
}

// Redact puts stand-ins of the same length in place of what tells whose the NIC is,
// so that all still reads. Of the interface's description only what is listed in
// linkKept stays; in flow rules all addresses have stand-ins; hash keys go. Whatever
// else has a MAC address, an address or a host name of Secrets has stand-ins of these.
func (s *Source) Redact(secret Secrets) {
	r := newRedactor(secret)
	for i := range s.list {
		a := &s.list[i]
		for _, m := range a.Messages {
			r.structure(a.Ask, m)
			r.everywhere(m)
		}
		a.Text, a.Failed, a.Says, a.Of = r.text(a.Text), r.text(a.Failed), r.text(a.Says), r.text(a.Of)
	}
	clear(s.place) // names of questions may be others now
	for i, a := range s.list {
		s.place[question{a.Ask, a.Of}] = i
	}
	for _, text := range []*string{&s.Head.Kernel, &s.Head.Interface, &s.Head.Driver} {
		*text = r.text(*text)
	}
}

// swap is a secret as it may be met, and what stands in for it.
type swap struct {
	is, becomes []byte
	word        bool // not as a part of a longer word
}

type redactor struct {
	swaps []swap
	rules map[netip.Addr]int // addresses of flow rules, by order of appearance
}

func newRedactor(secret Secrets) *redactor {
	r := &redactor{rules: map[netip.Addr]int{}}
	n := 0
	for _, mac := range secret.MACs {
		if len(mac) != 6 || bytes.Count(mac, mac[:1]) == len(mac) { // none, all zeros or broadcast
			continue
		}
		n++
		is, becomes := mac.String(), net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)}
		between := []string{":", "-"}
		if !plainNumber(mac) {
			r.add(mac, becomes, false)
			between = append(between, "")
		}
		for _, by := range between {
			text, stand := strings.ReplaceAll(is, ":", by), strings.ReplaceAll(becomes.String(), ":", by)
			r.add([]byte(text), []byte(stand), false)
			r.add([]byte(strings.ToUpper(text)), []byte(stand), false)
		}
	}
	for _, a := range secret.Addrs {
		if a = a.Unmap().WithZone(""); a.IsLoopback() || !a.IsValid() || a.IsUnspecified() {
			continue
		}
		// Four bytes may be any number: those of IPv4 are looked for where they are
		// addresses, in flow rules.
		if a.Is6() {
			if stand := netip.MustParseAddr("2001:db8::1").As16(); !plainNumber(a.AsSlice()) {
				r.add(a.AsSlice(), stand[:], false)
			}
			r.add([]byte(a.StringExpanded()), bytes.Repeat([]byte("x"), len(a.StringExpanded())), true)
		}
		r.add([]byte(a.String()), bytes.Repeat([]byte("x"), len(a.String())), true)
	}
	for _, name := range secret.Names {
		short, _, _ := strings.Cut(name, ".")
		for _, is := range []string{name, short} {
			// Shorter ones are words of the answers, as rx is.
			if len(is) >= 4 && is != "localhost" {
				r.add([]byte(is), bytes.Repeat([]byte("x"), len(is)), true)
			}
		}
	}
	return r
}

// plainNumber says that bytes are an address that somebody has numbered by hand, such as
// 00:00:00:00:00:01 or fd00::1. It tells whose it is nobody, and the same bytes are in
// answers of any kind, as numbers.
func plainNumber(b []byte) bool { return len(b)-bytes.Count(b, []byte{0}) < 3 }

func (r *redactor) add(is, becomes []byte, word bool) {
	r.swaps = append(r.swaps, swap{slices.Clone(is), slices.Clone(becomes), word})
}

// everywhere replaces what is known in bytes of any kind.
func (r *redactor) everywhere(b []byte) {
	for _, s := range r.swaps {
		for from := 0; ; {
			i := bytes.Index(b[from:], s.is)
			if i < 0 {
				break
			}
			i += from
			from = i + len(s.is)
			if s.word && (i > 0 && inWord(b[i-1]) || from < len(b) && inWord(b[from])) {
				from = i + 1
				continue
			}
			copy(b[i:], s.becomes)
		}
	}
}

func inWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

// text is everywhere for text, which may be hexadecimal of bytes.
func (r *redactor) text(s string) string {
	b := []byte(s)
	if raw, err := hex.DecodeString(s); err == nil {
		r.everywhere(raw)
		b = []byte(hex.EncodeToString(raw))
	}
	r.everywhere(b)
	return string(b)
}

// structure replaces what is at a known place of an answer.
func (r *redactor) structure(ask string, m []byte) {
	const genericHeaders = unix.SizeofNlMsghdr + 4
	switch {
	case ask == "link" && len(m) >= unix.SizeofIfInfomsg:
		link(m[unix.SizeofIfInfomsg:])
	case strings.HasPrefix(ask, "ethtool rss-get") && len(m) >= genericHeaders && binary.NativeEndian.Uint16(m[4:]) >= unix.NLMSG_MIN_TYPE:
		for _, a := range attributes(m[genericHeaders:]) {
			if a.kind() == abi.ETHTOOL_A_RSS_HKEY {
				for i := range a.value() {
					a.value()[i] = byte(i)
				}
			}
		}
	case ask == "ioctl ETHTOOL_GDRVINFO":
		var d unix.EthtoolDrvinfo
		if _, err := binary.Decode(m, binary.NativeEndian, &d); err == nil {
			place(d.Bus_info[:])
			binary.Encode(m, binary.NativeEndian, d)
		}
	case ask == "ioctl ETHTOOL_GRXCLSRULE":
		var n abi.EthtoolRxnfc
		if copy(n.Bytes(), m) == len(m) {
			r.rule(&n)
			copy(m, n.Bytes())
		}
	}
}

// attribute is one of netlink, its header included.
type attribute []byte

func (a attribute) kind() uint16 {
	return binary.NativeEndian.Uint16(a[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
}
func (a attribute) value() []byte { return a[unix.SizeofNlAttr:] }

// leaveOut makes it one of no meaning, of the same length.
func (a attribute) leaveOut() {
	binary.NativeEndian.PutUint16(a[2:], 0)
	clear(a.value())
}

func attributes(b []byte) (all []attribute) {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			break
		}
		all = append(all, attribute(b[:size]))
		b = b[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
	}
	return all
}

// linkKept are the attributes of an interface that say nothing of whose it is. All
// others are left out: addresses, aliases, other names, identities of ports and
// switches, counters, what is of IPv4 and IPv6.
var linkKept = []uint16{
	unix.IFLA_IFNAME, unix.IFLA_MTU, unix.IFLA_LINK, unix.IFLA_MASTER, unix.IFLA_TXQLEN, unix.IFLA_OPERSTATE, unix.IFLA_LINKMODE,
	unix.IFLA_LINK_NETNSID, unix.IFLA_NUM_TX_QUEUES, unix.IFLA_NUM_RX_QUEUES, unix.IFLA_CARRIER, unix.IFLA_XDP,
	unix.IFLA_MIN_MTU, unix.IFLA_MAX_MTU, unix.IFLA_PARENT_DEV_BUS_NAME, unix.IFLA_GSO_MAX_SEGS, unix.IFLA_GSO_MAX_SIZE,
	unix.IFLA_GRO_MAX_SIZE, unix.IFLA_TSO_MAX_SIZE, unix.IFLA_TSO_MAX_SEGS, unix.IFLA_GSO_IPV4_MAX_SIZE, unix.IFLA_GRO_IPV4_MAX_SIZE,
}

func link(b []byte) {
	for _, a := range attributes(b) {
		switch kind := a.kind(); {
		case slices.Contains(linkKept, kind):
		case kind == unix.IFLA_LINKINFO:
			for _, in := range attributes(a.value()) {
				if in.kind() != unix.IFLA_INFO_KIND {
					in.leaveOut()
				}
			}
		case kind == unix.IFLA_PARENT_DEV_NAME:
			place(a.value())
		case kind == unix.IFLA_ADDRESS && len(a.value()) == 6:
			copy(a.value(), []byte{2, 0, 0, 0, 0, 1})
		default:
			a.leaveOut()
		}
	}
}

var onPCI = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$`)

// place leaves where a device is on PCI, which is as good as a slot's number; names
// on other buses may be serial numbers.
func place(b []byte) {
	text, _, _ := bytes.Cut(b, []byte{0})
	if !onPCI.Match(text) {
		copy(text, bytes.Repeat([]byte("x"), len(text)))
	}
}

// Flow types of linux/ethtool.h whose matches begin as those of TCP do.
const (
	udp4  = 0x02
	sctp4 = 0x03
	udp6  = 0x06
	sctp6 = 0x07
)

func (r *redactor) rule(n *abi.EthtoolRxnfc) {
	n.Fs.HExt.Dest = [6]byte{} // a MAC address
	switch n.Fs.FlowType &^ abi.FLOW_RSS & 0xff {
	case abi.TCP_V4_FLOW, udp4, sctp4:
		h, mask := n.Fs.H.Tcpip4(), n.Fs.M.Tcpip4()
		r.address(h.Src[:], mask.Src[:])
		r.address(h.Dst[:], mask.Dst[:])
	case abi.TCP_V6_FLOW, udp6, sctp6:
		h, mask := n.Fs.H.Tcpip6(), n.Fs.M.Tcpip6()
		r.address(h.Src[:], mask.Src[:])
		r.address(h.Dst[:], mask.Dst[:])
	default:
		n.Fs.H = abi.EthtoolFlowUnion{}
	}
}

// address gives an address of a rule one for documentation, the same for the same.
func (r *redactor) address(b, mask []byte) {
	a, _ := netip.AddrFromSlice(b)
	if a.IsUnspecified() {
		return
	}
	if r.rules[a] == 0 {
		r.rules[a] = len(r.rules) + 1
	}
	stand := netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", r.rules[a]%256))
	if a.Is6() {
		stand = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", r.rules[a]%65536))
	}
	for i, v := range stand.AsSlice() {
		b[i] = v & mask[i]
	}
}
