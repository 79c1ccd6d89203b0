package power

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// VXI-11 (TCP/IP Instrument Protocol, 1995) carries an instrument's messages in
// ONC RPC calls (RFC 5531). Of it this is the core channel, as much as queries
// need; the instrument's portmapper (RFC 1833) names the port of that.
const (
	portmapperPort    = "111"
	portmapperProgram = 100000
	portmapperVersion = 2
	pmapprocGetport   = 3
	ipprotoTCP        = 6

	deviceCore        = 395183
	deviceCoreVersion = 1
	createLink        = 10
	deviceWrite       = 11
	deviceRead        = 12
	destroyLink       = 23

	flagEnd   = 8 // this write is a whole message
	reasonEnd = 4 // this read ends one

	// rpcLimit is the largest reply taken; answers are short lines.
	rpcLimit = 64 << 10
)

// vxi11 is an instrument behind a link of the core channel.
type vxi11 struct {
	rpc  *rpc
	link uint32
	most uint32 // bytes in one write
}

func dialVXI11(ctx context.Context, t *target) (instrument, error) {
	port := t.port
	if port == "" {
		pm, err := dialRPC(ctx, net.JoinHostPort(t.host, portmapperPort))
		if err != nil {
			return nil, fmt.Errorf("ask the instrument's portmapper for VXI-11: %w", err)
		}
		reply, err := pm.call(ctx, portmapperProgram, portmapperVersion, pmapprocGetport, words(deviceCore, deviceCoreVersion, ipprotoTCP, 0))
		pm.conn.Close()
		if err != nil {
			return nil, fmt.Errorf("ask the instrument's portmapper for VXI-11: %w", err)
		}
		n := reply.word()
		if reply.err != nil || n == 0 || n > 65535 {
			return nil, fmt.Errorf("the portmapper of %s knows no VXI-11 instrument: give transport=socket for one with a port of its own", t.host)
		}
		port = strconv.Itoa(int(n))
	}
	r, err := dialRPC(ctx, net.JoinHostPort(t.host, port))
	if err != nil {
		return nil, err
	}
	v := &vxi11{rpc: r}
	// Client id, no lock, no wait for a lock, the device's name.
	reply, err := r.call(ctx, deviceCore, deviceCoreVersion, createLink, append(words(0, 0, 0), opaque([]byte("inst0"))...))
	if err == nil {
		err = linkError(reply)
		v.link = reply.word()
		reply.word()                     // the abort channel's port
		v.most = max(reply.word(), 1024) // the least that the standard allows
		err = errors.Join(err, reply.err)
	}
	if err != nil {
		r.conn.Close()
		return nil, fmt.Errorf("link to %s: %w", t.host, err)
	}
	return v, nil
}

func (v *vxi11) send(ctx context.Context, command string) error {
	msg := []byte(command + "\n")
	if uint32(len(msg)) > v.most {
		return fmt.Errorf("the command has %d bytes, and the instrument takes %d", len(msg), v.most)
	}
	reply, err := v.call(ctx, deviceWrite, append(words(v.link, v.wait(), 0, flagEnd), opaque(msg)...))
	if err != nil {
		return err
	}
	if n := reply.word(); reply.err == nil && n != uint32(len(msg)) {
		return fmt.Errorf("the instrument took %d of %d bytes", n, len(msg))
	}
	return reply.err
}

func (v *vxi11) ask(ctx context.Context, query string) (string, error) {
	if err := v.send(ctx, query); err != nil {
		return "", err
	}
	var answer []byte
	for {
		reply, err := v.call(ctx, deviceRead, words(v.link, 4096, v.wait(), 0, 0, 0))
		if err != nil {
			return "", err
		}
		reason, part := reply.word(), reply.opaque()
		answer = append(answer, part...)
		switch {
		case reply.err != nil:
			return "", reply.err
		case reason&reasonEnd != 0:
			return strings.TrimSpace(string(answer)), nil
		case len(part) == 0 || len(answer) > rpcLimit:
			return "", errors.New("the instrument's answer has no end")
		}
	}
}

