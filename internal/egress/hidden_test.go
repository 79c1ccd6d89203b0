package egress

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

// TestFilters: of what traffic control does to packets it is known that it leaves
// them alone, or nothing is claimed.
func TestFilters(t *testing.T) {
	message := func(kind string, actions ...string) []byte {
		b := make([]byte, nl.SizeofTcMsg)
		options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
		options.AddRtAttr(100, []byte{1, 2, 3, 4}) // what it matches
		list := options.AddRtAttr(int(actionsOf[kind]), nil)
		for i, a := range actions {
			one := list.AddRtAttr(i+1, nil)
			one.AddRtAttr(nl.TCA_ACT_KIND, nl.ZeroTerminated(a))
			one.AddRtAttr(nl.TCA_ACT_OPTIONS, make([]byte, 8))
		}
		b = append(b, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(kind)).Serialize()...)
		return append(b, options.Serialize()...)
	}
	for _, c := range []struct {
		kind    string
		actions []string
		says    string
	}{
		{"u32", nil, ""},
		{"fw", []string{"police"}, ""},
		{"flower", []string{"gact"}, ""},
		{"matchall", []string{"skbedit", "mirred"}, "an action mirred of a filter matchall"},
		{"u32", []string{"pedit", "csum"}, "an action pedit of a filter u32"},
		{"flower", []string{"csum"}, "an action csum of a filter flower"},
		{"bpf", nil, "a filter bpf of tc"},
		{"rsvp", nil, "a filter rsvp of tc"},
	} {
		f, err := parseFilter(message(c.kind, c.actions...))
		if err != nil {
			t.Fatal(err)
		}
		w := classify("eth0", []filter{{kind: "u32"}, f})
		if (w.Verdict == Hidden) != (c.says != "") || !strings.Contains(w.Why, c.says) {
			t.Errorf("%s with %v: %+v", c.kind, c.actions, w)
		}
	}
	if _, err := parseFilter(make([]byte, 3)); err == nil {
		t.Error("three bytes are a filter")
	}
}

// TestTrafficControl: a mirror of what an interface sends is seen, by a connection
// too, and a qdisc alone is nothing.
func TestTrafficControl(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	lacks := errors.New("needs traffic control (modules sch_ingress, cls_u32, act_mirred)")
	err = p.TX.Do(func() error {
		link, err := netlink.LinkByName(p.TX.Interface)
		if err != nil {
			return err
		}
		index := link.Attrs().Index
		q := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0),
			Parent: netlink.HANDLE_CLSACT}}
		if err := netlink.QdiscAdd(q); err != nil {
			return errors.Join(lacks, err)
		}
		if all, err := filters(link); err != nil || len(all) != 0 {
			t.Errorf("%v, %v of an interface without filters", all, err)
		}
		mirror := &netlink.U32{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
			Actions: []netlink.Action{&netlink.MirredAction{ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_PIPE},
				MirredAction: netlink.TCA_EGRESS_MIRROR, Ifindex: 1}},
		}
		if err := netlink.FilterAdd(mirror); err != nil {
			return errors.Join(lacks, err)
		}
		w, err := judge(index, p.RX.Addr4, nil)
		if err != nil || w.Verdict != Hidden || !strings.Contains(w.Why, "an action mirred of a filter u32") {
			t.Errorf("%+v, %v", w, err)
		}
		return nil
	})
	if errors.Is(err, lacks) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestIPsec: a connection to which a policy applies is not claimed to copy
// nothing; one beside it is as it was.
func TestIPsec(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// Only what goes over IPv4.
	src, dst := p.TX.Addr4.AsSlice(), p.RX.Addr4.AsSlice()
	policy := func(end *netpair.End, from, to net.IP) error {
		whole := net.CIDRMask(32, 32)
		return end.Do(func() error {
			return netlink.XfrmPolicyAdd(&netlink.XfrmPolicy{
				Src: &net.IPNet{IP: from, Mask: whole}, Dst: &net.IPNet{IP: to, Mask: whole}, Dir: netlink.XFRM_DIR_OUT,
				Tmpls: []netlink.XfrmPolicyTmpl{{Src: from, Dst: to, Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TRANSPORT}},
			})
		})
	}
	states := func(end *netpair.End) error {
		return end.Do(func() error {
			for i, s := range [][2]net.IP{{src, dst}, {dst, src}} {
				if err := netlink.XfrmStateAdd(&netlink.XfrmState{
					Src: s[0], Dst: s[1], Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TRANSPORT, Spi: 0x1000 + i,
					Crypt: &netlink.XfrmStateAlgo{Name: "ecb(cipher_null)"}, Auth: &netlink.XfrmStateAlgo{Name: "digest_null"},
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	verdict := func(to netip.Addr) (w Way) {
		t.Helper()
		l := listen(t, &p.RX, to)
		if err := p.TX.Do(func() error {
			c, err := net.DialTimeout("tcp", l.Addr().String(), 3*time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			f, err := c.(*net.TCPConn).File()
			if err != nil {
				return err
			}
			defer f.Close()
			_, w, err = Socket(int(f.Fd()))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	probe := func() (w Way) {
		t.Helper()
		if err := p.TX.Do(func() (err error) {
			link, err := netlink.LinkByName(p.TX.Interface)
			if err == nil {
				w = mayEncrypt(link.Attrs().Index, p.TX.Interface)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := verdict(p.RX.Addr4); w.Verdict != Clear {
		t.Fatalf("before: %+v", w)
	}
	if w := probe(); w.Verdict != Clear {
		t.Errorf("before, the interface: %+v", w)
	}
	if err := policy(&p.TX, src, dst); err != nil {
		t.Skipf("needs policies of IPsec (module xfrm_user): %v", err)
	}
	if w := probe(); w.Verdict != Hidden || !strings.Contains(w.Why, "policies of IPsec may apply") {
		t.Errorf("the interface: %+v", w)
	}
	if w := verdict(p.RX.Addr6); w.Verdict != Clear {
		t.Errorf("over IPv6: %+v", w)
	}
	for _, e := range []*netpair.End{&p.TX, &p.RX} {
		if err := states(e); err != nil {
			t.Skipf("the rest needs ESP (module esp4): %v", err)
		}
	}
	if err := policy(&p.RX, dst, src); err != nil {
		t.Fatal(err)
	}
	if w := verdict(p.RX.Addr4); w.Verdict != Hidden || !strings.Contains(w.Why, "a policy of IPsec applies to it, from 198.18.0.1/32 to "+
		"198.18.0.2/32") {
		t.Errorf("over IPv4: %+v", w)
	}
	if w := verdict(p.RX.Addr6); w.Verdict != Clear {
		t.Errorf("over IPv6: %+v", w)
	}
}
