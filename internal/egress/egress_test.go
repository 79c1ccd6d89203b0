package egress

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

func on(names ...string) map[string]ethtool.Feature {
	f := map[string]ethtool.Feature{}
	for _, n := range names {
		f[n] = ethtool.Feature{Active: true}
	}
	return f
}

// TestJudge: hosts of stacked devices, as the kernel's lists show them.
func TestJudge(t *testing.T) {
	all := on("tx-scatter-gather", "tx-checksum-ip-generic")
	attrs := func(index int, name string, more func(*netlink.LinkAttrs)) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Index, a.Name = index, name
		if more != nil {
			more(&a)
		}
		return a
	}
	in := func(master int) func(*netlink.LinkAttrs) {
		return func(a *netlink.LinkAttrs) { a.MasterIndex = master }
	}
	over := func(parent int) func(*netlink.LinkAttrs) {
		return func(a *netlink.LinkAttrs) { a.ParentIndex = parent }
	}
	for _, c := range []struct {
		name     string
		links    []netlink.Link
		features map[string]map[string]ethtool.Feature // of others: all
		to       string
		want     Verdict
		why      string
	}{
		{"a NIC", []netlink.Link{&netlink.Device{LinkAttrs: attrs(1, "eth0", nil)}}, nil, "", Clear, ""},
		{"without scatter-gather", []netlink.Link{&netlink.Device{LinkAttrs: attrs(1, "eth0", nil)}},
			map[string]map[string]ethtool.Feature{"eth0": on("tx-checksum-ip-generic")}, "", Copies, "ethtool -K eth0 sg on"},
		{"without checksums", []netlink.Link{&netlink.Device{LinkAttrs: attrs(1, "eth0", nil)}},
			map[string]map[string]ethtool.Feature{"eth0": on("tx-scatter-gather")}, "", Copies, "ethtool -K eth0 tx on"},
		{"of a driver that has no scatter-gather", []netlink.Link{&netlink.Device{LinkAttrs: attrs(1, "eth0", nil)}},
			map[string]map[string]ethtool.Feature{"eth0": {"tx-scatter-gather": {Fixed: true}}}, "", Copies, "(its driver cannot; send over " +
				"another interface)"},
		{"of a driver that has no checksums", []netlink.Link{&netlink.Device{LinkAttrs: attrs(1, "eth0", nil)}},
			map[string]map[string]ethtool.Feature{"eth0": {"tx-scatter-gather": {Active: true}, "tx-checksum-ip-generic": {Fixed: true},
				"tx-checksum-ipv4": {Fixed: true}, "tx-checksum-ipv6": {Fixed: true}}},
			"", Copies, "(its driver cannot; send over another interface)"},
		{"checksums of IPv4 only, to IPv4", []netlink.Link{&netlink.Device{LinkAttrs: attrs(1, "eth0", nil)}},
			map[string]map[string]ethtool.Feature{"eth0": on("tx-scatter-gather", "tx-checksum-ipv4")}, "192.0.2.1", Clear, ""},
		{"checksums of IPv4 only, to IPv6", []netlink.Link{&netlink.Device{LinkAttrs: attrs(1, "eth0", nil)}},
			map[string]map[string]ethtool.Feature{"eth0": on("tx-scatter-gather", "tx-checksum-ipv4")}, "2001:db8::1", Copies, "checksums"},
		{"a VLAN of a NIC", []netlink.Link{&netlink.Vlan{LinkAttrs: attrs(1, "eth0.7", over(2))},
			&netlink.Device{LinkAttrs: attrs(2, "eth0", nil)}}, nil, "", Clear, ""},
		{"a VLAN of a bond of NICs, one without", []netlink.Link{&netlink.Vlan{LinkAttrs: attrs(1, "b.7", over(2))},
			&netlink.Bond{LinkAttrs: attrs(2, "b", nil)},
			&netlink.Device{LinkAttrs: attrs(3, "eth0", in(2))}, &netlink.Device{LinkAttrs: attrs(4, "eth1", in(2))}},
			map[string]map[string]ethtool.Feature{"eth1": on()}, "", Hidden, "which port of b carries the payload is not known, and eth1 has no " +
				"scatter-gather"},
		{"a bond of such", []netlink.Link{&netlink.Bond{LinkAttrs: attrs(1, "b", nil)},
			&netlink.Device{LinkAttrs: attrs(3, "eth0", in(1))}, &netlink.Device{LinkAttrs: attrs(4, "eth1", in(1))}},
			map[string]map[string]ethtool.Feature{"eth0": on(), "eth1": on()}, "", Copies, "has no scatter-gather"},
		{"a bond that uses the one with", []netlink.Link{&netlink.Bond{LinkAttrs: attrs(1, "b", nil), Mode: netlink.BOND_MODE_ACTIVE_BACKUP,
			ActiveSlave: 3},
			&netlink.Device{LinkAttrs: attrs(3, "eth0", in(1))}, &netlink.Device{LinkAttrs: attrs(4, "eth1", in(1))}},
			map[string]map[string]ethtool.Feature{"eth1": on()}, "", Clear, ""},
		{"a bridge with a container", []netlink.Link{&netlink.Bridge{LinkAttrs: attrs(1, "br0", nil)},
			&netlink.Device{LinkAttrs: attrs(3, "eth0", in(1))}, &netlink.Veth{LinkAttrs: attrs(4, "veth0", in(1))}},
			nil, "", Hidden, "veth0 leads into another network namespace"},
		{"a tunnel", []netlink.Link{&netlink.Wireguard{LinkAttrs: attrs(1, "wg0", nil)}}, nil, "", Hidden, "wg0 (wireguard)"},
		{"a VPN's interface", []netlink.Link{&netlink.Tuntap{LinkAttrs: attrs(1, "tun0", nil)}}, nil, "", Copies, "reads a copy"},
		{"stacked without end", []netlink.Link{&netlink.Vlan{LinkAttrs: attrs(1, "a", over(1))}}, nil, "", Hidden, "out of sight"},
	} {
		l := look{links: map[int]netlink.Link{}, filters: func(netlink.Link) ([]filter, error) { return nil, nil },
			features: func(name string) (map[string]ethtool.Feature, error) {
				if f, ok := c.features[name]; ok {
					return f, nil
				}
				return all, nil
			}}
		if c.to != "" {
			l.to = netip.MustParseAddr(c.to)
		}
		for _, v := range c.links {
			l.links[v.Attrs().Index] = v
		}
		w, err := l.at(1, 0)
		if err != nil || w.Verdict != c.want || !strings.Contains(w.Why, c.why) {
			t.Errorf("%s: %+v, %v, want %v, %q", c.name, w, err, c.want, c.why)
		}
	}
}

