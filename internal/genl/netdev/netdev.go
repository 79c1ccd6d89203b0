// Package netdev speaks the kernel's "netdev" netlink family: queues, NAPI
// instances, page pools, statistics and the binding of dma-bufs.
package netdev

import (
	"fmt"

	"zcbench/internal/abi"
	"zcbench/internal/answers"
	"zcbench/internal/genl"
)

// Conn is a socket to the family, in the network namespace it was dialed in.
// It serves one goroutine at a time.
type Conn struct{ c *genl.Conn }

// Dial opens a Conn in the network namespace of the calling thread.
func Dial() (*Conn, error) { return DialFrom(nil) }

// DialFrom is Dial where another than the kernel may answer.
func DialFrom(from *answers.Source) (*Conn, error) {
	c, err := genl.DialFrom(from, abi.NETDEV_FAMILY_NAME)
	if err != nil {
		return nil, err
	}
	return &Conn{c}, nil
}

// Close releases the socket and every dma-buf bound through it. While a TX
// binding is held, close before its device is unregistered: Linux 7.2 oopses
// the other way round.
func (c *Conn) Close() error { return c.c.Close() }

// The commands, by their names in Documentation/netlink/specs/netdev.yaml.
var (
	devGet           = genl.Op{Cmd: abi.NETDEV_CMD_DEV_GET, Name: "dev-get"}
	queueGet         = genl.Op{Cmd: abi.NETDEV_CMD_QUEUE_GET, Name: "queue-get"}
	napiGet          = genl.Op{Cmd: abi.NETDEV_CMD_NAPI_GET, Name: "napi-get"}
	napiSet          = genl.Op{Cmd: abi.NETDEV_CMD_NAPI_SET, Name: "napi-set"}
	pagePoolGet      = genl.Op{Cmd: abi.NETDEV_CMD_PAGE_POOL_GET, Name: "page-pool-get"}
	pagePoolStatsGet = genl.Op{Cmd: abi.NETDEV_CMD_PAGE_POOL_STATS_GET, Name: "page-pool-stats-get"}
	qstatsGet        = genl.Op{Cmd: abi.NETDEV_CMD_QSTATS_GET, Name: "qstats-get"}
	bindRX           = genl.Op{Cmd: abi.NETDEV_CMD_BIND_RX, Name: "bind-rx"}
	bindTX           = genl.Op{Cmd: abi.NETDEV_CMD_BIND_TX, Name: "bind-tx"}
)

// CanSetNAPI says whether the kernel has settings of single NAPI instances
// (6.13).
func (c *Conn) CanSetNAPI() bool { return c.c.Has(napiSet) }

// CanBindRX says whether the kernel has devmem TCP receive (6.12). The driver
// may still not.
func (c *Conn) CanBindRX() bool { return c.c.Has(bindRX) }

// CanBindTX says whether the kernel has devmem TCP transmit (6.16).
func (c *Conn) CanBindTX() bool { return c.c.Has(bindTX) }

// Device is what a driver offers to XDP and AF_XDP, as bits of
// NETDEV_XDP_ACT_*, NETDEV_XDP_RX_METADATA_* and NETDEV_XSK_FLAGS_*.
type Device struct {
	XDP           uint64
	XDPZCMaxSegs  uint32
	XDPRXMetadata uint64
	XSK           uint64
}

// Device reads what the driver of an interface offers.
func (c *Conn) Device(ifindex int) (Device, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_DEV_IFINDEX, "ifindex", uint32(ifindex))
	b, err := c.c.Do(devGet, &req)
	if err != nil {
		return Device{}, err
	}
	return parseDevice(b)
}

func parseDevice(b []byte) (d Device, err error) {
	for a := range genl.Attrs(b, &err) {
		switch a.Type {
		case abi.NETDEV_A_DEV_XDP_FEATURES:
			d.XDP = a.Uint()
		case abi.NETDEV_A_DEV_XDP_ZC_MAX_SEGS:
			d.XDPZCMaxSegs = a.U32()
		case abi.NETDEV_A_DEV_XDP_RX_METADATA_FEATURES:
			d.XDPRXMetadata = a.Uint()
		case abi.NETDEV_A_DEV_XSK_FEATURES:
			d.XSK = a.Uint()
		}
	}
	return d, err
}

// Direction is that of a queue; receive and transmit queues are numbered apart.
type Direction uint32

// The directions.
const (
	RX Direction = abi.NETDEV_QUEUE_TYPE_RX
	TX Direction = abi.NETDEV_QUEUE_TYPE_TX
)

// String is "rx" or "tx".
func (d Direction) String() string {
	switch d {
	case RX:
		return "rx"
	case TX:
		return "tx"
	}
	return fmt.Sprintf("type-%d", uint32(d))
}

// Queue is one queue of an interface and who provides its memory.
type Queue struct {
	ID        uint32
	Direction Direction
	NAPI      uint32 // 0: none, as while the interface is down
	DMABuf    uint32 // binding whose dma-buf the queue receives into, 0: none
	IOUring   bool   // an io_uring zcrx instance provides the memory
	XSK       bool   // an AF_XDP socket does
	Leased    bool   // another interface has it on lease
}