// wait is how long the instrument may take, in ms; less than we wait for it.
func (v *vxi11) wait() uint32 { return uint32(patience.Milliseconds() * 2 / 3) }

func (v *vxi11) call(ctx context.Context, procedure uint32, args []byte) (*xdr, error) {
	reply, err := v.rpc.call(ctx, deviceCore, deviceCoreVersion, procedure, args)
	if err != nil {
		return nil, err
	}
	return reply, linkError(reply)
}

func (v *vxi11) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience/3)
	defer cancel()
	_, err := v.call(ctx, destroyLink, words(v.link))
	return errors.Join(err, v.rpc.conn.Close())
}

// linkErrors are those that a user can do something about, of table B.2.
var linkErrors = map[uint32]string{3: "it has no device inst0", 9: "it has no link to spare: close other programs that use it",
	11: "another program holds its lock", 15: "it did not answer in time"}

func linkError(reply *xdr) error {
	code := reply.word()
	switch {
	case reply.err != nil:
		return reply.err
	case code == 0:
		return nil
	case linkErrors[code] != "":
		return errors.New(linkErrors[code])
	}
	return fmt.Errorf("VXI-11 error %d", code)
}

// rpc is a connection that carries one call at a time.
type rpc struct {
	conn net.Conn
	xid  uint32
}

func dialRPC(ctx context.Context, address string) (*rpc, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &rpc{conn: c}, nil
}

func (r *rpc) call(ctx context.Context, program, version, procedure uint32, args []byte) (*xdr, error) {
	defer hurry(ctx, r.conn)()
	r.xid++
	// A call, RPC version 2, neither credentials nor a verifier.
	msg := append(words(r.xid, 0, 2, program, version, procedure, 0, 0, 0, 0), args...)
	if _, err := r.conn.Write(append(words(1<<31|uint32(len(msg))), msg...)); err != nil {
		return nil, err
	}
	record, err := readRecord(r.conn)
	if err != nil {
		return nil, err
	}
	return parseReply(record, r.xid)
}

// readRecord joins the fragments of a record (RFC 5531, section 11).
func readRecord(r io.Reader) ([]byte, error) {
	var record bytes.Buffer
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		mark := binary.BigEndian.Uint32(head[:])
		n := int64(mark &^ (1 << 31))
		if int64(record.Len())+n > rpcLimit {
			return nil, errors.New("the reply is too long for an instrument's")
		}
		if _, err := io.CopyN(&record, r, n); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		if mark>>31 == 1 {
			return record.Bytes(), nil
		}
	}
}

// parseReply gives the results of an accepted call.
func parseReply(record []byte, xid uint32) (*xdr, error) {
	x := &xdr{b: record}
	id, kind, rejected := x.word(), x.word(), x.word()
	if x.err == nil && rejected == 0 {
		x.word() // the verifier's flavour
		x.opaque()
		if status := x.word(); x.err == nil && status != 0 {
			return nil, fmt.Errorf("there is no VXI-11 behind this port (RPC status %d)", status)
		}
	}
	switch {
	case x.err != nil:
		return nil, x.err
	case id != xid || kind != 1:
		return nil, errors.New("the reply belongs to another call")
	case rejected != 0:
		return nil, errors.New("the instrument refuses the call")
	}
	return x, nil
}

// xdr takes values of RFC 4506 off the front of b; err remembers a lack.
type xdr struct {
	b   []byte
	err error
}

func (x *xdr) take(n uint64) []byte {
	if n > uint64(len(x.b)) {
		x.b, x.err = nil, errors.New("the reply is cut short")
		return nil
	}
	b := x.b[:n]
	x.b = x.b[n:]
	return b
}

func (x *xdr) word() uint32 {
	if b := x.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (x *xdr) opaque() []byte {
	n := uint64(x.word())
	b := x.take((n + 3) / 4 * 4)
	if b == nil {
		return nil
	}
	return b[:n]
}

func words(all ...uint32) []byte {
	var b []byte
	for _, w := range all {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

func opaque(data []byte) []byte {
	return append(append(words(uint32(len(data))), data...), make([]byte, (4-len(data)%4)%4)...)
}
