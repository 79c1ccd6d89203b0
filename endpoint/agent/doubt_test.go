package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/egress"
	"zcbench/results"
)

// TestDoubt: zero-copied bytes of which nobody can tell become copied ones, in
// every sample and no more than there are.
func TestDoubt(t *testing.T) {
	for _, c := range []struct {
		bytes               uint64
		zero, copied, known uint64 // in the window
	}{{0, 90, 10, 10}, {30, 60, 40, 10}, {90, 0, 100, 10}, {endpoint.All, 0, 100, 10}} {
		r := wire.Result{Samples: []wire.Sample{{ZeroCopied: 7, Copied: 3}, {At: 1, ZeroCopied: 27, Copied: 3},
			{At: 2, ZeroCopied: 97, Copied: 13}}}
		if n := doubted(&r, endpoint.Doubt{Bytes: c.bytes}); n != 90-c.zero {
			t.Errorf("%d: %d bytes are in doubt", c.bytes, n)
		}
		a, b := r.Edges()
		if b.ZeroCopied-a.ZeroCopied != c.zero || b.Copied-a.Copied != c.copied || b.Copied-a.Copied-b.Unknown+a.Unknown != c.known {
			t.Errorf("%d: %+v to %+v", c.bytes, a, b)
		}
		if m := r.Samples[1]; m.Bytes() != 30 {
			t.Errorf("%d: a sample within moved to %+v", c.bytes, m)
		}
		if err := r.Check(); err != nil {
			t.Errorf("%d: %v", c.bytes, err)
		}
	}
}

// TestWaysOut: all is copied when every flow left by interfaces that copy, from
// before the window until after it; what changed, or is hidden, is unknown.
func TestWaysOut(t *testing.T) {
	clear, hidden := egress.Way{}, egress.Way{Verdict: egress.Hidden, Why: "veth0 leads away"}
	copies := egress.Way{Verdict: egress.Copies, Why: "eth0 has no scatter-gather"}
	set := func(all ...egress.Way) waysOut {
		w := waysOut{}
		for _, v := range all {
			w[v] = true
		}
		return w
	}
	for _, c := range []struct {
		name          string
		before, after waysOut
		bytes         uint64
		copied        bool
		why           string
	}{
		{"a NIC", set(clear), set(clear), 0, false, ""},
		{"an engine that it does not matter for", nil, nil, 0, false, ""},
		{"no scatter-gather", set(copies), set(copies), endpoint.All, true, "eth0"},
		{"turned off meanwhile", set(clear), set(copies), endpoint.All, false, "changed during the run: eth0"},
		{"turned on meanwhile", set(copies), set(clear), endpoint.All, false, "changed during the run: eth0"},
		{"one of two flows", set(clear, copies), set(clear, copies), endpoint.All, false, "eth0"},
		{"into a container", set(hidden), set(hidden), endpoint.All, false, "veth0"},
	} {
		if d := c.before.doubt(c.after); d.Bytes != c.bytes || d.Copied != c.copied || !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

// byReference is an engine that sends by reference.
type byReference struct{ endpointtest.Plain }

func (byReference) Layout() endpoint.Layout {
	return endpoint.Layout{ZeroCopy: true, Copied: egress.Delivery}
}

// TestCopier: what has payload copied that leaves by a NIC is not delivery on this
// machine, as it is over loopback.
func TestCopier(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	look := func(context.Context) (*results.Crossing, error) { return nil, nil }
	for _, c := range []struct {
		peer netip.Addr
		look func(context.Context) (*results.Crossing, error)
		want string
	}{
		{loopback, nil, egress.Delivery},
		{loopback, look, egress.Delivery},
		{nowhere, nil, " by itself has nothing copied"},
		{nowhere, look, "while --verify captured"},
	} {
		t.Run(fmt.Sprintf("%v, look %v", c.peer, c.look != nil), func(t *testing.T) {
			fd := connected(t, c.peer)
			defer unix.Close(fd)
			iface, way, err := egress.Socket(fd)
			if err != nil {
				t.Fatal(err)
			}
			if taps, err := egress.Taps(iface); err != nil || len(taps) > 0 {
				t.Skipf("on %s somebody captures, or it cannot be told: %v, %v", iface, taps, err)
			}
			if c.peer == nowhere && (egress.InMemory(iface) || way.Verdict != egress.Clear) {
				t.Skipf("%s is no NIC that sends by reference: %s", iface, way.Why)
			}
			r := &run{p: wire.Prepare{Role: endpoint.TX}, engine: byReference{}, conns: []int{fd}, look: c.look}
			if got := r.copier(); !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// nowhere is an address of documentation, which is nobody's.
var nowhere = netip.MustParseAddr("192.0.2.1")

// connected is a socket that is connected, as a checkpoint of a process restores it:
// no packet is sent.
func connected(t *testing.T, peer netip.Addr) int {
	t.Helper()
	out, err := net.Dial("udp", netip.AddrPortFrom(peer, 9).String())
	if err != nil {
		t.Skipf("no route to %s: %v", peer, err)
	}
	defer out.Close()
	local := out.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		unix.Close(fd)
		t.Skipf("needs CAP_NET_ADMIN for a socket that is connected to nobody: %v", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: peer.As4(), Port: 9}); err != nil {
		t.Fatal(err)
	}
	return fd
}
