package ringcfg

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/testutil/captures"
)

// What a wish comes to on NICs that answer so.
func TestReplayPlan(t *testing.T) {
	split := map[string]string{"tcp-data-split": "on", "hds-thresh": "0"}
	rule := "flow.tcp4 dst-ip 198.18.0.2 dst-port 5302"
	for _, c := range []struct {
		nic  string
		want map[string]string
		to   string // the changes
		err  string
		kind fault.Kind
	}{
		{nic: "zcnic-like-mlx5", want: split, to: "feature.rx-gro-hw off on; ring.tcp-data-split auto on"},
		{nic: "zcnic-like-mlx5-flags", want: split, to: "priv.rx_cqe_compress on off; feature.rx-gro-hw off on; ring.tcp-data-split auto on"},
		{nic: "zcnic-like-bnxt", want: split, to: "ring.hds-thresh 640 0; ring.tcp-data-split on on"},
		{nic: "zcnic-like-gve", want: split, to: "ring.tcp-data-split off on"},
		{nic: "zcnic-like-fbnic", want: split, to: "ring.hds-thresh 1536 0; ring.tcp-data-split on on"},
		{nic: "zcnic-like-ice", want: split, to: "ring.tcp-data-split off on"},
		{nic: "zcnic", want: split, to: "ring.tcp-data-split off on"},
		{nic: "zcnic-like-mlx5", want: map[string]string{rule: "queue 3"}, to: rule + "  queue 3 at 1023"},
		{nic: "zcnic-like-bnxt", want: map[string]string{rule: "queue 3"}, to: rule + "  queue 3"},
		{nic: "zcnic-like-gve", want: map[string]string{rule: "queue 3"}, to: rule + "  queue 3 at 255"},
		{nic: "zcnic-like-mlx5", want: map[string]string{"mtu": "9601"}, err: "link.mtu of zc1 is from 68 to 9600", kind: fault.Usage},
		{nic: "zcnic-like-mlx5", want: map[string]string{"mtu": "1000"}, to: "link.mtu 1500 1000"},
		{nic: "zcnic-like-mlx5", want: map[string]string{"priv.tx_port_ts": "on", "ntuple": "on"},
			to: "priv.tx_port_ts off on; feature.rx-ntuple-filter off on"},
		{nic: "zcnic-like-fbnic", want: map[string]string{"ntuple": "on"}},
		{nic: "zcnic-like-fbnic", want: map[string]string{"ntuple": "off"}, err: "ntuple: not supported by driver fbnic, which keeps it on",
			kind: fault.Unsupported},
		{nic: "zcnic-like-fbnic", want: map[string]string{"gro-hw": "on"}, err: "gro-hw: not supported by driver fbnic, which keeps it off",
			kind: fault.Unsupported},
		{nic: "zcnic-like-gve", want: map[string]string{"channels": "4"}, err: "channels: not supported by driver gve", kind: fault.Unsupported},
		{nic: "zcnic-like-mlx5", want: map[string]string{"priv.rx-striding-rq": "off"}, err: `did you mean "priv.rx_striding_rq"?`,
			kind: fault.Usage},
		{nic: "zcnic-like-mlx5", want: map[string]string{"rx-usecs": "4294967295"}, to: "coalesce.rx-usecs 8 4294967295"},
		{nic: "zcnic-like-mlx5", want: map[string]string{"rx-usecs": "4294967296"}, err: "coalesce.rx-usecs is at most 4294967295, not " +
			"4294967296", kind: fault.Usage},
		{nic: "zcnic-like-mlx5", want: map[string]string{"rx-usecs": "009"}, to: "coalesce.rx-usecs 8 9"},
		{nic: "zcnic-like-mlx5", want: map[string]string{"adaptive-rx": "256"}, err: "coalesce.use-adaptive-rx is at most 1, not 256",
			kind: fault.Usage},
		{nic: "zcnic-like-mlx5", want: map[string]string{"rx-ring": "4294967300"}, err: "ring.rx is at most 4294967295, not 4294967300",
			kind: fault.Usage},
		{nic: "zcnic-like-mlx5", want: map[string]string{"rx-ring": "8193"}, to: "ring.rx 1024 8193"}, // which is refused
		{nic: "zcnic-like-mlx5", want: map[string]string{"channels": "-1"}, err: `"-1" is not a number`, kind: fault.Usage},
		{nic: "zcnic-like-mlx5", want: map[string]string{"tcp-data-split": "ON"}, err: `ring.tcp-data-split: "ON" is not on, off or auto`,
			kind: fault.Usage},
		{nic: "veth", want: map[string]string{"link.txqueuelen": "512"}, err: `did you mean "link.tx-queue-len"?`, kind: fault.Usage},
		{nic: "veth", want: map[string]string{"rx-ring": "512"}, err: "rx-ring: not supported by driver veth", kind: fault.Unsupported},
		{nic: "qemu-igb", want: map[string]string{"rx-ring": "512", "channels": "4", "pause.rx": "off", "priv.legacy-rx": "on", "irq.rx-1": "0"},
			to: "pause.rx on off; priv.legacy-rx off on; ring.rx 256 512; channels.combined 2 4; irq.rx-1 0-1 0"},
		{nic: "qemu-igb", want: map[string]string{"mtu": "9217"}, err: "link.mtu of zc1 is from 68 to 9216", kind: fault.Usage},
		{nic: "qemu-igb", want: map[string]string{"ntuple": "on"}, err: "ntuple: not supported by driver igb, which keeps it off",
			kind: fault.Unsupported},
		{nic: "qemu-igb", want: split, err: "hds-thresh, tcp-data-split: not supported by driver igb", kind: fault.Unsupported},
		{nic: "qemu-e1000e", want: map[string]string{"rx-usecs": "9", "priv.disable-k1": "on", "irq.tx-0": "1"},
			to: "priv.disable-k1 off on; coalesce.rx-usecs 3 9; irq.tx-0 0-1 1"},
		{nic: "qemu-vmxnet3", want: map[string]string{"lro": "off", "rx-ring": "4096", "rss": "equal 1", "irq.rx-0": "1"},
			to: "feature.rx-lro on off; ring.rx 1024 4096; rss.table " + strings.Repeat("0 1 ", 63) + "0 1 " +
				strings.TrimSpace(strings.Repeat("0 ", 128)) + "; irq.rx-0 0-1 1"},
		{nic: "qemu-virtio", want: map[string]string{"irq.tx-0": "1"}, to: "irq.tx-0 0-1 1"},
		{nic: "qemu-virtio", want: map[string]string{"rss": "equal 1"}, err: "rss: not supported by driver virtio_net", kind: fault.Unsupported},
		{nic: "qemu-virtio", want: split, err: "hds-thresh, tcp-data-split: not supported by driver virtio_net", kind: fault.Unsupported},
		{nic: "qemu-e1000e", want: map[string]string{"channels": "2"}, err: "channels: not supported by driver e1000e", kind: fault.Unsupported},
		{nic: "qemu-e1000e", want: map[string]string{"rss": "equal 1"}, err: "rss: not supported by driver e1000e", kind: fault.Unsupported},
	} {
		from := captures.Load(t, c.nic)
		plan, err := PlanFrom(from, Want{Interface: from.Head.Interface, Settings: c.want})
		var changes []string
		for _, ch := range plan.Changes {
			changes = append(changes, ch.Name+" "+ch.From+" "+ch.To)
		}
		if got := strings.Join(changes, "; "); got != c.to {
			t.Errorf("%s: %v: %q, want %q", c.nic, c.want, got, c.to)
		}
		if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || fault.Of(err) != c.kind) {
			t.Errorf("%s: %v: %v, want %q", c.nic, c.want, err, c.err)
		}
	}
}

