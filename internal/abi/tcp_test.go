package abi

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestTCPZerocopyReceiveLayout(t *testing.T) {
	var z TCPZerocopyReceive
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"size", unsafe.Sizeof(z), 64},
		{"address", unsafe.Offsetof(z.Address), 0},
		{"length", unsafe.Offsetof(z.Length), 8},
		{"recv_skip_hint", unsafe.Offsetof(z.RecvSkipHint), 12},
		{"inq", unsafe.Offsetof(z.Inq), 16},
		{"err", unsafe.Offsetof(z.Err), 20},
		{"copybuf_address", unsafe.Offsetof(z.CopybufAddress), 24},
		{"copybuf_len", unsafe.Offsetof(z.CopybufLen), 32},
		{"flags", unsafe.Offsetof(z.Flags), 36},
		{"msg_control", unsafe.Offsetof(z.MsgControl), 40},
		{"msg_controllen", unsafe.Offsetof(z.MsgControllen), 48},
		{"msg_flags", unsafe.Offsetof(z.MsgFlags), 56},
		{"reserved", unsafe.Offsetof(z.Reserved), 60},
	} {
		if c.got != c.want {
			t.Errorf("tcp_zerocopy_receive %s: %d, want %d", c.name, c.got, c.want)
		}
	}
}

func TestReceiveMap(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const size = 3 << 20 // not a multiple of the alignment
	m, err := ReserveReceiveMap(size)
	if err != nil {
		t.Fatal(err)
	}
	if m.Addr(0)%HugePageSize != 0 || m.Addr(5) != m.Addr(0)+5 {
		t.Errorf("address %#x is not aligned", m.Addr(0))
	}
	if err := m.Attach(fd); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Bytes(4096, 8192)); n != 8192 {
		t.Errorf("%d bytes", n)
	}
	if e := m.Zap(size); e != 0 {
		t.Errorf("zap: %v", e)
	}
	// A socket without data maps nothing; the kernel's answer is proof of
	// the call's shape.
	z := TCPZerocopyReceive{Address: m.Addr(0), Length: size}
	if known, e := ZerocopyReceive(fd, &z); e != 0 || z.Length != 0 || z.RecvSkipHint != 0 || known == 0 {
		t.Errorf("got %+v, %d bytes known, %v", z, known, e)
	}
	z = TCPZerocopyReceive{Address: m.Addr(1), Length: size}
	if _, e := ZerocopyReceive(fd, &z); e != unix.EINVAL {
		t.Errorf("an address within a page: %v, want EINVAL", e)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
