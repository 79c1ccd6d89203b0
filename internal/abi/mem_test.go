package abi

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// All of a mapping is there when it is given, whatever its size.
func TestMapIsThere(t *testing.T) {
	for _, size := range []int{1, 5000, HugePageSize, populateStep - 1, 3*populateStep + 4097} {
		b, err := Map(size, false)
		if err != nil {
			t.Fatal(err)
		}
		page := unix.Getpagesize()
		there := make([]byte, len(b)/page)
		if _, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			uintptr(unsafe.Pointer(&there[0]))); e != 0 {
			t.Fatal(e)
		}
		for i, v := range there {
			if v&1 == 0 {
				t.Fatalf("page %d of %d bytes is not there", i, size)
			}
		}
		if err := Unmap(b); err != nil {
			t.Error(err)
		}
	}
}

// Other threads map memory while much is brought in: none waits for most of that.
func TestMapLetsOthersMap(t *testing.T) {
	const size = 512 << 20
	var longest atomic.Int64 // that a mapping took, ns
	quit, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-quit:
				return
			default:
			}
			begun := time.Now()
			b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err != nil {
				t.Error(err)
				return
			}
			longest.Store(max(longest.Load(), int64(time.Since(begun))))
			_ = unix.Munmap(b)
		}
	}()
	begun := time.Now()
	b, err := Map(size, false)
	took := time.Since(begun)
	time.Sleep(10 * time.Millisecond) // until the last has its memory
	close(quit)
	<-over
	if err != nil {
		t.Skipf("512 MiB: %v", err)
	}
	share := float64(longest.Load()) / float64(took)
	t.Logf("the longest wait of another thread is %.3f of the time", share)
	if share > 0.5 {
		t.Error("another thread waits until all is there")
	}
	if err := Unmap(b); err != nil {
		t.Error(err)
	}
}
