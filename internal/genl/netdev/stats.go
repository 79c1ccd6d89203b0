package netdev

import (
	"zcbench/internal/abi"
	"zcbench/internal/genl"
)

// PagePool is one page pool of an interface.
type PagePool struct {
	ID          uint32
	Ifindex     int
	NAPI        uint32 // 0: none
	Inflight    uint64 // pages allocated and not yet freed
	InflightMem uint64 // bytes
	Detached    bool   // its queue is gone; it waits for its pages
	DMABuf      uint32 // binding that provides its memory, 0: none
	IOUring     bool   // an io_uring zcrx instance does
}

// PagePools lists the page pools of an interface, detached ones included.
func (c *Conn) PagePools(ifindex int) ([]PagePool, error) {
	all, err := dump(c, pagePoolGet, &genl.Request{}, parsePagePool)
	if err != nil {
		return nil, err
	}
	return of(ifindex, all, func(p PagePool) int { return p.Ifindex }), nil
}

func parsePagePool(b []byte) (p PagePool, err error) {
	for a := range genl.Attrs(b, &err) {
		switch a.Type {
		case abi.NETDEV_A_PAGE_POOL_ID:
			p.ID = a.U32()
		case abi.NETDEV_A_PAGE_POOL_IFINDEX:
			p.Ifindex = int(a.U32())
		case abi.NETDEV_A_PAGE_POOL_NAPI_ID:
			p.NAPI = a.U32()
		case abi.NETDEV_A_PAGE_POOL_INFLIGHT:
			p.Inflight = a.Uint()
		case abi.NETDEV_A_PAGE_POOL_INFLIGHT_MEM:
			p.InflightMem = a.Uint()
		case abi.NETDEV_A_PAGE_POOL_DETACH_TIME:
			p.Detached = true
		case abi.NETDEV_A_PAGE_POOL_DMABUF:
			p.DMABuf = a.U32()
		case abi.NETDEV_A_PAGE_POOL_IO_URING:
			p.IOUring = true
		}
	}
	return p, err
}

// Counters are raw totals by the names of the kernel's specification. One
// that is absent is not counted there.
type Counters map[string]uint64

// PagePoolStats is the counters of one page pool.
type PagePoolStats struct {
	ID       uint32
	Ifindex  int
	Counters Counters
}

// PagePoolStats lists the counters of an interface's page pools. The kernel
// needs CONFIG_PAGE_POOL_STATS.
func (c *Conn) PagePoolStats(ifindex int) ([]PagePoolStats, error) {
	all, err := dump(c, pagePoolStatsGet, &genl.Request{}, parsePagePoolStats)
	if err != nil {
		return nil, err
	}
	return of(ifindex, all, func(p PagePoolStats) int { return p.Ifindex }), nil
}

var pagePoolCounters = map[uint16]string{
	abi.NETDEV_A_PAGE_POOL_STATS_ALLOC_FAST:              "alloc-fast",
	abi.NETDEV_A_PAGE_POOL_STATS_ALLOC_SLOW:              "alloc-slow",
	abi.NETDEV_A_PAGE_POOL_STATS_ALLOC_SLOW_HIGH_ORDER:   "alloc-slow-high-order",
	abi.NETDEV_A_PAGE_POOL_STATS_ALLOC_EMPTY:             "alloc-empty",
	abi.NETDEV_A_PAGE_POOL_STATS_ALLOC_REFILL:            "alloc-refill",
	abi.NETDEV_A_PAGE_POOL_STATS_ALLOC_WAIVE:             "alloc-waive",
	abi.NETDEV_A_PAGE_POOL_STATS_RECYCLE_CACHED:          "recycle-cached",
	abi.NETDEV_A_PAGE_POOL_STATS_RECYCLE_CACHE_FULL:      "recycle-cache-full",
	abi.NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING:            "recycle-ring",
	abi.NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING_FULL:       "recycle-ring-full",
	abi.NETDEV_A_PAGE_POOL_STATS_RECYCLE_RELEASED_REFCNT: "recycle-released-refcnt",
}

func parsePagePoolStats(b []byte) (p PagePoolStats, err error) {
	p.Counters = Counters{}
	for a := range genl.Attrs(b, &err) {
		if a.Type == abi.NETDEV_A_PAGE_POOL_STATS_INFO {
			for i := range a.Nest() {
				switch i.Type {
				case abi.NETDEV_A_PAGE_POOL_ID:
					p.ID = i.U32()
				case abi.NETDEV_A_PAGE_POOL_IFINDEX:
					p.Ifindex = int(i.U32())
				}
			}
		} else if name := pagePoolCounters[a.Type]; name != "" {
			p.Counters[name] = a.Uint()
		}
	}
	return p, err
}

// QueueStats is the counters of one queue since its last reconfiguration.
type QueueStats struct {
	Ifindex   int
	ID        uint32
	Direction Direction
	Counters  Counters
}

