package ringcfg

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"zcbench/internal/abi"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netpair"
	pairs "zcbench/lab/pair"
)

// inLab says whether this is the lab's VM, where nobody else changes anything
// and the software NIC has every setting.
var inLab = os.Getenv("ZCBENCH_LAB") == "1"

// labPair finds the software NIC pair of the lab.
func labPair(t *testing.T) *netpair.Pair {
	t.Helper()
	if !inLab {
		t.Skip("needs the software NIC of the lab VM")
	}
	p, err := netpair.Find("zc0", "zc1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestLabEverySetting(t *testing.T) {
	p := labPair(t)
	for family, n := range everySetting(t, &p.RX) {
		t.Logf("%s: %d", family, n)
	}
}

func TestLabKilled(t *testing.T) {
	p := labPair(t)
	killMany(t, &p.RX, uint64(time.Now().UnixNano()), rounds())
}

// TestLabSplitInDoubt: header split that reads on before anybody configures it goes back
// to not configured also where the process was killed before it noted that it had done so.
func TestLabSplitInDoubt(t *testing.T) {
	labPair(t).Close()
	t.Cleanup(func() {
		if err := pairs.Reload(""); err != nil {
			t.Error(err)
		}
	})
	if err := pairs.Reload("like=bnxt"); err != nil {
		t.Fatal(err)
	}
	e := &labPair(t).RX
	j := Journal(t.TempDir())
	configured := func() string {
		out, err := exec.Command("ethtool", "-S", e.Interface).Output()
		for line := range strings.Lines(string(out)) {
			if name, v, _ := strings.Cut(strings.TrimSpace(line), ": "); name == "hds_config" {
				return v
			}
		}
		t.Fatalf("ethtool -S does not say what header split is configured: %v", err)
		return ""
	}
	in(t, e, func() error {
		s, err := begin(e.Interface, j, 0)
		if err != nil {
			return err
		}
		if _, err := s.apply(background, Want{Interface: e.Interface, Settings: map[string]string{"tcp-data-split": "on"}}); err != nil {
			return err
		}
		if got := configured(); got != "2" {
			t.Errorf("after it was set on: %s", got)
		}
		lines, err := os.ReadFile(s.path)
		if err != nil {
			return err
		}
		text := strings.Join(slices.DeleteFunc(strings.SplitAfter(string(lines), "\n"),
			func(l string) bool { return strings.HasPrefix(l, `{"done"`) }), "")
		if err := errors.Join(os.WriteFile(s.path, []byte(text), 0o600), s.close()); err != nil {
			return err
		}
		done, err := Recover(background, j)
		if err != nil || len(done.Drift) > 0 {
			t.Errorf("recover: %+v, %v", done, err)
		}
		if got := configured(); got != "0" {
			t.Errorf("put back, it is configured as %s", got)
		}
		return nil
	})
}

// TestLabQueues takes queues of its own as an engine does, one and two, by
// rules and by an RSS context.
func TestLabQueues(t *testing.T) {
	p := labPair(t)
	e := &p.RX
	before := state(t, e)
	j := Journal(t.TempDir())
	header := map[string]string{"tcp-data-split": "on", "hds-thresh": "0"}
	for _, c := range []struct {
		name    string
		queues  int
		flows   []ethtool.Match
		context bool
		rss     string // that is wanted too
	}{
		{"one queue", 1, []ethtool.Match{{Dst: e.Addr4, DstPort: 5302}, {Dst: e.Addr6, DstPort: 5302}}, false, ""},
		{"two queues by rules", 2, []ethtool.Match{{Dst: e.Addr4, DstPort: 5302, SrcPort: 1000}, {Dst: e.Addr4, DstPort: 5302, SrcPort: 1001}},
			false, ""},
		{"two queues by RSS context", 2, []ethtool.Match{{Dst: e.Addr4, DstPort: 5302}}, true, ""},
		{"one that all traffic is wanted on", 1, []ethtool.Match{{Dst: e.Addr4, DstPort: 5302}}, false, "7"},
	} {
		in(t, e, func() error {
			settings := maps.Clone(header)
			if c.rss != "" {
				settings["rss"] = c.rss
			}
			grant, undo, err := Apply(background, Want{Interface: e.Interface, Settings: settings, Queues: c.queues, Flows: c.flows}, j)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if len(grant.Queues) != c.queues || (grant.Context != 0) != c.context {
				t.Errorf("%s: granted %+v", c.name, grant)
			}
			now, err := Snapshot(e.Interface)
			if err != nil {
				return err
			}
			table, err := splitQueues("rss.table", now["rss.table"])
			if err != nil {
				return err
			}
			for _, q := range grant.Queues {
				if slices.Contains(table, q) {
					t.Errorf("%s: queue %d is in the RSS table %v", c.name, q, table)
				}
			}
			if now["ring.tcp-data-split"] != "on" || now["feature.rx-ntuple-filter"] != "on" {
				t.Errorf("%s: header split %s, flow rules %s", c.name, now["ring.tcp-data-split"], now["feature.rx-ntuple-filter"])
			}
			for _, m := range c.flows {
				if now["flow."+m.String()] == "" {
					t.Errorf("%s: no rule for %s", c.name, m)
				}
			}
			if drift, err := undo(background); err != nil || drift != nil {
				t.Errorf("%s: undo: %v, %v", c.name, drift, err)
			}
			return nil
		})
		if after := state(t, e); after != before {
			t.Fatalf("%s: not as before:\n%s", c.name, lineDiff(before, after))
		}
	}
}

// TestLabRefusals wants the kernel's own text, or the limit, and nothing left changed.
func TestLabRefusals(t *testing.T) {
	p := labPair(t)
	e := &p.RX
	before := state(t, e)
	j := Journal(t.TempDir())
	for _, c := range []struct {
		want Want
		text string
	}{
		{Want{Settings: map[string]string{"mtu": "4148", "rx-ring": "9999999"}}, "ring.rx: at most "},
		{Want{Settings: map[string]string{"rss": "equal 1", "flow.tcp4 dst-ip 198.18.0.2": "queue 99"}}, "flow rule tcp4 dst-ip 198.18.0.2"},
		{Want{Settings: map[string]string{"channels": "9999"}}, "channels.combined: at most "},
		{Want{Settings: map[string]string{"mtu": "4148", "rss": "99"}}, "rss.table: zc1 has 8 receive queues, from 0 on, and no queue 99"},
		{Want{Settings: map[string]string{"rss.key": "00"}}, "rss.key of zc1 is 40 bytes in hexadecimal"},
	} {
		c.want.Interface = e.Interface
		in(t, e, func() error {
			if _, _, err := Apply(background, c.want, j); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v: %v, want %s", c.want.Settings, err, c.text)
			}
			return nil
		})
		if after := state(t, e); after != before {
			t.Fatalf("%v: not as before:\n%s", c.want.Settings, lineDiff(before, after))
		}
	}
}

