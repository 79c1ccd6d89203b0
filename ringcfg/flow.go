package ringcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/genl/ethtool"
)

// A flow rule is a setting whose name is what it matches and whose value is
// where it delivers: "flow.tcp4 dst-ip 198.18.0.2 dst-port 5302" is "queue 3
// at 1023", 1023 being its place in the NIC's table. The place is left out
// where the driver chooses it. "" is no rule.
//
// A rule that cannot be written so is kept whole: "flow.at-7" is its bytes.

func readFlows(h *host, to Settings) error {
	rules, err := h.eth.Rules(h.iface)
	if err != nil || len(rules) == 0 {
		return err
	}
	chosen, err := h.driverChoosesPlaces()
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Other != "" {
			to[fmt.Sprintf("flow.at-%d", r.Location)] = r.Other
			continue
		}
		value := fmt.Sprintf("queue %d", r.Queue)
		if r.Context != 0 {
			value = fmt.Sprintf("context %d", r.Context)
		}
		if !chosen {
			value += fmt.Sprintf(" at %d", r.Location)
		}
		to["flow."+r.Match.String()] = value
	}
	return nil
}

func (h *host) driverChoosesPlaces() (bool, error) {
	place, err := h.eth.FreeLocation(h.iface)
	if errors.Is(err, unix.ENOSPC) {
		return false, nil
	}
	return place == abi.RX_CLS_LOC_ANY, err
}

// writeFlows deletes before it adds: the table may be full.
func writeFlows(h *host, set Settings) error {
	for _, name := range set.names() {
		if set[name] == "" {
			if err := h.deleteFlow(name); err != nil {
				return err
			}
		}
	}
	for _, name := range set.names() {
		if set[name] == "" {
			continue
		}
		r, err := parseRule(name, set[name])
		if err != nil {
			return err
		}
		if _, err := h.eth.AddRule(h.iface, r); err != nil {
			return err
		}
	}
	return nil
}

func (h *host) deleteFlow(name string) error {
	rules, err := h.eth.Rules(h.iface)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Other == "" && "flow."+r.Match.String() == name || fmt.Sprintf("flow.at-%d", r.Location) == name {
			return h.eth.DeleteRule(h.iface, r.Location)
		}
	}
	return nil // it is gone already
}

// parseFlow gives a rule without a place the one it has, or a free one.
func parseFlow(h *host, now Settings, name, value string) (string, error) {
	r, err := parseRule(name, value)
	if err != nil || value == "" || r.Location != abi.RX_CLS_LOC_ANY {
		return value, err
	}
	if _, place, ok := strings.Cut(now[name], " at "); ok {
		return value + " at " + place, nil
	}
	place, err := h.eth.FreeLocation(h.iface)
	if err != nil {
		return "", err
	}
	if place == abi.RX_CLS_LOC_ANY {
		return value, nil
	}
	// Several rules of one request take places downwards.
	taken := map[string]bool{}
	for n, v := range now {
		if _, p, ok := strings.Cut(v, " at "); ok && strings.HasPrefix(n, "flow.") {
			taken[p] = true
		}
	}
	for taken[strconv.FormatUint(uint64(place), 10)] && place > 0 {
		place--
	}
	return fmt.Sprintf("%s at %d", value, place), nil
}

// parseRule reads name and value of a flow setting back.
func parseRule(name, value string) (ethtool.Rule, error) {
	r := ethtool.Rule{Location: abi.RX_CLS_LOC_ANY}
	if place, ok := strings.CutPrefix(name, "flow.at-"); ok {
		n, err := strconv.ParseUint(place, 10, 32)
		r.Location, r.Other = uint32(n), value
		return r, err
	}
	bad := func(what string) (ethtool.Rule, error) {
		return r, fmt.Errorf("%s = %q: %s (as in: flow.tcp4 dst-ip 198.18.0.2 dst-port 5302 = queue 3)", name, value, what)
	}
	words := strings.Fields(strings.TrimPrefix(name, "flow."))
	if len(words) < 3 || len(words)%2 == 0 || words[0] != "tcp4" && words[0] != "tcp6" {
		return bad("not a TCP match")
	}
	for i := 1; i < len(words); i += 2 {
		key, word := words[i], words[i+1]
		switch key {
		case "src-ip", "dst-ip":
			a, err := netip.ParseAddr(word)
			if err != nil || a.Is6() != (words[0] == "tcp6") {
				return bad(word + " is not an address of " + words[0])
			}
			if key == "src-ip" {
				r.Match.Src = a
			} else {
				r.Match.Dst = a
			}
		case "src-port", "dst-port":
			p, err := strconv.ParseUint(word, 10, 16)
			if err != nil {
				return bad(word + " is not a port")
			}
			if key == "src-port" {
				r.Match.SrcPort = uint16(p)
			} else {
				r.Match.DstPort = uint16(p)
			}
		default:
			return bad(key + " is not src-ip, dst-ip, src-port or dst-port")
		}
	}
	if "flow."+r.Match.String() != name {
		return bad("write it as flow." + r.Match.String())
	}
	if value == "" {
		return r, nil
	}
	words = strings.Fields(value)
	if len(words) == 4 && words[2] == "at" {
		n, err := strconv.ParseUint(words[3], 10, 32)
		if err != nil {
			return bad(words[3] + " is not a place")
		}
		r.Location = uint32(n)
		words = words[:2]
	}
	if len(words) != 2 || words[0] != "queue" && words[0] != "context" {
		return bad("want queue N or context N")
	}
	n, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil || words[0] == "context" && n == 0 {
		return bad(words[1] + " is not a number of one")
	}
	if words[0] == "queue" {
		r.Queue = uint32(n)
	} else {
		r.Context = uint32(n)
	}
	return r, nil
}
