package answers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// ask asks a source what a kernel answers with.
func ask(s *Source, what, of string, r Reply, err error) (Reply, error) {
	return s.Ask(what, of, func() (Reply, error) { return r, err })
}

func TestRecordAndReplay(t *testing.T) {
	s := Record()
	ask(s, "link", "eth1", Reply{Messages: []Hex{{1, 2}}}, nil)
	ask(s, "file", "/sys/a", Reply{Text: "old\n"}, nil)
	ask(s, "file", "/sys/a", Reply{Text: "1 <&>\n"}, nil)
	ask(s, "ioctl X", "00ff", Reply{}, fmt.Errorf("read it: %w", unix.EPERM))
	ask(s, "udmabuf", "", Reply{}, errors.New("no number"))
	s.Head = Head{Schema: Schema, Interface: "eth1"}
	var file bytes.Buffer
	if err := s.Write(&file); err != nil {
		t.Fatal(err)
	}
	p, err := Read("f", bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, file.Bytes())
	}
	if p.Head != s.Head || !p.Playing() || s.Playing() {
		t.Errorf("head %+v", p.Head)
	}
	never := func() (Reply, error) { t.Error("the kernel was asked"); return Reply{}, nil }
	if r, err := p.Ask("link", "eth1", never); err != nil || !bytes.Equal(r.Messages[0], []byte{1, 2}) {
		t.Errorf("link: %+v, %v", r, err)
	}
	if r, err := p.Ask("file", "/sys/a", never); err != nil || r.Text != "1 <&>\n" {
		t.Errorf("file: %+v, %v", r, err)
	}
	if _, err := p.Ask("ioctl X", "00ff", never); !errors.Is(err, unix.EPERM) || err.Error() != "read it: operation not permitted" {
		t.Errorf("a refusal: %v", err)
	}
	if _, err := p.Ask("udmabuf", "", never); err == nil || err.Error() != "no number" {
		t.Errorf("a failure without a number: %v", err)
	}
	if len(p.Missed()) > 0 {
		t.Errorf("missed %v", p.Missed())
	}
	if _, err := p.Ask("file", "/sys/b", never); !errors.Is(err, ErrNoAnswer) || len(p.Missed()) != 1 || p.Missed()[0] != "file of /sys/b" {
		t.Errorf("what is not there: %v, missed %v", err, p.Missed())
	}
	var kernel *Source
	if r, err := ask(kernel, "file", "x", Reply{Text: "k"}, nil); err != nil || r.Text != "k" || kernel.Playing() {
		t.Errorf("the kernel: %+v, %v", r, err)
	}
}

