package labtest

import (
	"net/netip"
	"slices"
	"testing"

	"zcbench/internal/genl/ethtool"
)

// busiest returns the queues that received at least share of all packets that
// came between two readings.
func busiest(before, after []uint64, share float64) []int {
	var sum uint64
	for i := range after {
		sum += after[i] - before[i]
	}
	var queues []int
	for i := range after {
		if sum > 0 && float64(after[i]-before[i]) >= share*float64(sum) {
			queues = append(queues, i)
		}
	}
	return queues
}

// away points the RSS table at the first two queues only, so that traffic on
// another one is there because of a rule.
func (r *rig) away(t *testing.T) {
	t.Helper()
	rss, err := r.rx.eth.RSS("zc1", 0)
	if err != nil {
		t.Fatal(err)
	}
	table := make([]uint32, len(rss.Indir))
	for i := range table {
		table[i] = uint32(i % 2)
	}
	if err := r.rx.eth.SetIndir("zc1", 0, table); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.rx.eth.SetIndir("zc1", 0, nil); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) rule(t *testing.T, rule ethtool.Rule) uint32 {
	t.Helper()
	loc, err := r.rx.eth.FreeLocation("zc1")
	if err != nil {
		t.Fatal(err)
	}
	rule.Location = loc
	loc, err = r.rx.eth.AddRule("zc1", rule)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.rx.eth.DeleteRule("zc1", loc); err != nil {
			t.Error(err)
		}
	})
	return loc
}

func TestRuleSteersToItsQueue(t *testing.T) {
	for _, c := range []struct {
		name  string
		v6    bool
		match func(r *rig) ethtool.Match
		hit   bool
	}{
		{"tcp4 by port", false, func(r *rig) ethtool.Match { return ethtool.Match{Dst: r.rx.Addr4, DstPort: 7001} }, true},
		{"tcp4 by source", false, func(r *rig) ethtool.Match { return ethtool.Match{Src: r.tx.Addr4} }, true},
		{"tcp6 by port", true, func(r *rig) ethtool.Match { return ethtool.Match{Dst: r.rx.Addr6, DstPort: 7001} }, true},
		{"another port", false, func(r *rig) ethtool.Match { return ethtool.Match{Dst: r.rx.Addr4, DstPort: 7002} }, false},
		{"another host", false, func(r *rig) ethtool.Match {
			return ethtool.Match{Dst: netip.MustParseAddr("198.18.0.9"), DstPort: 7001}
		}, false},
		{"tcp6 rule, tcp4 flow", false, func(r *rig) ethtool.Match { return ethtool.Match{Dst: r.rx.Addr6, DstPort: 7001} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.away(t)
			const queue = 5
			loc := r.rule(t, ethtool.Rule{Match: c.match(r), Queue: queue})
			rules, err := r.rx.eth.Rules("zc1")
			if err != nil {
				t.Fatal(err)
			}
			if i := slices.IndexFunc(rules, func(x ethtool.Rule) bool { return x.Location == loc }); i < 0 || rules[i].Match != c.match(r) ||
				rules[i].Queue != queue {
				t.Errorf("the rule reads back as %+v", rules)
			}
			before := r.rx.packets(t)
			r.transfer(t, 1<<20, 7001, c.v6)
			got := busiest(before, r.rx.packets(t), 0.9)
			if hit := slices.Equal(got, []int{queue}); hit != c.hit {
				t.Errorf("most packets went to queues %v; hit %v, want %v", got, hit, c.hit)
			}
		})
	}
}

func TestRuleSteersToAContext(t *testing.T) {
	r := newRig(t)
	r.away(t)
	rss, err := r.rx.eth.RSS("zc1", 0)
	if err != nil {
		t.Fatal(err)
	}
	table := make([]uint32, len(rss.Indir))
	for i := range table {
		table[i] = 6
	}
	if err := r.rx.eth.CreateRSS("zc1", 1, table); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.rx.eth.DeleteRSS("zc1", 1); err != nil {
			t.Error(err)
		}
	})
	r.rule(t, ethtool.Rule{Match: ethtool.Match{Dst: r.rx.Addr4, DstPort: 7001}, Context: 1})
	if err := r.rx.eth.DeleteRSS("zc1", 1); err == nil {
		t.Error("a context that a rule uses was deleted")
	}
	before := r.rx.packets(t)
	r.transfer(t, 1<<20, 7001, false)
	if got := busiest(before, r.rx.packets(t), 0.9); !slices.Equal(got, []int{6}) {
		t.Errorf("most packets went to queues %v, want 6", got)
	}
}

func TestTableSpreadsFlows(t *testing.T) {
	r := newRig(t)
	rss, err := r.rx.eth.RSS("zc1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(rss.Indir) != 128 || len(rss.Key) != 40 {
		t.Fatalf("table of %d, key of %d bytes; want 128 and 40", len(rss.Indir), len(rss.Key))
	}
	before := r.rx.packets(t)
	r.load(t, 16, 0).stopAfter(t, 1<<20)
	if got := busiest(before, r.rx.packets(t), 0.02); len(got) < 3 {
		t.Errorf("16 flows went to queues %v only", got)
	}

	table := make([]uint32, len(rss.Indir))
	for i := range table {
		table[i] = 3
	}
	if err := r.rx.eth.SetIndir("zc1", 0, table); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.rx.eth.SetIndir("zc1", 0, nil); err != nil {
			t.Error(err)
		}
	})
	before = r.rx.packets(t)
	r.load(t, 16, 0).stopAfter(t, 1<<20)
	if got := busiest(before, r.rx.packets(t), 0.9); !slices.Equal(got, []int{3}) {
		t.Errorf("a table of threes sent packets to queues %v", got)
	}
}

func TestKeyDecidesTheQueue(t *testing.T) {
	r := newRig(t)
	rss, err := r.rx.eth.RSS("zc1", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.rx.eth.SetKey("zc1", 0, rss.Key); err != nil {
			t.Error(err)
		}
	})
	// With a key of zeros every hash is zero.
	if err := r.rx.eth.SetKey("zc1", 0, make([]byte, len(rss.Key))); err != nil {
		t.Fatal(err)
	}
	before := r.rx.packets(t)
	r.load(t, 16, 0).stopAfter(t, 1<<20)
	if got := busiest(before, r.rx.packets(t), 0.9); !slices.Equal(got, []int{int(rss.Indir[0])}) {
		t.Errorf("packets with hash 0 went to queues %v, want %d", got, rss.Indir[0])
	}
}

func TestRuleNeedsAQueueThatIsThere(t *testing.T) {
	r := newRig(t)
	if _, err := r.rx.eth.AddRule("zc1", ethtool.Rule{Match: ethtool.Match{DstPort: 1, Dst: r.rx.Addr4}, Queue: 8}); err == nil {
		t.Error("a rule for queue 8 of 8 was accepted")
	}
	r.rule(t, ethtool.Rule{Match: ethtool.Match{Dst: r.rx.Addr4, DstPort: 7001}, Queue: 7})
	if err := r.rx.eth.SetChannels("zc1", ethtool.Values{"combined-count": 4}); err == nil {
		t.Error("queue 7 went away under its rule")
	}
}

// stopAfter ends the traffic once n more bytes have arrived.
func (l *load) stopAfter(t *testing.T, n uint64) {
	t.Helper()
	for goal := l.bytes.Load() + n; l.bytes.Load() < goal; {
		l.moves(t)
	}
	l.stop(t)
}
