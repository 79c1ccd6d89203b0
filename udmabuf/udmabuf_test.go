package udmabuf

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// makers are all ways to a Buffer that this kernel may have.
var makers = []struct {
	name string
	make func(size int) (*Buffer, error)
	page int
}{
	{"udmabuf", func(size int) (*Buffer, error) { return New(size, false) }, unix.Getpagesize()},
	{"hugepages", func(size int) (*Buffer, error) { return New(size, true) }, abi.HugePageSize},
	{"heap", func(size int) (*Buffer, error) { return FromHeap("system", size) }, unix.Getpagesize()},
}

// TestBuffer: each kind is whole pages of memory that a second descriptor
// shares, and leaves no descriptor behind.
func TestBuffer(t *testing.T) {
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			if m.name == "hugepages" {
				reserve(t, 4)
			}
			before := descriptors(t)
			b, err := m.make(5000)
			if errors.Is(err, unix.ENOENT) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			want := max(8192, m.page)
			if b.Size() != want {
				t.Errorf("%d bytes, want %d", b.Size(), want)
			}
			same, err := FromFD(b.FD())
			if err != nil {
				t.Fatal(err)
			}
			if same.Size() != want || same.FD() == b.FD() {
				t.Errorf("by descriptor: %d bytes, want %d", same.Size(), want)
			}
			w, err := b.Map()
			if err != nil {
				t.Fatal(err)
			}
			r, err := same.Map()
			if err != nil {
				t.Fatal(err)
			}
			if e := b.Begin(Write); e != 0 {
				t.Fatal(e)
			}
			w[0], w[want-1] = 1, 2
			if e := b.End(Write); e != 0 {
				t.Fatal(e)
			}
			if e := same.Begin(Read); e != 0 {
				t.Fatal(e)
			}
			if r[0] != 1 || r[want-1] != 2 {
				t.Errorf("read %d and %d, want 1 and 2", r[0], r[want-1])
			}
			if e := same.End(Read); e != 0 {
				t.Fatal(e)
			}
			if err := errors.Join(b.Close(), same.Close()); err != nil {
				t.Error(err)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors left behind", after-before)
			}
		})
	}
}

// reserve has n huge pages for a test.
func reserve(t *testing.T, n int) {
	t.Helper()
	const path = "/proc/sys/vm/nr_hugepages"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(n)), 0); err != nil {
		t.Skipf("reserve %d huge pages: %v", n, err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, old, 0); err != nil {
			t.Error(err)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestTooLarge: the limit is named, with the way to raise it, and what this
// host has no memory for is refused, before any is taken.
func TestTooLarge(t *testing.T) {
	before := descriptors(t)
	if _, err := New(1<<50, false); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v, want that 1 PiB is too much", err)
	}
	old, err := os.ReadFile(sizeLimit)
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(sizeLimit, []byte("1"), 0); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(sizeLimit, old, 0); err != nil {
			t.Error(err)
		}
	})
	_, err = New(1<<20+1, false)
	if err == nil || !strings.Contains(err.Error(), "echo 2 > "+sizeLimit) {
		t.Errorf("%v, want an error with the way to raise %s", err, sizeLimit)
	}
	if b, err := New(1<<20, false); err != nil {
		t.Error(err)
	} else if err := b.Close(); err != nil {
		t.Error(err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors left behind", after-before)
	}
}

// TestAbsent: where something is missing, the error says what to do.
func TestAbsent(t *testing.T) {
	if err := Probe(); err != nil && !strings.Contains(err.Error(), "modprobe udmabuf") && !strings.Contains(err.Error(), "root") {
		t.Errorf("%v has no cure", err)
	}
	_, err := FromHeap("no-such-heap", 4096)
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "CONFIG_DMABUF_HEAPS") {
		t.Errorf("%v, want no such heap, and which there are", err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, fd := range []int{int(f.Fd()), 1 << 20} {
		if _, err := FromFD(fd); err == nil || !strings.Contains(err.Error(), "no dma-buf") {
			t.Errorf("descriptor %d: %v, want that it is no dma-buf", fd, err)
		}
	}
}
