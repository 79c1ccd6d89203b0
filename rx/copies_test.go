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
