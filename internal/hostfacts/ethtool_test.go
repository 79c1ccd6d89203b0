package hostfacts

import (
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// encode makes a netlink attribute as the kernel lays it out.
func encode(t uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, t), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func u32(t uint16, v uint32) []byte { return encode(t, binary.NativeEndian.AppendUint32(nil, v)...) }

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func nest(t uint16, parts ...[]byte) []byte { return encode(t|unix.NLA_F_NESTED, join(parts...)...) }

func bit(index uint32, name string) []byte {
	return nest(unix.ETHTOOL_A_BITSET_BITS_BIT, u32(unix.ETHTOOL_A_BITSET_BIT_INDEX, index),
		encode(unix.ETHTOOL_A_BITSET_BIT_NAME, append([]byte(name), 0)...))
}

func TestEthtoolAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func(*collector, attrs) error
		in    []byte
		group string
		want  map[string]any
		fails bool
	}{
		{"rings", (*collector).rings, join(
			nest(unix.ETHTOOL_A_RINGS_HEADER, u32(unix.ETHTOOL_A_HEADER_DEV_INDEX, 7)),
			u32(unix.ETHTOOL_A_RINGS_RX_MAX, 8192), u32(unix.ETHTOOL_A_RINGS_RX, 1024),
			u32(unix.ETHTOOL_A_RINGS_TX_MAX, 8192), u32(unix.ETHTOOL_A_RINGS_TX, 512),
			encode(unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT, 2), u32(unix.ETHTOOL_A_RINGS_HDS_THRESH, 0)),
			"nic", map[string]any{"ring_rx": uint32(1024), "ring_rx_max": uint32(8192), "ring_tx": uint32(512),
				"ring_tx_max": uint32(8192), "tcp_data_split": "on", "hds_thresh": uint32(0)}, false},
		{"a header split of the future", (*collector).rings, encode(unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT, 9), "nic", nil, true},
		{"channels", (*collector).channels, join(u32(unix.ETHTOOL_A_CHANNELS_COMBINED_MAX, 63), u32(unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT, 16)),
			"nic", map[string]any{"channels_combined": uint32(16), "channels_combined_max": uint32(63)}, false},
		{"speed", (*collector).linkModes, u32(unix.ETHTOOL_A_LINKMODES_SPEED, 200000), "nic", map[string]any{"speed_mbps": uint32(200000)},
			false},
		{"unknown speed", (*collector).linkModes, u32(unix.ETHTOOL_A_LINKMODES_SPEED, 0xffffffff), "nic", nil, true},
		{"no speed", (*collector).linkModes, nil, "nic", nil, true},
		{"no active features", (*collector).features, nest(unix.ETHTOOL_A_FEATURES_HW), "offload", nil, true},
		{"features with a mask", (*collector).features, nest(unix.ETHTOOL_A_FEATURES_ACTIVE, nest(unix.ETHTOOL_A_BITSET_BITS)), "offload", nil,
			true},
	} {
		t.Run(c.name, func(t *testing.T) {
			as, err := parseAttrs(c.in)
			if err != nil {
				t.Fatal(err)
			}
			k := newCollector(fstest.MapFS{})
			if err := c.parse(k, as); (err != nil) != c.fails {
				t.Errorf("error %v", err)
			}
			got, _ := k.facts[c.group].(map[string]any)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestFeatures(t *testing.T) {
	in := nest(unix.ETHTOOL_A_FEATURES_ACTIVE, encode(unix.ETHTOOL_A_BITSET_NOMASK), u32(unix.ETHTOOL_A_BITSET_SIZE, 64),
		nest(unix.ETHTOOL_A_BITSET_BITS, bit(14, "rx-gro"), bit(16, "tx-tcp-segmentation"), bit(63, "tx-of-the-future")))
	as, err := parseAttrs(in)
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(fstest.MapFS{})
	if err := c.features(as); err != nil {
		t.Fatal(err)
	}
	got := c.facts["offload"].(map[string]any)
	for name, want := range map[string]any{"rx-gro": "on", "tx-tcp-segmentation": "on", "rx-gro-hw": "off", "tx-of-the-future": nil} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func FuzzEthtool(f *testing.F) {
	f.Add(nest(unix.ETHTOOL_A_FEATURES_ACTIVE, encode(unix.ETHTOOL_A_BITSET_NOMASK), nest(unix.ETHTOOL_A_BITSET_BITS, bit(14, "rx-gro"))))
	f.Add(join(u32(unix.ETHTOOL_A_RINGS_RX, 1024), encode(unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT, 2)))
	f.Add([]byte{3, 0, 0, 0})
	f.Add([]byte{5, 0, 0, 0, 0}) // not padded
	f.Fuzz(func(t *testing.T, b []byte) {
		as, err := parseAttrs(b)
		if err != nil {
			return
		}
		for _, parse := range []func(*collector, attrs) error{(*collector).features, (*collector).rings, (*collector).channels,
			(*collector).linkModes} {
			_ = parse(newCollector(fstest.MapFS{}), as)
		}
	})
}

// A veth pair in a namespace of the test's own, with settings that are not the
// defaults.
func TestNICOnARealKernel(t *testing.T) {
	runtime.LockOSThread() // and never unlock: the namespace goes with the thread
	if _, err := netns.New(); errors.Is(err, unix.EPERM) {
		t.Skip("making a network namespace needs CAP_SYS_ADMIN")
	} else if err != nil {
		t.Fatal(err)
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "facts0", MTU: 4148, NumTxQueues: 2, NumRxQueues: 2}, PeerName: "facts1"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("facts0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetGROMaxSize(link, 30000); err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr("198.18.0.1/24")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{netlink.AddrAdd(link, addr), netlink.LinkSetUp(link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	facts := Collect("facts0", "test")
	nic, _ := facts["nic"].(map[string]any)
	for name, want := range map[string]any{
		"name": "facts0", "kind": "veth", "driver": "veth", "mtu": 4148, "rx_queues": 2, "tx_queues": 2,
		"gro_max_size": uint32(30000), "xdp": false, "channels_rx": uint32(2), "channels_tx": uint32(2), "qdisc": "noqueue",
	} {
		if nic[name] != want {
			t.Errorf("nic.%s is %#v, want %#v", name, nic[name], want)
		}
	}
	offload, _ := facts["offload"].(map[string]any)
	if offload["tx-tcp-segmentation"] != "on" || offload["rx-lro"] != "off" {
		t.Errorf("offload: %v", offload)
	}
	if s, _ := facts["missing"].(map[string]any)["nic.rings"].(string); s == "" {
		t.Errorf("veth has rings: %v", nic)
	}
}
