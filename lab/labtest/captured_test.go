package labtest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/testutil/captures"
	"zcbench/lab/internal/likefile"
)

// told is what a driver tells of its settings, so far as the lab's NIC can repeat it.
type told struct {
	driver                           string
	rings, channels, coalesce, pause ethtool.Values
	flags                            map[string]bool
	features                         map[string]ethtool.Feature
	key, table                       int
}

func tell(t *testing.T, c *ethtool.Conn, iface string) (is told) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Fatal(err)
		}
	}
	d, err := c.Driver(iface)
	check(err)
	is.driver = d.Name
	for _, q := range []struct {
		to  *ethtool.Values
		ask func(string) (ethtool.Values, error)
	}{{&is.rings, c.Rings}, {&is.channels, c.Channels}, {&is.coalesce, c.Coalesce}, {&is.pause, c.Pause}} {
		*q.to, err = q.ask(iface)
		check(err)
	}
	is.flags, err = c.PrivFlags(iface)
	check(err)
	all, err := c.Features(iface)
	check(err)
	is.features = map[string]ethtool.Feature{}
	for _, name := range []string{"rx-gro-hw", "rx-lro", "rx-ntuple-filter"} {
		is.features[name] = all[name]
	}
	contexts, err := c.RSSContexts(iface)
	check(err)
	if i := slices.IndexFunc(contexts, func(r ethtool.RSS) bool { return r.Context == 0 }); i >= 0 {
		is.key, is.table = len(contexts[i].Key), len(contexts[i].Indir)
	}
	return is
}

// TestLikeCaptured: the lab's NIC tells what a capture has, of its personalities and
// of drivers that it has none of.
func TestLikeCaptured(t *testing.T) {
	needLab(t)
	hugePages(t, 8)
	t.Cleanup(func() { reload(t, "") })
	for _, name := range captures.Names(t) {
		switch name {
		case "veth", // tells nothing of a NIC's
			"zcnic-like-mlx5-flags",                                  // has private flags with which no queue can be bound
			"qemu-igb", "qemu-e1000e", "qemu-vmxnet3", "qemu-virtio": // which the lab has themselves
			continue
		}
		t.Run(name, func(t *testing.T) {
			from := captures.Load(t, name)
			params, left, err := likefile.Of(from)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("not taken: %q", left)
			reload(t, params)
			r := openRig(t, from.Head.Driver)
			was, err := ethtool.DialFrom(from)
			if err != nil {
				t.Fatal(err)
			}
			want, is := tell(t, was, from.Head.Interface), tell(t, r.rx.eth, "zc1")
			cannot := func(what string) bool {
				return slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, what+":") })
			}
			for _, v := range []struct {
				what     string
				is, want ethtool.Values
			}{{"rings", is.rings, want.rings}, {"channels", is.channels, want.channels}, {"coalescing", is.coalesce, want.coalesce}, {"pause",
				is.pause, want.pause}} {
				if !maps.Equal(v.is, v.want) && !cannot(v.what) {
					t.Errorf("%s: %v, want %v", v.what, v.is, v.want)
				}
			}
			if is.driver != want.driver || !maps.Equal(is.flags, want.flags) || !maps.Equal(is.features, want.features) {
				t.Errorf("%s, %v, %v\nwant %s, %v, %v", is.driver, is.flags, is.features, want.driver, want.flags, want.features)
			}
			if (is.key != want.key || is.table != want.table) && !cannot("RSS") {
				t.Errorf("RSS: a key of %d and a table of %d, want %d and %d", is.key, is.table, want.key, want.table)
			}
			bound := bindQueue(7%uint32(max(1, len(queuesOf(t, r)))), 0)(r)
			if noAPI := strings.Contains(params, "as_no_queue_ops"); noAPI != errors.Is(bound, unix.EOPNOTSUPP) {
				t.Errorf("bind: %v, though the capture says %t", bound, !noAPI)
			}
			r.transfer(t, 1<<20, 0, false)
		})
	}
}

// A captured NIC may have what its driver would not take anew, as sizes that an older
// one took: gve asks nothing of what stays as it is.
func TestLikeCapturedSizes(t *testing.T) {
	needLab(t)
	t.Cleanup(func() { reload(t, "") })
	reload(t, "like=gve as_ring=1000,0,0,1000,0 as_split=1 as_hds=0")
	r := openRig(t, "gve")
	if err := r.rx.eth.SetRings("zc1", ethtool.Values{"tcp-data-split": abi.ETHTOOL_TCP_DATA_SPLIT_ENABLED}); err != nil {
		t.Error(err)
	}
	for size, want := range map[uint64]error{1001: unix.EINVAL, 512: unix.EINVAL, 1000: nil} { // 512 with a tx of 1000
		if err := r.rx.eth.SetRings("zc1", ethtool.Values{"rx": size}); !errors.Is(err, want) {
			t.Errorf("rx %d: %v, want %v", size, err, want)
		}
	}
}

// queuesOf lists the receive queues of the receiver.
func queuesOf(t *testing.T, r *rig) (all []uint32) {
	t.Helper()
	list, err := r.rx.dev.Queues(r.rx.ifindex)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range list {
		if q.Direction == 0 {
			all = append(all, q.ID)
		}
	}
	return all
}
