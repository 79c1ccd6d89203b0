package abi

// include/uapi/linux/netdev.h: the "netdev" generic netlink family, as of
// Linux 7.3. The family came with 6.3; a later addition names its version.

// NETDEV_FAMILY_NAME is the family's name.
const NETDEV_FAMILY_NAME = "netdev"

// Commands.
const (
	NETDEV_CMD_DEV_GET             = 1  // 6.3
	NETDEV_CMD_PAGE_POOL_GET       = 5  // 6.8
	NETDEV_CMD_PAGE_POOL_STATS_GET = 9  // 6.8
	NETDEV_CMD_QUEUE_GET           = 10 // 6.8
	NETDEV_CMD_NAPI_GET            = 11 // 6.8
	NETDEV_CMD_QSTATS_GET          = 12 // 6.9
	NETDEV_CMD_BIND_RX             = 13 // 6.12
	NETDEV_CMD_NAPI_SET            = 14 // 6.13
	NETDEV_CMD_BIND_TX             = 15 // 6.16
)

// enum netdev_queue_type.
const (
	NETDEV_QUEUE_TYPE_RX = 0
	NETDEV_QUEUE_TYPE_TX = 1
)

// NETDEV_QSTATS_SCOPE_QUEUE asks for statistics by queue.
const NETDEV_QSTATS_SCOPE_QUEUE = 1

// NETDEV_XDP_ACT_XSK_ZEROCOPY says that the driver can do AF_XDP zero copy.
const NETDEV_XDP_ACT_XSK_ZEROCOPY = 8

// enum netdev_napi_threaded (6.17).
const (
	NETDEV_NAPI_THREADED_DISABLED  = 0
	NETDEV_NAPI_THREADED_ENABLED   = 1
	NETDEV_NAPI_THREADED_BUSY_POLL = 2 // 6.18
)

// Attributes of a device.
const (
	NETDEV_A_DEV_IFINDEX                  = 1
	NETDEV_A_DEV_XDP_FEATURES             = 3
	NETDEV_A_DEV_XDP_ZC_MAX_SEGS          = 4
	NETDEV_A_DEV_XDP_RX_METADATA_FEATURES = 5
	NETDEV_A_DEV_XSK_FEATURES             = 6
)

// Attribute of an io_uring memory provider (7.0).
const NETDEV_A_IO_URING_PROVIDER_INFO_RX_BUF_LEN = 1

// Attributes of a page pool.
const (
	NETDEV_A_PAGE_POOL_ID           = 1
	NETDEV_A_PAGE_POOL_IFINDEX      = 2
	NETDEV_A_PAGE_POOL_NAPI_ID      = 3
	NETDEV_A_PAGE_POOL_INFLIGHT     = 4
	NETDEV_A_PAGE_POOL_INFLIGHT_MEM = 5
	NETDEV_A_PAGE_POOL_DETACH_TIME  = 6
	NETDEV_A_PAGE_POOL_DMABUF       = 7 // 6.12
	NETDEV_A_PAGE_POOL_IO_URING     = 8 // 6.15
)

// Attributes of a page pool's statistics.
const (
	NETDEV_A_PAGE_POOL_STATS_INFO                    = 1
	NETDEV_A_PAGE_POOL_STATS_ALLOC_FAST              = 8
	NETDEV_A_PAGE_POOL_STATS_ALLOC_SLOW              = 9
	NETDEV_A_PAGE_POOL_STATS_ALLOC_SLOW_HIGH_ORDER   = 10
	NETDEV_A_PAGE_POOL_STATS_ALLOC_EMPTY             = 11
	NETDEV_A_PAGE_POOL_STATS_ALLOC_REFILL            = 12
	NETDEV_A_PAGE_POOL_STATS_ALLOC_WAIVE             = 13
	NETDEV_A_PAGE_POOL_STATS_RECYCLE_CACHED          = 14
	NETDEV_A_PAGE_POOL_STATS_RECYCLE_CACHE_FULL      = 15
	NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING            = 16
	NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING_FULL       = 17
	NETDEV_A_PAGE_POOL_STATS_RECYCLE_RELEASED_REFCNT = 18
)

