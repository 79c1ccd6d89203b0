package ringcfg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/printable"
)

// forQueues adds to w what queues of its own need before they can be chosen:
// flow rules switched on, and one receive queue more, for all other traffic.
func (h *host) forQueues(w Want, now Settings) (Want, error) {
	if w.Queues == 0 && len(w.Flows) == 0 {
		return w, nil
	}
	if h.iface == "" || w.Queues < 1 {
		return w, usage("steering flows needs an interface and at least one queue")
	}
	for _, m := range w.Flows {
		if err := m.Check(); err != nil {
			return w, fault.Wrap(fault.Usage, err)
		}
	}
	w.Settings = maps.Clone(w.Settings)
	if w.Settings == nil {
		w.Settings = map[string]string{}
	}
	if len(w.Flows) > 0 {
		w.Settings["feature.rx-ntuple-filter"] = "on"
	}
	c, err := h.eth.Channels(h.iface)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return w, unsupported("%s of its own and one for other traffic: driver %s of %s has no channels, so it has one queue or does not say",
			printable.Count(w.Queues, "queue"), h.driver, h.iface)
	}
	if err != nil {
		return w, fmt.Errorf("queues for the flows alone: %w", err)
	}
	need := uint64(w.Queues) + 1
	if uint64(receiveQueues(c)) >= need {
		return w, nil
	}
	for _, kind := range []string{"combined", "rx"} {
		if c[kind+"-max"] >= need && now["channels."+kind] != "" {
			w.Settings["channels."+kind] = strconv.FormatUint(need, 10)
			return w, nil
		}
	}
	return w, unsupported("%s of its own and one for other traffic: driver %s of %s has at most %d receive queues", printable.Count(w.Queues,
		"queue"), h.driver, h.iface, max(c["combined-max"], c["rx-max"]))
}

// steer chooses the queues, keeps all other traffic off them, and sends the
// flows there. What is wanted of the RSS table is then without these queues.
func (s *session) steer(ctx context.Context, w Want, wanted Settings) (Grant, error) {
	if w.Queues == 0 {
		return Grant{}, nil
	}
	h := s.h
	now, err := h.snapshot(device)
	if err != nil {
		return Grant{}, err
	}
	if h.dev == nil {
		return Grant{}, unsupported("queues of its own for a memory provider: need Linux 6.12")
	}
	queues, err := h.dev.Queues(h.index)
	if err != nil {
		return Grant{}, err
	}
	grant := Grant{}
	if grant.Queues, err = pickQueues(w.Queues, queues, now, w.Flows); err != nil {
		return Grant{}, fmt.Errorf("%s: %w", h.iface, err)
	}
	steered, err := steering(grant.Queues, queues, now, w.Flows)
	if err != nil {
		return Grant{}, fmt.Errorf("%s: %w", h.iface, err)
	}
	grant.Context = steered.context
	for _, stage := range []Settings{steered.rss, steered.flows} {
		set := map[string]Settings{}
		for _, name := range stage.names() {
			value, err := h.put(set, now, name, stage[name])
			if err != nil {
				return Grant{}, err
			}
			if wanted[name] != "" {
				wanted[name] = value
			}
			if place, ok := set["flow"][name]; ok {
				now[name] = place // taken, for the rules that follow
			}
		}
		for _, f := range families {
			if len(set[f.name]) == 0 {
				continue
			}
			if err = s.set(ctx, f, set[f.name]); err != nil {
				return Grant{}, err
			}
			if now, err = h.snapshot(f.group); err != nil {
				return Grant{}, err
			}
		}
	}
	return grant, nil
}

