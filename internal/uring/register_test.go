package uring

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

func TestBufRingBytes(t *testing.T) {
	b := &BufRing{mem: make([]byte, 400), size: 100}
	for i := range b.mem {
		b.mem[i] = byte(i % 251)
	}
	for _, c := range []struct {
		id, n      int
		head, tail []byte
		used       int
	}{
		{0, 1, b.mem[:1], nil, 1},
		{1, 100, b.mem[100:200], nil, 1},
		{1, 101, b.mem[100:201], nil, 2},
		{0, 400, b.mem, nil, 4},
		{3, 250, b.mem[300:], b.mem[:150], 3},
	} {
		head, tail := b.Bytes(uint16(c.id), c.n)
		if !bytes.Equal(head, c.head) || !bytes.Equal(tail, c.tail) || b.Count(c.n) != c.used {
			t.Errorf("%d bytes from buffer %d: %d and %d bytes, %d buffers", c.n, c.id, len(head), len(tail), b.Count(c.n))
		}
	}
}

// TestBufRingTail: the tail goes round, and storing it leaves the buffer id
// that it shares a word with.
func TestBufRingTail(t *testing.T) {
	r := newRing(t, Config{Entries: 1})
	b, err := r.BufRing(4, 64)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for want := 4; want < 1<<17; want += 1000 {
		if got := atomic.LoadUint32(b.word); got != uint32(uint16(want))<<16 {
			t.Fatalf("word %#x after %d buffers", got, want)
		}
		b.Return(1000)
	}
}

func TestRegisterBufferExplainsMemlock(t *testing.T) {
	err := explainMemlock(unix.EINVAL)
	if err != unix.EINVAL {
		t.Errorf("EINVAL became %v", err)
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil || l.Cur == unix.RLIM_INFINITY {
		t.Skip("RLIMIT_MEMLOCK is unlimited")
	}
	err = explainMemlock(unix.ENOMEM)
	if !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "ulimit -l") {
		t.Errorf("%v: want ENOMEM and the cure", err)
	}
}

func TestRegistrationErrorsSayWhat(t *testing.T) {
	r := newRing(t, Config{Entries: 1})
	if err := r.RegisterFiles([]int32{1 << 20}); !errors.Is(err, unix.EBADF) || !strings.Contains(err.Error(), "1 files") {
		t.Errorf("a file that is not open: %v", err)
	}
	if err := r.UnregisterFiles(); !errors.Is(err, unix.ENXIO) {
		t.Errorf("unregister nothing: %v", err)
	}
	b, err := abi.Map(8192, false)
	if err != nil {
		t.Fatal(err)
	}
	abi.Unmap(b)
	if err := r.RegisterBuffer(b); !errors.Is(err, unix.EFAULT) {
		t.Errorf("memory that is not mapped: %v", err)
	}
}
