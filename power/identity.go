package power

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// What a meter sees has names that do not depend on how its user spells it: the
// device's own serial number, a server's UUID, an address as resolved. Below
// them the parts: outlets of a PDU, cores of a package. A name is a path,
// "serial:apc-ZA1234/outlet-7"; what is called a sees all of what is called a/b.
// Beneath one name different parts are apart, but for those that begin with a
// question mark: of registers or sensors nobody knows which contain which. An
// element may end in a star for any.

// Relation is what two meters' views have to do with one another.
type Relation int

const (
	Unknown  Relation = iota // nothing tells
	Apart                    // they share nothing
	Same                     // they see the same, or share some of it
	Wider                    // the first sees all that the second does, and more
	Narrower                 // the other way round
)

// How much two different names of a sort prove. An address is one device's, but
// a device may have several.
var (
	sure   = []string{"serial", "uuid", "mac", "gpu", "host"}
	likely = []string{"addr"}
)

// Relate compares what two meters see.
func (i *Info) Relate(other *Info) Relation {
	var found [Narrower + 1]int
	likelyApart := false
	doubt := false
	for _, a := range i.Of {
		for _, b := range other.Of {
			p, q := strings.Split(a, "/"), strings.Split(b, "/")
			n := 0
			for n < len(p) && n < len(q) && alike(p[n], q[n]) {
				n++
			}
			switch {
			case n == len(p) && n == len(q):
				found[Same]++
			case n == len(p):
				found[Wider]++
			case n == len(q):
				found[Narrower]++
			case n > 0 && (strings.HasPrefix(p[n], "?") || strings.HasPrefix(q[n], "?")):
				doubt = true
			case n > 0:
				found[Apart]++
			default:
				sort, _, _ := strings.Cut(a, ":")
				of, _, _ := strings.Cut(b, ":")
				if sort == of && slices.Contains(sure, sort) {
					found[Apart]++
				}
				likelyApart = likelyApart || sort == of && slices.Contains(likely, sort)
			}
		}
	}
	switch {
	case found[Same] > 0 || found[Wider] > 0 && found[Narrower] > 0:
		return Same
	case found[Wider] > 0:
		return Wider
	case found[Narrower] > 0:
		return Narrower
	case found[Apart] > 0 || likelyApart && !doubt:
		return Apart
	}
	return Unknown
}

func alike(a, b string) bool {
	if any, ok := strings.CutSuffix(a, "*"); ok && strings.HasPrefix(b, any) {
		return true
	}
	any, ok := strings.CutSuffix(b, "*")
	return a == b || ok && strings.HasPrefix(a, any)
}

// under makes names of parts, of each of the wholes'.
func under(wholes []string, parts ...string) []string {
	var all []string
	for _, w := range wholes {
		for _, p := range parts {
			w += "/" + element(p)
		}
		all = append(all, w)
	}
	return all
}

// element is one that is no path.
func element(s string) string { return strings.ReplaceAll(s, "/", "%2F") }

// named makes a name of what a device says of itself; nothing of what is empty or
// obviously nobody's own.
func named(sort, maker, value string) []string {
	value = strings.ToLower(strings.TrimSpace(value))
	if strings.Trim(value, "0-. :?") == "" || slices.Contains([]string{"n/a", "na", "none", "unknown", "not specified",
		"to be filled by o.e.m.", "default string", "serial"}, value) {
		return nil
	}
	if maker != "" {
		value = maker + "-" + value
	}
	return []string{sort + ":" + element(value)}
}

// thisHost is the host that a meter is read on.
func thisHost() string {
	id, err := readLine("/proc/sys/kernel/random/boot_id")
	if err != nil || id == "" {
		id, _ = os.Hostname()
	}
	return "host:" + element(id)
}

// private is a name for what others are not to know. Only this machine can make
// it; nil where it has no identity of its own.
func private(sort, secret string) []string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(id) < 32 {
		return nil
	}
	h := hmac.New(sha256.New, id)
	h.Write([]byte(secret))
	return []string{sort + ":" + hex.EncodeToString(h.Sum(nil)[:16])}
}

// places names a device by its addresses, and by its port too where that is not
// one of the usual ones, behind which there may be another device.
func (t *target) places(ctx context.Context, usual ...string) []string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.host)
	var all []string
	for _, ip := range found {
		ip = ip.Unmap()
		name := ip.String()
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			name = strings.TrimPrefix(thisHost(), "host:") + " " + name // each host has its own
		}
		all = append(all, name)
	}
	if err != nil || len(all) == 0 {
		all = []string{strings.ToLower(t.host)}
	}
	slices.Sort(all)
	for i := range all {
		if t.port != "" && !slices.Contains(usual, t.port) {
			all[i] += " " + t.port
		}
		all[i] = "addr:" + element(all[i])
	}
	return slices.Compact(all)
}

// defaultUUIDs are those that boards leave the factory with.
var defaultUUIDs = []string{"03000200040005000006000700080009", "00020003000400050006000700080009", "1234567890abcdef1234567890abcdef",
	"1234567890abcdeffedcba0987654321"}

// serverUUID names a server by its UUID, whose bytes controllers give in various
// orders (SMBIOS 7.2.1 and IPMI 2.0, 20.8): of these it takes the least.
func serverUUID(text string) []string {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), "-", ""))
	if err != nil || len(b) != 16 {
		return nil
	}
	mixed := func(b []byte) []byte {
		m := slices.Clone(b)
		slices.Reverse(m[:4])
		slices.Reverse(m[4:6])
		slices.Reverse(m[6:8])
		return m
	}
	// All that swapping and reversing can make of it, by doing both in turns.
	least := ""
	for i := range 8 {
		s := hex.EncodeToString(b)
		if slices.Contains(defaultUUIDs, s) || strings.Trim(s, s[:1]) == "" {
			return nil
		}
		if least == "" || s < least {
			least = s
		}
		if i%2 == 0 {
			b = mixed(b)
		} else {
			slices.Reverse(b)
		}
	}
	return []string{"uuid:" + least}
}

// escaped is an option's value without what only its spelling adds.
func escaped(s string) string { return url.PathEscape(strings.Join(strings.Fields(s), " ")) }
