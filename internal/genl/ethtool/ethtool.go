// Package ethtool speaks the kernel's "ethtool" netlink family (rings,
// channels, coalescing, features, RSS, link modes) and, for what that family
// lacks, the SIOCETHTOOL ioctl (flow rules).
package ethtool

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/answers"
	"zcbench/internal/genl"
)

// Conn asks about interfaces of the network namespace it was dialed in. It
// serves one goroutine at a time.
type Conn struct {
	c    *genl.Conn
	from *answers.Source
	fd   int // a socket of the same namespace, for ioctls; -1 where a capture answers
}

// Dial opens a Conn in the network namespace of the calling thread.
func Dial() (*Conn, error) { return DialFrom(nil) }

// DialFrom is Dial where another than the kernel may answer.
func DialFrom(from *answers.Source) (*Conn, error) {
	c, err := genl.DialFrom(from, abi.ETHTOOL_GENL_NAME)
	if err != nil {
		return nil, err
	}
	if from.Playing() {
		return &Conn{c, from, -1}, nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("socket for ethtool ioctls: %w", err)
	}
	return &Conn{c, from, fd}, nil
}

// Close releases the sockets.
func (c *Conn) Close() error {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	return c.c.Close()
}

// ioctl asks for what call has the kernel fill in, whose bytes it gives.
func (c *Conn) ioctl(name string, request []byte, call func() ([]byte, error)) ([]byte, error) {
	reply, err := c.from.Ask("ioctl "+name, hex.EncodeToString(request), func() (answers.Reply, error) {
		b, err := call()
		return answers.Reply{Messages: []answers.Hex{b}}, err
	})
	if err != nil {
		return nil, err
	}
	if len(reply.Messages) != 1 {
		return nil, fmt.Errorf("malformed answer: %d structures", len(reply.Messages))
	}
	return reply.Messages[0], nil
}

// Driver is the name of an interface's driver, its version and where it sits
// on its bus.
type Driver struct{ Name, Version, Firmware, Bus string }

// Driver reads which driver an interface has.
func (c *Conn) Driver(iface string) (Driver, error) {
	b, err := c.ioctl("ETHTOOL_GDRVINFO", nil, func() ([]byte, error) {
		d, err := unix.IoctlGetEthtoolDrvinfo(c.fd, iface)
		if err != nil {
			return nil, err
		}
		return binary.Append(nil, binary.NativeEndian, d)
	})
	var d unix.EthtoolDrvinfo
	if err == nil {
		_, err = binary.Decode(b, binary.NativeEndian, &d)
	}
	if err != nil {
		return Driver{}, fmt.Errorf("driver of %s: %w", iface, err)
	}
	return Driver{
		Name:     unix.ByteSliceToString(d.Driver[:]),
		Version:  unix.ByteSliceToString(d.Version[:]),
		Firmware: unix.ByteSliceToString(d.Fw_version[:]),
		Bus:      unix.ByteSliceToString(d.Bus_info[:]),
	}, nil
}

// header adds the nest that begins every request of the family; its type is 1
// in each.
func header(iface string) *genl.Request {
	req := &genl.Request{}
	req.Nest(unix.ETHTOOL_A_RINGS_HEADER, "header", func() {
		req.String(unix.ETHTOOL_A_HEADER_DEV_NAME, "dev-name", iface)
	})
	return req
}

// Values are numbers by the names of the kernel's specification
// (Documentation/netlink/specs/ethtool.yaml). One that is absent is not
// supported by the driver.
type Values map[string]uint64

// field is one number of a command.
type field struct {
	typ  uint16
	name string
	set  int // bytes that it takes in a request, 0: it cannot be set
}

// table is a pair of commands that read and write a set of numbers.
type table struct {
	get, set genl.Op
	fields   []field
}

func (c *Conn) read(t table, iface string) (Values, error) {
	b, err := c.c.Do(t.get, header(iface))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iface, err)
	}
	v, err := t.parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", iface, t.get.Name, err)
	}
	return v, nil
}

func (t table) parse(b []byte) (Values, error) {
	v := Values{}
	var err error
	for a := range genl.Attrs(b, &err) {
		for _, f := range t.fields {
			if f.typ == a.Type {
				v[f.name] = a.Uint()
			}
		}
	}
	return v, err
}

func (c *Conn) write(t table, iface string, v Values) error {
	req, err := t.request(iface, v)
	if err != nil {
		return err
	}
	if _, err := c.c.Do(t.set, req); err != nil {
		return fmt.Errorf("%s: %w", iface, err)
	}
	return nil
}

// request is what sets values.
func (t table) request(iface string, v Values) (*genl.Request, error) {
	req := header(iface)
	left := len(v)
	for _, f := range t.fields {
		n, ok := v[f.name]
		if !ok {
			continue
		}
		switch f.set {
		case 1:
			req.U8(f.typ, f.name, uint8(n))
		case 4:
			req.U32(f.typ, f.name, uint32(n))
		default:
			continue
		}
		left--
	}
	if left != 0 {
		return nil, fmt.Errorf("%s: %s cannot set all of %v", iface, t.set.Name, v)
	}
	return req, nil
}

