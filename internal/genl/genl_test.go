package genl

import (
	"encoding/hex"
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// unhex reads bytes written with spaces and line breaks, as a little-endian
// kernel sends them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bind is the request of netdev bind-rx for queue 3.
func bind() *Request {
	var r Request
	r.U32(1, "ifindex", 7)
	r.Nest(2, "queues", func() {
		r.U32(3, "type", 0)
		r.U32(1, "id", 3)
	})
	r.U8(9, "odd", 5)
	r.String(4, "name", "zc0")
	r.Flag(5, "flag")
	r.Uint(6, "small", 1<<32-1)
	r.Uint(6, "large", 1<<32)
	return &r
}

func TestRequest(t *testing.T) {
	want := unhex(t, `
		0800 0100 07000000
		1400 0280 0800 0300 00000000 0800 0100 03000000
		0500 0900 05 000000
		0800 0400 7a633000
		0400 0500
		0800 0600 ffffffff
		0c00 0600 0000000001000000`)
	r := bind()
	if string(r.b) != string(want) {
		t.Errorf("got  %x\nwant %x", r.b, want)
	}
	for offset, path := range map[int]string{-1: "", 0: ".ifindex", 8: ".queues", 12: ".queues.type", 20: ".queues.id", 24: ".queues.id",
		28: ".odd", 36: ".name", 1000: ".large"} {
		if got := r.at(offset); got != path {
			t.Errorf("offset %d is in %q, want %q", offset, got, path)
		}
	}
}

// header is that of the request echoed in an error: 0x58 bytes long.
const echo = "58000000 20000500 01000000 00000000"

func TestParseEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		typ   uint16
		flags uint16
		data  string
		want  string
	}{
		{"consent", unix.NLMSG_ERROR, unix.NLM_F_CAPPED, "00000000" + echo, ""},
		{"end of a dump", unix.NLMSG_DONE, unix.NLM_F_MULTI, "00000000", ""},
		{"end of an old dump", unix.NLMSG_DONE, unix.NLM_F_MULTI, "", ""},
		{"errno alone", unix.NLMSG_ERROR, unix.NLM_F_CAPPED, "a1ffffff" + echo, "netdev bind-rx: operation not supported"},
		{"text and attribute", unix.NLMSG_ERROR, unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS,
			"eaffffff" + echo + "0800 0100 6e6f0000" + "0800 0200 28000000",
			"netdev bind-rx: invalid argument: no (attribute .queues.id)"},
		{"the whole request echoed", unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS,
			"eaffffff" + echo + strings.Repeat("00", 0x48) + "0800 0200 14000000",
			"netdev bind-rx: invalid argument (attribute .ifindex)"},
		{"missing at the top", unix.NLMSG_ERROR, unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS,
			"eaffffff" + echo + "0800 0500 02000000",
			"netdev bind-rx: invalid argument (attribute .2 is missing)"},
		{"missing in a nest", unix.NLMSG_ERROR, unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS,
			"eaffffff" + echo + "0800 0500 01000000" + "0800 0600 1c000000",
			"netdev bind-rx: invalid argument (attribute .queues.1 is missing)"},
		{"a dump refused, with text", unix.NLMSG_DONE, unix.NLM_F_MULTI | unix.NLM_F_ACK_TLVS,
			"edffffff" + "0800 0100 6e6f0000", "netdev bind-rx: no such device: no"},
		{"an echo cut short", unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, "eaffffff 58000000", "netdev bind-rx: invalid argument"},
		{"an echo longer than the message", unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, "eaffffff" + echo, "netdev bind-rx: invalid argument"},
		{"no errno", unix.NLMSG_ERROR, 0, "ff", "netdev bind-rx: malformed netlink reply: an error of 1 bytes"},
	} {
		m := syscall.NetlinkMessage{Data: unhex(t, c.data)}
		m.Header.Type, m.Header.Flags = c.typ, c.flags
		got := ""
		if err := parseEnd("netdev bind-rx", bind(), m); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseFamily(t *testing.T) {
	f, err := parseFamily(unhex(t, `
		0b00 0200 6e6574646576 00 00
		0600 0100 2000 0000
		0800 0300 01000000
		2c00 0600
			1400 0100 0800 0100 01000000 0800 0200 0e000000
			1400 0200 0800 0100 0d000000 0800 0200 1a000000`))
	if err != nil {
		t.Fatal(err)
	}
	if f.name != "netdev" || f.id != 0x20 || f.version != 1 || !f.ops[1] || !f.ops[13] || f.ops[14] {
		t.Errorf("got %+v", f)
	}
}

func TestAttrsMalformed(t *testing.T) {
	for _, c := range []struct{ name, b string }{
		{"shorter than its header", "0300 0100"},
		{"longer than the message", "0900 0100 00000000"},
		{"bytes left over", "0400 0100 00"},
		{"a number of three bytes", "0700 0100 000000 00"},
		{"a number too large", "0c00 0100 0000000001000000"},
	} {
		var err error
		for a := range Attrs(unhex(t, c.b), &err) {
			a.U32()
		}
		if err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

func FuzzAttrs(f *testing.F) {
	f.Add(bind().b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var err error
		for a := range Attrs(b, &err) {
			a.Uint()
			a.U32s()
			_ = a.String()
			for n := range a.Nest() {
				n.U32()
			}
		}
		parseFamily(b)
	})
}

func FuzzParseEnd(f *testing.F) {
	f.Add(uint16(unix.NLMSG_ERROR), uint16(unix.NLM_F_ACK_TLVS), unhex(f, "eaffffff"+echo+"0800 0200 14000000"))
	f.Fuzz(func(t *testing.T, typ, flags uint16, b []byte) {
		m := syscall.NetlinkMessage{Data: b}
		m.Header.Type, m.Header.Flags = typ, flags
		if err := parseEnd("fuzz", bind(), m); err != nil {
			_ = err.Error()
		}
	})
}

// The kernel itself: its controller knows every family.
func TestKernel(t *testing.T) {
	c, err := Dial("nlctrl")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	get := Op{3, "getfamily"}
	if !c.Has(get) || c.Has(Op{200, "none"}) {
		t.Errorf("commands of nlctrl: %v", c.family.ops)
	}
	seen := map[string]bool{}
	err = c.Dump(get, &Request{}, func() {}, func(b []byte) error {
		f, err := parseFamily(b)
		seen[f.name] = true
		return err
	})
	if err != nil || !seen["nlctrl"] {
		t.Errorf("families: %v, %v", seen, err)
	}
	var req Request
	req.String(2, "family-name", "zcbench-none")
	_, err = c.Do(get, &req)
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Errno != unix.ENOENT {
		t.Errorf("an unknown family: %v", err)
	}
	if _, err := Dial("zcbench-none"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("dial an unknown family: %v", err)
	}
	var long Request
	long.String(2, "family-name", strings.Repeat("x", 100))
	if _, err = c.Do(get, &long); !errors.As(err, &refusal) || refusal.Attribute != ".family-name" {
		t.Errorf("a name too long: %v, want one that blames .family-name", err)
	}
}