// Stats gives an interface's counters since the last reset of the device.
func (c *Conn) Stats(ifindex int) (Counters, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_QSTATS_IFINDEX, "ifindex", uint32(ifindex))
	all, err := dump(c, qstatsGet, &req, parseQueueStats)
	if err != nil {
		return nil, err
	}
	total := Counters{}
	for _, q := range of(ifindex, all, func(q QueueStats) int { return q.Ifindex }) {
		for name, n := range q.Counters {
			total[name] += n
		}
	}
	return total, nil
}

// QueueStats gives the counters of an interface by queue.
func (c *Conn) QueueStats(ifindex int) ([]QueueStats, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_QSTATS_IFINDEX, "ifindex", uint32(ifindex))
	req.U32(abi.NETDEV_A_QSTATS_SCOPE, "scope", abi.NETDEV_QSTATS_SCOPE_QUEUE)
	all, err := dump(c, qstatsGet, &req, parseQueueStats)
	if err != nil {
		return nil, err
	}
	return of(ifindex, all, func(q QueueStats) int { return q.Ifindex }), nil
}

var queueCounters = map[uint16]string{
	abi.NETDEV_A_QSTATS_RX_PACKETS:             "rx-packets",
	abi.NETDEV_A_QSTATS_RX_BYTES:               "rx-bytes",
	abi.NETDEV_A_QSTATS_TX_PACKETS:             "tx-packets",
	abi.NETDEV_A_QSTATS_TX_BYTES:               "tx-bytes",
	abi.NETDEV_A_QSTATS_RX_ALLOC_FAIL:          "rx-alloc-fail",
	abi.NETDEV_A_QSTATS_RX_HW_DROPS:            "rx-hw-drops",
	abi.NETDEV_A_QSTATS_RX_HW_DROP_OVERRUNS:    "rx-hw-drop-overruns",
	abi.NETDEV_A_QSTATS_RX_CSUM_COMPLETE:       "rx-csum-complete",
	abi.NETDEV_A_QSTATS_RX_CSUM_UNNECESSARY:    "rx-csum-unnecessary",
	abi.NETDEV_A_QSTATS_RX_CSUM_NONE:           "rx-csum-none",
	abi.NETDEV_A_QSTATS_RX_CSUM_BAD:            "rx-csum-bad",
	abi.NETDEV_A_QSTATS_RX_HW_GRO_PACKETS:      "rx-hw-gro-packets",
	abi.NETDEV_A_QSTATS_RX_HW_GRO_BYTES:        "rx-hw-gro-bytes",
	abi.NETDEV_A_QSTATS_RX_HW_GRO_WIRE_PACKETS: "rx-hw-gro-wire-packets",
	abi.NETDEV_A_QSTATS_RX_HW_GRO_WIRE_BYTES:   "rx-hw-gro-wire-bytes",
	abi.NETDEV_A_QSTATS_RX_HW_DROP_RATELIMITS:  "rx-hw-drop-ratelimits",
	abi.NETDEV_A_QSTATS_TX_HW_DROPS:            "tx-hw-drops",
	abi.NETDEV_A_QSTATS_TX_HW_DROP_ERRORS:      "tx-hw-drop-errors",
	abi.NETDEV_A_QSTATS_TX_CSUM_NONE:           "tx-csum-none",
	abi.NETDEV_A_QSTATS_TX_NEEDS_CSUM:          "tx-needs-csum",
	abi.NETDEV_A_QSTATS_TX_HW_GSO_PACKETS:      "tx-hw-gso-packets",
	abi.NETDEV_A_QSTATS_TX_HW_GSO_BYTES:        "tx-hw-gso-bytes",
	abi.NETDEV_A_QSTATS_TX_HW_GSO_WIRE_PACKETS: "tx-hw-gso-wire-packets",
	abi.NETDEV_A_QSTATS_TX_HW_GSO_WIRE_BYTES:   "tx-hw-gso-wire-bytes",
	abi.NETDEV_A_QSTATS_TX_HW_DROP_RATELIMITS:  "tx-hw-drop-ratelimits",
	abi.NETDEV_A_QSTATS_TX_STOP:                "tx-stop",
	abi.NETDEV_A_QSTATS_TX_WAKE:                "tx-wake",
}

func parseQueueStats(b []byte) (q QueueStats, err error) {
	q.Counters = Counters{}
	for a := range genl.Attrs(b, &err) {
		switch a.Type {
		case abi.NETDEV_A_QSTATS_IFINDEX:
			q.Ifindex = int(a.U32())
		case abi.NETDEV_A_QSTATS_QUEUE_TYPE:
			q.Direction = Direction(a.U32())
		case abi.NETDEV_A_QSTATS_QUEUE_ID:
			q.ID = a.U32()
		default:
			if name := queueCounters[a.Type]; name != "" {
				q.Counters[name] = a.Uint()
			}
		}
	}
	return q, err
}

// of picks what belongs to an interface: older kernels take no filter.
func of[T any](ifindex int, all []T, index func(T) int) []T {
	var mine []T
	for _, v := range all {
		if index(v) == ifindex {
			mine = append(mine, v)
		}
	}
	return mine
}