var rings = table{
	get: genl.Op{Cmd: unix.ETHTOOL_MSG_RINGS_GET, Name: "rings-get"},
	set: genl.Op{Cmd: unix.ETHTOOL_MSG_RINGS_SET, Name: "rings-set"},
	fields: []field{
		{unix.ETHTOOL_A_RINGS_RX_MAX, "rx-max", 0},
		{unix.ETHTOOL_A_RINGS_TX_MAX, "tx-max", 0},
		{unix.ETHTOOL_A_RINGS_RX, "rx", 4},
		{unix.ETHTOOL_A_RINGS_RX_MINI, "rx-mini", 4},
		{unix.ETHTOOL_A_RINGS_RX_JUMBO, "rx-jumbo", 4},
		{unix.ETHTOOL_A_RINGS_TX, "tx", 4},
		{unix.ETHTOOL_A_RINGS_RX_BUF_LEN, "rx-buf-len", 4},
		{unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT, "tcp-data-split", 1},
		{unix.ETHTOOL_A_RINGS_CQE_SIZE, "cqe-size", 4},
		{unix.ETHTOOL_A_RINGS_TX_PUSH, "tx-push", 1},
		{unix.ETHTOOL_A_RINGS_RX_PUSH, "rx-push", 1},
		{unix.ETHTOOL_A_RINGS_TX_PUSH_BUF_LEN, "tx-push-buf-len", 4},
		{unix.ETHTOOL_A_RINGS_HDS_THRESH, "hds-thresh", 4},
		{unix.ETHTOOL_A_RINGS_HDS_THRESH_MAX, "hds-thresh-max", 0},
	},
}

// Settable are the names that each family of numbers can have set, whatever a driver has,
// and the most that the kernel has room for: 1 is a switch.
func Settable() map[string]map[string]uint64 {
	most := map[int]uint64{1: 1, 4: math.MaxUint32}
	all := map[string]map[string]uint64{}
	for family, t := range map[string]table{"ring": rings, "channels": channels, "coalesce": coalesce, "pause": pause, "eee": eee} {
		all[family] = map[string]uint64{}
		for _, f := range t.fields {
			if f.set > 0 {
				all[family][strings.TrimSuffix(f.name, "-count")] = most[f.set]
			}
		}
	}
	return all
}

// Rings reads ring sizes and header split: "rx", "tx", "rx-max",
// "tcp-data-split" (ETHTOOL_TCP_DATA_SPLIT_*), "hds-thresh" …
func (c *Conn) Rings(iface string) (Values, error) { return c.read(rings, iface) }

// SetRings writes the values given and leaves the others.
func (c *Conn) SetRings(iface string, v Values) error { return c.write(rings, iface, v) }

// ConfigureRings is SetRings. Changed says that the
// kernel told everybody of a change. It keeps quiet where all was configured so
// before, which for header split Rings does not tell: a driver may report what it
// does unasked, and then binding memory to a queue is still refused.
func (c *Conn) ConfigureRings(iface string, v Values) (changed bool, err error) {
	req, err := rings.request(iface, v)
	if err != nil {
		return false, err
	}
	m, err := c.Monitor(iface)
	if err != nil {
		return false, err
	}
	err = c.c.DoHearing(m.Group, rings.set, req, func(b []byte) {
		if n, err := m.Parse(b); err == nil && n.Name == iface && n.What == noticed[unix.ETHTOOL_MSG_RINGS_NTF] {
			changed = true
		}
	})
	if err != nil {
		return changed, fmt.Errorf("%s: %w", iface, err)
	}
	return changed, nil
}

// SplitsHeaders asks the driver of an interface, whose reply to Rings does not
// mention header split, whether it has it: nobody has configured it then, and
// configuring that changes nothing. It needs CAP_NET_ADMIN.
func (c *Conn) SplitsHeaders(iface string) error {
	return c.write(rings, iface, Values{"tcp-data-split": abi.ETHTOOL_TCP_DATA_SPLIT_UNKNOWN})
}

var channels = table{
	get: genl.Op{Cmd: unix.ETHTOOL_MSG_CHANNELS_GET, Name: "channels-get"},
	set: genl.Op{Cmd: unix.ETHTOOL_MSG_CHANNELS_SET, Name: "channels-set"},
	fields: []field{
		{unix.ETHTOOL_A_CHANNELS_RX_MAX, "rx-max", 0},
		{unix.ETHTOOL_A_CHANNELS_TX_MAX, "tx-max", 0},
		{unix.ETHTOOL_A_CHANNELS_COMBINED_MAX, "combined-max", 0},
		{unix.ETHTOOL_A_CHANNELS_RX_COUNT, "rx-count", 4},
		{unix.ETHTOOL_A_CHANNELS_TX_COUNT, "tx-count", 4},
		{unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT, "combined-count", 4},
	},
}

