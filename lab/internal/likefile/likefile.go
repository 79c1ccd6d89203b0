// Package likefile has the lab's NIC answer as a capture of another does, as far as
// its module's parameters go (lab/kmod/zcnic_captured.c).
package likefile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/answers"
	"zcbench/internal/genl"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netif"
)

// personalities are those of the module by the driver that they repeat: what a
// capture does not tell, how a driver refuses and what follows from what, is theirs.
var personalities = map[string]string{"mlx5_core": "mlx5", "bnxt_en": "bnxt", "fbnic": "fbnic", "gve": "gve", "ice": "ice"}

// Limits of the module (zcnic.h).
const (
	mostQueues = 64
	mostKey    = 56
	usualKey   = 40
	mostTable  = 512
	mostRules  = 1024
	mostFlags  = 32
)

// Params turns LIKE, a personality's name or a capture's file, into parameters of
// the module. Left is what the capture has and the module cannot be.
func Params(like string) (params string, left []string, err error) {
	f, err := os.Open(like)
	if errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(like, "/.") {
		return "like=" + like, nil, nil // the module knows whether there is one
	}
	if err != nil {
		return "", nil, fmt.Errorf("the capture to be like: %w", err)
	}
	defer f.Close()
	from, err := answers.Read(like, f)
	if err != nil {
		return "", nil, err
	}
	if params, left, err = Of(from); err != nil {
		return "", nil, fmt.Errorf("%s: %w", like, err)
	}
	return params, left, nil
}

// Of gives the parameters for a capture.
func Of(from *answers.Source) (params string, left []string, err error) {
	if !from.Playing() {
		return "", nil, errors.New("no capture")
	}
	t := &translation{from: from, iface: from.Head.Interface}
	if t.eth, err = ethtool.DialFrom(from); err != nil {
		return "", nil, err
	}
	for _, part := range []func() error{t.driver, t.rings, t.features, t.channels, t.coalesce, t.pause, t.flags, t.rss, t.rules, t.queueAPI} {
		if err := part(); err != nil {
			return "", nil, err
		}
	}
	return strings.Join(t.params, " "), t.left, nil
}

type translation struct {
	from   *answers.Source
	eth    *ethtool.Conn
	iface  string
	params []string
	left   []string
}

func (t *translation) put(name string, values ...any) {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprint(v))
	}
	t.params = append(t.params, name+"="+strings.Join(all, ","))
}

// word says that a parameter of the module can have a text of a capture as its value, or
// as one of a list: the kernel parts parameters at white space, of which it has more than
// ASCII, and values at commas, and takes quotes away.
func word(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' || r == '"' }) < 0
}

func (t *translation) leave(format string, args ...any) {
	t.left = append(t.left, fmt.Sprintf(format, args...))
}

// lacks says that a driver does not have what it was asked about.
func lacks(err error) bool { return errors.Is(err, unix.EOPNOTSUPP) }

func (t *translation) driver() error {
	d, err := t.eth.Driver(t.iface)
	if err != nil {
		return err
	}
	if p := personalities[d.Name]; p != "" {
		t.put("like", p)
	}
	if !word(d.Name) {
		return fmt.Errorf("the driver is called %q: no name of one", d.Name)
	}
	t.put("as_driver", d.Name)
	switch {
	case d.Version == "" || d.Version == t.from.Head.Kernel:
	case word(d.Version):
		t.put("as_version", d.Version)
	default:
		t.leave("the driver's version %q", d.Version)
	}
	return nil
}

