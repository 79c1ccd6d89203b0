package abi

// include/uapi/linux/ethtool_netlink_generated.h, as of Linux 7.3: what
// golang.org/x/sys/unix lacks of the "ethtool" generic netlink family.

// ETHTOOL_GENL_NAME is the family's name.
const ETHTOOL_GENL_NAME = "ethtool"

// ETHTOOL_MCGRP_MONITOR_NAME is the group that hears of changes.
const ETHTOOL_MCGRP_MONITOR_NAME = "monitor"

// Commands.
const (
	ETHTOOL_MSG_RSS_SET        = 48 // 6.17
	ETHTOOL_MSG_RSS_CREATE_ACT = 49 // 6.17
	ETHTOOL_MSG_RSS_DELETE_ACT = 50 // 6.17
)

// Messages of the kernel.
const (
	ETHTOOL_MSG_RSS_NTF        = 50 // 6.17
	ETHTOOL_MSG_RSS_CREATE_NTF = 52 // 6.19
	ETHTOOL_MSG_RSS_DELETE_NTF = 53 // 6.19
)

// enum ethtool_tcp_data_split.
const (
	ETHTOOL_TCP_DATA_SPLIT_UNKNOWN  = 0
	ETHTOOL_TCP_DATA_SPLIT_DISABLED = 1
	ETHTOOL_TCP_DATA_SPLIT_ENABLED  = 2
)

// Attributes of RSS.
const (
	ETHTOOL_A_RSS_HEADER     = 1
	ETHTOOL_A_RSS_CONTEXT    = 2
	ETHTOOL_A_RSS_HFUNC      = 3
	ETHTOOL_A_RSS_INDIR      = 4
	ETHTOOL_A_RSS_HKEY       = 5
	ETHTOOL_A_RSS_INPUT_XFRM = 6 // 6.10
)

// Attributes of coalescing that are not in x/sys/unix.
const (
	ETHTOOL_A_COALESCE_TX_AGGR_MAX_BYTES  = 26 // 6.3
	ETHTOOL_A_COALESCE_TX_AGGR_MAX_FRAMES = 27 // 6.3
	ETHTOOL_A_COALESCE_TX_AGGR_TIME_USECS = 28 // 6.3
	ETHTOOL_A_COALESCE_RX_CQE_FRAMES      = 31 // 7.1
	ETHTOOL_A_COALESCE_RX_CQE_NSECS       = 32 // 7.1
)
