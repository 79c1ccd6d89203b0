package ethtool

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"zcbench/internal/genl"
)

var (
	featuresGet = genl.Op{Cmd: unix.ETHTOOL_MSG_FEATURES_GET, Name: "features-get"}
	featuresSet = genl.Op{Cmd: unix.ETHTOOL_MSG_FEATURES_SET, Name: "features-set"}
)

// Feature is one offload. Active and Wanted differ while something else
// stands in its way.
type Feature struct {
	Active bool
	Wanted bool
	Fixed  bool // the driver does not let it be changed
}

// Features reads all offloads by the names of the kernel: "rx-gro-hw",
// "tx-tcp-segmentation", "rx-ntuple-filter" …
func (c *Conn) Features(iface string) (map[string]Feature, error) {
	b, err := c.c.Do(featuresGet, header(iface))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iface, err)
	}
	f, err := parseFeatures(b)
	if err != nil {
		return nil, fmt.Errorf("%s: features-get: %w", iface, err)
	}
	return f, nil
}

// parseFeatures reads bitsets in their verbose form, which carries the names:
// with a mask (hw) every bit is listed, without one only those that are set.
func parseFeatures(b []byte) (map[string]Feature, error) {
	all := map[string]Feature{}
	var err error
	var wanted, active, nochange []string
	for a := range genl.Attrs(b, &err) {
		switch a.Type {
		case unix.ETHTOOL_A_FEATURES_HW:
			changeable, listed := bitset(a)
			for _, name := range listed {
				all[name] = Feature{Fixed: true}
			}
			for _, name := range changeable {
				all[name] = Feature{}
			}
		case unix.ETHTOOL_A_FEATURES_WANTED:
			_, wanted = bitset(a)
		case unix.ETHTOOL_A_FEATURES_ACTIVE:
			_, active = bitset(a)
		case unix.ETHTOOL_A_FEATURES_NOCHANGE:
			_, nochange = bitset(a)
		}
	}
	for _, name := range wanted {
		f := all[name]
		f.Wanted = true
		all[name] = f
	}
	for _, name := range active {
		f := all[name]
		f.Active = true
		all[name] = f
	}
	for _, name := range nochange {
		f := all[name]
		f.Fixed = true
		all[name] = f
	}
	return all, err
}

// bitset gives the names of a verbose bitset: those with a value, and all
// that are listed.
func bitset(a genl.Attr) (set, listed []string) {
	for bits := range a.Nest() {
		if bits.Type != unix.ETHTOOL_A_BITSET_BITS {
			continue
		}
		for bit := range bits.Nest() {
			name, value := "", false
			for v := range bit.Nest() {
				switch v.Type {
				case unix.ETHTOOL_A_BITSET_BIT_NAME:
					name = v.String()
				case unix.ETHTOOL_A_BITSET_BIT_VALUE:
					value = true
				}
			}
			if name == "" {
				continue // a bit that the kernel keeps free
			}
			listed = append(listed, name)
			if value {
				set = append(set, name)
			}
		}
	}
	return set, listed
}

// SetFeatures asks for the offloads named to be on or off. The kernel grants
// what it can and reports no error for the rest: read Features again.
func (c *Conn) SetFeatures(iface string, want map[string]bool) error {
	req := header(iface)
	putBitset(req, unix.ETHTOOL_A_FEATURES_WANTED, "wanted", want)
	if _, err := c.c.Do(featuresSet, req); err != nil {
		return fmt.Errorf("%s: %w", iface, err)
	}
	return nil
}

// putBitset adds a bitset in its verbose form, which changes the bits that it names.
func putBitset(req *genl.Request, typ uint16, name string, want map[string]bool) {
	req.Nest(typ, name, func() {
		req.Nest(unix.ETHTOOL_A_BITSET_BITS, "bits", func() {
			for _, name := range slices.Sorted(maps.Keys(want)) {
				req.Nest(unix.ETHTOOL_A_BITSET_BITS_BIT, name, func() {
					req.String(unix.ETHTOOL_A_BITSET_BIT_NAME, "name", name)
					if want[name] {
						req.Flag(unix.ETHTOOL_A_BITSET_BIT_VALUE, "value")
					}
				})
			}
		})
	})
}

// featureNames are the offloads' names by their numbers, which are those of this
// kernel.
func (c *Conn) featureNames(iface string) (map[int]string, error) {
	b, err := c.c.Do(featuresGet, header(iface))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iface, err)
	}
	names := map[int]string{}
	for a := range genl.Attrs(b, &err) {
		if a.Type != unix.ETHTOOL_A_FEATURES_HW {
			continue // only this lists all
		}
		for bits := range a.Nest() {
			if bits.Type != unix.ETHTOOL_A_BITSET_BITS {
				continue
			}
			for bit := range bits.Nest() {
				index, name := -1, ""
				for v := range bit.Nest() {
					switch v.Type {
					case unix.ETHTOOL_A_BITSET_BIT_INDEX:
						index = int(v.U32())
					case unix.ETHTOOL_A_BITSET_BIT_NAME:
						name = v.String()
					}
				}
				if name != "" {
					names[index] = name
				}
			}
		}
	}
	return names, err
}

// compact gives the names of a bitset's bits that are set, in its compact form,
// which notices have.
func compact(a genl.Attr, names map[int]string) map[string]Feature {
	all := map[string]Feature{}
	for _, name := range names {
		all[name] = Feature{}
	}
	for v := range a.Nest() {
		if v.Type != unix.ETHTOOL_A_BITSET_VALUE {
			continue
		}
		b := v.Data
		for i := 0; i+4 <= len(b); i += 4 {
			for word, bit := binary.NativeEndian.Uint32(b[i:]), 8*i; word != 0; word, bit = word>>1, bit+1 {
				if name := names[bit]; word&1 != 0 && name != "" {
					all[name] = Feature{Active: true}
				}
			}
		}
	}
	return all
}