func TestReadBad(t *testing.T) {
	const head = `{"schema":"zcbench-capture/1"}` + "\n"
	for text, want := range map[string]string{
		"":                                "f is empty",
		"{}\n":                            "is no capture",
		"x\n":                             "is no capture",
		`{"schema":"other/1"}` + "\n":     "is no capture",
		head + `{"ask":"a"`:               "line 2 is torn",
		head + `{"ask":"a","x":1}` + "\n": `unknown field "x"`,
		head + `{"ask":"a","messages":["0"]}` + "\n":       "line 2",
		head + `{"ask":"a"}` + "\n" + `{"ask":"a"}` + "\n": `line 3: "a" is answered twice`,
		head + `{"ask":"a"} {"ask":"b"}` + "\n":            "line 2: there is more behind its end",
		head + `{"ask":"a"}}` + "\n":                       "line 2: there is more behind its end",
		head[:len(head)-1] + `{"ask":"a"}` + "\n":          "is no capture",
		head + "null\n":                        "line 2 asks nothing",
		head + `{"ask":"a","errno":-1}` + "\n": "line 2",
		head + `{"ask":"a"}` + "\n" + "{\"ask\":\"\\u001b[2J\"}\n{\"ask\":\"\\u001b[2J\"}\n": `line 4: "\x1b[2J" is answered twice`,
	} {
		if _, err := Read("f", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// attr is an attribute of netlink.
func attr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// What tells whose a NIC is is in no answer afterwards, in no form; the lengths are
// what they were, and the rest is as it was.
func TestRedact(t *testing.T) {
	mac, _ := net.ParseMAC("52:54:a1:b2:c3:d4")
	v4, v6 := netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("2a01:4f8:c0c:1::7")
	other := netip.MustParseAddr("203.0.113.78") // that nobody here has, and a rule names
	s := Record()
	link := append(make([]byte, unix.SizeofIfInfomsg), attr(unix.IFLA_ADDRESS, mac)...)
	link = append(link, attr(unix.IFLA_PERM_ADDRESS, mac)...)
	link = append(link, attr(unix.IFLA_IFALIAS, []byte("rack7 of example\x00"))...)
	link = append(link, attr(unix.IFLA_PHYS_PORT_ID, []byte("SN0123456"))...)
	link = append(link, attr(unix.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, 4148))...)
	link = append(link, attr(unix.IFLA_PARENT_DEV_NAME, []byte("7f3c-SN99\x00"))...)
	link = append(link, attr(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, append(attr(unix.IFLA_INFO_KIND, []byte("vxlan\x00")),
		attr(unix.IFLA_INFO_DATA, v6.AsSlice())...))...)
	ask(s, "link", "enx5254a1b2c3d4", Reply{Messages: []Hex{link}}, nil)
	d := unix.EthtoolDrvinfo{}
	copy(d.Driver[:], "mlx5_core")
	copy(d.Bus_info[:], "usb-SN77")
	info, err := binary.Append(nil, binary.NativeEndian, d)
	if err != nil {
		t.Fatal(err)
	}
	ask(s, "ioctl ETHTOOL_GDRVINFO", "", Reply{Messages: []Hex{info}}, nil)
	var rule abi.EthtoolRxnfc
	rule.Fs.FlowType, rule.Fs.Location, rule.Fs.RingCookie = abi.TCP_V4_FLOW, 9, 3
	h, mask := rule.Fs.H.Tcpip4(), rule.Fs.M.Tcpip4()
	h.Src, h.Dst, h.PDst = v4.As4(), other.As4(), [2]byte{0x14, 0xb6}
	mask.Src, mask.Dst, mask.PDst = [4]byte{255, 255, 255, 255}, [4]byte{255, 255, 255, 255}, [2]byte{255, 255}
	ask(s, "ioctl ETHTOOL_GRXCLSRULE", "", Reply{Messages: []Hex{bytes.Clone(rule.Bytes())}}, nil)
	var ether abi.EthtoolRxnfc
	ether.Fs.FlowType = 0x12
	copy(ether.Fs.H[:], mac)
	copy(ether.Fs.HExt.Dest[:], mac)
	ask(s, "ioctl ETHTOOL_GRXCLSRULE", "01", Reply{Messages: []Hex{bytes.Clone(ether.Bytes())}}, nil)
	key := []byte("a key of forty bytes, which is random...")
	rss := append(make([]byte, unix.SizeofNlMsghdr+4), attr(abi.ETHTOOL_A_RSS_HKEY, key)...)
	binary.NativeEndian.PutUint16(rss[4:], 0x15)
	ask(s, "ethtool rss-get dump", "", Reply{Messages: []Hex{rss}}, nil)
	ask(s, "netdev future-get", fmt.Sprintf("%x", "enx5254a1b2c3d4"), Reply{Messages: []Hex{append([]byte{7}, mac...), v6.AsSlice()},
		Says: "no: 52:54:A1:B2:C3:D4 of gate.example.org at 203.0.113.77, not 1203.0.113.779, gates or gateway"}, nil)
	ask(s, "list", "/proc/irq/5/*/", Reply{Text: "enx5254a1b2c3d4-rx-0\ngate\n"}, nil)
	s.Head = Head{Schema: Schema, Kernel: "6.1-gate", Interface: "enx5254a1b2c3d4"}
	was := make([]int, len(s.list))
	for i, a := range s.list {
		for _, m := range a.Messages {
			was[i] += len(m)
		}
		was[i] += len(a.Text) + len(a.Says) + len(a.Of)
	}

	s.Redact(Secrets{MACs: []net.HardwareAddr{mac, nil, make(net.HardwareAddr, 6)}, Addrs: []netip.Addr{v4, v6, netip.IPv6Loopback()},
		Names: []string{"gate.example.org", "no"}})

	var file bytes.Buffer
	if err := s.Write(&file); err != nil {
		t.Fatal(err)
	}
	all := append(file.Bytes(), 0)
	for _, a := range s.list {
		for _, m := range a.Messages {
			all = append(all, m...)
		}
	}
	for _, secret := range [][]byte{
		mac, v4.AsSlice(), other.AsSlice(), v6.AsSlice(), key, []byte("a1b2c3d4"), []byte("A1:B2:C3:D4"), []byte("a1:b2:c3:d4"),
		[]byte(v4.String() + ","), []byte(v6.String()), []byte("gate.example"), []byte("rack7"), []byte("SN0123456"), []byte("SN99"), []byte("SN77"), []byte("-gate\""), []byte("\\ngate\\n"),
	} {
		for _, form := range [][]byte{secret, fmt.Appendf(nil, "%x", secret)} {
			if bytes.Contains(all, form) {
				t.Errorf("%q is still there: %s", form, file.Bytes())
			}
		}
	}
	for i, a := range s.list {
		is := len(a.Text) + len(a.Says) + len(a.Of)
		for _, m := range a.Messages {
			is += len(m)
		}
		if is != was[i] {
			t.Errorf("%s: %d bytes, were %d", a.Ask, is, was[i])
		}
	}
	if !strings.Contains(file.String(), `"says":"no: `) || !strings.Contains(file.String(), "1203.0.113.779, gates or gateway") {
		t.Errorf("replaced what is none of it: %s", file.Bytes())
	}
	if s.Head.Interface != "enx020000000001" || s.list[0].Of != s.Head.Interface || s.place[question{"link", s.Head.Interface}] != 0 ||
		len(s.place) != len(s.list) {
		t.Errorf("the interface's name: %q, %q", s.Head.Interface, s.list[0].Of)
	}
	kinds := map[uint16][]byte{}
	for _, a := range attributes(s.list[0].Messages[0][unix.SizeofIfInfomsg:]) {
		kinds[a.kind()] = a.value()
	}
	if binary.NativeEndian.Uint32(kinds[unix.IFLA_MTU]) != 4148 || !bytes.Equal(kinds[unix.IFLA_ADDRESS], []byte{2, 0, 0, 0, 0, 1}) ||
		!bytes.Contains(kinds[unix.IFLA_LINKINFO], []byte("vxlan")) {
		t.Errorf("the link: %v", kinds)
	}
	var n abi.EthtoolRxnfc
	copy(n.Bytes(), s.list[2].Messages[0])
	if got := n.Fs.H.Tcpip4(); got.Src != [4]byte{192, 0, 2, 1} || got.Dst != [4]byte{192, 0, 2, 2} || got.PDst != h.PDst ||
		n.Fs.Location != 9 || n.Fs.RingCookie != 3 {
		t.Errorf("a rule: %+v", got)
	}
	if _, err := binary.Decode(s.list[1].Messages[0], binary.NativeEndian, &d); err != nil ||
		unix.ByteSliceToString(d.Driver[:]) != "mlx5_core" || unix.ByteSliceToString(d.Bus_info[:]) != "xxxxxxxx" {
		t.Errorf("the driver: %+v, %v", d, err)
	}
}

// The bytes of an address that somebody has numbered by hand are in all answers, as
// numbers, which stay; as text it has a stand-in.
func TestRedactPlainNumbers(t *testing.T) {
	s := Record()
	bit := []byte{0x0a, 0, 1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0}
	ask(s, "ethtool features-get", "000000000001", Reply{Messages: []Hex{bytes.Clone(bit)}, Text: "00:00:00:00:00:01 fd00::1 000000000001"},
		nil)
	s.Redact(Secrets{MACs: []net.HardwareAddr{{0, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 0}}, Addrs: []netip.Addr{netip.MustParseAddr("::1:0"),
		netip.MustParseAddr("fd00::1")}})
	if a := s.list[0]; !bytes.Equal(a.Messages[0], bit) || a.Of != "000000000001" || a.Text != "02:00:00:00:00:01 xxxxxxx 000000000001" {
		t.Errorf("%x, of %s, %q", a.Messages[0], a.Of, a.Text)
	}
}

// Whatever is read can be written and read again, and redacted.
func FuzzRead(f *testing.F) {
	const head = `{"schema":"zcbench-capture/1","interface":"eth1"}` + "\n"
	f.Add([]byte(head + `{"ask":"link","of":"eth1","messages":["00ff"]}` + "\n" + `{"ask":"file","text":"1\n","errno":2,"failed":"no"}` +
		"\n"))
	link := append(make([]byte, unix.SizeofIfInfomsg), attr(unix.IFLA_ADDRESS, []byte{2, 1, 2, 3, 4, 5})...)
	f.Add(fmt.Appendf(nil, "%s{\"ask\":\"link\",\"messages\":[\"%x\"]}\n{\"ask\":\"ioctl ETHTOOL_GRXCLSRULE\",\"messages\":[\"%x\"]}\n", head,
		link, new(abi.EthtoolRxnfc).Bytes()))
	var rule abi.EthtoolRxnfc
	rule.Fs.FlowType = abi.TCP_V6_FLOW
	rule.Fs.H.Tcpip6().Dst, rule.Fs.M.Tcpip6().Dst = [16]byte{0x20, 1, 1}, [16]byte{255, 255, 255}
	f.Add(fmt.Appendf(nil, "%s{\"ask\":\"ioctl ETHTOOL_GRXCLSRULE\",\"messages\":[\"%x\"]}\n{\"ask\":\"ioctl "+
		"ETHTOOL_GDRVINFO\",\"messages\":[\"%x\"]}\n", head, rule.Bytes(), make([]byte, 196)))
	mac := net.HardwareAddr{0x52, 0x54, 0xa1, 0xb2, 0xc3, 0xd4}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read("f", bytes.NewReader(text))
		if err != nil {
			return
		}
		var first, second bytes.Buffer
		if err := s.Write(&first); err != nil {
			t.Fatal(err)
		}
		again, err := Read("f", bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatalf("%v\n%s", err, first.Bytes())
		}
		if err := again.Write(&second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Fatalf("%v\n%s\n%s", err, first.Bytes(), second.Bytes())
		}
		s.Redact(Secrets{MACs: []net.HardwareAddr{mac}, Addrs: []netip.Addr{netip.MustParseAddr("2a01:4f8:c0c:1::7")},
			Names: []string{"gate.example.org"}})
		for _, a := range s.list {
			for _, m := range a.Messages {
				if bytes.Contains(m, mac) {
					t.Fatalf("%s: %x", a.Ask, m)
				}
			}
		}
	})
}

// Where a NIC is on PCI stays: interrupts are named after it.
func TestPlace(t *testing.T) {
	for is, want := range map[string]string{"0000:03:00.1": "0000:03:00.1", "10000:e1:00.0": "10000:e1:00.0", "usb-1": "xxxxx", "": ""} {
		b := append([]byte(is), 0, 0)
		if place(b); string(b) != want+"\x00\x00" {
			t.Errorf("%q: %q, want %q", is, b, want)
		}
	}
}
