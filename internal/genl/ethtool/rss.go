package ethtool

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/genl"
)

var (
	rssGet    = genl.Op{Cmd: unix.ETHTOOL_MSG_RSS_GET, Name: "rss-get"}
	rssSet    = genl.Op{Cmd: abi.ETHTOOL_MSG_RSS_SET, Name: "rss-set"}
	rssCreate = genl.Op{Cmd: abi.ETHTOOL_MSG_RSS_CREATE_ACT, Name: "rss-create-act"}
	rssDelete = genl.Op{Cmd: abi.ETHTOOL_MSG_RSS_DELETE_ACT, Name: "rss-delete-act"}
)

// RSS is how one context spreads flows over queues; context 0 is the
// interface's own.
type RSS struct {
	Context uint32
	Indir   []uint32 // queue by hash modulo the length
	Key     []byte
}

// RSS reads one context.
func (c *Conn) RSS(iface string, context uint32) (RSS, error) {
	req := header(iface)
	if context != 0 {
		req.U32(abi.ETHTOOL_A_RSS_CONTEXT, "context", context)
	}
	b, err := c.c.Do(rssGet, req)
	if err != nil {
		return RSS{}, fmt.Errorf("%s: %w", iface, err)
	}
	r, err := parseRSS(b)
	if err != nil {
		return RSS{}, fmt.Errorf("%s: rss-get: %w", iface, err)
	}
	return r, nil
}

// RSSContexts reads every context of an interface. Kernels before 6.12 list
// context 0 alone.
func (c *Conn) RSSContexts(iface string) ([]RSS, error) {
	var all []RSS
	err := c.c.Dump(rssGet, header(iface), func() { all = nil }, func(b []byte) error {
		r, err := parseRSS(b)
		all = append(all, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iface, err)
	}
	return all, nil
}

func parseRSS(b []byte) (r RSS, err error) {
	for a := range genl.Attrs(b, &err) {
		switch a.Type {
		case abi.ETHTOOL_A_RSS_CONTEXT:
			r.Context = a.U32()
		case abi.ETHTOOL_A_RSS_INDIR:
			r.Indir = a.U32s()
		case abi.ETHTOOL_A_RSS_HKEY:
			r.Key = append([]byte(nil), a.Data...)
		}
	}
	return r, err
}

// SetIndir writes the table of a context. An empty one resets context 0 to
// the driver's default, which from then on follows the number of queues.
func (c *Conn) SetIndir(iface string, context uint32, indir []uint32) error {
	if !c.c.Has(rssSet) {
		return c.rssIoctl(iface, abi.EthtoolRxfh{Context: context, IndirSize: uint32(len(indir)), InputXfrm: abi.RXH_XFRM_NO_CHANGE}, indir, nil)
	}
	req := rssRequest(iface, context)
	req.Bytes(abi.ETHTOOL_A_RSS_INDIR, "indir", table32(indir))
	return c.rssDo(iface, rssSet, req)
}

// SetKey writes the hash key of a context.
func (c *Conn) SetKey(iface string, context uint32, key []byte) error {
	if !c.c.Has(rssSet) {
		return c.rssIoctl(iface, abi.EthtoolRxfh{Context: context, IndirSize: abi.ETH_RXFH_INDIR_NO_CHANGE, KeySize: uint32(len(key)),
			InputXfrm: abi.RXH_XFRM_NO_CHANGE}, nil, key)
	}
	req := rssRequest(iface, context)
	req.Bytes(abi.ETHTOOL_A_RSS_HKEY, "hkey", key)
	return c.rssDo(iface, rssSet, req)
}

// ErrNoContexts says that the kernel cannot make an RSS context under a number
// chosen beforehand.
var ErrNoContexts = errors.New("RSS contexts need Linux 6.17")

// CreateRSS makes a context under a number that is free, with the table given.
func (c *Conn) CreateRSS(iface string, context uint32, indir []uint32) error {
	if !c.c.Has(rssCreate) {
		return fmt.Errorf("%s: %w", iface, ErrNoContexts)
	}
	req := rssRequest(iface, context)
	req.Bytes(abi.ETHTOOL_A_RSS_INDIR, "indir", table32(indir))
	return c.rssDo(iface, rssCreate, req)
}

// DeleteRSS removes a context that no flow rule names.
func (c *Conn) DeleteRSS(iface string, context uint32) error {
	if !c.c.Has(rssDelete) {
		return fmt.Errorf("%s: %w", iface, ErrNoContexts)
	}
	return c.rssDo(iface, rssDelete, rssRequest(iface, context))
}

func rssRequest(iface string, context uint32) *genl.Request {
	req := header(iface)
	if context != 0 {
		req.U32(abi.ETHTOOL_A_RSS_CONTEXT, "context", context)
	}
	return req
}

func (c *Conn) rssDo(iface string, op genl.Op, req *genl.Request) error {
	if _, err := c.c.Do(op, req); err != nil {
		return fmt.Errorf("%s: %w", iface, err)
	}
	return nil
}

// rssIoctl serves kernels before 6.17. Before 6.8 the transformation was a
// reserved byte that must be 0.
func (c *Conn) rssIoctl(iface string, r abi.EthtoolRxfh, indir []uint32, key []byte) error {
	err := abi.EthtoolRSS(c.fd, iface, &r, indir, key)
	if errors.Is(err, unix.EINVAL) && r.InputXfrm != 0 {
		r.InputXfrm = 0
		err = abi.EthtoolRSS(c.fd, iface, &r, indir, key)
	}
	if err != nil {
		return fmt.Errorf("%s: ioctl ETHTOOL_SRSSH: %w", iface, err)
	}
	return nil
}

func table32(v []uint32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, n := range v {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}
