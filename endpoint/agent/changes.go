package agent

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/egress"
	"zcbench/internal/linkwatch"
	"zcbench/internal/netif"
	"zcbench/results"
	"zcbench/results/caveat"
	"zcbench/ringcfg"
)

// mostNamed is how many of what was changed a warning names.
const mostNamed = 4

// changes are what was changed of the interfaces of the flows within the window.
// A record gives their settings as if they had been one all along.
type changes struct {
	watch   *linkwatch.Watch
	unknown error // why nothing is known of them
	devices []net.Interface
	peer    netip.Addr
	offset  int64 // when the window opened, CLOCK_MONOTONIC
}

// watchChanges begins to hear of them, before the window.
func watchChanges(fds []int, opened int64) *changes {
	c := &changes{offset: opened}
	var names []string
	var own []netip.Addr
	for _, fd := range fds {
		p, err := egress.Follow(fd)
		if err != nil {
			c.unknown = err
			return c
		}
		names, own, c.peer = append(names, p.Devices...), append(own, p.Local), p.Peer
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		if i, err := net.InterfaceByName(name); err == nil {
			c.devices = append(c.devices, *i)
		}
	}
	c.watch, c.unknown = linkwatch.On(names, own)
	return c
}

// down says which interface of the flows nothing passes now, and why; "": none.
func (c *changes) down() string {
	for _, i := range c.devices {
		if why := netif.Down(i.Index, i.Name); why != "" {
			return why
		}
	}
	return ""
}

// look notes what was changed by now.
func (c *changes) look() {
	if c.watch != nil {
		c.watch.Look(wire.Monotonic() - c.offset)
	}
}

func (c *changes) close() {
	if c.watch != nil {
		c.watch.Close()
	}
}

// tell says what was changed from the window's opening on, and what of that may
// have had payload copied that was sent by reference.
func (c *changes) tell(role endpoint.Role) (warning string, d endpoint.Doubt) {
	var all []linkwatch.Change
	lost := false
	if c.watch != nil {
		all, lost, c.unknown = c.watch.Changes(0)
	}
	if c.unknown != nil {
		return caveat.Warn(caveat.HostChanged, "%s: whether the interfaces of the flows were changed within the window is not known: %v", role,
			c.unknown), d
	}
	if len(all) == 0 && !lost {
		return "", d
	}
	if lost {
		d = endpoint.Doubt{Bytes: endpoint.All, Why: "the interface was changed more often than could be followed"}
	}
	var said []string
	for i, v := range all {
		if v.Features != nil {
			if way := egress.Offloads(v.Interface, v.Features, c.peer); way.Verdict != egress.Clear {
				d = endpoint.Doubt{Bytes: endpoint.All, Why: "within the window " + way.Why}
			}
		}
		if i < mostNamed {
			when := "before the window opened"
			if v.At >= 0 {
				when = fmt.Sprintf("at %.2f s", float64(v.At)/1e9)
			}
			said = append(said, fmt.Sprintf("%s: %s %s", v.Interface, v.What, when))
		}
	}
	if len(all) > mostNamed || lost {
		said = append(said, "…")
	}
	return caveat.Warn(caveat.HostChanged, "%s: changed within the window: %s; the figures are of no one setting: keep other programs off "+
		"the interface for the run", role, strings.Join(said, "; ")), d
}

// factsChanged says which facts of this host are others after the run than before
// it: of those that no interface has nobody tells meanwhile. What was missing says
// nothing of the host, and a process's own are not the host's.
func factsChanged(role endpoint.Role, before, after results.Facts) (warning string) {
	var all []ringcfg.Change
	for _, d := range results.Diff(before, after) {
		if !strings.HasPrefix(d.Name, "missing.") && !strings.HasPrefix(d.Name, "process.") {
			all = append(all, ringcfg.Change{Name: d.Name, From: d.A, To: d.B})
		}
	}
	return changedMeanwhile(role, all)
}

// settingsChanged is factsChanged of settings that are no facts and of whose change the
// kernel tells nobody.
func settingsChanged(role endpoint.Role, before, after ringcfg.Settings, facts results.Facts, trusted bool) (warning string) {
	if before == nil || after == nil {
		return "" // one of them could not be read
	}
	known, _ := facts["sysctl"].(map[string]any)
	return changedMeanwhile(role, slices.DeleteFunc(before.Changed(after), func(c ringcfg.Change) bool {
		_, told := known[strings.TrimPrefix(c.Name, "sysctl.")]
		return told || !trusted && strings.HasPrefix(c.Name, "flow.") // which has addresses
	}))
}

func changedMeanwhile(role endpoint.Role, all []ringcfg.Change) (warning string) {
	if len(all) == 0 {
		return ""
	}
	var said []string
	for _, c := range all[:min(len(all), mostNamed)] {
		said = append(said, fmt.Sprintf("%s was %s and is %s", c.Name, cmp.Or(c.From, "absent"), cmp.Or(c.To, "absent")))
	}
	if len(all) > mostNamed {
		said = append(said, "…")
	}
	return caveat.Warn(caveat.HostChanged, "%s: changed during the run: %s; the figures are of no one setting", role, strings.Join(said, "; "))
}

// recontrolled says that the connections have another congestion control than
// they began with.
func recontrolled(role endpoint.Role, first, last taken) (warning string) {
	if first.congestion == last.congestion {
		return ""
	}
	return caveat.Warn(caveat.HostChanged, "%s: changed within the run: the connections began with the congestion control %s and ended with "+
		"%s: some program of this host sets it", role, first.congestion, last.congestion)
}
