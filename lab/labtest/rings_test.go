package labtest

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/genl/ethtool"
)

// ETHTOOL_TCP_DATA_SPLIT_* of linux/ethtool.h.
const (
	splitOff = 1
	splitOn  = 2
)

func TestHeaderSplit(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name    string
		rings   ethtool.Values
		message int
		split   bool
	}{
		{"off", ethtool.Values{"tcp-data-split": splitOff}, 4096, false},
		{"on", ethtool.Values{"tcp-data-split": splitOn, "hds-thresh": 0}, 4096, true},
		{"on, one byte", ethtool.Values{"tcp-data-split": splitOn, "hds-thresh": 0}, 1, true},
		{"below the threshold", ethtool.Values{"tcp-data-split": splitOn, "hds-thresh": 100}, 100, false},
		{"above the threshold", ethtool.Values{"tcp-data-split": splitOn, "hds-thresh": 100}, 101, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.rx.rings(t, c.rings)
			got, err := r.rx.eth.Rings("zc1")
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.rings {
				if got[k] != v {
					t.Errorf("%s reads back as %d, want %d", k, got[k], v)
				}
			}
			before := r.rx.counter(t, "rx_split")
			r.transfer(t, c.message, 0, false)
			if split := r.rx.counter(t, "rx_split") > before; split != c.split {
				t.Errorf("split %v, want %v", split, c.split)
			}
		})
	}
}

func TestRingLimits(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		rings ethtool.Values
		want  error
	}{
		{ethtool.Values{"rx": 32}, unix.EINVAL},
		{ethtool.Values{"rx": 16384}, unix.EINVAL},
		{ethtool.Values{"hds-thresh": 4096}, unix.EINVAL},
	} {
		if err := r.rx.eth.SetRings("zc1", c.rings); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.rings, err, c.want)
		}
	}
}

func TestRingsResizeUnderTraffic(t *testing.T) {
	r := newRig(t)
	r.rx.rings(t, ethtool.Values{"rx": 512, "tx": 512})
	r.tx.rings(t, ethtool.Values{"rx": 512, "tx": 512})
	l := r.load(t, 4, 0)
	for _, size := range []uint64{64, 8192, 100, 512} {
		for _, s := range []side{r.rx, r.tx} {
			if err := s.eth.SetRings(s.Interface, ethtool.Values{"rx": size, "tx": size}); err != nil {
				t.Fatal(err)
			}
			l.moves(t)
		}
		got, err := r.rx.eth.Rings("zc1")
		if err != nil || got["rx"] < size || got["rx"] >= 2*size {
			t.Errorf("rx ring of %d after asking for %d (%v)", got["rx"], size, err)
		}
	}
	l.stop(t)
}

func TestChannelsChangeUnderTraffic(t *testing.T) {
	r := newRig(t)
	t.Cleanup(func() {
		for _, s := range []side{r.rx, r.tx} {
			if err := s.eth.SetChannels(s.Interface, ethtool.Values{"combined-count": 8}); err != nil {
				t.Error(err)
			}
		}
	})
	l := r.load(t, 8, 0)
	for _, n := range []uint64{1, 8, 3, 8} {
		for _, s := range []side{r.rx, r.tx} {
			if err := s.eth.SetChannels(s.Interface, ethtool.Values{"combined-count": n}); err != nil {
				t.Fatal(err)
			}
			l.moves(t)
		}
		before := r.rx.packets(t)
		l.moves(t)
		after := r.rx.packets(t)
		if uint64(len(after)) != n {
			t.Errorf("%d queues have statistics, want %d", len(after), n)
		}
		if len(busiest(before, after, 0.001)) == 0 {
			t.Errorf("no queue received: %v, %v", before, after)
		}
	}
	l.stop(t)
	rss, err := r.rx.eth.RSS("zc1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Max(rss.Indir) != 7 {
		t.Errorf("the default table does not use all queues again: %v", rss.Indir)
	}
}
