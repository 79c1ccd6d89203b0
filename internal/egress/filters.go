package egress

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// filter is one of traffic control on a device's way out: its kind, and those of
// the actions that it takes.
type filter struct {
	kind    string
	actions []string
}

// actionsOf is the attribute of a filter's options that has its actions
// (linux/pkt_cls.h).
var actionsOf = map[string]uint16{"basic": 3, "bpf": 1, "cgroup": 1, "flow": 9, "flower": 3, "fw": 4, "matchall": 2, "route": 6, "u32": 7}

// harmless actions decide where a packet goes, or mark it, and leave its bytes
// alone. Others may have them copied (mirred, pedit, csum, ct …), of which the
// kernel tells in some cases and not in others.
var harmless = []string{"gact", "skbedit", "police", "connmark", "ctinfo"}

// classify judges the filters of a device.
func classify(device string, all []filter) Way {
	hidden := func(what string) Way {
		return Way{Hidden, fmt.Sprintf("%s of tc handles what %s sends and may have it copied, of which the kernel does not always tell (tc "+
			"filter show dev %[2]s egress): take it off for the run", what, device)}
	}
	for _, f := range all {
		for _, a := range f.actions {
			if !slices.Contains(harmless, a) {
				return hidden(fmt.Sprintf("an action %s of a filter %s", a, f.kind))
			}
		}
		if _, known := actionsOf[f.kind]; !known || f.kind == "bpf" {
			return hidden("a filter " + f.kind)
		}
	}
	return Way{}
}

// filters lists those on a device's way out: of every qdisc that has some, and
// those that see packets before them (clsact).
func filters(link netlink.Link) (all []filter, err error) {
	parents := []uint32{netlink.HANDLE_MIN_EGRESS}
	qdiscs, err := netlink.QdiscList(link)
	if err != nil {
		return nil, fmt.Errorf("qdiscs of %s: %w", link.Attrs().Name, err)
	}
	clsact := false
	for _, q := range qdiscs {
		if q.Type() == "clsact" {
			clsact = true
		} else if h := q.Attrs().Handle; h != 0 && q.Type() != "ingress" {
			parents = append(parents, h)
		}
	}
	if !clsact {
		parents = parents[1:]
	}
	for _, parent := range parents {
		req := nl.NewNetlinkRequest(unix.RTM_GETTFILTER, unix.NLM_F_DUMP)
		req.AddData(&nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(link.Attrs().Index), Parent: parent})
		messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWTFILTER)
		if err != nil {
			return nil, fmt.Errorf("filters of %s: %w", link.Attrs().Name, err)
		}
		for _, m := range messages {
			f, err := parseFilter(m)
			if err != nil {
				return nil, fmt.Errorf("filters of %s: %w", link.Attrs().Name, err)
			}
			all = append(all, f)
		}
	}
	return all, nil
}

// parseFilter reads a message about one.
func parseFilter(m []byte) (f filter, err error) {
	if len(m) < nl.SizeofTcMsg {
		return f, fmt.Errorf("malformed message: %d bytes", len(m))
	}
	attrs, err := nl.ParseRouteAttr(m[nl.SizeofTcMsg:])
	if err != nil {
		return f, err
	}
	text := func(b []byte) string { return strings.TrimRight(string(b), "\x00") }
	for _, a := range attrs {
		if a.Attr.Type == nl.TCA_KIND {
			f.kind = text(a.Value)
		}
	}
	// In a list in lists: those of the filter, of its actions, and of each.
	inner := func(b []byte, each func(kind uint16, value []byte)) {
		list, e := nl.ParseRouteAttr(b)
		if err == nil {
			err = e
		}
		for _, a := range list {
			each(a.Attr.Type&nl.NLA_TYPE_MASK, a.Value)
		}
	}
	for _, a := range attrs {
		if a.Attr.Type&nl.NLA_TYPE_MASK != nl.TCA_OPTIONS {
			continue
		}
		inner(a.Value, func(kind uint16, actions []byte) {
			if kind != actionsOf[f.kind] {
				return
			}
			inner(actions, func(_ uint16, action []byte) {
				inner(action, func(kind uint16, name []byte) {
					if kind == nl.TCA_ACT_KIND {
						f.actions = append(f.actions, text(name))
					}
				})
			})
		})
	}
	return f, err
}