// Free says that ordinary memory backs the queue.
func (q Queue) Free() bool { return q.DMABuf == 0 && !q.IOUring && !q.XSK && !q.Leased }

// Provider names what backs the queue, "" for ordinary memory.
func (q Queue) Provider() string {
	switch {
	case q.DMABuf != 0:
		return fmt.Sprintf("dma-buf binding %d", q.DMABuf)
	case q.IOUring:
		return "io_uring zcrx"
	case q.XSK:
		return "AF_XDP"
	case q.Leased:
		return "lease"
	}
	return ""
}

// Queues lists the queues of an interface. It is empty while the interface is
// down on kernels before 6.14.
func (c *Conn) Queues(ifindex int) ([]Queue, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_QUEUE_IFINDEX, "ifindex", uint32(ifindex))
	return dump(c, queueGet, &req, parseQueue)
}

// Queue reads one queue.
func (c *Conn) Queue(ifindex int, d Direction, id uint32) (Queue, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_QUEUE_IFINDEX, "ifindex", uint32(ifindex))
	req.U32(abi.NETDEV_A_QUEUE_TYPE, "type", uint32(d))
	req.U32(abi.NETDEV_A_QUEUE_ID, "id", id)
	b, err := c.c.Do(queueGet, &req)
	if err != nil {
		return Queue{}, err
	}
	return parseQueue(b)
}

func parseQueue(b []byte) (q Queue, err error) {
	for a := range genl.Attrs(b, &err) {
		switch a.Type {
		case abi.NETDEV_A_QUEUE_ID:
			q.ID = a.U32()
		case abi.NETDEV_A_QUEUE_TYPE:
			q.Direction = Direction(a.U32())
		case abi.NETDEV_A_QUEUE_NAPI_ID:
			q.NAPI = a.U32()
		case abi.NETDEV_A_QUEUE_DMABUF:
			q.DMABuf = a.U32()
		case abi.NETDEV_A_QUEUE_IO_URING:
			q.IOUring = true
		case abi.NETDEV_A_QUEUE_XSK:
			q.XSK = true
		case abi.NETDEV_A_QUEUE_LEASE:
			q.Leased = true
		}
	}
	return q, err
}

// NAPI is one instance of the receive poller. What a kernel does not tell is
// nil.
type NAPI struct {
	ID                uint32
	IRQ               *uint32
	PID               uint32 // of its thread, 0: it runs in softirq
	DeferHardIRQs     *uint64
	GROFlushTimeout   *uint64 // nanoseconds
	IRQSuspendTimeout *uint64 // nanoseconds
	Threaded          *uint64 // NETDEV_NAPI_THREADED_*
}

// NAPIs lists the instances of an interface that is up.
func (c *Conn) NAPIs(ifindex int) ([]NAPI, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_NAPI_IFINDEX, "ifindex", uint32(ifindex))
	return dump(c, napiGet, &req, parseNAPI)
}

func parseNAPI(b []byte) (n NAPI, err error) {
	for a := range genl.Attrs(b, &err) {
		switch a.Type {
		case abi.NETDEV_A_NAPI_ID:
			n.ID = a.U32()
		case abi.NETDEV_A_NAPI_IRQ:
			n.IRQ = new(a.U32())
		case abi.NETDEV_A_NAPI_PID:
			n.PID = a.U32()
		case abi.NETDEV_A_NAPI_DEFER_HARD_IRQS:
			n.DeferHardIRQs = new(a.Uint())
		case abi.NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT:
			n.GROFlushTimeout = new(a.Uint())
		case abi.NETDEV_A_NAPI_IRQ_SUSPEND_TIMEOUT:
			n.IRQSuspendTimeout = new(a.Uint())
		case abi.NETDEV_A_NAPI_THREADED:
			n.Threaded = new(a.Uint())
		}
	}
	return n, err
}

// SetNAPI writes those settings of instance n.ID that are not nil; IRQ and PID
// cannot be set.
func (c *Conn) SetNAPI(n NAPI) error {
	var req genl.Request
	req.U32(abi.NETDEV_A_NAPI_ID, "id", n.ID)
	for _, s := range []struct {
		typ  uint16
		name string
		v    *uint64
	}{
		{abi.NETDEV_A_NAPI_DEFER_HARD_IRQS, "defer-hard-irqs", n.DeferHardIRQs},
		{abi.NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT, "gro-flush-timeout", n.GROFlushTimeout},
		{abi.NETDEV_A_NAPI_IRQ_SUSPEND_TIMEOUT, "irq-suspend-timeout", n.IRQSuspendTimeout},
		{abi.NETDEV_A_NAPI_THREADED, "threaded", n.Threaded},
	} {
		if s.v != nil {
			req.Uint(s.typ, s.name, *s.v)
		}
	}
	_, err := c.c.Do(napiSet, &req)
	return err
}

// dump runs a dump whose messages parse understands.
func dump[T any](c *Conn, op genl.Op, req *genl.Request, parse func([]byte) (T, error)) ([]T, error) {
	var all []T
	err := c.c.Dump(op, req, func() { all = nil }, func(b []byte) error {
		v, err := parse(b)
		all = append(all, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
