package abi

import (
	"encoding/binary"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestDMABufSizes: sizes and offsets by the headers.
func TestDMABufSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"dmabuf_cmsg", unsafe.Sizeof(DmabufCmsg{}), 24},
		{"dmabuf_cmsg.dmabuf_id", unsafe.Offsetof(DmabufCmsg{}.DmabufID), 16},
		{"dmabuf_token", unsafe.Sizeof(DmabufToken{}), 8},
		{"udmabuf_create", unsafe.Sizeof(UdmabufCreate{}), 24},
		{"udmabuf_create.size", unsafe.Offsetof(UdmabufCreate{}.Size), 16},
		{"dma_heap_allocation_data", unsafe.Sizeof(DMAHeapAllocationData{}), 24},
		{"dma_heap_allocation_data.heap_flags", unsafe.Offsetof(DMAHeapAllocationData{}.HeapFlags), 16},
		{"dma_buf_sync", unsafe.Sizeof(DMABufSync{}), 8},
		{"iovec", unsafe.Sizeof(offsetIovec{}), unsafe.Sizeof(unix.Iovec{})},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
}

func devmem(typ int32, c DmabufCmsg) []byte {
	var d []byte
	d = binary.NativeEndian.AppendUint64(d, c.FragOffset)
	for _, v := range []uint32{c.FragSize, c.FragToken, c.DmabufID, c.Flags} {
		d = binary.NativeEndian.AppendUint32(d, v)
	}
	return cmsg(unix.SOL_SOCKET, typ, d)
}

func TestNextDevmem(t *testing.T) {
	type piece struct {
		kind int
		c    DmabufCmsg
	}
	frag := DmabufCmsg{FragOffset: 1<<33 + 4096, FragSize: 4096, FragToken: 7, DmabufID: 3, Flags: 9}
	linear := DmabufCmsg{FragSize: 52}
	in := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for _, c := range []struct {
		name    string
		control []byte
		want    []piece
	}{
		{"empty", nil, nil},
		{"one", devmem(unix.SCM_DEVMEM_DMABUF, frag), []piece{{unix.SCM_DEVMEM_DMABUF, frag}}},
		{"mixed", in(devmem(unix.SCM_DEVMEM_LINEAR, linear), devmem(unix.SCM_DEVMEM_DMABUF, frag), devmem(unix.SCM_DEVMEM_DMABUF, frag)),
			[]piece{{unix.SCM_DEVMEM_LINEAR, linear}, {unix.SCM_DEVMEM_DMABUF, frag}, {unix.SCM_DEVMEM_DMABUF, frag}}},
		{"others between", in(cmsg(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, make([]byte, 16)), devmem(unix.SCM_DEVMEM_DMABUF, frag),
			cmsg(unix.SOL_IP, unix.SCM_DEVMEM_DMABUF, make([]byte, 24))),
			[]piece{{unix.SCM_DEVMEM_DMABUF, frag}}},
		{"too short for one", cmsg(unix.SOL_SOCKET, unix.SCM_DEVMEM_DMABUF, make([]byte, 20)), nil},
		{"cut", devmem(unix.SCM_DEVMEM_DMABUF, frag)[:30], nil},
		{"header only", devmem(unix.SCM_DEVMEM_DMABUF, frag)[:8], nil},
		{"length 0", make([]byte, 64), nil},
	} {
		var got []piece
		for rest := c.control; ; {
			kind, p, next := NextDevmem(rest)
			if kind == 0 {
				break
			}
			got = append(got, piece{kind, p})
			rest = next
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// FuzzNextDevmem: whatever the bytes, it ends and stays inside them.
func FuzzNextDevmem(f *testing.F) {
	f.Add(devmem(unix.SCM_DEVMEM_DMABUF, DmabufCmsg{FragSize: 1}))
	f.Add(slices.Concat(devmem(unix.SCM_DEVMEM_LINEAR, DmabufCmsg{FragSize: 1}), cmsg(1, 2, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for n := 0; ; n++ {
			kind, _, rest := NextDevmem(b)
			if kind == 0 {
				return
			}
			if len(rest) >= len(b) || n > len(b) {
				t.Fatalf("no progress: %d bytes left of %d", len(rest), len(b))
			}
			b = rest
		}
	})
}

// A DevmemSend is laid out as the kernel reads it.
func TestDevmemSend(t *testing.T) {
	s := NewDevmemSend(0x1234, 3)
	s.Set(0, 8192, 4096)
	s.Set(2, 0, 1)
	if s.hdr.Iovlen != 3 || s.iovs[0] != (offsetIovec{8192, 4096}) || s.iovs[2] != (offsetIovec{0, 1}) {
		t.Errorf("iovecs %v", s.iovs)
	}
	want := cmsg(unix.SOL_SOCKET, unix.SCM_DEVMEM_DMABUF, binary.NativeEndian.AppendUint32(nil, 0x1234))
	if got := s.control[:s.hdr.Controllen]; !slices.Equal(got, want) {
		t.Errorf("control %x, want %x", got, want)
	}
}