// pickQueues takes receive queues from the last downwards that have ordinary
// memory and that no rule or RSS context of somebody else uses.
func pickQueues(n int, queues []netdev.Queue, now Settings, flows []ethtool.Match) ([]uint32, error) {
	mine := map[string]bool{}
	for _, m := range flows {
		mine["flow."+m.String()] = true
	}
	used := map[uint32]string{}
	for name, value := range now {
		if strings.HasPrefix(name, "rss.context-") {
			table, err := splitQueues(name, value)
			if err != nil {
				return nil, err
			}
			for _, q := range table {
				used[q] = name
			}
		}
		if r, err := parseRule(name, value); err == nil && strings.HasPrefix(name, "flow.") && !mine[name] && r.Context == 0 {
			used[r.Queue] = name
		}
	}
	var picked []uint32
	var taken []string
	receive := 0
	for _, q := range slices.Backward(queues) {
		if q.Direction != netdev.RX {
			continue
		}
		receive++
		switch {
		case len(picked) == n:
		case !q.Free():
			taken = append(taken, fmt.Sprintf("queue %d has %s", q.ID, q.Provider()))
		case used[q.ID] != "":
			taken = append(taken, fmt.Sprintf("queue %d is used by %s", q.ID, used[q.ID]))
		case q.ID == 0:
			taken = append(taken, "queue 0 is for other traffic")
		default:
			picked = append(picked, q.ID)
		}
	}
	if receive == 0 {
		return nil, errors.New("the kernel shows no receive queue; set the interface up first (ip link set up)")
	}
	if len(picked) < n {
		return nil, fmt.Errorf("%d of its %d receive queues can be had, %d are needed: %s", len(picked), receive, n, strings.Join(taken, "; "))
	}
	slices.Sort(picked)
	return picked, nil
}

// steered is what sends the flows to their queues and nothing else.
type steered struct {
	rss, flows Settings
	context    uint32
}

func steering(own []uint32, queues []netdev.Queue, now Settings, flows []ethtool.Match) (steered, error) {
	st := steered{rss: Settings{}, flows: Settings{}}
	table, err := splitQueues("rss.table", now["rss.table"])
	if err != nil {
		return st, err
	}
	if len(table) == 0 {
		return st, unsupported("its driver has no RSS table that could keep other traffic off queue %d", own[0])
	}
	st.rss["rss.table"] = joinQueues(away(table, own, queues))
	for i, m := range flows {
		value := fmt.Sprintf("queue %d", own[i%len(own)])
		if len(flows) < len(own) {
			if st.context == 0 {
				for st.context = 1; now[fmt.Sprintf("rss.context-%d", st.context)] != ""; st.context++ {
				}
				spread := make([]uint32, len(table))
				for k := range spread {
					spread[k] = own[k%len(own)]
				}
				st.rss[fmt.Sprintf("rss.context-%d", st.context)] = joinQueues(spread)
			}
			value = fmt.Sprintf("context %d", st.context)
		}
		st.flows["flow."+m.String()] = value
	}
	return st, nil
}

// away keeps a table as it is but for the entries that lead to a queue of
// own: those go to the other queues in turn.
func away(table, own []uint32, queues []netdev.Queue) []uint32 {
	var others []uint32
	for _, q := range queues {
		if q.Direction == netdev.RX && q.Free() && !slices.Contains(own, q.ID) {
			others = append(others, q.ID)
		}
	}
	if len(others) == 0 {
		others = []uint32{0}
	}
	moved := slices.Clone(table)
	next := 0
	for i, q := range table {
		if slices.Contains(own, q) {
			moved[i] = others[next%len(others)]
			next++
		}
	}
	return moved
}

// SteeredTo gives the receive queues that the flow rules of a snapshot send a
// TCP flow to; none when no rule matches it.
func SteeredTo(s Settings, src, dst netip.AddrPort) ([]uint32, error) {
	best := uint32(0)
	var queues []uint32
	for _, name := range s.names() {
		if !strings.HasPrefix(name, "flow.tcp") {
			continue
		}
		r, err := parseRule(name, s[name])
		if err != nil {
			return nil, err
		}
		m := r.Match
		if m.Src.IsValid() && m.Src != src.Addr() || m.Dst.IsValid() && m.Dst != dst.Addr() ||
			m.SrcPort != 0 && m.SrcPort != src.Port() || m.DstPort != 0 && m.DstPort != dst.Port() {
			continue
		}
		if queues != nil && r.Location >= best {
			continue // the first place in the table wins
		}
		best = r.Location
		queues = []uint32{r.Queue}
		if r.Context != 0 {
			if queues, err = splitQueues(name, s[fmt.Sprintf("rss.context-%d", r.Context)]); err != nil {
				return nil, err
			}
			slices.Sort(queues)
			queues = slices.Compact(queues)
		}
	}
	return queues, nil
}
