package abi

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// include/uapi/linux/ethtool.h: the SIOCETHTOOL commands that netlink does
// not carry (flow rules) or carries only on newer kernels (RSS).

// Flow types and flags of EthtoolRxFlowSpec.FlowType.
const (
	TCP_V4_FLOW = 0x01
	TCP_V6_FLOW = 0x05
	FLOW_RSS    = 0x20000000 // the rule names an RSS context (4.17)
)

// Special values of EthtoolRxFlowSpec: RingCookie and Location, and the flag
// of EthtoolRxnfc.Data that says special locations work.
const (
	RX_CLS_FLOW_DISC   = 0xffffffffffffffff
	RX_CLS_LOC_SPECIAL = 0x80000000
	RX_CLS_LOC_ANY     = 0xffffffff
)

// Special values of EthtoolRxfh.
const (
	ETH_RXFH_INDIR_NO_CHANGE = 0xffffffff
	RXH_XFRM_NO_CHANGE       = 0xff // 6.8
)

// EthtoolTcpip4Spec is struct ethtool_tcpip4_spec; all in network order.
type EthtoolTcpip4Spec struct {
	Src, Dst   [4]byte
	PSrc, PDst [2]byte
	Tos        uint8
}

// EthtoolTcpip6Spec is struct ethtool_tcpip6_spec; all in network order.
type EthtoolTcpip6Spec struct {
	Src, Dst   [16]byte
	PSrc, PDst [2]byte
	TClass     uint8
}

// EthtoolFlowUnion is union ethtool_flow_union.
type EthtoolFlowUnion [52]byte

// Tcpip4 views the union as a TCP over IPv4 match.
func (u *EthtoolFlowUnion) Tcpip4() *EthtoolTcpip4Spec {
	return (*EthtoolTcpip4Spec)(unsafe.Pointer(u))
}

// Tcpip6 views the union as a TCP over IPv6 match.
func (u *EthtoolFlowUnion) Tcpip6() *EthtoolTcpip6Spec {
	return (*EthtoolTcpip6Spec)(unsafe.Pointer(u))
}

// EthtoolFlowExt is struct ethtool_flow_ext.
type EthtoolFlowExt struct {
	_         [2]byte
	Dest      [6]byte
	VlanEtype [2]byte
	VlanTCI   [2]byte
	Data      [8]byte
}

// EthtoolRxFlowSpec is struct ethtool_rx_flow_spec.
type EthtoolRxFlowSpec struct {
	FlowType   uint32
	H          EthtoolFlowUnion
	HExt       EthtoolFlowExt
	M          EthtoolFlowUnion
	MExt       EthtoolFlowExt
	_          [4]byte
	RingCookie uint64
	Location   uint32
	_          [4]byte
}

// EthtoolRxnfc is struct ethtool_rxnfc without its trailing array.
type EthtoolRxnfc struct {
	Cmd      uint32
	FlowType uint32
	Data     uint64
	Fs       EthtoolRxFlowSpec
	Context  uint32 // a union with rule_cnt
	_        uint32 // in C the array of rule locations begins here
}

// Bytes views c as the kernel does.
func (c *EthtoolRxnfc) Bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))
}

// offsetofRuleLocs is where struct ethtool_rxnfc's array begins.
const offsetofRuleLocs = unsafe.Offsetof(EthtoolRxnfc{}.Context) + 4

// EthtoolRxfh is struct ethtool_rxfh without its trailing array.
type EthtoolRxfh struct {
	Cmd       uint32
	Context   uint32
	IndirSize uint32
	KeySize   uint32
	Hfunc     uint8
	InputXfrm uint8 // 6.8
	_         [6]byte
}

// ifreq is struct ifreq with its ifr_data.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ethtoolIoctl passes data, which may hold no pointer, through SIOCETHTOOL.
func ethtoolIoctl(fd int, iface string, data unsafe.Pointer) error {
	var r ifreq
	if len(iface) >= len(r.name) {
		return unix.ENODEV
	}
	copy(r.name[:], iface)
	r.data = data
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(&r)
	if e != 0 {
		return e
	}
	return nil
}

// EthtoolNFC runs one of the commands on flow rules that need no array:
// ETHTOOL_GRXCLSRLCNT, _GRXCLSRULE, _SRXCLSRLINS, _SRXCLSRLDEL.
func EthtoolNFC(fd int, iface string, c *EthtoolRxnfc) error {
	return ethtoolIoctl(fd, iface, unsafe.Pointer(c))
}

