package uring

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// canned is a ZeroCopyRX as register leaves it, on ordinary memory: the test
// plays the kernel.
func canned(areaPages, refill int) *ZeroCopyRX {
	page := unix.Getpagesize()
	z := &ZeroCopyRX{
		refill: &refillQueue{
			head:    new(uint32),
			tail:    new(uint32),
			entries: make([]abi.IOUringZCRXRQE, refill),
			stats:   new(abi.ZCRXStats),
		},
		back: make([]uint64, 0, spares(areaPages*page)),
	}
	z.refill.areas.Store(&[][]byte{make([]byte, areaPages*page)})
	return z
}

func TestRefillQueueKeepsEveryPiece(t *testing.T) {
	const pages, refill = 2, 4
	z := canned(pages, refill)
	// Start just below the wrap of the indices.
	q := z.refill
	*q.head, *q.tail, q.next = ^uint32(0)-5, ^uint32(0)-5, ^uint32(0)-5
	back := map[uint64]int{}
	given := 0
	give := func(n int) {
		for range n {
			if z.Full() {
				t.Fatalf("full after %d pieces", given)
			}
			z.Return(uint64(given) << 12)
			given++
		}
	}
	kernelTakes := func() {
		for *q.head != *q.tail {
			back[q.entries[*q.head%refill].Off]++
			*q.head++
		}
	}
	give(3)
	if *q.tail != *q.head {
		t.Error("pieces are shown before Publish")
	}
	if err := z.Publish(); err != nil {
		t.Fatal(err)
	}
	if p := z.Pending(); p != 3 {
		t.Errorf("depth %d, want 3", p)
	}
	give(5) // one more fits
	if err := z.Publish(); err != nil {
		t.Fatal(err)
	}
	if !z.Stalled() || z.Stalls != 4 {
		t.Errorf("stalled %v, %d stalls, want true, 4", z.Stalled(), z.Stalls)
	}
	give(4*pages - 4) // the rest of what can be kept aside
	if err := z.Publish(); err != nil {
		t.Fatal(err)
	}
	if !z.Full() || z.Stalls != 4*pages {
		t.Errorf("full %v after %d stalls, want true after %d", z.Full(), z.Stalls, 4*pages)
	}
	for range 10 {
		if err := z.Publish(); err != nil {
			t.Fatal(err)
		}
		kernelTakes()
	}
	if z.Full() || len(back) != given {
		t.Errorf("%d of %d pieces came back", len(back), given)
	}
	for off, n := range back {
		if n != 1 {
			t.Errorf("piece %#x came back %d times", off, n)
		}
	}
}

