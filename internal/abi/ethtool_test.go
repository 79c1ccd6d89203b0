package abi

import (
	"testing"
	"unsafe"
)

// The sizes and offsets are those of include/uapi/linux/ethtool.h on 64-bit.
func TestEthtoolLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"ethtool_tcpip4_spec", unsafe.Sizeof(EthtoolTcpip4Spec{}), 13},
		{"ethtool_tcpip4_spec.tos", unsafe.Offsetof(EthtoolTcpip4Spec{}.Tos), 12},
		{"ethtool_tcpip6_spec.tclass", unsafe.Offsetof(EthtoolTcpip6Spec{}.TClass), 36},
		{"ethtool_flow_union", unsafe.Sizeof(EthtoolFlowUnion{}), 52},
		{"ethtool_flow_ext", unsafe.Sizeof(EthtoolFlowExt{}), 20},
		{"ethtool_rx_flow_spec", unsafe.Sizeof(EthtoolRxFlowSpec{}), 168},
		{"ethtool_rx_flow_spec.m_u", unsafe.Offsetof(EthtoolRxFlowSpec{}.M), 76},
		{"ethtool_rx_flow_spec.ring_cookie", unsafe.Offsetof(EthtoolRxFlowSpec{}.RingCookie), 152},
		{"ethtool_rxnfc", unsafe.Sizeof(EthtoolRxnfc{}), 192},
		{"ethtool_rxnfc.fs", unsafe.Offsetof(EthtoolRxnfc{}.Fs), 16},
		{"ethtool_rxnfc.rule_locs", offsetofRuleLocs, 188},
		{"ethtool_rxfh", unsafe.Sizeof(EthtoolRxfh{}), 24},
		{"ethtool_rxfh.input_xfrm", unsafe.Offsetof(EthtoolRxfh{}.InputXfrm), 17},
		{"ifreq", unsafe.Sizeof(ifreq{}), 40},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
}

func TestStatSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"ethtool_sset_info.sset_mask", unsafe.Offsetof(ethtoolSsetInfo{}.Mask), 8},
		{"ethtool_sset_info.data", unsafe.Offsetof(ethtoolSsetInfo{}.Len), 16},
		{"ethtool_gstrings.data", unsafe.Sizeof(ethtoolGstringsHead{}), 12},
		{"ethtool_stats.data", unsafe.Sizeof(ethtoolStatsHead{}), 8},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
}
