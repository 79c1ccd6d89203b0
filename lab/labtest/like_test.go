package labtest

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/genl"
	"zcbench/internal/genl/ethtool"
	"zcbench/udmabuf"
)

// feature is an offload as ethtool -k shows it.
type feature string

const (
	on       feature = "on"
	off      feature = "off"
	fixedOn  feature = "on [fixed]"
	fixedOff feature = "off [fixed]"
)

// likeness is what a port says of itself at boot when it is like a driver, and
// what it then refuses.
type likeness struct {
	like, driver string
	rings        ethtool.Values // all but tx-push and rx-push, which are 0
	channels     ethtool.Values
	coalesce     ethtool.Values
	gro, lro     feature
	ntuple       feature
	table, key   int    // sizes for RSS
	flags        string // private flags that are on, "-" for no private flags
	pause        string // autonegotiation, RX, TX; "" for none
	anywhere     bool   // the driver chooses where a rule goes
	rule         error  // of one at a place that the driver does not want
	missing      error  // of deleting a rule that is not there
	steps        []step
}

// step is a change, in the order in which a user makes them, and its outcome.
type step struct {
	name  string
	do    func(r *rig) error
	errno unix.Errno // 0: it succeeds
	text  string     // of the kernel; "" where it has none to give
	split uint64     // as rings-get has it then; 0: not at all
	conf  uint64     // configured then

	since73 bool // bind-rx has rx-page-size since Linux 7.3
}

func setRings(v ethtool.Values) func(r *rig) error {
	return func(r *rig) error { return r.rx.eth.SetRings("zc1", v) }
}

func setSplit(v uint64) func(r *rig) error { return setRings(ethtool.Values{"tcp-data-split": v}) }

func setFeature(name string, on bool) func(r *rig) error {
	return func(r *rig) error { return r.rx.eth.SetFeatures("zc1", map[string]bool{name: on}) }
}

func setFlag(name, value string) func(r *rig) error {
	return func(r *rig) error {
		out, err := r.rx.try("ethtool", "--set-priv-flags", "zc1", name, value)
		if strings.Contains(out, "Invalid argument") {
			return unix.EINVAL
		}
		return err
	}
}

// bindQueue binds a queue to a dma-buf for a moment.
func bindQueue(queue, pageSize uint32) func(r *rig) error {
	return func(r *rig) error {
		b, err := udmabuf.New(4<<20, true)
		if err != nil {
			return err
		}
		defer b.Close()
		_, free, err := r.tryBind(b.FD(), queue, pageSize)
		if err != nil {
			return err
		}
		return free()
	}
}

const splitAuto = 0 // what nobody has set

