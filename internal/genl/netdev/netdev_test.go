package netdev

import (
	"encoding/hex"
	"errors"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/genl"
)

// unhex reads bytes written with spaces, as a little-endian kernel sends them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// anything makes the parsers comparable in one table.
func anything[T any](parse func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return parse(b) }
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func([]byte) (any, error)
		bytes string
		want  any
	}{
		{"veth's XDP", anything(parseDevice),
			"0800 0100 02000000 0c00 0300 2300000000000000 0c00 0500 0700000000000000 0c00 0600 0000000000000000",
			Device{XDP: 0x23, XDPRXMetadata: 7}},
		{"an ordinary queue", anything(parseQueue),
			"0800 0100 00000000 0800 0300 00000000 0800 0200 04000000 0800 0400 01010000",
			Queue{NAPI: 257}},
		{"a queue with a dma-buf", anything(parseQueue),
			"0800 0100 03000000 0800 0300 00000000 0800 0200 04000000 0800 0400 04010000 0800 0500 05000000",
			Queue{ID: 3, NAPI: 260, DMABuf: 5}},
		{"a queue of io_uring, with its buffer length", anything(parseQueue),
			"0800 0100 03000000 0800 0300 00000000 0800 0200 04000000 0c00 0680 0800 0100 00800000",
			Queue{ID: 3, IOUring: true}},
		{"a queue of io_uring, of an older kernel", anything(parseQueue),
			"0800 0100 03000000 0800 0300 00000000 0400 0680", Queue{ID: 3, IOUring: true}},
		{"a transmit queue of AF_XDP", anything(parseQueue),
			"0800 0100 01000000 0800 0300 01000000 0400 0780", Queue{ID: 1, Direction: TX, XSK: true}},
		{"a NAPI with 4 and 8 byte numbers", anything(parseNAPI),
			"0800 0200 01010000 0800 0300 1b000000 0800 0500 02000000 0c00 0600 0010a5d4e8000000 0800 0700 40420f00 0800 0800 01000000 0800 0400 " +
				"63000000",
			NAPI{ID: 257, IRQ: new(uint32(27)), PID: 99, DeferHardIRQs: new(uint64(2)), GROFlushTimeout: new(uint64(1e12)),
				IRQSuspendTimeout: new(uint64(1e6)), Threaded: new(uint64(1))}},
		{"a NAPI of Linux 6.8", anything(parseNAPI), "0800 0200 01010000 0800 0100 04000000", NAPI{ID: 257}},
		{"a page pool of a dma-buf", anything(parsePagePool),
			"0800 0100 09000000 0800 0200 04000000 0800 0300 04010000 0800 0400 00010000 0800 0500 00001000 0800 0700 05000000",
			PagePool{ID: 9, Ifindex: 4, NAPI: 260, Inflight: 256, InflightMem: 1 << 20, DMABuf: 5}},
		{"a detached page pool of io_uring", anything(parsePagePool),
			"0800 0100 09000000 0800 0600 01000000 0400 0880", PagePool{ID: 9, Detached: true, IOUring: true}},
		{"page pool statistics", anything(parsePagePoolStats),
			"1400 0180 0800 0100 09000000 0800 0200 04000000 0800 0800 64000000 0c00 0b00 0000000001000000 0800 1200 01000000",
			PagePoolStats{ID: 9, Ifindex: 4, Counters: Counters{"alloc-fast": 100, "alloc-empty": 1 << 32, "recycle-released-refcnt": 1}}},
		{"queue statistics", anything(parseQueueStats),
			"0800 0100 04000000 0800 0200 01000000 0800 0300 02000000 0800 0a00 07000000 0800 2100 01000000 0800 ff00 01000000",
			QueueStats{Ifindex: 4, ID: 2, Direction: TX, Counters: Counters{"tx-packets": 7, "tx-stop": 1}}},
		{"a binding", anything(parseBinding), "0800 0400 05000000", uint32(5)},
	} {
		got, err := c.parse(unhex(t, c.bytes))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	if _, err := parseBinding(nil); err == nil {
		t.Error("a binding without an id: no error")
	}
	if _, err := parseQueue(unhex(t, "0600 0100 0000 0000")); err != nil {
		t.Errorf("a queue id of two bytes: %v", err)
	}
	if _, err := parseQueue(unhex(t, "0900 0100 0000000000 000000")); err == nil {
		t.Error("a queue id of five bytes: no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, "1400 0180 0800 0100 09000000 0800 0200 04000000 0800 0800 64000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseDevice(b)
		if q, err := parseQueue(b); err == nil && q.Free() != (q.Provider() == "") {
			t.Errorf("%+v is free: %v, provider %q", q, q.Free(), q.Provider())
		}
		parseNAPI(b)
		parsePagePool(b)
		parsePagePoolStats(b)
		parseQueueStats(b)
		parseBinding(b)
	})
}

// The loopback device has one queue each way, and no queue can be bound.
func TestKernel(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial()
	if err != nil {
		t.Skip(err) // before Linux 6.3
	}
	defer c.Close()
	if !c.c.Has(queueGet) {
		t.Skip("netdev queue-get needs Linux 6.8")
	}
	queues, err := c.Queues(lo.Index)
	if err != nil || len(queues) != 2 || !queues[0].Free() {
		t.Errorf("queues of lo: %+v, %v", queues, err)
	}
	if q, err := c.Queue(lo.Index, TX, 0); err != nil || q.Direction != TX {
		t.Errorf("tx queue 0 of lo: %+v, %v", q, err)
	}
	var refusal *genl.Error
	if _, err := c.Queue(lo.Index, RX, 1); !errors.As(err, &refusal) {
		t.Errorf("rx queue 1 of lo: %v, want a refusal", err)
	}
	if pools, err := c.PagePools(lo.Index); err != nil || len(pools) != 0 {
		t.Errorf("page pools of lo: %+v, %v", pools, err)
	}
	if _, err := c.Stats(lo.Index); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("statistics of lo: %v, want EOPNOTSUPP", err)
	}
	if os.Getuid() == 0 && c.CanBindRX() {
		_, err := c.BindRX(lo.Index, 0, []uint32{0}, 0)
		if !errors.As(err, &refusal) || refusal.Errno != unix.EOPNOTSUPP || refusal.Attribute != ".ifindex" {
			t.Errorf("bind a queue of lo: %v, want EOPNOTSUPP that blames .ifindex", err)
		}
	}
}
