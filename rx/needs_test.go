package rx

import (
	"net"
	"strings"
	"testing"

	"zcbench/internal/genl/netdev"
)

// An interface that was deleted, or moved away, under a run is named.
func TestAllocFailuresGone(t *testing.T) {
	nd, err := netdev.Dial()
	if err != nil {
		t.Skip(err)
	}
	defer nd.Close()
	_, _, err = allocFailures(nd, net.Interface{Index: 1 << 30, Name: "zc9"}, []uint32{0})
	if err == nil || !strings.Contains(err.Error(), "interface zc9 is not here any more: it was deleted, or moved to another network "+
		"namespace (netdev qstats-get: ") {
		t.Errorf("%v", err)
	}
}
