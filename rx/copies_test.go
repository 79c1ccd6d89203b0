package rx

import (
	"net"
	"strings"
	"testing"

	"zcbench/endpoint"
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
		{"nothing was copied", []copies{{0, 0, true}}, 0, ""},
		{"nothing, by an old kernel", []copies{{0, 0, false}}, 0, ""},
		{"from another queue, counted", []copies{{7, 7, true}}, 0, ""},
		{"header split missed three", []copies{{10, 7, true}}, 4500, "of 3 packets eth0 left payload"},
		{"of two rings on one queue", []copies{{4, 9, true}, {7, 0, true}}, 3000, "of 2 packets"},
		{"an old kernel copied", []copies{{3, 0, false}}, endpoint.All, "copied 3 times"},
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
