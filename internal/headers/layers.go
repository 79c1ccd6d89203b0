package headers

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gopacket/gopacket"
	"golang.org/x/sys/unix"
)

// The five headers that are looked into, as layers for gopacket's parser.
// gopacket/layers has them among hundreds, with tables that all of its users
// carry: they were a quarter of this program. Tests compare with it.
const (
	ethernet gopacket.LayerType = 1000 + iota // 1000 to 1999 are for users of gopacket
	vlan
	ip4
	ip6
	tcp
)

var errMalformed = errors.New("no such header")

// layer is the last header of a kind in a frame.
type layer struct {
	of   *decoder
	kind gopacket.LayerType
	read func([]byte) (said, error)

	said
	contents, payload []byte // its own, and those that follow
}

// said is what a header says of itself.
type said struct {
	header int // bytes that it takes
	whole  int // bytes that it and what it carries take; 0: it does not tell
	next   gopacket.LayerType
}

// DecodeFromBytes is of gopacket.DecodingLayer, as those below.
func (l *layer) DecodeFromBytes(b []byte, _ gopacket.DecodeFeedback) (err error) {
	if l.said, err = l.read(b); err != nil {
		return err
	}
	end := len(b)
	if l.whole != 0 {
		end = min(end, l.whole) // what is longer was padded
		l.of.end = min(l.of.end, l.of.header+l.whole)
	}
	if l.header > end {
		return errMalformed
	}
	l.contents, l.payload = b[:l.header], b[l.header:end]
	l.of.header += l.header
	return nil
}

func (l *layer) CanDecode() gopacket.LayerClass    { return l.kind }
func (l *layer) NextLayerType() gopacket.LayerType { return l.next }
func (l *layer) LayerPayload() []byte              { return l.payload }

func readEthernet(b []byte) (said, error) {
	if len(b) < 14 {
		return said{}, errMalformed
	}
	return said{header: 14, next: etherType(b[12:])}, nil
}

func readVLAN(b []byte) (said, error) {
	if len(b) < 4 {
		return said{}, errMalformed
	}
	return said{header: 4, next: etherType(b[2:])}, nil
}

func etherType(b []byte) gopacket.LayerType {
	switch binary.BigEndian.Uint16(b) {
	case unix.ETH_P_IP:
		return ip4
	case unix.ETH_P_IPV6:
		return ip6
	case unix.ETH_P_8021Q, unix.ETH_P_8021AD:
		return vlan
	}
	return gopacket.LayerTypeZero
}

// readIPv4 takes a length of 0 for none: BIG TCP has it.
func readIPv4(b []byte) (said, error) {
	if len(b) < 20 || b[0]&15 < 5 {
		return said{}, errMalformed
	}
	s := said{header: int(b[0]&15) * 4, whole: int(binary.BigEndian.Uint16(b[2:]))}
	const fragmented = 0x3fff // more fragments, or an offset
	if binary.BigEndian.Uint16(b[6:])&fragmented != 0 {
		s.next = gopacket.LayerTypeFragment
	} else {
		s.next = protocol(b[9])
	}
	return s, nil
}

// readIPv6 takes a length of 0 for none: BIG TCP has it, before Linux 7.0 with a
// hop-by-hop header that tells the length of such a frame.
func readIPv6(b []byte) (said, error) {
	if len(b) < 40 {
		return said{}, errMalformed
	}
	s := said{header: 40}
	if length := int(binary.BigEndian.Uint16(b[4:])); length != 0 {
		s.whole = 40 + length
	}
	next := b[6]
	if next == unix.IPPROTO_HOPOPTS {
		if len(b) < 48 {
			return said{}, errMalformed
		}
		next = b[40]
		s.header += 8 + int(b[41])*8
	}
	s.next = protocol(next)
	return s, nil
}

func protocol(number byte) gopacket.LayerType {
	switch number {
	case unix.IPPROTO_TCP:
		return tcp
	case unix.IPPROTO_IPIP:
		return ip4
	case unix.IPPROTO_IPV6:
		return ip6
	}
	return gopacket.LayerTypeZero
}

func readTCP(b []byte) (said, error) {
	if len(b) < 20 || b[12]>>4 < 5 {
		return said{}, errMalformed
	}
	return said{header: int(b[12]>>4) * 4, next: gopacket.LayerTypePayload}, nil
}

// tcpOptions gives the kinds of the options of a TCP header without those that
// only fill it, up to the first that is malformed.
func tcpOptions(header []byte) func(yield func(kind byte) bool) {
	return func(yield func(byte) bool) {
		const end, nop = 0, 1
		for b := header[20:]; len(b) > 0 && b[0] != end; {
			n := 1
			if b[0] != nop {
				if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) || !yield(b[0]) {
					return
				}
				n = int(b[1])
			}
			b = b[n:]
		}
	}
}

// optionNames are as gopacket names them.
var optionNames = map[byte]string{2: "MSS", 3: "WindowScale", 4: "SACKPermitted", 5: "SACK", 6: "Echo", 7: "EchoReply", 8: "Timestamps",
	9: "PartialOrderConnectionPermitted", 10: "PartialOrderServiceProfile", 11: "CC", 12: "CCNew", 13: "CCEcho", 14: "AltChecksum",
	15: "AltChecksumData", 30: "MultipathTCP"}

func optionName(kind byte) string {
	if name, ok := optionNames[kind]; ok {
		return name
	}
	return fmt.Sprintf("Unknown(%d)", kind)
}