func likenesses() []likeness {
	return []likeness{{
		like: "mlx5", driver: "mlx5_core",
		rings:    ethtool.Values{"rx": 1024, "tx": 1024, "rx-max": 8192, "tx-max": 8192, "hds-thresh": 0, "hds-thresh-max": 0},
		channels: ethtool.Values{"combined-max": 8, "combined-count": 8},
		coalesce: ethtool.Values{"rx-usecs": 8, "rx-max-frames": 128, "use-adaptive-rx": 1, "tx-usecs": 8, "tx-max-frames": 128,
			"use-adaptive-tx": 1,
			"use-cqe-mode-rx": 1, "use-cqe-mode-tx": 0},
		gro: off, lro: off, ntuple: off, table: 256, key: 40,
		flags: "rx_cqe_moder rx_striding_rq xdp_tx_mpwqe skb_tx_mpwqe", pause: "off on on",
		rule: unix.ENOSPC, missing: unix.ENOENT,
		steps: []step{
			{name: "on without HW GRO", do: setSplit(splitOn), errno: unix.EINVAL, text: "mlx5_core: TCP-data-split is not supported when GRO HW " +
				"is disabled"},
			{name: "HW GRO", do: setFeature("rx-gro-hw", true)},
			{name: "on", do: setSplit(splitOn), split: splitOn, conf: splitOn},
			{name: "threshold", do: setRings(ethtool.Values{"hds-thresh": 1}), errno: unix.EINVAL, text: "requested ring size exceeds maximum",
				split: splitOn, conf: splitOn},
			{name: "small rx", do: setRings(ethtool.Values{"rx": 8}), errno: unix.EINVAL, text: "mlx5_core: rx (8) < min (16)", split: splitOn,
				conf: splitOn},
			{name: "small tx", do: setRings(ethtool.Values{"tx": 63}), errno: unix.EINVAL, text: "mlx5_core: tx (63) < min (64)", split: splitOn,
				conf: splitOn},
			{name: "bind", do: bindQueue(7, 0), split: splitOn, conf: splitOn},
			{name: "bind with large buffers", since73: true, do: bindQueue(7, 32<<10), split: splitOn, conf: splitOn},
			{name: "odd buffers", since73: true, do: bindQueue(7, 128<<10), errno: unix.ERANGE, split: splitOn, conf: splitOn},
			{name: "compressed completions", do: setFlag("rx_cqe_compress", "on"), errno: unix.EINVAL, split: splitOn, conf: splitOn},
			{name: "no striding", do: setFlag("rx_striding_rq", "off"), errno: unix.EINVAL, split: splitOn, conf: splitOn},
			{name: "port time stamps", do: setFlag("tx_port_ts", "on"), split: splitOn, conf: splitOn},
			{name: "bind with those", do: bindQueue(7, 0), errno: unix.EOPNOTSUPP, split: splitOn, conf: splitOn},
			{name: "none", do: setFlag("tx_port_ts", "off"), split: splitOn, conf: splitOn},
			{name: "HW GRO stays on", do: wants("rx-gro-hw", false, on), split: splitOn, conf: splitOn},
			{name: "auto", do: setSplit(splitAuto)},
			{name: "and is still on", do: has("rx-gro-hw", on)},
			// The kernel passes on no wish that it had before.
			{name: "nor does asking again help", do: wants("rx-gro-hw", false, on)},
			{name: "HW GRO on", do: setFeature("rx-gro-hw", true)},
			{name: "HW GRO off", do: wants("rx-gro-hw", false, off)},
			{name: "off", do: setSplit(splitOff), split: splitOff, conf: splitOff},
		},
	}, {
		like: "bnxt", driver: "bnxt_en",
		rings: ethtool.Values{"rx": 511, "tx": 511, "rx-max": 2047, "tx-max": 2047, "rx-jumbo": 2044, "tcp-data-split": splitOn,
			"hds-thresh": 640, "hds-thresh-max": 1023},
		channels: ethtool.Values{"combined-max": 8, "combined-count": 8, "rx-max": 8, "tx-max": 8, "rx-count": 0, "tx-count": 0},
		coalesce: bnxtCoalesce,
		gro:      on, lro: off, ntuple: on, table: 512, key: 40, flags: "-", pause: "on on on", anywhere: true,
		rule: unix.EINVAL, missing: unix.ENOENT,
		steps: []step{
			{name: "bind while it only reads on", do: bindQueue(7, 0), errno: unix.EINVAL, text: "tcp-data-split is disabled", split: splitOn},
			{name: "off", do: setSplit(splitOff), errno: unix.EINVAL, split: splitOn},
			{name: "on", do: setSplit(splitOn), split: splitOn, conf: splitOn},
			{name: "bind with the threshold", do: bindQueue(7, 0), errno: unix.EINVAL, text: "hds-thresh is not zero", split: splitOn,
				conf: splitOn},
			{name: "threshold", do: setRings(ethtool.Values{"hds-thresh": 0}), split: splitOn, conf: splitOn},
			{name: "bind", do: bindQueue(7, 0), split: splitOn, conf: splitOn},
			{name: "odd buffers", since73: true, do: bindQueue(7, 64<<10), errno: unix.ERANGE, split: splitOn, conf: splitOn},
			{name: "off again", do: setSplit(splitOff), errno: unix.EINVAL, split: splitOn, conf: splitOn},
			{name: "no HW GRO", do: setFeature("rx-gro-hw", false), split: splitOn, conf: splitOn},
			{name: "auto", do: setSplit(splitAuto), split: splitOff},
			{name: "LRO", do: setFeature("rx-lro", true), split: splitOn},
			{name: "HW GRO", do: setFeature("rx-gro-hw", true), split: splitOn},
			{name: "which ends LRO", do: has("rx-lro", off), split: splitOn},
			{name: "small tx", do: setRings(ethtool.Values{"tx": 18}), errno: unix.EINVAL, split: splitOn},
		},
	}, {
		like: "bnxt-noagg", driver: "bnxt_en",
		rings: ethtool.Values{"rx": 511, "tx": 511, "rx-max": 8191, "tx-max": 2047, "tcp-data-split": splitOff,
			"hds-thresh": 640, "hds-thresh-max": 1023},
		channels: ethtool.Values{"combined-max": 8, "combined-count": 8, "rx-max": 8, "tx-max": 8, "rx-count": 0, "tx-count": 0},
		coalesce: bnxtCoalesce,
		gro:      fixedOff, lro: fixedOff, ntuple: on, table: 512, key: 40, flags: "-", pause: "on on on", anywhere: true,
		rule: unix.EINVAL, missing: unix.ENOENT,
		steps: []step{
			{name: "off, which it reads", do: setSplit(splitOff), errno: unix.EINVAL, split: splitOff},
			{name: "large rx", do: setRings(ethtool.Values{"rx": 8191}), split: splitOff},
			{name: "on", do: setSplit(splitOn), split: splitOn, conf: splitOn},
			{name: "made it smaller", do: reads(ethtool.Values{"rx": 2047, "rx-max": 2047, "rx-jumbo": 8188}), split: splitOn, conf: splitOn},
			{name: "auto", do: setSplit(splitAuto), split: splitOff},
		},
	}, {
		like: "fbnic", driver: "fbnic",
		rings: ethtool.Values{"rx": 1024, "tx": 1024, "rx-max": 65536, "tx-max": 65536, "rx-mini": 256, "rx-jumbo": 256,
			"tcp-data-split": splitOn,
			"hds-thresh":     1536, "hds-thresh-max": 3584},
		channels: ethtool.Values{"combined-max": 8, "combined-count": 8, "rx-max": 8, "tx-max": 8, "rx-count": 0, "tx-count": 0},
		coalesce: ethtool.Values{"rx-usecs": 30, "rx-max-frames": 0, "tx-usecs": 35},
		gro:      fixedOff, lro: fixedOff, ntuple: fixedOn, table: 256, key: 54, flags: "-", pause: "on off off", anywhere: true,
		rule: unix.EINVAL, missing: unix.EINVAL,
		steps: []step{
			{name: "bind while it only reads on", do: bindQueue(7, 0), errno: unix.EINVAL, text: "tcp-data-split is disabled", split: splitOn},
			{name: "off", do: setSplit(splitOff), errno: unix.EINVAL, text: "fbnic: Cannot disable TCP data split", split: splitOn},
			{name: "on", do: setRings(ethtool.Values{"tcp-data-split": splitOn, "hds-thresh": 0}), split: splitOn, conf: splitOn},
			{name: "bind", do: bindQueue(7, 0), split: splitOn, conf: splitOn},
			{name: "large buffers", since73: true, do: bindQueue(7, 8<<10), errno: unix.EOPNOTSUPP, text: "device does not support: rx_page_size",
				split: splitOn, conf: splitOn},
			{name: "small rx", do: setRings(ethtool.Values{"rx": 32}), errno: unix.EINVAL, text: "fbnic: requested ring size too small",
				split: splitOn, conf: splitOn},
			{name: "small rx-mini", do: setRings(ethtool.Values{"rx-mini": 32}), errno: unix.EINVAL, text: "fbnic: requested ring size too small",
				split: splitOn, conf: splitOn},
			{name: "odd sizes", do: setRings(ethtool.Values{"rx": 1000, "rx-jumbo": 300}), split: splitOn, conf: splitOn},
			{name: "are rounded", do: reads(ethtool.Values{"rx": 1024, "rx-jumbo": 512}), split: splitOn, conf: splitOn},
			{name: "auto", do: setSplit(splitAuto), split: splitOn},
		},
	}, {
		like: "gve", driver: "gve",
		rings:    ethtool.Values{"rx": 1024, "tx": 1024, "rx-max": 4096, "tx-max": 4096, "rx-buf-len": 2048, "tcp-data-split": splitOff},
		channels: ethtool.Values{"rx-max": 8, "tx-max": 8, "rx-count": 8, "tx-count": 8},
		coalesce: ethtool.Values{"rx-usecs": 20, "tx-usecs": 50},
		gro:      on, lro: fixedOff, ntuple: off, table: 128, key: 40, flags: "",
		rule: unix.EINVAL, missing: unix.EINVAL,
		steps: []step{
			{name: "threshold", do: setRings(ethtool.Values{"hds-thresh": 0}), errno: unix.EOPNOTSUPP, text: "setting hds-thresh is not supported",
				split: splitOff},
			{name: "on", do: setSplit(splitOn), split: splitOn, conf: splitOn},
			{name: "bind", do: bindQueue(7, 0), split: splitOn, conf: splitOn},
			{name: "bind queue 0", do: bindQueue(0, 0), errno: unix.ERANGE, split: splitOn, conf: splitOn},
			{name: "large buffers", since73: true, do: bindQueue(7, 8<<10), errno: unix.EOPNOTSUPP, text: "device does not support: rx_page_size",
				split: splitOn, conf: splitOn},
			{name: "auto", do: setSplit(splitAuto), split: splitOn},
			{name: "off", do: setSplit(splitOff), split: splitOff, conf: splitOff},
			{name: "auto after off", do: setSplit(splitAuto), split: splitOff},
			{name: "odd rx", do: setRings(ethtool.Values{"rx": 1000}), errno: unix.EINVAL, split: splitOff},
			{name: "small rx", do: setRings(ethtool.Values{"rx": 256}), errno: unix.EINVAL, split: splitOff},
			{name: "small tx", do: setRings(ethtool.Values{"tx": 128}), errno: unix.EINVAL, split: splitOff},
			{name: "buffers", do: setRings(ethtool.Values{"rx-buf-len": 8192}), errno: unix.EINVAL, text: "gve: Rx buf len can only be 2048 or 4096",
				split: splitOff},
			{name: "rule without ntuple", do: addRule, errno: unix.EOPNOTSUPP, split: splitOff},
			{name: "combined channels", do: func(r *rig) error { return r.rx.eth.SetChannels("zc1", ethtool.Values{"combined-count": 1}) },
				errno: unix.EINVAL, text: "requested channel count exceeds maximum", split: splitOff},
			{name: "fewer channels", do: func(r *rig) error {
				return r.rx.eth.SetChannels("zc1", ethtool.Values{"rx-count": 4, "tx-count": 4})
			}, split: splitOff},
		},
	}, {
		like: "ice", driver: "ice",
		rings:    ethtool.Values{"rx": 2048, "tx": 256, "rx-max": 8160, "tx-max": 8160, "tcp-data-split": splitOff},
		channels: ethtool.Values{"combined-max": 8, "combined-count": 8, "rx-max": 8, "tx-max": 8, "rx-count": 0, "tx-count": 0},
		coalesce: ethtool.Values{"rx-usecs": 50, "use-adaptive-rx": 1, "tx-usecs": 50, "use-adaptive-tx": 1, "rx-usecs-high": 0},
		gro:      fixedOff, lro: fixedOff, ntuple: on, table: 512, key: 52, flags: "fw-lldp-agent", pause: "on off off",
		rule: unix.ENOSPC, missing: unix.ENOENT,
		steps: []step{
			{name: "on", do: setSplit(splitOn), split: splitOn, conf: splitOn},
			{name: "bind", do: bindQueue(7, 0), errno: unix.EOPNOTSUPP, split: splitOn, conf: splitOn},
			{name: "auto", do: setSplit(splitAuto), split: splitOff},
			{name: "odd rx", do: setRings(ethtool.Values{"rx": 1000}), split: splitOff},
			{name: "is rounded", do: reads(ethtool.Values{"rx": 1024}), split: splitOff},
			{name: "small tx", do: setRings(ethtool.Values{"tx": 63}), errno: unix.EINVAL, split: splitOff},
			{name: "rule", do: addRule, split: splitOff},
			{name: "fewer channels", do: func(r *rig) error { return r.rx.eth.SetChannels("zc1", ethtool.Values{"combined-count": 4}) },
				errno: unix.EOPNOTSUPP, split: splitOff},
			{name: "a key resets the table", do: keyResets, split: splitOff},
		},
	}}
}

