package genl

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Request is the attributes of a request. Each carries the name that the
// kernel's specification gives it, so that an error can name the one the
// kernel blames. The zero value is an empty request.
type Request struct {
	b     []byte
	names []named
	path  string // of the nest being filled
	files []file
}

// file is one whose number is put in when the request is sent.
type file struct {
	offset int
	open   func() (File, error)
}

// File is an open file, of memory for example.
type File interface {
	FD() int
	Close() error
}

// named says where an attribute begins.
type named struct {
	offset int
	path   string
}

func (r *Request) begin(typ uint16, name string, size int) {
	r.names = append(r.names, named{len(r.b), r.path + "." + name})
	r.b = binary.NativeEndian.AppendUint16(r.b, uint16(unix.SizeofNlAttr+size))
	r.b = binary.NativeEndian.AppendUint16(r.b, typ)
}

// U8 adds a byte.
func (r *Request) U8(typ uint16, name string, v uint8) { r.Bytes(typ, name, []byte{v}) }

// U32 adds a 32-bit number.
func (r *Request) U32(typ uint16, name string, v uint32) {
	r.Bytes(typ, name, binary.NativeEndian.AppendUint32(nil, v))
}

// Uint adds a number of 32 bits, or of 64 when it needs them.
func (r *Request) Uint(typ uint16, name string, v uint64) {
	if v <= math.MaxUint32 {
		r.U32(typ, name, uint32(v))
		return
	}
	r.Bytes(typ, name, binary.NativeEndian.AppendUint64(nil, v))
}

// String adds a string with its terminating zero.
func (r *Request) String(typ uint16, name string, v string) {
	r.Bytes(typ, name, append([]byte(v), 0))
}

// File adds the number of a file that is open while the request is asked. What is
// recorded has its kind in place of the number, which differs each time.
func (r *Request) File(typ uint16, name string, kind [4]byte, open func() (File, error)) {
	r.Bytes(typ, name, kind[:])
	r.files = append(r.files, file{len(r.b) - len(kind), open})
}

// open gives the bytes to send, whose files are open until done is called.
func (r *Request) open() (b []byte, done func(), err error) {
	b = slices.Clone(r.b)
	var all []File
	done = func() {
		for _, f := range all {
			f.Close()
		}
	}
	for _, f := range r.files {
		o, err := f.open()
		if err != nil {
			done()
			return nil, nil, err
		}
		all = append(all, o)
		binary.NativeEndian.PutUint32(b[f.offset:], uint32(o.FD()))
	}
	return b, done, nil
}

// Flag adds an attribute that has no value.
func (r *Request) Flag(typ uint16, name string) { r.Bytes(typ, name, nil) }

// Bytes adds b as it is, padded to the alignment of netlink.
func (r *Request) Bytes(typ uint16, name string, b []byte) {
	r.begin(typ, name, len(b))
	r.b = append(r.b, b...)
	r.b = append(r.b, make([]byte, -len(b)&(unix.NLA_ALIGNTO-1))...)
}

// Nest adds the attributes that fill adds within one of their own.
func (r *Request) Nest(typ uint16, name string, fill func()) {
	start, path := len(r.b), r.path
	r.begin(typ|unix.NLA_F_NESTED, name, 0)
	r.path = path + "." + name
	fill()
	r.path = path
	binary.NativeEndian.PutUint16(r.b[start:], uint16(len(r.b)-start))
}

// at names the attribute that covers an offset, the innermost one.
func (r *Request) at(offset int) string {
	path := ""
	for _, n := range r.names {
		if n.offset > offset {
			break
		}
		path = n.path
	}
	return path
}

// Attr is one attribute of a reply.
type Attr struct {
	Type uint16
	Data []byte
	err  *error // of the walk that gave it
}

// Attrs walks the attributes of a reply. A malformed one ends the walk, and it
// or a value of the wrong size is reported in *err, where the first stays.
func Attrs(b []byte, err *error) iter.Seq[Attr] {
	return func(yield func(Attr) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(b))
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < unix.SizeofNlAttr || size > len(b) {
				fail(err, "attribute %d: %d bytes of %d", typ, size, len(b))
				return
			}
			if !yield(Attr{Type: typ, Data: b[unix.SizeofNlAttr:size], err: err}) {
				return
			}
			b = b[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
		}
		if len(b) != 0 {
			fail(err, "%d bytes after the last attribute", len(b))
		}
	}
}

func fail(err *error, format string, args ...any) {
	if *err == nil {
		*err = fmt.Errorf("malformed netlink reply: "+format, args...)
	}
}

// Uint is the value of a number of 1, 2, 4 or 8 bytes: kernels may widen one,
// and those of type uint have 4 or 8.
func (a Attr) Uint() uint64 {
	switch len(a.Data) {
	case 1:
		return uint64(a.Data[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(a.Data))
	case 4:
		return uint64(binary.NativeEndian.Uint32(a.Data))
	case 8:
		return binary.NativeEndian.Uint64(a.Data)
	}
	fail(a.err, "attribute %d: a number of %d bytes", a.Type, len(a.Data))
	return 0
}

// U32 is the value of a number that fits 32 bits.
func (a Attr) U32() uint32 {
	v := a.Uint()
	if v > math.MaxUint32 {
		fail(a.err, "attribute %d: %d is more than 32 bits", a.Type, v)
	}
	return uint32(v)
}

// U32s is the value of an array of 32-bit numbers.
func (a Attr) U32s() []uint32 {
	if len(a.Data)%4 != 0 {
		fail(a.err, "attribute %d: an array of %d bytes", a.Type, len(a.Data))
		return nil
	}
	v := make([]uint32, 0, len(a.Data)/4)
	for b := a.Data; len(b) > 0; b = b[4:] {
		v = append(v, binary.NativeEndian.Uint32(b))
	}
	return v
}

// String is the value of a string, without its terminating zero.
func (a Attr) String() string {
	s, _, _ := bytes.Cut(a.Data, []byte{0})
	return string(s)
}

// Nest walks the attributes within a.
func (a Attr) Nest() iter.Seq[Attr] { return Attrs(a.Data, a.err) }
