package abi

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func cmsg(level, typ int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.SetLen(unix.CmsgLen(len(data)))
	h.Level, h.Type = level, typ
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// zerocopyDone is what a kernel wrote for sends 7 to 9, which it copied.
var zerocopyDone = []byte{0, 0, 0, 0, unix.SO_EE_ORIGIN_ZEROCOPY, 0, unix.SO_EE_CODE_ZEROCOPY_COPIED, 0, 7, 0, 0, 0, 9, 0, 0, 0}

func TestExtendedErr(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the canned bytes are little endian")
	}
	want := unix.SockExtendedErr{Origin: unix.SO_EE_ORIGIN_ZEROCOPY, Code: unix.SO_EE_CODE_ZEROCOPY_COPIED, Info: 7, Data: 9}
	whole := cmsg(unix.SOL_IP, unix.IP_RECVERR, append(bytes.Clone(zerocopyDone), make([]byte, 16)...))
	tooLong := bytes.Clone(whole)
	(*unix.Cmsghdr)(unsafe.Pointer(&tooLong[0])).SetLen(len(tooLong) + 1)
	tooShort := bytes.Clone(whole)
	(*unix.Cmsghdr)(unsafe.Pointer(&tooShort[0])).SetLen(unix.SizeofCmsghdr - 1)
	for name, c := range map[string]struct {
		control []byte
		want    unix.SockExtendedErr
	}{
		"IPv4":             {whole, want},
		"IPv6":             {cmsg(unix.SOL_IPV6, unix.IPV6_RECVERR, zerocopyDone), want},
		"second":           {append(cmsg(unix.SOL_SOCKET, unix.SO_TIMESTAMP, []byte{1, 2, 3}), whole...), want},
		"empty":            {nil, unix.SockExtendedErr{}},
		"other type":       {cmsg(unix.SOL_IP, unix.IP_TTL, zerocopyDone), unix.SockExtendedErr{}},
		"short data":       {cmsg(unix.SOL_IP, unix.IP_RECVERR, zerocopyDone[:15]), unix.SockExtendedErr{}},
		"header cut":       {whole[:15], unix.SockExtendedErr{}},
		"length too long":  {tooLong, unix.SockExtendedErr{}},
		"length too short": {tooShort, unix.SockExtendedErr{}},
	} {
		if got := extendedErr(c.control); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func FuzzExtendedErr(f *testing.F) {
	f.Add(cmsg(unix.SOL_IP, unix.IP_RECVERR, zerocopyDone))
	f.Add(append(cmsg(unix.SOL_SOCKET, unix.SO_TIMESTAMP, []byte{1}), cmsg(unix.SOL_IPV6, unix.IPV6_RECVERR, zerocopyDone)...))
	f.Fuzz(func(t *testing.T, control []byte) { extendedErr(control) })
}

// The queue of a socket that nothing happened on is empty.
func TestErrQueueEmpty(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	q := NewErrQueue()
	if ee, e := q.Read(fd); e != unix.EAGAIN {
		t.Errorf("got %+v, %v, want EAGAIN", ee, e)
	}
	if n := testing.AllocsPerRun(100, func() { q.Read(fd) }); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
}