func (t *translation) rings() error {
	v, err := t.eth.Rings(t.iface)
	if lacks(err) {
		t.put("as_split", 3)
		t.put("as_hds", 0)
		t.leave("rings: it tells none, and the lab's NIC always does")
		return nil
	}
	if err != nil {
		return err
	}
	t.put("as_ring", v["rx"], v["rx-mini"], v["rx-jumbo"], v["tx"], v["rx-buf-len"])
	t.put("as_ring_max", v["rx-max"], max(v["rx-mini"], v["rx-jumbo"]), v["tx-max"])
	split, told := v["tcp-data-split"]
	if !told {
		switch err := t.eth.SplitsHeaders(t.iface); {
		case err == nil || errors.Is(err, unix.EPERM):
			split = abi.ETHTOOL_TCP_DATA_SPLIT_UNKNOWN
		case errors.Is(err, answers.ErrNoAnswer):
			return err
		default:
			split = 3
		}
	}
	t.put("as_split", split)
	if most, ok := v["hds-thresh-max"]; ok {
		t.put("as_hds", v["hds-thresh"], most)
	} else {
		t.put("as_hds", 0)
	}
	for _, name := range []string{"cqe-size", "tx-push-buf-len"} {
		if n, ok := v[name]; ok {
			t.leave("rings: %s %d", name, n)
		}
	}
	return nil
}

// featureBits are as the module has them.
var featureBits = map[string]int{"rx-gro-hw": 1, "rx-lro": 2, "rx-ntuple-filter": 4}

func (t *translation) features() error {
	all, err := t.eth.Features(t.iface)
	if err != nil {
		return err
	}
	on, off, fixed := 0, 0, 0
	for name, bit := range featureBits {
		switch f := all[name]; {
		case f.Fixed && f.Active:
			fixed |= bit
		case f.Fixed:
		case f.Active:
			on |= bit
		default:
			off |= bit
		}
	}
	t.put("as_features", on, off, fixed)
	t.leave("features other than %s", strings.Join(slices.Sorted(maps.Keys(featureBits)), ", "))
	return nil
}

func (t *translation) channels() error {
	v, err := t.eth.Channels(t.iface)
	if lacks(err) {
		t.put("queues", 1)
		t.leave("channels: it tells none, and the lab's NIC always does")
		return nil
	}
	if err != nil {
		return err
	}
	kind, most := 0, v["combined-max"]
	switch {
	case v["combined-max"] == 0:
		kind, most = 2, max(v["rx-max"], v["tx-max"])
	case v["rx-max"] > 0 || v["tx-max"] > 0:
		kind = 1
	}
	if most > mostQueues {
		t.leave("channels: %d at most, where the lab's NIC has %d", most, mostQueues)
	}
	if is := v["combined-count"] + v["rx-count"]; is != most {
		t.leave("channels: %d in use, where the lab's NIC begins with all %d", is, min(most, mostQueues))
	}
	t.put("as_channels", kind)
	t.put("queues", max(1, min(most, mostQueues)))
	return nil
}

// coalesceFields are those of struct ethtool_coalesce from rx_coalesce_usecs on, by
// netlink's names, and their ETHTOOL_COALESCE_* bits (linux/ethtool.h).
var coalesceFields = []struct {
	name string
	bit  uint
}{
	{"rx-usecs", 0}, {"rx-max-frames", 1}, {"rx-usecs-irq", 2}, {"rx-max-frames-irq", 3},
	{"tx-usecs", 4}, {"tx-max-frames", 5}, {"tx-usecs-irq", 6}, {"tx-max-frames-irq", 7},
	{"stats-block-usecs", 8}, {"use-adaptive-rx", 9}, {"use-adaptive-tx", 10}, {"pkt-rate-low", 11},
	{"rx-usecs-low", 12}, {"rx-max-frames-low", 13}, {"tx-usecs-low", 14}, {"tx-max-frames-low", 15},
	{"pkt-rate-high", 16}, {"rx-usecs-high", 17}, {"rx-max-frames-high", 18}, {"tx-usecs-high", 19},
	{"tx-max-frames-high", 20}, {"rate-sample-interval", 21},
}

// Those of the completion queue's mode.
const (
	cqeModeRX = 22
	cqeModeTX = 23
)

func (t *translation) coalesce() error {
	v, err := t.eth.Coalesce(t.iface)
	if lacks(err) {
		t.put("as_coalesce", 0)
		return nil
	}
	if err != nil {
		return err
	}
	mask, values := uint64(0), []any{uint64(0)}
	take := func(name string, bit uint) uint64 {
		n, ok := v[name]
		if ok {
			mask |= 1 << bit
			delete(v, name)
		}
		return n
	}
	for _, f := range coalesceFields {
		values = append(values, take(f.name, f.bit))
	}
	values = append(values, take("use-cqe-mode-tx", cqeModeTX), take("use-cqe-mode-rx", cqeModeRX))
	values[0] = mask
	t.put("as_coalesce", values...)
	for _, name := range slices.Sorted(maps.Keys(v)) {
		t.leave("coalescing: %s", name)
	}
	return nil
}