func TestRefillQueueDoesNotAllocate(t *testing.T) {
	z := canned(4, 8)
	if n := testing.AllocsPerRun(100, func() {
		for i := range uint64(16) {
			z.Return(i << 12)
		}
		for len(z.back) > 0 || z.Pending() > 0 {
			if z.Publish() != nil {
				t.Error("publish failed")
			}
			*z.refill.head = *z.refill.tail
		}
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

// TestSharedRefillQueue: pieces that several threads return come back once
// each, and bytes copied are claimed once.
func TestSharedRefillQueue(t *testing.T) {
	const rings, each = 4, 5000
	first := canned(64, 256)
	q := first.refill
	q.stats.CopyBytes = rings * each / 2
	var wg sync.WaitGroup
	var claimed atomic.Uint64
	var left atomic.Int32
	left.Store(rings)
	for i := range rings {
		z := &ZeroCopyRX{refill: q, back: make([]uint64, 0, 64)}
		wg.Go(func() {
			defer left.Add(-1)
			for n := 0; n < each || z.Stalled(); runtime.Gosched() {
				for n < each && !z.Full() {
					z.Return(uint64(i*each + n))
					n++
					got, known := z.ClaimCopied(1)
					if !known {
						t.Error("unknown though there are statistics")
					}
					claimed.Add(got)
				}
				if err := z.Publish(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	back := map[uint64]int{}
	for done := false; !done; runtime.Gosched() {
		done = left.Load() == 0
		head, tail := atomic.LoadUint32(q.head), atomic.LoadUint32(q.tail)
		for ; head != tail; head++ {
			back[q.entries[head%256].Off]++
		}
		atomic.StoreUint32(q.head, head)
	}
	wg.Wait()
	if len(back) != rings*each {
		t.Errorf("%d of %d pieces came back", len(back), rings*each)
	}
	for off, n := range back {
		if n != 1 {
			t.Fatalf("piece %#x came back %d times", off, n)
		}
	}
	if n := claimed.Load(); n != rings*each/2 {
		t.Errorf("%d bytes were claimed, %d were copied", n, rings*each/2)
	}
}

// FuzzBytes: whatever a completion says, the piece lies in the area that it names.
func FuzzBytes(f *testing.F) {
	f.Add(uint64(0), 4096)
	f.Add(uint64(1)<<abi.IORING_ZCRX_AREA_SHIFT|4096, 4096)
	f.Add(uint64(3)<<abi.IORING_ZCRX_AREA_SHIFT|4096, 4096)
	f.Add(uint64(4097), 4096)
	f.Add(^uint64(0), 1)
	f.Add(uint64(1)<<47, -1)
	z := canned(2, 4)
	areas := append(*z.refill.areas.Load(), make([]byte, 3*unix.Getpagesize()))
	z.refill.areas.Store(&areas)
	f.Fuzz(func(t *testing.T, off uint64, n int) {
		p := z.Bytes(off, n)
		start := off << 16 >> 16
		var area []byte
		if off>>48 < 2 {
			area = areas[off>>48]
		}
		fits := n > 0 && start <= uint64(len(area)) && uint64(n) <= uint64(len(area))-start
		if fits != (p != nil) {
			t.Fatalf("%d bytes at %#x of %d: %v", n, off, len(area), p != nil)
		}
		if p != nil && (len(p) != n || cap(p) != n || &p[0] != &area[start]) {
			t.Fatalf("%d bytes at %#x: got %d", n, off, len(p))
		}
	})
}

// FuzzCQE: every completion decodes, and the parts do not overlap.
func FuzzCQE(f *testing.F) {
	f.Add(int32(4096), uint32(abi.IORING_CQE_F_BUFFER|abi.IORING_CQE_F_MORE|7<<abi.IORING_CQE_BUFFER_SHIFT))
	f.Add(int32(-1<<31), uint32(abi.IORING_CQE_F_NOTIF))
	f.Fuzz(func(t *testing.T, res int32, flags uint32) {
		c := CQE{abi.IOUringCQE{Res: res, Flags: flags}}
		id, ok := c.Buffer()
		if ok != (flags&1 != 0) || id != uint16(flags>>16) || c.More() != (flags&2 != 0) || c.Notification() != (flags&8 != 0) ||
			c.WasCopied() != (res < 0) {
			t.Fatalf("%+v: buffer %d %v, more %v, notification %v, copied %v", c, id, ok, c.More(), c.Notification(), c.WasCopied())
		}
	})
}

func TestOffsetIsTheSecondHalf(t *testing.T) {
	big := struct {
		c CQE
		z abi.IOUringZCRXCQE
	}{z: abi.IOUringZCRXCQE{Off: 12345}}
	if unsafe.Offsetof(big.z) != 16 || big.c.Offset() != 12345 {
		t.Errorf("offset %d", big.c.Offset())
	}
}

// TestZeroCopyRXErrors holds the kernel to what the probes conclude from its
// errors.
func TestZeroCopyRXErrors(t *testing.T) {
	newRing(t, Config{Entries: 1}) // or skip
	if v := Probe(abi.IORING_OP_RECV_ZC, "IORING_OP_RECV_ZC", "6.15"); v.Answer != "yes" {
		t.Skipf("%s: needs Linux %s", v.Reason, "6.15")
	}
	if unix.Geteuid() != 0 {
		t.Skip("needs CAP_NET_ADMIN")
	}
	can := QueryZeroCopyRX()
	err := TryZeroCopyRX()
	if can.NoQueue != (err == nil) {
		t.Errorf("the kernel says that reception without a queue is possible: %v; trying it: %v", can.NoQueue, err)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		t.Errorf("without a queue: %v, want EINVAL", err)
	}
	const loopback = 1
	if err := TryInterface(loopback); !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) {
		t.Error("the loopback interface has hardware")
	}
	r := newRing(t, Config{Entries: 1, CQE32: true})
	area, err := abi.Map(64<<10, false)
	if err != nil {
		t.Fatal(err)
	}
	defer abi.Unmap(area)
	_, err = r.ZeroCopyRX(ZeroCopyConfig{Interface: loopback, Area: area, Refill: 16})
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) {
		t.Errorf("a queue of the loopback interface: %v, want EOPNOTSUPP", err)
	}
}
