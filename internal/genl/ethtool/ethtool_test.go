package ethtool

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// unhex reads bytes written with spaces, as a little-endian kernel sends them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replyHeader is ETHTOOL_A_*_HEADER of a reply: ifindex 4, "zc0".
const replyHeader = "1400 0180 0800 0100 04000000 0800 0200 7a633000"

func TestParseTables(t *testing.T) {
	for _, c := range []struct {
		name  string
		table table
		bytes string
		want  Values
	}{
		{"rings with header split", rings, replyHeader + `
			0800 0200 00200000 0800 0600 00040000 0500 0b00 02 000000 0800 1100 00000000`,
			Values{"rx-max": 8192, "rx": 1024, "tcp-data-split": abi.ETHTOOL_TCP_DATA_SPLIT_ENABLED, "hds-thresh": 0}},
		{"channels", channels, replyHeader + "0800 0500 08000000 0800 0900 04000000", Values{"combined-max": 8, "combined-count": 4}},
		{"coalescing", coalesce, replyHeader + "0800 0200 32000000 0500 0b00 01 000000", Values{"rx-usecs": 50, "use-adaptive-rx": 1}},
		{"an attribute of the future", channels, replyHeader + "0800 ff00 01000000", Values{}},
	} {
		got, err := c.table.parse(unhex(t, c.bytes))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestParseFeatures(t *testing.T) {
	// Bits a (on), b (wanted, yet off), c (fixed on), d (fixed off, in no set).
	bit := func(index, name, value string) string {
		size := "1400"
		if value != "" {
			size = "1800"
		}
		return size + "0180 0800 0100 " + index + " 0600 0200 " + name + "00 0000" + value
	}
	const on = "0400 0300"
	got, err := parseFeatures(unhex(t, replyHeader+`
		6800 0280 0800 0200 04000000 5c00 0380 `+bit("00000000", "61", on)+bit("01000000", "62", on)+bit("02000000", "63", "")+bit("03000000", "64", "")+`
		3400 0380 0400 0100 0800 0200 04000000 2400 0380 1000 0180 0600 0200 6100 0000 0400 0300 1000 0180 0600 0200 6200 0000 0400 0300
		3000 0480 0400 0100 0800 0200 04000000 2000 0380 0c00 0180 0600 0200 6100 0000 1000 0180 0600 0200 6300 0000 0400 0100
		2000 0580 0400 0100 0800 0200 04000000 1000 0380 0c00 0180 0600 0200 6300 0000`))
	want := map[string]Feature{"a": {Active: true, Wanted: true}, "b": {Wanted: true}, "c": {Active: true, Fixed: true}, "d": {Fixed: true}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestParseRSS(t *testing.T) {
	got, err := parseRSS(unhex(t, replyHeader+`
		0800 0200 01000000 0800 0300 01000000 1400 0400 00000000 01000000 00000000 01000000 0700 0500 aabbcc 00`))
	want := RSS{Context: 1, Indir: []uint32{0, 1, 0, 1}, Key: []byte{0xaa, 0xbb, 0xcc}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := parseRSS(unhex(t, "0700 0400 000000 00")); err == nil {
		t.Error("a table of three bytes: no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, replyHeader+"0800 0200 01000000 0700 0500 aabbcc 00"))
	const bits = "2400 0380 1000 0180 0600 0200 6100 0000 0400 0300 1000 0180 0600 0200 6200 0000 0400 0300"
	f.Add(unhex(f, replyHeader+"2c00 0280 0400 0100"+bits+"2c00 0380 0400 0100"+bits+"2c00 0480 0400 0100"+bits+"2c00 0580 0400 0100"+bits))
	f.Add(append([]byte{unix.ETHTOOL_MSG_FEATURES_NTF, 1, 0, 0}, unhex(f, replyHeader+"1c00 0480 0400 0100 0800 0200 40000000 0c00 0400 "+
		"05000000 00000080")...))
	rule := encodeRule(Rule{Location: 7, Match: Match{Dst: netip.MustParseAddr("198.18.0.2"), DstPort: 5302}, Queue: 3})
	f.Add(rule.Bytes())
	m := Monitor{names: map[int]string{0: "a", 2: "c", 63: "z"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		rings.parse(b)
		parseFeatures(b)
		parseRSS(b)
		m.Parse(b)
		var n abi.EthtoolRxnfc
		copy(n.Bytes(), b)
		if r := parseRule(&n); r.Other == "" {
			if again := encodeRule(r); parseRule(&again) != r {
				t.Errorf("%+v came back as %+v", r, parseRule(&again))
			}
		}
	})
}

func TestRules(t *testing.T) {
	v4, v6 := netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("2001:2::2")
	for _, c := range []struct {
		rule Rule
		text string
	}{
		{Rule{Location: 7, Match: Match{Dst: v4, DstPort: 5302}, Queue: 3}, "tcp4 dst-ip 198.18.0.2 dst-port 5302"},
		{Rule{Match: Match{Src: v4, Dst: v4, SrcPort: 1, DstPort: 65535}, Context: 2},
			"tcp4 src-ip 198.18.0.2 dst-ip 198.18.0.2 src-port 1 dst-port 65535"},
		{Rule{Match: Match{Dst: v6, DstPort: 5302}, Queue: 1}, "tcp6 dst-ip 2001:2::2 dst-port 5302"},
		{Rule{Match: Match{Src: v6}}, "tcp6 src-ip 2001:2::2"},
	} {
		if got := c.rule.Match.String(); got != c.text {
			t.Errorf("%+v is %q, want %q", c.rule, got, c.text)
		}
		n := encodeRule(c.rule)
		if got := parseRule(&n); got != c.rule {
			t.Errorf("%+v came back as %+v", c.rule, got)
		}
	}
	n := encodeRule(Rule{Match: Match{Dst: v4, DstPort: 5302}, Queue: 3})
	if got := hex.EncodeToString(n.Fs.H[:13]) + " " + hex.EncodeToString(n.Fs.M[:13]); got != "00000000c6120002000014b600 "+
		"00000000ffffffff0000ffff00" {
		t.Errorf("match and mask are %s", got)
	}
	for name, spoil := range map[string]func(*abi.EthtoolRxnfc){
		"a network":       func(n *abi.EthtoolRxnfc) { n.Fs.M.Tcpip4().Dst = [4]byte{255, 255, 255, 0} },
		"a kind of flow":  func(n *abi.EthtoolRxnfc) { n.Fs.FlowType = 2 },
		"a drop":          func(n *abi.EthtoolRxnfc) { n.Fs.RingCookie = abi.RX_CLS_FLOW_DISC },
		"a VLAN":          func(n *abi.EthtoolRxnfc) { n.Fs.MExt.VlanTCI = [2]byte{0xff, 0xff} },
		"a type of frame": func(n *abi.EthtoolRxnfc) { n.Fs.M.Tcpip4().Tos = 0xff },
	} {
		n := encodeRule(Rule{Match: Match{Dst: v4, DstPort: 5302}, Queue: 3})
		spoil(&n)
		if got := parseRule(&n); got.Other == "" || got.Match != (Match{}) {
			t.Errorf("a rule on %s is %+v, want it kept as it is", name, got)
		} else if b, err := hex.DecodeString(got.Other); err != nil || string(b) != string(n.Bytes()) {
			t.Errorf("a rule on %s is kept as %x, %v; want %x", name, b, err, n.Bytes())
		}
	}
	for _, m := range []Match{{}, {DstPort: 5}, {Src: v4, Dst: v6}} {
		if m.Check() == nil {
			t.Errorf("%+v can be a rule", m)
		}
	}
}

// The loopback device has features and nothing else.
func TestKernel(t *testing.T) {
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	features, err := c.Features("lo")
	if err != nil || !features["loopback"].Active || !features["loopback"].Fixed || len(features) < 40 {
		t.Errorf("features of lo: %v, %v", features, err)
	}
	if _, ok := features[""]; ok {
		t.Error("a feature without a name")
	}
	if _, err := c.Rings("lo"); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("rings of lo: %v, want EOPNOTSUPP", err)
	}
	if _, err := c.Rules("lo"); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("flow rules of lo: %v, want EOPNOTSUPP", err)
	}
	if _, err := c.Features("zcbench-none"); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "zcbench-none") {
		t.Errorf("features of no interface: %v, want ENODEV and its name", err)
	}
	if err := c.SetRings("lo", Values{"rx-max": 1}); err == nil || !strings.Contains(err.Error(), "rx-max") {
		t.Errorf("set what cannot be set: %v", err)
	}
}