// What tune show says of NICs that answer so.
func TestReplayShow(t *testing.T) {
	for _, c := range []struct {
		nic, driver string
		settings    Settings // some of them; "" is one that there is not
		fixed       Settings
		limits      map[string]uint64 // 0: not told
		concerns    string            // their names
	}{
		{"zcnic-like-mlx5", "mlx5_core",
			Settings{"ring.tcp-data-split": "auto", "ring.hds-thresh": "0", "feature.rx-gro-hw": "off", "priv.rx_striding_rq": "on",
				"coalesce.rx-usecs": "8", "pause.autoneg": "off", "channels.combined": "8", "channels.rx": ""},
			nil, map[string]uint64{"ring.rx-max": 8192, "channels.combined-max": 8, "channels.rx-max": 0}, "feature.rx-ntuple-filter link.mtu " +
				"ring.tcp-data-split"},
		{"zcnic-like-mlx5-flags", "mlx5_core",
			Settings{"priv.rx_cqe_compress": "on", "priv.tx_port_ts": "on", "feature.rx-hashing": wantedButOff},
			nil, nil, "feature.rx-ntuple-filter link.mtu ring.tcp-data-split"},
		{"zcnic-like-bnxt", "bnxt_en",
			Settings{"ring.tcp-data-split": "on", "ring.hds-thresh": "640", "ring.rx": "511", "feature.rx-gro-hw": "on", "coalesce.tx-usecs": "28",
				"priv.rx_striding_rq": ""},
			nil, map[string]uint64{"ring.rx-max": 2047, "ring.hds-thresh-max": 1023}, "link.mtu ring.hds-thresh ring.rx"},
		{"zcnic-like-gve", "gve",
			Settings{"ring.tcp-data-split": "off", "ring.hds-thresh": "", "channels.rx": "8", "channels.combined": "", "ring.rx-buf-len": "2048",
				"pause.rx": ""},
			Settings{"ring.hds-thresh": "0", "feature.rx-lro": "off"}, map[string]uint64{"ring.rx-max": 4096,
				"channels.rx-max": 8}, "feature.rx-ntuple-filter link.mtu ring.tcp-data-split"},
		{"zcnic-like-fbnic", "fbnic",
			Settings{"ring.rx-jumbo": "256", "rss.key": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435"},
			Settings{"feature.rx-ntuple-filter": "on",
				"feature.rx-gro-hw": "off"}, map[string]uint64{"ring.rx-max": 65536}, "link.mtu ring.hds-thresh"},
		{"veth", "veth", Settings{"ring.rx": "", "channels.rx": "1", "link.mtu": "1500"}, nil, nil, "zero-copy sends"},
		{"qemu-igb", "igb",
			Settings{"ring.rx": "256", "ring.tcp-data-split": "", "channels.combined": "2", "priv.legacy-rx": "off", "coalesce.tx-usecs": "3",
				"pause.autoneg": "on", "irq.rx-*": "", "irq.rx-1": "0-1"},
			Settings{"feature.rx-ntuple-filter": "off"}, map[string]uint64{"ring.rx-max": 4096,
				"channels.combined-max": 8}, "link.mtu ring.rx ring.tcp-data-split"},
		{"qemu-vmxnet3", "vmxnet3",
			Settings{"ring.rx-jumbo": "512", "channels.combined": "2", "feature.rx-lro": "on", "napi.rx-0.threaded": "", "irq.rx-1": "0-1",
				"coalesce.rx-usecs": ""},
			nil, map[string]uint64{"ring.rx-max": 4096, "channels.combined-max": 2}, "feature.rx-lro link.mtu ring.tcp-data-split"},
		{"qemu-virtio", "virtio_net",
			Settings{"ring.rx": "1024", "channels.combined": "1", "coalesce.rx-max-frames": "1", "irq.rx-0": "0-1", "irq.tx-0": "0-1",
				"pause.rx": "", "rss.key": ""},
			nil, map[string]uint64{"ring.rx-max": 1024, "channels.combined-max": 1}, "link.mtu ring.tcp-data-split zero-copy sends"},
		{"qemu-e1000e", "e1000e",
			Settings{"ring.rx": "256", "channels.combined": "", "rss.table": "", "coalesce.rx-usecs": "3", "coalesce.tx-usecs": "",
				"priv.s0ix-enabled": "off", "irq.rx-0": "0-1", "irq.tx-0": "0-1", "queue.tx-0.xps-cpus": ""},
			nil, map[string]uint64{"ring.tx-max": 4096, "channels.combined-max": 0}, "link.mtu ring.rx ring.tcp-data-split"},
	} {
		from := captures.Load(t, c.nic)
		v, err := ShowFrom(from, from.Head.Interface)
		if err != nil {
			t.Errorf("%s: %v", c.nic, err)
			continue
		}
		if v.Driver != c.driver {
			t.Errorf("%s: driver %q", c.nic, v.Driver)
		}
		for name, want := range c.settings {
			if got := v.Settings[name]; got != want {
				t.Errorf("%s: %s is %q, want %q", c.nic, name, got, want)
			}
		}
		for name, want := range c.fixed {
			if got := v.Fixed[name]; got != want {
				t.Errorf("%s: fixed %s is %q, want %q", c.nic, name, got, want)
			}
		}
		for name, want := range c.limits {
			if got := v.Limits[name]; got != want {
				t.Errorf("%s: %s is %d, want %d", c.nic, name, got, want)
			}
		}
		slices.SortFunc(v.Concerns, func(a, b Concern) int { return cmp.Compare(a.Name, b.Name) })
		var names []string
		for _, concern := range v.Concerns {
			names = append(names, concern.Name)
		}
		if got := strings.Join(names, " "); got != c.concerns {
			t.Errorf("%s: concerns %q, want %q", c.nic, got, c.concerns)
		}
		if strings.HasPrefix(c.nic, "zcnic") && (len(v.Queues) != 16 || v.Queues[3].Name != "rx-3" || v.Queues[3].NAPI == 0) {
			t.Errorf("%s: queues %+v", c.nic, v.Queues)
		}
	}
}

// A question that a capture lacks is an error, also where a missing file is none.
func TestReplayIsStrict(t *testing.T) {
	for _, without := range []string{`"ask":"ethtool rings-get"`, `"of":"/sys/class/net/zc1/threaded"`, `"ask":"link"`} {
		var kept strings.Builder
		for line := range strings.Lines(captures.Text(t, "zcnic-like-gve")) {
			if !strings.Contains(line, without) {
				kept.WriteString(line)
			}
		}
		from, err := answers.Read("gve", strings.NewReader(kept.String()))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ShowFrom(from, "zc1")
		if strings.Contains(without, "ask") && !errors.Is(err, answers.ErrNoAnswer) || len(from.Missed()) == 0 {
			t.Errorf("without %s: %v, missed %q", without, err, from.Missed())
		}
	}
	from := captures.Load(t, "zcnic-like-gve")
	h, err := hereFrom(from, "zc1")
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if err := h.writeSplit("on"); err == nil || !strings.Contains(fmt.Sprint(err), "a capture takes no settings") {
		t.Errorf("a write: %v", err)
	}
}

// Answers that no kernel gives are errors, or what they say, and end nobody.
func FuzzReplay(f *testing.F) {
	names := captures.Names(f)
	for i := range names {
		for answer := range uint(48) {
			f.Add(uint(i), answer, uint(0), uint(24), []byte{0xff, 0xff, 0xff, 0xff})
		}
		f.Add(uint(i), uint(1), uint(0), uint(30), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, nic, answer, message, at uint, put []byte) {
		from := captures.Spoilt(t, names[nic%uint(len(names))], answer, message, at, put)
		iface := from.Head.Interface
		if v, err := ShowFrom(from, iface); err == nil && v.Settings == nil {
			t.Error("neither settings nor an error")
		}
		_, _ = PlanFrom(from, Want{Interface: iface, Settings: map[string]string{
			// a refusal is as good
			"tcp-data-split": "on", "hds-thresh": "0", "rss": "equal 3", "mtu": "1400", "flow.tcp4 dst-ip 198.18.0.2 dst-port 5302": "queue 3"}})
	})
}

// What HW GRO wants on mlx5, without which that splits no headers.
func TestReplayGRO(t *testing.T) {
	from := captures.Load(t, "zcnic-like-mlx5")
	h, err := hereFrom(from, "zc1")
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	now, err := h.all()
	if err != nil {
		t.Fatal(err)
	}
	if first := h.beforeGRO(now); len(first) > 0 {
		t.Errorf("at boot: %v", first)
	}
	now["priv.rx_cqe_compress"], now["priv.rx_striding_rq"] = "on", "off"
	if first := h.beforeGRO(now); len(first) != 2 || first["priv.rx_cqe_compress"] != "off" || first["priv.rx_striding_rq"] != "on" {
		t.Errorf("with both flags in the way: %v", first)
	}
	delete(now, hwGRO)
	h.fixed[hwGRO] = "off"
	_, err = h.resolve(Want{Interface: "zc1", Settings: map[string]string{"tcp-data-split": "on"}}, now)
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "only with feature.rx-gro-hw") {
		t.Errorf("where it is fixed: %v", err)
	}
}
