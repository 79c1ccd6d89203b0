// Package genl speaks generic netlink: a request, its replies, and the
// kernel's own words when it refuses. The families are in packages below it.
package genl

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"zcbench/internal/answers"
	"zcbench/internal/fault"
)

// headers is the bytes before the first attribute of a request.
const headers = unix.SizeofNlMsghdr + nl.SizeofGenlmsg

// Conn is a socket to one generic netlink family. What is bound to the socket
// (a dma-buf) lives exactly as long as the Conn is open; it must stay
// reachable until Close, because a finalizer closes a forgotten socket. A Conn
// serves one goroutine at a time.
type Conn struct {
	from   *answers.Source
	sock   *nl.NetlinkSocket // nil where a capture answers
	port   uint32
	seq    atomic.Uint32
	family family
	heard  func([]byte) // gets what the family tells everybody
}

// Op is a command of a family, with its name in the kernel's specification.
type Op struct {
	Cmd  uint8
	Name string
}

// Dial opens a socket in the network namespace of the calling thread and
// looks the family up.
func Dial(name string) (*Conn, error) { return DialFrom(nil, name) }

// DialFrom is Dial where another than the kernel may answer.
func DialFrom(from *answers.Source, name string) (*Conn, error) {
	c := &Conn{from: from}
	if !from.Playing() {
		if err := c.dial(); err != nil {
			return nil, fmt.Errorf("netlink family %s: %w", name, err)
		}
	}
	var req Request
	req.String(nl.GENL_CTRL_ATTR_FAMILY_NAME, "family-name", name)
	c.family = family{name: nl.GENL_CTRL_NAME, id: nl.GENL_ID_CTRL, version: nl.GENL_CTRL_VERSION}
	reply, err := c.Do(Op{nl.GENL_CTRL_CMD_GETFAMILY, "getfamily"}, &req)
	if err == nil {
		c.family, err = parseFamily(reply)
	}
	if err != nil {
		c.Close()
		if errors.Is(err, unix.ENOENT) {
			return nil, fault.Errorf(fault.Unsupported, "this kernel has no netlink family %q: %w", name, err)
		}
		return nil, fmt.Errorf("netlink family %s: %w", name, err)
	}
	return c, nil
}

func (c *Conn) dial() error {
	sock, err := nl.Subscribe(unix.NETLINK_GENERIC)
	if err != nil {
		return err
	}
	c.sock = sock
	c.port, err = sock.GetPid()
	// The reply is there when sendmsg returns, however long the driver took:
	// the timeout is for a kernel that never answers.
	err = errors.Join(err, sock.SetExtAck(true),
		sock.SetReceiveTimeout(&unix.Timeval{Sec: 10}))
	if err != nil {
		sock.Close()
	}
	return err
}

// Close closes the socket and releases what is bound to it.
func (c *Conn) Close() error {
	if c.sock == nil {
		return nil
	}
	return c.sock.Close()
}

// Has says whether the kernel knows the command at all.
func (c *Conn) Has(op Op) bool { return c.family.ops[op.Cmd] }

// Group is a multicast group of the family by its name.
func (c *Conn) Group(name string) (id uint32, ok bool) {
	id, ok = c.family.groups[name]
	return id, ok
}

// ID is the type of the family's messages.
func (c *Conn) ID() uint16 { return c.family.id }

// Do sends a request and gives the attributes of its reply, nil when there is
// none but the kernel's consent.
func (c *Conn) Do(op Op, req *Request) ([]byte, error) {
	var reply []byte
	err := c.exchange(op, req, unix.NLM_F_ACK, func(b []byte) error {
		reply = b
		return nil
	})
	return reply, err
}

// DoHearing is Do as a member of a multicast group of the family: heard gets what
// the kernel told the group until it answered, from the generic header on. What a
// request leads to is told before it is answered.
func (c *Conn) DoHearing(group uint32, op Op, req *Request, heard func([]byte)) error {
	if c.sock == nil {
		return fmt.Errorf("%s %s: a capture takes no settings", c.family.name, op.Name)
	}
	fd := c.sock.GetFd()
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group)); err != nil {
		return fmt.Errorf("%s %s: join its multicast group: %w", c.family.name, op.Name, err)
	}
	c.heard = heard
	_, err := c.Do(op, req)
	c.heard = nil
	return errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, int(group)))
}