// listen takes connections to an address of an end.
func listen(t *testing.T, e *netpair.End, at netip.Addr) (l net.Listener) {
	t.Helper()
	if err := e.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestSocket: of connections over a veth pair, as it is and with offloads off,
// through a VLAN, and to what is not in the other namespace.
func TestSocket(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, v6 := range []bool{false, true} {
		to := p.RX.Addr4
		if v6 {
			to = p.RX.Addr6
		}
		l := listen(t, &p.RX, to)
		if err := p.TX.Do(func() error {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return err
			}
			defer c.Close()
			f, err := c.(*net.TCPConn).File()
			if err != nil {
				return err
			}
			defer f.Close()
			e, err := ethtool.Dial()
			if err != nil {
				return err
			}
			defer e.Close()
			for _, s := range []struct {
				off  string
				want Verdict
			}{{"", Clear}, {"tx-scatter-gather", Copies}, {"tx-checksum-ip-generic", Copies}, {"", Clear}} {
				if s.off != "" {
					if err := e.SetFeatures(p.TX.Interface, map[string]bool{s.off: false}); err != nil {
						return err
					}
				}
				iface, w, err := Socket(int(f.Fd()))
				if err != nil || iface != p.TX.Interface || w.Verdict != s.want {
					t.Errorf("IPv6 %v, without %q: by %s %+v, %v", v6, s.off, iface, w, err)
				}
				if s.off != "" {
					if err := e.SetFeatures(p.TX.Interface, map[string]bool{s.off: true}); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody in the other namespace has this address: packets would go on.
	if err := p.TX.Do(func() error {
		link, err := netlink.LinkByName(p.TX.Interface)
		if err != nil {
			return err
		}
		w, err := judge(link.Attrs().Index, netip.MustParseAddr("192.0.2.9"), nil)
		if err != nil || w.Verdict != Hidden {
			t.Errorf("to an address beyond: %+v, %v", w, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestTaps: a socket for all protocols is named with its program; one for a
// single protocol sees nothing that is sent.
func TestTaps(t *testing.T) {
	const text = `sk               RefCnt Type Proto  Iface R Rmem   User   Inode
0000000000000000 3      3    0003   2     1 0      0      101
0000000000000000 3      3    88cc   2     1 0      0      102
0000000000000000 3      3    0003   3     1 0      0      103
0000000000000000 3      2    0003   0     1 0      0      104
0000000000000000 3      3    0003   2     0 0      0      105
`
	if got := fmt.Sprint(tapping(text, 2)); got != "[101 104]" {
		t.Errorf("%s, want those that get all of interface 2", got)
	}
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xffff
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Skip("needs the right to capture packets (root): ", err)
	}
	defer unix.Close(fd)
	names, err := Taps("lo")
	if want := fmt.Sprintf("(process %d)", os.Getpid()); err != nil || !strings.Contains(strings.Join(names, ", "), want) {
		t.Errorf("%v, %v, want %s", names, err, want)
	}
}