// EthtoolRuleLocations is ETHTOOL_GRXCLSRLALL: the locations of at most max
// flow rules, and the size of the table they are in.
func EthtoolRuleLocations(fd int, iface string, max uint32) (locs []uint32, size uint64, err error) {
	b := make([]uint64, (offsetofRuleLocs+4*uintptr(max)+7)/8+1)
	c := (*EthtoolRxnfc)(unsafe.Pointer(unsafe.SliceData(b)))
	c.Cmd, c.Context = unix.ETHTOOL_GRXCLSRLALL, max
	if err := ethtoolIoctl(fd, iface, unsafe.Pointer(c)); err != nil {
		return nil, 0, err
	}
	array := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b))), 2*len(b))[offsetofRuleLocs/4:]
	return append(locs, array[:min(c.Context, max)]...), c.Data, nil
}

// EthtoolRSS runs ETHTOOL_SRSSH with an indirection table and a key, and
// gives the context it acted on back in c.Context. c's sizes must be set: an
// empty table may mean both "reset" and "no change".
func EthtoolRSS(fd int, iface string, c *EthtoolRxfh, indir []uint32, key []byte) error {
	head := int(unsafe.Sizeof(*c))
	b := make([]byte, head, head+4*len(indir)+len(key))
	for _, q := range indir {
		b = binary.NativeEndian.AppendUint32(b, q)
	}
	b = append(b, key...)
	p := (*EthtoolRxfh)(unsafe.Pointer(unsafe.SliceData(b)))
	*p = *c
	p.Cmd = unix.ETHTOOL_SRSSH
	err := ethtoolIoctl(fd, iface, unsafe.Pointer(p))
	*c = *p
	return err
}

// ethtoolSsetInfo is struct ethtool_sset_info with room for one set.
type ethtoolSsetInfo struct {
	Cmd  uint32
	_    uint32
	Mask uint64
	Len  uint32
	_    uint32
}

// ETH_GSTRING_LEN is the space of one name, its closing zero included.
const ETH_GSTRING_LEN = 32

// ethtoolGstringsHead and ethtoolStatsHead are struct ethtool_gstrings and
// ethtool_stats without their trailing arrays.
type (
	ethtoolGstringsHead struct{ Cmd, StringSet, Len uint32 }
	ethtoolStatsHead    struct{ Cmd, NStats uint32 }
)

// ETH_SS_STATS is the set of names of a driver's own statistics.
const ETH_SS_STATS = 1

func ethtoolStatCount(fd int, iface string) (int, error) {
	info := ethtoolSsetInfo{Cmd: unix.ETHTOOL_GSSET_INFO, Mask: 1 << ETH_SS_STATS}
	if err := ethtoolIoctl(fd, iface, unsafe.Pointer(&info)); err != nil || info.Mask == 0 {
		return 0, err
	}
	return int(info.Len), nil
}

// EthtoolStatNames is ETHTOOL_GSTRINGS of ETH_SS_STATS: the names of the
// driver's own statistics, in their order.
func EthtoolStatNames(fd int, iface string) ([]string, error) {
	n, err := ethtoolStatCount(fd, iface)
	if err != nil {
		return nil, err
	}
	const head = int(unsafe.Sizeof(ethtoolGstringsHead{}))
	// The driver writes as many as it has, whatever it is told: slack is for
	// those that come in between.
	b := make([]byte, head+(n+ethtoolSlack)*ETH_GSTRING_LEN)
	g := (*ethtoolGstringsHead)(unsafe.Pointer(unsafe.SliceData(b)))
	g.Cmd, g.StringSet, g.Len = unix.ETHTOOL_GSTRINGS, ETH_SS_STATS, uint32(n)
	if err := ethtoolIoctl(fd, iface, unsafe.Pointer(g)); err != nil {
		return nil, err
	}
	var names []string
	for i := range min(int(g.Len), n) {
		names = append(names, unix.ByteSliceToString(b[head+i*ETH_GSTRING_LEN:][:ETH_GSTRING_LEN]))
	}
	return names, nil
}

const ethtoolSlack = 8192

// EthtoolStats is ETHTOOL_GSTATS into values, as many as EthtoolStatNames gave
// names. It is ESTALE when the driver has another number of them by now.
func EthtoolStats(fd int, iface string, values []uint64) error {
	if n, err := ethtoolStatCount(fd, iface); err != nil {
		return err
	} else if n != len(values) {
		return unix.ESTALE
	}
	b := make([]uint64, 1+len(values)+ethtoolSlack)
	s := (*ethtoolStatsHead)(unsafe.Pointer(unsafe.SliceData(b)))
	s.Cmd, s.NStats = unix.ETHTOOL_GSTATS, uint32(len(values))
	if err := ethtoolIoctl(fd, iface, unsafe.Pointer(s)); err != nil {
		return err
	}
	if int(s.NStats) != len(values) {
		return unix.ESTALE
	}
	copy(values, b[1:])
	return nil
}
