package netdev

import (
	"fmt"
	"os"

	"zcbench/internal/abi"
	"zcbench/internal/genl"
)

// BindRX makes receive queues deliver payload into a dma-buf and gives the
// binding's id. It lasts until c is closed. pageSize is the size of the
// buffers the dma-buf is cut into, 0 for the kernel's page (others need 7.3).
func (c *Conn) BindRX(ifindex, dmabuf int, queues []uint32, pageSize uint32) (uint32, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_DMABUF_IFINDEX, "ifindex", uint32(ifindex))
	req.U32(abi.NETDEV_A_DMABUF_FD, "fd", uint32(dmabuf))
	for _, q := range queues {
		req.Nest(abi.NETDEV_A_DMABUF_QUEUES, "queues", func() {
			req.U32(abi.NETDEV_A_QUEUE_TYPE, "type", abi.NETDEV_QUEUE_TYPE_RX)
			req.U32(abi.NETDEV_A_QUEUE_ID, "id", q)
		})
	}
	if pageSize != 0 {
		req.U32(abi.NETDEV_A_DMABUF_RX_PAGE_SIZE, "rx-page-size", pageSize)
	}
	return c.bind(bindRX, &req)
}

// BindTX lets sockets send from a dma-buf through an interface and gives the
// binding's id, for SCM_DEVMEM_DMABUF. It lasts until c is closed.
func (c *Conn) BindTX(ifindex, dmabuf int) (uint32, error) {
	var req genl.Request
	req.U32(abi.NETDEV_A_DMABUF_IFINDEX, "ifindex", uint32(ifindex))
	req.U32(abi.NETDEV_A_DMABUF_FD, "fd", uint32(dmabuf))
	return c.bind(bindTX, &req)
}

// Offer is memory to ask with. A record has Kind in place of its number.
type Offer struct {
	Kind [4]byte
	Open func() (genl.File, error)
}

// Nothing is no dma-buf, and refused by every kernel, at the latest when it looks.
var Nothing = Offer{[4]byte{'n', 'o', 'n', 'e'}, func() (genl.File, error) {
	f, err := os.Open(os.DevNull)
	return null{f}, err
}}

type null struct{ *os.File }

func (n null) FD() int { return int(n.Fd()) }

// OfferRX is BindRX with queue 0, to see what it says.
func (c *Conn) OfferRX(ifindex int, o Offer) error {
	var req genl.Request
	req.U32(abi.NETDEV_A_DMABUF_IFINDEX, "ifindex", uint32(ifindex))
	req.File(abi.NETDEV_A_DMABUF_FD, "fd", o.Kind, o.Open)
	req.Nest(abi.NETDEV_A_DMABUF_QUEUES, "queues", func() {
		req.U32(abi.NETDEV_A_QUEUE_TYPE, "type", abi.NETDEV_QUEUE_TYPE_RX)
		req.U32(abi.NETDEV_A_QUEUE_ID, "id", 0)
	})
	_, err := c.bind(bindRX, &req)
	return err
}

// OfferTX is BindTX, to see what it says.
func (c *Conn) OfferTX(ifindex int, o Offer) error {
	var req genl.Request
	req.U32(abi.NETDEV_A_DMABUF_IFINDEX, "ifindex", uint32(ifindex))
	req.File(abi.NETDEV_A_DMABUF_FD, "fd", o.Kind, o.Open)
	_, err := c.bind(bindTX, &req)
	return err
}

func (c *Conn) bind(op genl.Op, req *genl.Request) (uint32, error) {
	b, err := c.c.Do(op, req)
	if err != nil {
		return 0, err
	}
	id, err := parseBinding(b)
	if err != nil {
		return 0, fmt.Errorf("netdev %s: %w", op.Name, err)
	}
	return id, nil
}

func parseBinding(b []byte) (id uint32, err error) {
	for a := range genl.Attrs(b, &err) {
		if a.Type == abi.NETDEV_A_DMABUF_ID {
			id = a.U32()
		}
	}
	if err == nil && id == 0 {
		err = fmt.Errorf("malformed netlink reply: no id of the binding")
	}
	return id, err
}