var bnxtCoalesce = ethtool.Values{"rx-usecs": 10, "rx-max-frames": 15, "rx-usecs-irq": 1, "rx-max-frames-irq": 1, "tx-usecs": 28,
	"tx-max-frames": 30,
	"tx-usecs-irq":  2, "tx-max-frames-irq": 2, "stats-block-usecs": 1000000, "use-adaptive-rx": 0, "use-cqe-mode-rx": 0, "use-cqe-mode-tx": 0}

// has checks an offload.
func has(name string, want feature) func(r *rig) error {
	return func(r *rig) error {
		f, err := r.rx.eth.Features("zc1")
		if err == nil && f[name].Active != (want == on) {
			err = errors.New(name + " is not " + string(want))
		}
		return err
	}
}

// wants asks for an offload and checks what it gets.
func wants(name string, ask bool, want feature) func(r *rig) error {
	return func(r *rig) error { return errors.Join(setFeature(name, ask)(r), has(name, want)(r)) }
}

// reads checks some ring settings.
func reads(want ethtool.Values) func(r *rig) error {
	return func(r *rig) error {
		got, err := r.rx.eth.Rings("zc1")
		for name, v := range want {
			if got[name] != v {
				err = errors.Join(err, errors.New("wrong "+name))
			}
		}
		return err
	}
}