// Attributes of a NAPI instance.
const (
	NETDEV_A_NAPI_IFINDEX             = 1
	NETDEV_A_NAPI_ID                  = 2
	NETDEV_A_NAPI_IRQ                 = 3
	NETDEV_A_NAPI_PID                 = 4
	NETDEV_A_NAPI_DEFER_HARD_IRQS     = 5 // 6.13
	NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT   = 6 // 6.13, nanoseconds
	NETDEV_A_NAPI_IRQ_SUSPEND_TIMEOUT = 7 // 6.13, nanoseconds
	NETDEV_A_NAPI_THREADED            = 8 // 6.17
)

// Attributes of a queue.
const (
	NETDEV_A_QUEUE_ID       = 1
	NETDEV_A_QUEUE_IFINDEX  = 2
	NETDEV_A_QUEUE_TYPE     = 3
	NETDEV_A_QUEUE_NAPI_ID  = 4
	NETDEV_A_QUEUE_DMABUF   = 5 // 6.12
	NETDEV_A_QUEUE_IO_URING = 6 // 6.15
	NETDEV_A_QUEUE_XSK      = 7 // 6.15
	NETDEV_A_QUEUE_LEASE    = 8 // 7.1
)

// Attributes of queue statistics.
const (
	NETDEV_A_QSTATS_IFINDEX                = 1
	NETDEV_A_QSTATS_QUEUE_TYPE             = 2
	NETDEV_A_QSTATS_QUEUE_ID               = 3
	NETDEV_A_QSTATS_SCOPE                  = 4
	NETDEV_A_QSTATS_RX_PACKETS             = 8
	NETDEV_A_QSTATS_RX_BYTES               = 9
	NETDEV_A_QSTATS_TX_PACKETS             = 10
	NETDEV_A_QSTATS_TX_BYTES               = 11
	NETDEV_A_QSTATS_RX_ALLOC_FAIL          = 12
	NETDEV_A_QSTATS_RX_HW_DROPS            = 13
	NETDEV_A_QSTATS_RX_HW_DROP_OVERRUNS    = 14
	NETDEV_A_QSTATS_RX_CSUM_COMPLETE       = 15
	NETDEV_A_QSTATS_RX_CSUM_UNNECESSARY    = 16
	NETDEV_A_QSTATS_RX_CSUM_NONE           = 17
	NETDEV_A_QSTATS_RX_CSUM_BAD            = 18
	NETDEV_A_QSTATS_RX_HW_GRO_PACKETS      = 19
	NETDEV_A_QSTATS_RX_HW_GRO_BYTES        = 20
	NETDEV_A_QSTATS_RX_HW_GRO_WIRE_PACKETS = 21
	NETDEV_A_QSTATS_RX_HW_GRO_WIRE_BYTES   = 22
	NETDEV_A_QSTATS_RX_HW_DROP_RATELIMITS  = 23
	NETDEV_A_QSTATS_TX_HW_DROPS            = 24
	NETDEV_A_QSTATS_TX_HW_DROP_ERRORS      = 25
	NETDEV_A_QSTATS_TX_CSUM_NONE           = 26
	NETDEV_A_QSTATS_TX_NEEDS_CSUM          = 27
	NETDEV_A_QSTATS_TX_HW_GSO_PACKETS      = 28
	NETDEV_A_QSTATS_TX_HW_GSO_BYTES        = 29
	NETDEV_A_QSTATS_TX_HW_GSO_WIRE_PACKETS = 30
	NETDEV_A_QSTATS_TX_HW_GSO_WIRE_BYTES   = 31
	NETDEV_A_QSTATS_TX_HW_DROP_RATELIMITS  = 32
	NETDEV_A_QSTATS_TX_STOP                = 33
	NETDEV_A_QSTATS_TX_WAKE                = 34
)

// Attributes of a dma-buf binding.
const (
	NETDEV_A_DMABUF_IFINDEX      = 1
	NETDEV_A_DMABUF_QUEUES       = 2
	NETDEV_A_DMABUF_FD           = 3
	NETDEV_A_DMABUF_ID           = 4
	NETDEV_A_DMABUF_RX_PAGE_SIZE = 5 // 7.3
)
