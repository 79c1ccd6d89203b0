package egress

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

// The speed that a veth invents is none; what its queueing allows is a rate.
func TestRateOf(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.TX.Do(func() error {
		if r, err := RateOf(p.TX.Interface); err != nil || r != (Rate{}) {
			t.Errorf("without queueing: %+v, %v", r, err)
		}
		link, err := netlink.LinkByName(p.TX.Interface)
		if err != nil {
			return err
		}
		root := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
		for _, c := range []struct {
			q         netlink.Qdisc
			all, flow float64
		}{
			{&netlink.Tbf{QdiscAttrs: root, Rate: 12.5e6, Limit: 1 << 20, Buffer: netlink.Xmittime(12.5e6, 1<<16)}, 100e6, 0},
			{&netlink.Fq{QdiscAttrs: root, Pacing: 1, FlowMaxRate: 25e6}, 0, 200e6},
		} {
			err := netlink.QdiscReplace(c.q)
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
				t.Logf("this kernel has no %s", c.q.Type())
				continue
			}
			if err != nil {
				return err
			}
			if r, err := RateOf(p.TX.Interface); err != nil || r.All != c.all || r.Flow != c.flow || (r.By != "") != (c.flow > 0) {
				t.Errorf("%s: %+v, %v", c.q.Type(), r, err)
			}
			if err := netlink.QdiscDel(c.q); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
