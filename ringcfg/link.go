package ringcfg

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zcbench/internal/printable"
)

// maxGRO is the largest that the kernel lets packets grow (GRO_MAX_SIZE).
const maxGRO = 8 * 65535

// linkSettings are in the order they are written: the kernel lets a general
// size change the one for IPv4 too.
var linkSettings = []struct {
	name string
	get  func(*netlink.LinkAttrs) int
	set  func(*netlink.Handle, netlink.Link, int) error
	most func(*netlink.LinkAttrs) int // that it may be
}{
	{"link.mtu", func(a *netlink.LinkAttrs) int { return a.MTU }, (*netlink.Handle).LinkSetMTU, unbounded},
	{"link.gso-max-segs", func(a *netlink.LinkAttrs) int { return int(a.GSOMaxSegs) }, (*netlink.Handle).LinkSetGSOMaxSegs,
		func(a *netlink.LinkAttrs) int { return int(a.TSOMaxSegs) }},
	{"link.gso-max-size", func(a *netlink.LinkAttrs) int { return int(a.GSOMaxSize) }, (*netlink.Handle).LinkSetGSOMaxSize, tsoMax},
	{"link.gro-max-size", func(a *netlink.LinkAttrs) int { return int(a.GROMaxSize) }, (*netlink.Handle).LinkSetGROMaxSize, groMax},
	{"link.gso-ipv4-max-size", func(a *netlink.LinkAttrs) int { return int(a.GSOIPv4MaxSize) }, (*netlink.Handle).LinkSetGSOIPv4MaxSize,
		tsoMax},
	{"link.gro-ipv4-max-size", func(a *netlink.LinkAttrs) int { return int(a.GROIPv4MaxSize) }, (*netlink.Handle).LinkSetGROIPv4MaxSize,
		groMax},
	{txQueueLen, func(a *netlink.LinkAttrs) int { return a.TxQLen }, (*netlink.Handle).LinkSetTxQLen, unbounded},
}

const txQueueLen = "link.tx-queue-len"

func unbounded(*netlink.LinkAttrs) int { return math.MaxInt32 }

func tsoMax(a *netlink.LinkAttrs) int { return int(a.TSOMaxSize) } // 0: this kernel does not tell

func groMax(*netlink.LinkAttrs) int { return maxGRO }

func readLink(h *host, to Settings) error {
	l, err := h.device()
	if err != nil {
		return err
	}
	for _, s := range linkSettings {
		// 0 is a size that this kernel does not have, but a queue of none.
		if v := s.get(l.Attrs()); v > 0 || s.name == txQueueLen {
			to[s.name] = strconv.Itoa(v)
		}
	}
	if n := l.IPv6MTU; n != 0 && n != l.Attrs().MTU {
		to[ipv6MTU] = strconv.Itoa(n)
	}
	return nil
}

// ipv6MTU is an MTU that IPv6 has for itself, by a user or a router: each change of the
// interface's takes it away.
const ipv6MTU = "link.ipv6-mtu"

// writeIPv6MTU takes it away for "".
func writeIPv6MTU(h *host, value string) error {
	l, err := h.device() // whose MTU may be another now
	if err != nil {
		return err
	}
	if value == "" {
		value = strconv.Itoa(l.Attrs().MTU)
	}
	if err := within(h.ns, func() error { return writeFile("/proc/sys/net/ipv6/conf/"+l.Attrs().Name+"/mtu", value) }); err != nil {
		return fmt.Errorf("set %s of %s to %s: %w", ipv6MTU, h.iface, value, err)
	}
	return nil
}

func writeLink(h *host, set Settings) error {
	l, err := h.device()
	if err != nil {
		return err
	}
	for _, s := range linkSettings {
		value, ok := set[s.name]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return usage("%s: %q is not a number", s.name, value)
		}
		if err := s.set(h.link, l.Link, n); err != nil {
			if errors.Is(err, unix.ERANGE) {
				return usage("set %s of %s to %d: too little for a packet's headers (%w)", s.name, h.iface, n, err)
			}
			return fmt.Errorf("set %s of %s to %d: %w", s.name, h.iface, n, err)
		}
	}
	if value, ok := set[ipv6MTU]; ok {
		return writeIPv6MTU(h, value)
	}
	return nil
}

// What IP takes at least. Below it the kernel takes an interface's addresses away.
const (
	leastMTU4 = 68
	leastMTU6 = 1280
)

// upTo begins a value that may be less where the interface takes no more: "up to
// 131072".
const upTo = "up to "

// parseLink refuses what the kernel would, before anything is changed, and says what
// it takes.
func parseLink(h *host, _ Settings, name, value string) (string, error) {
	l, err := h.device()
	if err != nil {
		return "", err
	}
	if n, err := strconv.Atoi(value); name == ipv6MTU && (err != nil || n < leastMTU6 || n >= l.Attrs().MTU) {
		return "", fmt.Errorf("%s of %s is from %d to %d, below its own MTU, not %q", name, h.iface, leastMTU6, l.Attrs().MTU-1, value)
	}
	for _, s := range linkSettings {
		if s.name != name {
			continue
		}
		least, most := 1, s.most(l.Attrs())
		switch name {
		case txQueueLen:
			least = 0
		case "link.mtu":
			least, most = max(leastMTU4, l.LeastMTU), l.MostMTU
		}
		if most <= 0 {
			most = math.MaxInt32
		}
		number, bounded := strings.CutPrefix(value, upTo)
		n, err := strconv.Atoi(number)
		if bounded {
			n = min(n, most)
		}
		if err != nil || n < least || n > most {
			return "", fmt.Errorf("%s of %s is from %d to %d, not %q", name, h.iface, least, most, value)
		}
		if name == "link.mtu" && n < leastMTU6 && n != l.Attrs().MTU && !h.from.Playing() { // which has no addresses
			return strconv.Itoa(n), h.keepsIPv6(l.Link, n)
		}
		return strconv.Itoa(n), nil
	}
	return value, nil
}

// keepsIPv6 refuses an MTU that an interface would lose addresses over: no putting
// back gives them back.
func (h *host) keepsIPv6(l netlink.Link, mtu int) error {
	addrs, err := h.link.AddrList(l, netlink.FAMILY_V6)
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", h.iface, err)
	}
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() { // of those the kernel makes a new one
			return fmt.Errorf("link.mtu of %s to %d: below %d the kernel takes its IPv6 addresses away (%s), which nobody puts back; if that is "+
				"meant, remove them first: ip -6 address flush dev %s",
				h.iface, mtu, leastMTU6, a.IP, printable.Word(h.iface))
		}
	}
	return nil
}