// Channels reads the numbers of queues: "rx-count", "combined-count",
// "combined-max" …
func (c *Conn) Channels(iface string) (Values, error) { return c.read(channels, iface) }

// SetChannels writes the values given and leaves the others.
func (c *Conn) SetChannels(iface string, v Values) error { return c.write(channels, iface, v) }

var coalesce = table{
	get: genl.Op{Cmd: unix.ETHTOOL_MSG_COALESCE_GET, Name: "coalesce-get"},
	set: genl.Op{Cmd: unix.ETHTOOL_MSG_COALESCE_SET, Name: "coalesce-set"},
	fields: []field{
		{unix.ETHTOOL_A_COALESCE_RX_USECS, "rx-usecs", 4},
		{unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES, "rx-max-frames", 4},
		{unix.ETHTOOL_A_COALESCE_RX_USECS_IRQ, "rx-usecs-irq", 4},
		{unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_IRQ, "rx-max-frames-irq", 4},
		{unix.ETHTOOL_A_COALESCE_TX_USECS, "tx-usecs", 4},
		{unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES, "tx-max-frames", 4},
		{unix.ETHTOOL_A_COALESCE_TX_USECS_IRQ, "tx-usecs-irq", 4},
		{unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_IRQ, "tx-max-frames-irq", 4},
		{unix.ETHTOOL_A_COALESCE_STATS_BLOCK_USECS, "stats-block-usecs", 4},
		{unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX, "use-adaptive-rx", 1},
		{unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_TX, "use-adaptive-tx", 1},
		{unix.ETHTOOL_A_COALESCE_PKT_RATE_LOW, "pkt-rate-low", 4},
		{unix.ETHTOOL_A_COALESCE_RX_USECS_LOW, "rx-usecs-low", 4},
		{unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_LOW, "rx-max-frames-low", 4},
		{unix.ETHTOOL_A_COALESCE_TX_USECS_LOW, "tx-usecs-low", 4},
		{unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_LOW, "tx-max-frames-low", 4},
		{unix.ETHTOOL_A_COALESCE_PKT_RATE_HIGH, "pkt-rate-high", 4},
		{unix.ETHTOOL_A_COALESCE_RX_USECS_HIGH, "rx-usecs-high", 4},
		{unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_HIGH, "rx-max-frames-high", 4},
		{unix.ETHTOOL_A_COALESCE_TX_USECS_HIGH, "tx-usecs-high", 4},
		{unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_HIGH, "tx-max-frames-high", 4},
		{unix.ETHTOOL_A_COALESCE_RATE_SAMPLE_INTERVAL, "rate-sample-interval", 4},
		{unix.ETHTOOL_A_COALESCE_USE_CQE_MODE_TX, "use-cqe-mode-tx", 1},
		{unix.ETHTOOL_A_COALESCE_USE_CQE_MODE_RX, "use-cqe-mode-rx", 1},
		{abi.ETHTOOL_A_COALESCE_TX_AGGR_MAX_BYTES, "tx-aggr-max-bytes", 4},
		{abi.ETHTOOL_A_COALESCE_TX_AGGR_MAX_FRAMES, "tx-aggr-max-frames", 4},
		{abi.ETHTOOL_A_COALESCE_TX_AGGR_TIME_USECS, "tx-aggr-time-usecs", 4},
		{abi.ETHTOOL_A_COALESCE_RX_CQE_FRAMES, "rx-cqe-frames", 4},
		{abi.ETHTOOL_A_COALESCE_RX_CQE_NSECS, "rx-cqe-nsecs", 4},
	},
}

// Coalesce reads interrupt moderation: "rx-usecs", "use-adaptive-rx" …
func (c *Conn) Coalesce(iface string) (Values, error) { return c.read(coalesce, iface) }

// SetCoalesce writes the values given and leaves the others.
func (c *Conn) SetCoalesce(iface string, v Values) error { return c.write(coalesce, iface, v) }

var linkModes = table{
	get: genl.Op{Cmd: unix.ETHTOOL_MSG_LINKMODES_GET, Name: "linkmodes-get"},
	fields: []field{
		{unix.ETHTOOL_A_LINKMODES_SPEED, "speed", 0},
		{unix.ETHTOOL_A_LINKMODES_DUPLEX, "duplex", 0},
		{unix.ETHTOOL_A_LINKMODES_LANES, "lanes", 0},
	},
}

// Speed is the speed of the link in Mbit/s, 0 when it is not known.
func (c *Conn) Speed(iface string) (uint64, error) {
	v, err := c.read(linkModes, iface)
	if err != nil {
		return 0, err
	}
	if v["speed"] == 1<<32-1 { // SPEED_UNKNOWN
		return 0, nil
	}
	return v["speed"], nil
}
