package labtest

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zcbench/internal/genl/ethtool"
)

func TestSuperFrames(t *testing.T) {
	const size = 8 << 20
	for _, v6 := range []bool{false, true} {
		for _, on := range []bool{true, false} {
			for _, split := range []bool{true, false} {
				t.Run(fmt.Sprintf("ipv6=%v gro-hw=%v split=%v", v6, on, split), func(t *testing.T) {
					r := newRig(t)
					if split {
						r.split(t)
					}
					r.rx.feature(t, "rx-gro-hw", on)
					frames, super := r.rx.total(t, "rx-packets"), r.rx.total(t, "rx-hw-gro-packets")
					wire := r.rx.total(t, "rx-hw-gro-wire-packets")
					r.transfer(t, size, 0, v6)
					frames, super = r.rx.total(t, "rx-packets")-frames, r.rx.total(t, "rx-hw-gro-packets")-super
					wire = r.rx.total(t, "rx-hw-gro-wire-packets") - wire
					if on && (super == 0 || wire < 2*super) {
						t.Errorf("%d super-frames of %d segments", super, wire)
					}
					if !on && (super != 0 || frames < size/1500) {
						t.Errorf("%d super-frames, %d frames of 1500 bytes for %d bytes", super, frames, size)
					}
				})
			}
		}
	}
}

func TestSegmentationOffload(t *testing.T) {
	r := newRig(t)
	before := r.tx.total(t, "tx-hw-gso-packets")
	r.transfer(t, 4<<20, 0, false)
	if r.tx.total(t, "tx-hw-gso-packets") == before {
		t.Error("no packet was sent for the device to segment")
	}
	r.tx.feature(t, "tx-tcp-segmentation", false)
	before = r.tx.total(t, "tx-hw-gso-packets")
	r.transfer(t, 4<<20, 0, false)
	if n := r.tx.total(t, "tx-hw-gso-packets") - before; n != 0 {
		t.Errorf("%d packets to segment with TSO off", n)
	}
}

func (r *rig) link(t *testing.T, args ...string) {
	t.Helper()
	for _, s := range []side{r.tx, r.rx} {
		s.run(t, append([]string{"ip", "link", "set", "dev", s.Interface}, args...)...)
	}
}

func TestLargeMTU(t *testing.T) {
	r := newRig(t)
	r.rx.feature(t, "rx-gro-hw", false)
	t.Cleanup(func() { r.link(t, "mtu", "1500") })
	for _, mtu := range []int{9000, 9600, 4148} {
		r.link(t, "mtu", fmt.Sprint(mtu))
		frames, bytes := r.rx.total(t, "rx-packets"), r.rx.total(t, "rx-bytes")
		r.transfer(t, 16<<20, 0, false)
		frames, bytes = r.rx.total(t, "rx-packets")-frames, r.rx.total(t, "rx-bytes")-bytes
		if mean := int(bytes / frames); mean < mtu/2 || mean > mtu+14 {
			t.Errorf("MTU %d: frames of %d bytes on average", mtu, mean)
		}
	}
	if err := r.tx.Do(func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(r.rx.Addr4, 9).String())
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestBigTCP(t *testing.T) {
	r := newRig(t)
	r.split(t)
	t.Cleanup(func() {
		r.link(t, "gso_max_size", "65536", "gro_max_size", "65536", "gso_ipv4_max_size", "65536", "gro_ipv4_max_size", "65536")
	})
	r.link(t, "gso_max_size", "185000", "gro_max_size", "185000", "gso_ipv4_max_size", "185000", "gro_ipv4_max_size", "185000")
	for _, v6 := range []bool{false, true} {
		packets, bytes := r.tx.total(t, "tx-hw-gso-packets"), r.tx.total(t, "tx-hw-gso-bytes")
		r.transfer(t, 64<<20, 0, v6)
		packets, bytes = r.tx.total(t, "tx-hw-gso-packets")-packets, r.tx.total(t, "tx-hw-gso-bytes")-bytes
		t.Logf("ipv6=%v: %d bytes a TSO frame on average", v6, bytes/max(packets, 1))
		if packets == 0 {
			t.Errorf("ipv6=%v: no TSO frame", v6)
		}
	}
}

// TestNoDropsOnTheWire sends datagrams, which nothing holds back, faster than
// they are received: a busy receiver makes the sender wait.
func TestNoDropsOnTheWire(t *testing.T) {
	r := newRig(t)
	r.rx.rings(t, ethtool.Values{"rx": 64})
	var l net.PacketConn
	var c net.Conn
	if err := r.rx.Do(func() (err error) {
		l, err = net.ListenPacket("udp", netip.AddrPortFrom(r.rx.Addr4, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := r.tx.Do(func() (err error) { c, err = net.Dial("udp", l.LocalAddr().String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent, got := r.tx.total(t, "tx-packets"), r.rx.total(t, "rx-packets")
	drops := r.rx.counter(t, "rx_drop_no_buffer")
	for range 20000 {
		if _, err := c.Write(block[:1400]); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	sent, got = r.tx.total(t, "tx-packets")-sent, r.rx.total(t, "rx-packets")-got
	if n := r.rx.counter(t, "rx_drop_no_buffer") - drops; n != 0 || sent < 20000 || got != sent {
		t.Errorf("%d frames sent, %d received, %d dropped", sent, got, n)
	}
}

func TestDelay(t *testing.T) {
	r := newRig(t)
	ping := func() time.Duration {
		out := r.tx.run(t, "ping", "-c", "3", "-i", "0.2", r.rx.Addr4.String())
		_, rtt, ok := strings.Cut(out, "min/avg/max = ")
		low, _, _ := strings.Cut(rtt, "/")
		d, err := time.ParseDuration(low + "ms")
		if !ok || err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		return d
	}
	ping() // neighbours
	param(t, "delay_us", 20000)
	if d := ping(); d < 40*time.Millisecond || d > 200*time.Millisecond {
		t.Errorf("round trip of %v with 20 ms each way", d)
	}
	r.transfer(t, 1<<20, 0, false)
}

func TestRate(t *testing.T) {
	r := newRig(t)
	param(t, "rate_mbit", 100)
	begun := time.Now()
	r.transfer(t, 5<<20, 0, false)
	// 5 MiB at 100 Mbit/s; nothing in software is late by a factor of ten.
	if d := time.Since(begun); d < 400*time.Millisecond || d > 5*time.Second {
		t.Errorf("5 MiB took %v at 100 Mbit/s", d)
	}
}

func TestLoss(t *testing.T) {
	r := newRig(t)
	param(t, "loss_ppm", 10000)
	before := r.tx.counter(t, "tx_drop_lost")
	r.transfer(t, 8<<20, 0, false)
	if r.tx.counter(t, "tx_drop_lost") == before {
		t.Error("nothing was lost")
	}
}