// Dump sends a request and gives the attributes of each message of its reply
// to f. A dump that something changed under is begun again, after forget.
func (c *Conn) Dump(op Op, req *Request, forget func(), f func([]byte) error) error {
	err := errInterrupted
	for range 10 {
		forget()
		if err = c.exchange(op, req, unix.NLM_F_DUMP, f); !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return fmt.Errorf("%s %s: %w", c.family.name, op.Name, err)
}

var errInterrupted = errors.New("it kept changing while it was read; try again")

func (c *Conn) exchange(op Op, req *Request, flags int, f func([]byte) error) error {
	where := c.family.name + " " + op.Name
	ask := where
	if flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		ask += " dump"
	}
	reply, err := c.from.Ask(ask, hex.EncodeToString(req.b), func() (answers.Reply, error) { return c.talk(where, op, req, flags) })
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	var interrupted bool
	for _, b := range reply.Messages {
		m, err := message(b)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
		if ends(m) {
			if err := parseEnd(where, req, m); err != nil {
				return err
			}
			continue
		}
		if len(m.Data) < nl.SizeofGenlmsg {
			return fmt.Errorf("%s: malformed netlink reply: %d bytes", where, len(m.Data))
		}
		if err := f(m.Data[nl.SizeofGenlmsg:]); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

// talk sends a request and gathers the messages of its reply, up to the one that
// ends it.
func (c *Conn) talk(where string, op Op, req *Request, flags int) (reply answers.Reply, err error) {
	b, done, err := req.open()
	if err != nil {
		return reply, err
	}
	defer done()
	r := nl.NewNetlinkRequest(int(c.family.id), flags)
	r.Seq = c.seq.Add(1)
	r.AddRawData(append([]byte{op.Cmd, c.family.version, 0, 0}, b...))
	if err := c.sock.Send(r); err != nil {
		return reply, fmt.Errorf("send: %w", err)
	}
	for {
		msgs, from, err := c.sock.Receive()
		if err != nil {
			return reply, fmt.Errorf("receive: %w", err)
		}
		if from.Pid != nl.PidKernel {
			continue // only the kernel may answer
		}
		for _, m := range msgs {
			if m.Header.Pid == 0 && m.Header.Type == c.family.id && c.heard != nil {
				c.heard(m.Data)
				continue
			}
			if m.Header.Seq != r.Seq || m.Header.Pid != c.port {
				continue // a late answer to a request that timed out
			}
			reply.Messages = append(reply.Messages, raw(m))
			if ends(m) {
				if err := parseEnd(where, req, m); err != nil {
					reply.Says = err.Error()
					errors.As(err, &reply.Errno)
				}
				return reply, nil
			}
		}
	}
}

func ends(m syscall.NetlinkMessage) bool {
	return m.Header.Type == unix.NLMSG_ERROR || m.Header.Type == unix.NLMSG_DONE
}

// raw is a message from its header on, without what differs each time: sequence and
// port, in the header and in that of the request that an error echoes.
func raw(m syscall.NetlinkMessage) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(m.Data)))
	b = binary.NativeEndian.AppendUint16(b, m.Header.Type)
	b = binary.NativeEndian.AppendUint16(b, m.Header.Flags)
	b = append(append(b, make([]byte, 8)...), m.Data...)
	const echo = unix.SizeofNlMsghdr + 4
	if m.Header.Type == unix.NLMSG_ERROR && len(b) >= echo+unix.SizeofNlMsghdr {
		clear(b[echo+8 : echo+unix.SizeofNlMsghdr])
	}
	return b
}

// message reads what raw wrote.
func message(b []byte) (m syscall.NetlinkMessage, err error) {
	if len(b) < unix.SizeofNlMsghdr || int(binary.NativeEndian.Uint32(b)) != len(b) {
		return m, fmt.Errorf("malformed netlink reply: a message of %d bytes", len(b))
	}
	m.Header = syscall.NlMsghdr{Len: uint32(len(b)), Type: binary.NativeEndian.Uint16(b[4:]), Flags: binary.NativeEndian.Uint16(b[6:])}
	m.Data = b[unix.SizeofNlMsghdr:]
	return m, nil
}