func addRule(r *rig) error {
	loc, err := r.rx.eth.FreeLocation("zc1")
	if err == nil {
		_, err = r.rx.eth.AddRule("zc1", ethtool.Rule{Location: loc, Match: ethtool.Match{Dst: r.rx.Addr4, DstPort: 9}, Queue: 1})
	}
	return err
}

func keyResets(r *rig) error {
	rss, err := r.rx.eth.RSS("zc1", 0)
	if err != nil {
		return err
	}
	if err := r.rx.eth.SetIndir("zc1", 0, make([]uint32, len(rss.Indir))); err != nil {
		return err
	}
	rss.Key[0]++
	if err := r.rx.eth.SetKey("zc1", 0, rss.Key); err != nil {
		return err
	}
	again, err := r.rx.eth.RSS("zc1", 0)
	if err == nil && !slices.Equal(again.Indir, rss.Indir) {
		err = errors.New("it did not")
	}
	return err
}

// TestLike looks at ports that are like a driver: at what they say after boot,
// and at what they do on the way to a binding and back.
func TestLike(t *testing.T) {
	needLab(t)
	hugePages(t, 8)
	t.Cleanup(func() { reload(t, "") })
	for _, l := range likenesses() {
		t.Run(l.like, func(t *testing.T) {
			reload(t, "like="+l.like)
			r := openRig(t, l.driver)
			if b, err := os.ReadFile("/sys/module/zcnic/parameters/like"); err != nil || strings.TrimSpace(string(b)) != l.like {
				t.Errorf("the parameter reads %q (%v)", b, err)
			}
			l.boot(t, r)
			l.rules(t, r)
			old := strings.Contains(r.rx.run(t, "uname", "-r"), "7.2.")
			for _, s := range l.steps {
				if s.since73 && old {
					continue
				}
				s.take(t, r)
			}
			r.transfer(t, 1<<20, 0, false)
		})
	}
}

