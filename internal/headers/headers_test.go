package headers

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

var timestamps = []layers.TCPOption{{OptionType: layers.TCPOptionKindNop, OptionLength: 1}, {OptionType: layers.TCPOptionKindNop,
	OptionLength: 1},
	{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}}

// head is the first bytes of a TCP frame, with its length fields as given.
func head(t testing.TB, v6 bool, ipLength uint16) []byte {
	t.Helper()
	tcp := &layers.TCP{SrcPort: 1000, DstPort: 5302, DataOffset: 8, Options: timestamps}
	var ip gopacket.SerializableLayer = &layers.IPv4{Version: 4, IHL: 5, Length: ipLength, Protocol: layers.IPProtocolTCP,
		SrcIP: net.IP{198, 18, 0, 1}, DstIP: net.IP{198, 18, 0, 2}}
	kind := layers.EthernetTypeIPv4
	if v6 {
		ip = &layers.IPv6{Version: 6, Length: ipLength, NextHeader: layers.IPProtocolTCP, SrcIP: net.ParseIP("2001:2::1"),
			DstIP: net.ParseIP("2001:2::2")}
		kind = layers.EthernetTypeIPv6
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{}, &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6),
		DstMAC: make(net.HardwareAddr, 6), EthernetType: kind}, ip, tcp, gopacket.Payload("payload"))
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// jumbo is the first bytes of a frame that has its length in a hop-by-hop header.
func jumbo(t testing.TB) []byte {
	t.Helper()
	b := head(t, true, 0)
	b[14+6] = byte(layers.IPProtocolIPv6HopByHop)
	length := binary.BigEndian.AppendUint32(nil, 8+32+32*4096)
	return slices.Concat(b[:54], []byte{byte(layers.IPProtocolTCP), 0, 0xc2, 4}, length, b[54:])
}

func TestSummary(t *testing.T) {
	flow4 := Flow{netip.MustParseAddrPort("198.18.0.1:1000"), netip.MustParseAddrPort("198.18.0.2:5302")}
	flow6 := Flow{netip.MustParseAddrPort("[2001:2::1]:1000"), netip.MustParseAddrPort("[2001:2::2]:5302")}
	for _, c := range []struct {
		name  string
		frame frame
		want  Summary
	}{
		{"one segment", frame{head(t, false, 1500), 14 + 1500, 0, 2}, Summary{Frames: 1, Bytes: 1448, Sizes: Counts[int]{2048: 1},
			Segments:    Counts[int]{1448: 1},
			HeaderBytes: Counts[int]{66: 1}, Options: Counts[string]{"Timestamps": 1}, Flows: map[Flow]*FlowSummary{flow4: {1, 1448,
				Counts[int]{2: 1}}}}},
		{"a merged frame of 16 pages", frame{head(t, false, 52+15*4096), 66 + 15*4096, 4096, NoQueue}, Summary{Frames: 1, Bytes: 15 * 4096,
			Sizes: Counts[int]{65536: 1}, Segments: Counts[int]{4096: 1},
			HeaderBytes: Counts[int]{66: 1}, Options: Counts[string]{"Timestamps": 1}, Flows: map[Flow]*FlowSummary{flow4: {1, 15 * 4096,
				Counts[int]{NoQueue: 1}}}}},
		{"BIG TCP over IPv4, whose length is 0", frame{head(t, false, 0), 66 + 32*4096, 4096, 0}, Summary{Frames: 1, Bytes: 32 * 4096,
			Sizes: Counts[int]{131072: 1}, Segments: Counts[int]{4096: 1},
			HeaderBytes: Counts[int]{66: 1}, Options: Counts[string]{"Timestamps": 1}, Flows: map[Flow]*FlowSummary{flow4: {1, 32 * 4096,
				Counts[int]{0: 1}}}}},
		{"BIG TCP over IPv6, whose length is 0", frame{head(t, true, 0), 86 + 32*4096, 4096, 0}, Summary{Frames: 1, Bytes: 32 * 4096,
			Sizes: Counts[int]{131072: 1}, Segments: Counts[int]{4096: 1},
			HeaderBytes: Counts[int]{86: 1}, Options: Counts[string]{"Timestamps": 1}, Flows: map[Flow]*FlowSummary{flow6: {1, 32 * 4096,
				Counts[int]{0: 1}}}}},
		{"BIG TCP over IPv6 with the header that tells its length", frame{jumbo(t), 94 + 32*4096, 4096, 0}, Summary{Frames: 1, Bytes: 32 * 4096,
			Sizes: Counts[int]{131072: 1}, Segments: Counts[int]{4096: 1},
			HeaderBytes: Counts[int]{94: 1}, Options: Counts[string]{"Timestamps": 1}, Flows: map[Flow]*FlowSummary{flow6: {1, 32 * 4096,
				Counts[int]{0: 1}}}}},
		{"an acknowledgement, padded", frame{head(t, false, 52), 70, 0, 0}, Summary{Frames: 1, Sizes: Counts[int]{}, Segments: Counts[int]{},
			HeaderBytes: Counts[int]{}, Options: Counts[string]{}, Flows: map[Flow]*FlowSummary{flow4: {1, 0, Counts[int]{0: 1}}}}},
		{"an acknowledgement", frame{head(t, false, 52), 66, 0, 0}, Summary{Frames: 1, Sizes: Counts[int]{}, Segments: Counts[int]{},
			HeaderBytes: Counts[int]{}, Options: Counts[string]{}, Flows: map[Flow]*FlowSummary{flow4: {1, 0, Counts[int]{0: 1}}}}},
		{"not TCP", frame{make([]byte, 60), 60, 0, 0}, Summary{Other: 1, Sizes: Counts[int]{}, Segments: Counts[int]{},
			HeaderBytes: Counts[int]{}, Options: Counts[string]{}, Flows: map[Flow]*FlowSummary{}}},
	} {
		s := newSummary(nil)
		s.add(newDecoder(), c.frame)
		if !reflect.DeepEqual(*s, c.want) {
			t.Errorf("%s: %+v\nwant %+v", c.name, *s, c.want)
		}
	}
}

