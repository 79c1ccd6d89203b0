// Package headers captures packet headers on an interface for a moment and
// sums up what really crosses it: how large the frames are that the stack
// handles, what segments they are made of, and on which queue each flow is.
package headers

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
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
	ethernet, vlan, ip4, ip6, tcp layer

	header, end int // where the frame's headers end, and where the frame does by what they say
	parser      *gopacket.DecodingLayerParser
	found       []gopacket.LayerType
}

func newDecoder() *decoder {
	d := &decoder{}
	d.ethernet = layer{of: d, kind: ethernet, read: readEthernet}
	d.vlan = layer{of: d, kind: vlan, read: readVLAN}
	d.ip4 = layer{of: d, kind: ip4, read: readIPv4}
	d.ip6 = layer{of: d, kind: ip6, read: readIPv6}
	d.tcp = layer{of: d, kind: tcp, read: readTCP}
	d.parser = gopacket.NewDecodingLayerParser(ethernet, &d.ethernet, &d.vlan, &d.ip4, &d.ip6, &d.tcp)
	d.parser.IgnoreUnsupported = true // what follows the headers
	return d
}

// decode tells the flow of a frame of TCP's, and the bytes of its payload.
func (d *decoder) decode(f frame) (flow Flow, payload int, isTCP bool) {
	d.header, d.end = 0, f.length
	// What a frame has that cannot be decoded is no TCP.
	_ = d.parser.DecodeLayers(f.head, &d.found)
	n := len(d.found) - 1
	if n < 2 || d.found[n] != tcp || d.header > d.end {
		return Flow{}, 0, false
	}
	var src, dst netip.Addr
	if d.found[n-1] == ip4 {
		src, dst = netip.AddrFrom4([4]byte(d.ip4.contents[12:])), netip.AddrFrom4([4]byte(d.ip4.contents[16:]))
	} else {
		src, dst = netip.AddrFrom16([16]byte(d.ip6.contents[8:])), netip.AddrFrom16([16]byte(d.ip6.contents[24:]))
	}
	ports := d.tcp.contents
	flow = Flow{netip.AddrPortFrom(src, binary.BigEndian.Uint16(ports)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(ports[2:]))}
	return flow, d.end - d.header, true
}

// add counts a frame.
func (s *Summary) add(d *decoder, f frame) {
	flow, payload, isTCP := d.decode(f)
	if !isTCP || s.keep != nil && !s.keep(flow) {
		s.Other++
		return
	}
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
	s.HeaderBytes[d.header]++
	if f.segment == 0 {
		f.segment = payload
	}
	s.Segments[f.segment]++
	for kind := range tcpOptions(d.tcp.contents) {
		s.Options[optionName(kind)]++
	}
}

// powerOfTwo rounds up.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p <<= 1
	}
	return p
}