// family is what the kernel says of a family.
type family struct {
	name    string
	id      uint16
	version uint8
	ops     map[uint8]bool
	groups  map[string]uint32
}

func parseFamily(b []byte) (family, error) {
	f := family{ops: map[uint8]bool{}, groups: map[string]uint32{}}
	var err error
	for a := range Attrs(b, &err) {
		switch a.Type {
		case nl.GENL_CTRL_ATTR_FAMILY_ID:
			f.id = uint16(a.Uint())
		case nl.GENL_CTRL_ATTR_FAMILY_NAME:
			f.name = a.String()
		case nl.GENL_CTRL_ATTR_VERSION:
			f.version = uint8(a.Uint())
		case nl.GENL_CTRL_ATTR_MCAST_GROUPS:
			for group := range a.Nest() {
				var name string
				var id uint32
				for v := range group.Nest() {
					switch v.Type {
					case nl.GENL_CTRL_ATTR_MCAST_GRP_NAME:
						name = v.String()
					case nl.GENL_CTRL_ATTR_MCAST_GRP_ID:
						id = v.U32()
					}
				}
				f.groups[name] = id
			}
		case nl.GENL_CTRL_ATTR_OPS:
			for op := range a.Nest() {
				for v := range op.Nest() {
					if v.Type == nl.GENL_CTRL_ATTR_OP_ID {
						f.ops[uint8(v.Uint())] = true
					}
				}
			}
		}
	}
	return f, err
}

// Attributes of an error that x/sys/unix and nl lack, from
// include/uapi/linux/netlink.h (5.20).
const (
	nlmsgerrAttrMissType = 5
	nlmsgerrAttrMissNest = 6
)

// Error is a refusal by the kernel.
type Error struct {
	Op        string // family and command
	Errno     unix.Errno
	Message   string // the kernel's text, where it gave one
	Attribute string // path of the attribute it blames, as in the kernel's specification
	Missing   uint16 // type of an attribute it misses within Attribute, 0: none
}

// Error gives all that the kernel said.
func (e *Error) Error() string {
	s := e.Op + ": " + e.Errno.Error()
	if e.Message != "" {
		s += ": " + e.Message
	}
	switch {
	case e.Missing != 0:
		s += fmt.Sprintf(" (attribute %s.%d is missing)", e.Attribute, e.Missing)
	case e.Attribute != "":
		s += " (attribute " + e.Attribute + ")"
	}
	return s
}

// Unwrap gives the errno to errors.Is.
func (e *Error) Unwrap() error { return e.Errno }

// parseEnd reads the message that ends an exchange: consent or an Error.
func parseEnd(where string, req *Request, m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		if m.Header.Type == unix.NLMSG_DONE {
			return nil // a dump of an old kernel
		}
		return fmt.Errorf("%s: malformed netlink reply: an error of %d bytes", where, len(m.Data))
	}
	errno := -int32(binary.NativeEndian.Uint32(m.Data))
	if errno == 0 {
		return nil
	}
	e := &Error{Op: where, Errno: unix.Errno(errno)}
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return e
	}
	rest := m.Data[4:]
	if m.Header.Type == unix.NLMSG_ERROR {
		// An echo of the request comes first: all of it, or its header.
		if len(rest) < unix.SizeofNlMsghdr {
			return e
		}
		echo := unix.SizeofNlMsghdr
		if m.Header.Flags&unix.NLM_F_CAPPED == 0 {
			echo = int(binary.NativeEndian.Uint32(rest))
		}
		if echo < 0 || echo > len(rest) {
			return e
		}
		rest = rest[min((echo+3)&^3, len(rest)):]
	}
	var malformed error // then what was read until there must do
	for a := range Attrs(rest, &malformed) {
		switch a.Type {
		case nl.NLMSGERR_ATTR_MSG:
			e.Message = a.String()
		case nl.NLMSGERR_ATTR_OFFS, nlmsgerrAttrMissNest:
			e.Attribute = req.at(int(a.U32()) - headers)
		case nlmsgerrAttrMissType:
			e.Missing = uint16(a.U32())
		}
	}
	return e
}