func (t *translation) pause() error {
	v, err := t.eth.Pause(t.iface)
	switch {
	case lacks(err):
		t.put("as_pause", 0)
		return nil
	case err != nil:
		return err
	}
	t.put("as_pause", v["autoneg"], v["rx"], v["tx"])
	if _, err := t.eth.EEE(t.iface); err == nil {
		t.leave("energy-efficient Ethernet")
	}
	return nil
}

func (t *translation) flags() error {
	flags, err := t.eth.PrivFlags(t.iface)
	if lacks(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []any
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		switch {
		case !word(name) || len(all) == mostFlags:
			t.leave("private flag %q", name)
		case flags[name]:
			all = append(all, "+"+name)
		default:
			all = append(all, "-"+name)
		}
	}
	if len(all) > 0 {
		t.put("as_flags", all...)
	}
	return nil
}

func (t *translation) rss() error {
	contexts, err := t.eth.RSSContexts(t.iface)
	if err != nil && !lacks(err) {
		return err
	}
	i := slices.IndexFunc(contexts, func(r ethtool.RSS) bool { return r.Context == 0 })
	if i < 0 || len(contexts[i].Indir) == 0 {
		t.leave("RSS: it tells of none, and the lab's NIC always does")
		return nil
	}
	key, table := len(contexts[i].Key), len(contexts[i].Indir)
	if key > mostKey || table > mostTable {
		t.leave("RSS: a key of %d bytes and a table of %d, where the lab's NIC has at most %d and %d", key, table, mostKey, mostTable)
	}
	if key == 0 {
		t.leave("RSS: it tells no key, and the lab's NIC always does")
		key = usualKey
	}
	t.put("as_rss", min(key, mostKey), min(table, mostTable))
	return nil
}

func (t *translation) rules() error {
	place, err := t.eth.FreeLocation(t.iface)
	switch {
	case lacks(err):
		t.leave("flow rules: it has none, and the lab's NIC does where ntuple is on")
		return nil
	case errors.Is(err, unix.ENOSPC):
		t.leave("flow rules: there is no room for any")
		return nil
	case err != nil:
		return err
	}
	if place == abi.RX_CLS_LOC_ANY {
		t.put("as_rules", 0, 1) // how many, it has not been asked
		return nil
	}
	rules, err := t.eth.Rules(t.iface)
	if err != nil {
		return err
	}
	size := place + 1
	for _, r := range rules {
		size = max(size, r.Location+1)
	}
	if size > mostRules {
		t.leave("flow rules: %d, where the lab's NIC has room for %d", size, mostRules)
	}
	t.put("as_rules", min(size, mostRules), 0)
	return nil
}

// queueAPI finds out whether a queue can be bound, as probe does: a refusal that
// blames the interface is the driver's, whatever the memory.
func (t *translation) queueAPI() error {
	nd, err := netdev.DialFrom(t.from)
	if errors.Is(err, unix.ENOENT) || err == nil && !nd.CanBindRX() {
		t.leave("queues that can be bound: its kernel cannot, so the personality decides")
		return nil
	}
	if err != nil {
		return err
	}
	d, err := netif.Look(t.from, t.iface)
	if err != nil {
		return err
	}
	err = nd.OfferRX(d.Index(), netdev.Nothing)
	if e, ok := errors.AsType[*genl.Error](err); ok && e.Errno == unix.EOPNOTSUPP && e.Attribute == ".ifindex" {
		t.put("as_no_queue_ops", 1)
	} else if errors.Is(err, unix.EPERM) {
		t.leave("queues that can be bound: whoever captured it might not ask, so the personality decides")
	} else if errors.Is(err, answers.ErrNoAnswer) {
		return err
	}
	return nil
}