func (l likeness) boot(t *testing.T, r *rig) {
	rings, err := r.rx.eth.Rings("zc1")
	for _, name := range []string{"tx-push", "rx-push"} {
		if rings[name] != 0 {
			t.Errorf("%s is %d", name, rings[name])
		}
		delete(rings, name)
	}
	same(t, "rings", rings, l.rings, err)
	channels, err := r.rx.eth.Channels("zc1")
	same(t, "channels", channels, l.channels, err)
	coalesce, err := r.rx.eth.Coalesce("zc1")
	same(t, "coalescing", coalesce, l.coalesce, err)

	features, err := r.rx.eth.Features("zc1")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]feature{"rx-gro-hw": l.gro, "rx-lro": l.lro, "rx-ntuple-filter": l.ntuple} {
		got := off
		if features[name].Active {
			got = on
		}
		if features[name].Fixed {
			got += " [fixed]"
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}

	rss, err := r.rx.eth.RSS("zc1", 0)
	if err != nil || len(rss.Indir) != l.table || len(rss.Key) != l.key {
		t.Errorf("RSS has a table of %d and a key of %d (%v), want %d and %d", len(rss.Indir), len(rss.Key), err, l.table, l.key)
	}

	flags := "-"
	if out, err := r.rx.try("ethtool", "--show-priv-flags", "zc1"); err == nil {
		flags = strings.Join(values(out, "on"), " ")
	}
	if flags != l.flags {
		t.Errorf("private flags %q are on, want %q", flags, l.flags)
	}
	pause := ""
	if out, err := r.rx.try("ethtool", "-a", "zc1"); err == nil {
		pause = strings.Join(values(out, ""), " ")
	}
	if pause != l.pause {
		t.Errorf("pause is %q, want %q", pause, l.pause)
	}
	if n := r.rx.counter(t, "hds_config"); n != 0 {
		t.Errorf("header split is configured: %d", n)
	}
}

