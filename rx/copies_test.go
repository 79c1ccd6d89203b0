package rx

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/udmabuf"
)

// TestZCRXDoubt: what the kernel copied more often than its statistics have it
// was beside the headers, a frame each time at most.
func TestZCRXDoubt(t *testing.T) {
	iface := net.Interface{Name: "eth0", MTU: 1500}
	for _, c := range []struct {
		name  string
		seen  []copies
		bytes uint64
		why   string
	}{
		{"nothing was copied", []copies{{0, 0, true, false}}, 0, ""},
		{"nothing, by an old kernel", []copies{{0, 0, false, false}}, 0, ""},
		{"from another queue, counted", []copies{{7, 7, true, false}}, 0, ""},
		{"header split missed three", []copies{{10, 7, true, false}}, 4500, "of 3 packets eth0 left payload"},
		{"of two rings on one queue", []copies{{4, 9, true, false}, {7, 0, true, false}}, 3000, "of 2 packets"},
		{"an old kernel copied", []copies{{3, 0, false, false}}, endpoint.All, "copied 3 times"},
		{"all was summed", []copies{{4, 4, true, true}, {7, 7, true, true}}, 0, ""},
		{"also by an old kernel", []copies{{3, 3, false, true}}, 0, ""},
		{"returns were missed", []copies{{4, 4, true, true}, {7, 5, true, true}}, endpoint.All, "of 2 it could not be seen"},
		{"one of two was summed", []copies{{4, 4, true, true}, {7, 4, true, false}}, 4500, "of 3 packets"},
	} {
		if d := doubtOf(c.seen, iface); d.Bytes != c.bytes || d.Copied || !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

// TestZCRXExplicitQueue: a queue that was asked for is that queue, or an error,
// whatever is known of the interface's first one; without, lo has none.
func TestZCRXExplicitQueue(t *testing.T) {
	e := zcrxEngine{}
	for _, c := range []struct {
		options map[string]string
		want    int
	}{
		{nil, 0},
		{map[string]string{"rings": "2"}, 0},
		{map[string]string{"queue": "1"}, 1},
		{map[string]string{"queue": "0", "rings": "2"}, 2},
		{map[string]string{"queues": "2", "rings": "2"}, 2},
		{map[string]string{"queue": "1", "nodev": "on"}, 0}, // that was asked for, too
	} {
		p := endpoint.Params{Flows: 2, Interface: "lo", Options: c.options}
		o, err := endpoint.ParseOptions(e.Options(), c.options)
		if err != nil {
			t.Fatal(err)
		}
		if n := e.queues(p, o); n != c.want {
			t.Errorf("%v: %d queues, want %d", c.options, n, c.want)
		}
	}
}

// TestZCRXAreaSize: whatever an area is of, its size is known before it is there,
// since refill queue and batch go by it.
func TestZCRXAreaSize(t *testing.T) {
	e := zcrxEngine{}
	b, err := udmabuf.New(3<<20, false)
	if err != nil {
		b = nil // and what is of it is left out
	} else {
		defer b.Close()
	}
	for _, c := range []struct {
		options map[string]string
		areas   int
		size    int
		say     string
	}{
		{map[string]string{"mem-size": "100K"}, 1, 100 << 10, ""},
		{map[string]string{"mem-size": "100K", "rx-buf-len": "32K"}, 1, 128 << 10, ""},
		{map[string]string{"mem-size": "100K", "area": "huge"}, 1, 2 << 20, ""},
		{map[string]string{"mem-size": "100001", "area": "dmabuf"}, 1, 100 << 10, ""},
		{map[string]string{"mem-size": "5M", "area": "dmabuf", "mem": "hugepages"}, 1, 6 << 20, ""},
		{map[string]string{"mem-size": "0", "area": "dmabuf"}, 1, 0, "mem-size is 0 bytes"},
		{map[string]string{"mem-size": "0", "area": "dmabuf", "mem": "fd"}, 1, 3 << 20, ""},
		{map[string]string{"mem-size": "1M", "area": "dmabuf", "mem": "fd"}, 1, 3 << 20, ""},
		{map[string]string{"mem-size": "4M", "area": "dmabuf", "mem": "fd"}, 1, 0, "the run needs 4194304"},
		{map[string]string{"mem-size": "0", "area": "dmabuf", "mem": "fd"}, 2, 0, "2 queues cannot receive into one inherited dma-buf"},
		{map[string]string{"mem-size": "1M", "area": "dmabuf", "mem": "fd"}, 2, 0, "2 queues cannot receive into one inherited dma-buf"},
	} {
		if c.options["mem"] == "fd" {
			if b == nil {
				continue
			}
			c.options["mem-fd"] = strconv.Itoa(b.FD())
		}
		o, err := endpoint.ParseOptions(e.Options(), c.options)
		if err != nil {
			t.Fatal(err)
		}
		a := zcrxArea{kind: o.Int("area"), size: o.Int("mem-size"), memory: o}
		err = a.check(o.Int("rx-buf-len"), c.areas)
		if c.say != "" {
			if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v, %d areas: %v, want a usage error: %s", c.options, c.areas, err, c.say)
			}
			continue
		}
		if err != nil || a.size != c.size {
			t.Errorf("%v: %d bytes, %v, want %d", c.options, a.size, err, c.size)
		}
	}
}