// TestLabContextCancelled interrupts an Apply: what it did is rolled back.
func TestLabContextCancelled(t *testing.T) {
	p := labPair(t)
	e := &p.RX
	before := state(t, e)
	in(t, e, func() error {
		ctx, cancel := context.WithCancelCause(background)
		why := errors.New("interrupted")
		cancel(why)
		if _, _, err := Apply(ctx, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148"}},
			Journal(t.TempDir())); !errors.Is(err, why) {
			t.Errorf("got %v, want the cause", err)
		}
		return nil
	})
	if after := state(t, e); after != before {
		t.Errorf("not as before:\n%s", lineDiff(before, after))
	}
}

// TestLabNetdev reads what only a NIC with queues of its own has.
func TestLabNetdev(t *testing.T) {
	p := labPair(t)
	e := &p.RX
	in(t, e, func() error {
		h, err := here(e.Interface)
		if err != nil {
			return err
		}
		defer h.close()
		queues, err := h.dev.Queues(h.index)
		if err != nil || len(queues) < 4 || queues[0].Direction != netdev.RX || queues[0].NAPI == 0 {
			t.Errorf("queues: %+v, %v", queues, err)
		}
		pools, err := h.dev.PagePools(h.index)
		if err != nil || len(pools) == 0 {
			t.Errorf("page pools: %+v, %v", pools, err)
		}
		stats, err := h.dev.PagePoolStats(h.index)
		if err != nil || len(stats) == 0 {
			t.Errorf("page pool statistics: %+v, %v", stats, err)
		}
		byQueue, err := h.dev.QueueStats(h.index)
		if err != nil || len(byQueue) == 0 {
			t.Errorf("queue statistics: %+v, %v", byQueue, err)
		}
		if _, err := h.dev.Stats(h.index); err != nil {
			t.Errorf("statistics: %v", err)
		}
		rings, err := h.eth.Rings(e.Interface)
		if err != nil || rings["rx"] == 0 || rings["rx-max"] < rings["rx"] {
			t.Errorf("rings: %v, %v", rings, err)
		}
		if rings["tcp-data-split"] > abi.ETHTOOL_TCP_DATA_SPLIT_ENABLED {
			t.Errorf("header split %d", rings["tcp-data-split"])
		}
		return nil
	})
}
