// Package headers captures packet headers on an interface for a moment and
// sums up what really crosses it: how large the frames are that the stack
// handles, what segments they are made of, and on which queue each flow is.
package headers

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Flow is one direction of a TCP connection.
type Flow struct{ Src, Dst netip.AddrPort }

// String is "SRC → DST".
func (f Flow) String() string { return fmt.Sprintf("%s → %s", f.Src, f.Dst) }

// Counts says how often each of some values was seen.
type Counts[T comparable] map[T]uint64

// FlowSummary is what was seen of one flow.
type FlowSummary struct {
	Frames, Bytes uint64 // Bytes are TCP payload
	// Queues are the frames by queue; NoQueue stands for those of which
	// the driver did not tell.
	Queues Counts[int]
}

// NoQueue is the queue of a frame whose driver did not record one.
const NoQueue = -1

// Summary is what crossed an interface in one direction. Only TCP is looked
// into, and only the flows that were asked for; the rest is counted as Other.
type Summary struct {
	Frames, Bytes uint64         // TCP frames as the stack handles them, and their payload
	Other         uint64         // all other frames
	Sizes         Counts[int]    // payload of a frame, up to this power of two
	Segments      Counts[int]    // payload of the segments that a frame was merged of or will be cut into
	HeaderBytes   Counts[int]    // link, IP and TCP header
	Options       Counts[string] // TCP options, by name, on frames with payload
	Flows         map[Flow]*FlowSummary

	keep func(Flow) bool // nil: all
}

func newSummary(keep func(Flow) bool) *Summary {
	return &Summary{keep: keep, Sizes: Counts[int]{}, Segments: Counts[int]{}, HeaderBytes: Counts[int]{}, Options: Counts[string]{},
		Flows: map[Flow]*FlowSummary{}}
}

// frame is one frame as the kernel hands it over.
type frame struct {
	head    []byte // its first bytes, from the link header
	length  int    // of the whole frame
	segment int    // payload of a segment by the kernel's offload data, 0: it is one segment
	queue   int
}

// decoder takes headers apart without allocating.
type decoder struct {
	eth    layers.Ethernet
	vlan   layers.Dot1Q
	ip4    layers.IPv4
	ip6    layers.IPv6
	tcp    layers.TCP
	parser *gopacket.DecodingLayerParser
	found  []gopacket.LayerType
}

func newDecoder() *decoder {
	d := &decoder{}
	d.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &d.eth, &d.vlan, &d.ip4, &d.ip6, &d.tcp)
	d.parser.IgnoreUnsupported = true // what follows the headers
	return d
}

// add counts a frame. A frame of more than 64 KiB over IPv6 has a length of
// zero in its header, which the decoder takes for a frame cut short.
func (s *Summary) add(d *decoder, f frame) {
	if len(f.head) > ipv6LengthEnd && binary.BigEndian.Uint16(f.head[12:]) == uint16(layers.EthernetTypeIPv6) {
		if length := f.head[ipv6LengthEnd-2 : ipv6LengthEnd]; length[0] == 0 && length[1] == 0 {
			length[0], length[1] = 0xff, 0xff
		}
	}
	// A decoding error of what follows TCP is none of ours.
	_ = d.parser.DecodeLayers(f.head, &d.found)
	var src, dst netip.Addr
	header, isTCP := 0, false
	for _, t := range d.found {
		switch t {
		case layers.LayerTypeEthernet:
			header = 14
		case layers.LayerTypeDot1Q:
			header += 4
		case layers.LayerTypeIPv4:
			header += int(d.ip4.IHL) * 4
			src, _ = netip.AddrFromSlice(d.ip4.SrcIP)
			dst, _ = netip.AddrFromSlice(d.ip4.DstIP)
		case layers.LayerTypeIPv6:
			header += 40
			src, _ = netip.AddrFromSlice(d.ip6.SrcIP)
			dst, _ = netip.AddrFromSlice(d.ip6.DstIP)
		case layers.LayerTypeTCP:
			header += int(d.tcp.DataOffset) * 4
			isTCP = true
		}
	}
	flow := Flow{netip.AddrPortFrom(src, uint16(d.tcp.SrcPort)), netip.AddrPortFrom(dst, uint16(d.tcp.DstPort))}
	if !isTCP || header > f.length || s.keep != nil && !s.keep(flow) {
		s.Other++
		return
	}
	payload := f.length - header
	s.Frames++
	s.Bytes += uint64(payload)
	of := s.Flows[flow]
	if of == nil {
		of = &FlowSummary{Queues: Counts[int]{}}
		s.Flows[flow] = of
	}
	of.Frames++
	of.Bytes += uint64(payload)
	of.Queues[f.queue]++
	if payload == 0 {
		return // an acknowledgement says nothing of segments
	}
	s.Sizes[powerOfTwo(payload)]++
	s.HeaderBytes[header]++
	if f.segment == 0 {
		f.segment = payload
	}
	s.Segments[f.segment]++
	for _, o := range d.tcp.Options {
		if o.OptionType != layers.TCPOptionKindNop && o.OptionType != layers.TCPOptionKindEndList {
			s.Options[o.OptionType.String()]++
		}
	}
}

// ipv6LengthEnd is where the payload length of an IPv6 header ends.
const ipv6LengthEnd = 14 + 6

// powerOfTwo rounds up.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p <<= 1
	}
	return p
}