func TestSummaryOfSomeFlows(t *testing.T) {
	s := newSummary(func(f Flow) bool { return f.Dst.Port() == 5302 && f.Dst.Addr().Is6() })
	d := newDecoder()
	s.add(d, frame{head(t, false, 1500), 14 + 1500, 0, 0})
	s.add(d, frame{head(t, true, 1460), 54 + 1460, 0, 0})
	if s.Frames != 1 || s.Other != 1 || len(s.Flows) != 1 {
		t.Errorf("%+v", s)
	}
}

func FuzzSummary(f *testing.F) {
	f.Add(head(f, false, 1500), []byte{}, 1514, 0)
	f.Add(head(f, true, 0), []byte{1}, 1<<17, 4096)
	f.Add(head(f, true, 1460), []byte{}, 1514, 0)
	tagged, hops := head(f, false, 1500), jumbo(f)
	tagged = slices.Concat(tagged[:12], []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 5}, tagged[12:])
	f.Add(tagged, []byte{}, 1522, 0)
	f.Add(hops, []byte{}, 94+32*4096, 4096)
	inner := head(f, false, 1480)[14:]
	tunnel := slices.Concat(head(f, false, 1500)[:34], inner)
	tunnel[14+9] = byte(layers.IPProtocolIPv4)
	f.Add(tunnel, []byte{}, 1514, 0)
	f.Fuzz(func(t *testing.T, b, control []byte, length, segment int) {
		s := newSummary(nil)
		s.add(newDecoder(), frame{head: b, length: length, segment: segment})
		parse(b, control)
		compare(t, b)
	})
}

// compare wants of a frame what gopacket's own layers say, where they find TCP.
func compare(t *testing.T, b []byte) {
	t.Helper()
	if bytes.Contains(b, []byte{0xff, 0xff}) || bytes.IndexByte(b, 94) >= 0 {
		return // which as EtherType and as protocol are IPv4 to gopacket
	}
	var eth layers.Ethernet
	var vlan layers.Dot1Q
	var ip4 layers.IPv4
	var ip6 layers.IPv6
	var tcp layers.TCP
	var found []gopacket.LayerType
	theirs := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &vlan, &ip4, &ip6, &tcp)
	theirs.IgnoreUnsupported = true
	_ = theirs.DecodeLayers(b, &found)
	if len(found) == 0 || found[len(found)-1] != layers.LayerTypeTCP {
		return
	}
	src, dst := ip4.SrcIP, ip4.DstIP
	if found[len(found)-2] == layers.LayerTypeIPv6 {
		src, dst = ip6.SrcIP, ip6.DstIP
	}
	want := fmt.Sprintf("%s %d → %s %d", src, tcp.SrcPort, dst, tcp.DstPort)
	var options []string
	for _, o := range tcp.Options {
		if o.OptionType != layers.TCPOptionKindNop && o.OptionType != layers.TCPOptionKindEndList {
			options = append(options, o.OptionType.String())
		}
	}
	d := newDecoder()
	flow, _, ok := d.decode(frame{head: b, length: 1 << 20})
	if !ok {
		t.Fatalf("gopacket finds TCP in %x, of %s", b, want)
	}
	got := fmt.Sprintf("%s %d → %s %d", net.IP(flow.Src.Addr().AsSlice()), flow.Src.Port(), net.IP(flow.Dst.Addr().AsSlice()), flow.Dst.Port())
	var names []string
	for kind := range tcpOptions(d.tcp.contents) {
		names = append(names, optionName(kind))
	}
	if got != want || !slices.Equal(names, options) || d.header != len(b)-len(tcp.Payload) && len(tcp.Payload) > 0 && d.end >= len(b) {
		t.Errorf("%x is of %s with options %v and %d bytes of headers; gopacket says %s, %v, %d", b, got, names, d.header, want, options,
			len(b)-len(tcp.Payload))
	}
}

// TestCapture looks at a transfer over veth: with TSO on the sender the frames
// are larger than its MTU, and the segments are not.
func TestCapture(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var l net.Listener
	if err := p.RX.Do(func() (err error) {
		l, err = net.Listen("tcp4", "198.18.0.2:5302")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	var c net.Conn
	if err := p.TX.Do(func() (err error) {
		c, err = net.Dial("tcp4", "198.18.0.2:5302")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		defer c.Close()
		b := make([]byte, 1<<20)
		for ctx.Err() == nil {
			if _, err := c.Write(b); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	var received, sent *Summary
	var lost uint64
	if err := p.RX.Do(func() (err error) {
		within, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		received, sent, lost, err = Capture(within, p.RX.Interface, 1, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if received.Bytes < 1<<20 || sent.Frames == 0 || sent.Bytes != 0 {
		t.Errorf("received %d bytes, sent %d in %d frames, lost %d", received.Bytes, sent.Bytes, sent.Frames, lost)
	}
	if received.Segments[1448] == 0 || received.Sizes[65536] == 0 || received.Options["Timestamps"] == 0 || received.HeaderBytes[66] == 0 {
		t.Errorf("received %+v", received)
	}
	of := received.Flows[Flow{c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()}]
	if of == nil || of.Bytes != received.Bytes {
		t.Errorf("flows %v", received.Flows)
	}
	if _, _, _, err := Capture(ctx, "zcbench-none", 1, nil); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("no interface: %v", err)
	}
}