func same(t *testing.T, what string, got, want ethtool.Values, err error) {
	t.Helper()
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%s: %v (%v)\nwant %v", what, got, err, want)
	}
}

// values takes apart what ethtool prints, "name: value" in lines: the names of
// those with this value, or all values.
func values(out, value string) (all []string) {
	for line := range strings.Lines(out) {
		name, v, ok := strings.Cut(line, ":")
		v = strings.TrimSpace(v)
		switch {
		case !ok || v == "":
		case value == "":
			all = append(all, v)
		case v == value:
			all = append(all, strings.TrimSpace(name))
		}
	}
	return all
}

// rules tries rules where the driver wants them and where it does not.
func (l likeness) rules(t *testing.T, r *rig) {
	if l.ntuple == off {
		if err := setFeature("rx-ntuple-filter", true)(r); err != nil {
			t.Fatal(err)
		}
		defer setFeature("rx-ntuple-filter", false)(r)
	}
	loc, err := r.rx.eth.FreeLocation("zc1")
	if err != nil || (loc == abi.RX_CLS_LOC_ANY) != l.anywhere {
		t.Errorf("a rule goes to %#x (%v)", loc, err)
	}
	wrong := uint32(abi.RX_CLS_LOC_ANY)
	if l.anywhere {
		wrong = 5
	}
	m := ethtool.Match{Dst: r.rx.Addr4, DstPort: 7001}
	if _, err := r.rx.eth.AddRule("zc1", ethtool.Rule{Location: wrong, Match: m, Queue: 5}); !errors.Is(err, l.rule) {
		t.Errorf("a rule at %#x: %v, want %v", wrong, err, l.rule)
	}
	if err := r.rx.eth.DeleteRule("zc1", 7); !errors.Is(err, l.missing) {
		t.Errorf("deleting no rule: %v, want %v", err, l.missing)
	}
	if loc, err = r.rx.eth.AddRule("zc1", ethtool.Rule{Location: loc, Match: m, Queue: 5}); err != nil {
		t.Fatal(err)
	}
	rules, err := r.rx.eth.Rules("zc1")
	if err != nil || len(rules) != 1 || rules[0] != (ethtool.Rule{Location: loc, Match: m, Queue: 5}) {
		t.Errorf("the rule at %d reads %+v (%v)", loc, rules, err)
	}
	if err := r.rx.eth.DeleteRule("zc1", loc); err != nil {
		t.Error(err)
	}
}

func (s step) take(t *testing.T, r *rig) {
	t.Helper()
	err := s.do(r)
	var e *genl.Error
	var n unix.Errno
	switch {
	case errors.As(err, &e):
		if e.Errno != s.errno || e.Message != s.text {
			t.Errorf("%s: %v, want %v %q", s.name, err, s.errno, s.text)
		}
	case errors.As(err, &n):
		if n != s.errno || s.text != "" {
			t.Errorf("%s: %v, want %v %q", s.name, err, s.errno, s.text)
		}
	case err != nil || s.errno != 0:
		t.Errorf("%s: %v, want %v", s.name, err, s.errno)
	}
	rings, err := r.rx.eth.Rings("zc1")
	if got := rings["tcp-data-split"]; err != nil || got != s.split {
		t.Errorf("after %s tcp-data-split reads %d (%v), want %d", s.name, got, err, s.split)
	}
	if got := r.rx.counter(t, "hds_config"); got != s.conf {
		t.Errorf("after %s it is configured as %d, want %d", s.name, got, s.conf)
	}
}
