package linkwatch

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

// TestChanges: what is changed and put back between two looks is told with both
// its values; what happens to other interfaces, or to nothing, is not.
func TestChanges(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	name := p.TX.Interface
	if err := p.TX.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		e, err := ethtool.Dial()
		if err != nil {
			return err
		}
		defer e.Close()
		own := &netlink.Addr{IPNet: &net.IPNet{IP: p.TX.Addr4.AsSlice(), Mask: net.CIDRMask(24, 32)}}
		other := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 9).To4(), Mask: net.CIDRMask(24, 32)}}
		features := func(on bool) error { return e.SetFeatures(name, map[string]bool{"tx-scatter-gather": on}) }
		fifo := &netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0),
			Parent: netlink.HANDLE_ROOT}, QdiscType: "pfifo"}
		mtu := link.Attrs().MTU
		for _, c := range []struct {
			name string
			do   []func() error
			want []string // in this order, each within one
		}{
			{"nothing", nil, nil},
			{"another address and its end", []func() error{func() error { return netlink.AddrAdd(link, other) },
				func() error { return netlink.AddrDel(link, other) }}, nil},
			{"another interface", []func() error{func() error {
				a := netlink.NewLinkAttrs()
				a.Name = "zcother"
				if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "zcother1"}); err != nil {
					return err
				}
				return netlink.LinkDel(&netlink.Veth{LinkAttrs: a})
			}}, nil},
			{"an offload", []func() error{func() error { return features(false) }, func() error { return features(true) }},
				[]string{"tx-scatter-gather off", "tx-scatter-gather on"}},
			{"the MTU", []func() error{func() error { return netlink.LinkSetMTU(link, mtu-100) },
				func() error { return netlink.LinkSetMTU(link, mtu) }},
				[]string{fmt.Sprintf("mtu %d → %d", mtu, mtu-100), fmt.Sprintf("mtu %d → %d", mtu-100, mtu)}},
			{"the qdisc", []func() error{func() error { return netlink.QdiscAdd(fifo) }, func() error { return netlink.QdiscDel(fifo) }},
				[]string{"qdisc pfifo was added", "qdisc pfifo was removed"}},
			{"its address", []func() error{func() error { return netlink.AddrDel(link, own) }, func() error { return netlink.AddrAdd(link, own) }},
				[]string{"address " + p.TX.Addr4.String() + " was removed"}},
			{"its queue", []func() error{func() error { return netlink.LinkSetTxQLen(link, 77) }}, []string{"txqueuelen"}},
		} {
			w, err := On([]string{name}, []netip.Addr{p.TX.Addr4})
			if err != nil {
				return err
			}
			if err := features(true); err != nil { // as it is
				return err
			}
			w.Look(-1)
			for i, f := range c.do {
				if err := f(); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				w.Look(int64(i))
			}
			all, lost, err := w.Changes(0)
			w.Close()
			if err != nil || lost {
				t.Errorf("%s: lost %v, %v", c.name, lost, err)
			}
			if c.want == nil && len(all) > 0 {
				t.Errorf("%s: told are %+v", c.name, all)
			}
			for _, v := range all {
				if len(c.want) == 0 || !strings.Contains(v.What, c.want[0]) {
					continue // what came of it
				}
				c.want = c.want[1:]
				if f := v.Features; f != nil && f["tx-scatter-gather"].Active != strings.Contains(v.What, "tx-scatter-gather on") {
					t.Errorf("%s: %q with %v", c.name, v.What, f["tx-scatter-gather"])
				}
			}
			if len(c.want) > 0 {
				t.Errorf("%s: %q is not told: %+v", c.name, c.want, all)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestCarrier: a link that was gone for a while.
func TestCarrier(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var w *Watch
	if err := p.TX.Do(func() (err error) {
		w, err = On([]string{p.TX.Interface}, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := p.RX.Do(func() error {
		link, err := netlink.LinkByName(p.RX.Interface)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	}); err != nil {
		t.Fatal(err)
	}
	// The kernel tells within a second.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		w.Look(5)
		all, _, err := w.Changes(0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.At == 5 && c.Interface == p.TX.Interface && c.What == "state up → without carrier" {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal("it is not told")
		}
	}
}

// TestRemoved: that an interface went is told, also of a time before.
func TestRemoved(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	name := p.TX.Interface
	if err := p.TX.Do(func() error {
		w, err := On([]string{name}, nil)
		if err != nil {
			return err
		}
		defer w.Close()
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkDel(link); err != nil {
			return err
		}
		w.Look(-1)
		all, _, err := w.Changes(0)
		if len(all) != 1 || !all[0].Removed || all[0].At != -1 || all[0].Interface != name {
			t.Errorf("%+v", all)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestLost: more than is kept, and what the socket had no room for.
func TestLost(t *testing.T) {
	w := &Watch{links: map[int]*link{7: {}}}
	one := make([]byte, 16+8)
	one[0], one[20] = 24, 7
	for range most + 1 {
		w.note(0, false, one)
	}
	if _, lost, err := w.Changes(0); !lost || err != nil {
		t.Errorf("lost %v, %v", lost, err)
	}
	if len(w.came) != 0 {
		t.Errorf("%d messages are still there", len(w.came))
	}
}
