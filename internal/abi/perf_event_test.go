package abi

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets are those that the header's comments give: the first page's fixed
// part is 1 KiB, and head and tail follow it.
func TestPerfPage(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"data_head", unsafe.Offsetof(unix.PerfEventMmapPage{}.Data_head), 1024},
		{"data_tail", unsafe.Offsetof(unix.PerfEventMmapPage{}.Data_tail), 1032},
		{"perf_event_attr", unsafe.Sizeof(unix.PerfEventAttr{}), unix.PERF_ATTR_SIZE_VER7},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
	ring := make([]byte, 4096)
	ring[1024+1] = 1
	if got := PerfDataHead(ring); got != 1<<8 {
		t.Errorf("head %d", got)
	}
	SetPerfDataTail(ring, 0x0102)
	if ring[1032] != 2 || ring[1033] != 1 {
		t.Errorf("tail % x", ring[1032:1040])
	}
}
