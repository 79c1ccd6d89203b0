package ask

import (
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
)

const maxPeriod = 16 << 20 // bytes of distinct payload of a validated run

// Prepare is what an end is asked for, as far as the run alone says it.
func (r *Run) Prepare(role endpoint.Role) wire.Prepare {
	p := wire.Prepare{
		Role: role, Flows: r.Flows, Length: int(r.Length), Validate: r.Validate,
		Time: time.Duration(r.Time), Omit: time.Duration(r.Omit), Interval: time.Duration(r.Interval),
		Family: r.Family(), MSS: r.mss, Window: int(r.window), Raw: r.Raw, NoTune: r.NoTune, Verify: r.Verify,
		Pattern: endpoint.Pattern{Seed: r.seed, Period: r.period()}, Congestion: r.Congestion,
		Counters: r.Counters, Profile: r.Profile, Syscalls: r.Syscalls,
	}
	if role == endpoint.TX {
		p.Engine, p.Options = r.TX, r.TXOptions
		p.SourcePort, p.NoDelay = r.SourcePort, r.noDelay
	} else {
		p.Engine, p.Options = r.RX, r.RXOptions
	}
	if p.Interval >= p.Time {
		p.Interval = 0
	}
	return p
}

// period is one buffer, as in other tools, so that the sender's memory stays
// as warm as theirs; a validated run has more, so that a buffer that is sent
// twice or left out shows.
func (r *Run) period() int {
	l := int(r.Length)
	if !r.Validate || l < 1 {
		return l
	}
	return l * max(1, maxPeriod/l)
}

// Settings identify the cell in records: what was asked, resolved. rx and tx are
// what the ends are asked for, nil of one that is not ours.
func (r *Run) Settings(rx, tx *wire.Prepare, transport string) map[string]any {
	s := map[string]any{"transport": transport}
	for _, f := range Fields() {
		if f.Record == "" {
			continue
		}
		if v, said := recorded(f.at(r)); said || f.Always {
			s[f.Record] = v
		}
	}
	put := func(name string, v any, set bool) {
		if set {
			s[name] = v
		}
	}
	put("family", r.Family(), r.Family() != 0)
	for _, p := range []*wire.Prepare{rx, tx} {
		if p == nil {
			continue
		}
		role := string(p.Role)
		s[role] = p.Engine
		s[role+"_cpus"] = p.CPUs
		s["cpu_scope"] = string(p.Scope)
		put(role+"_options", p.Options, len(p.Options) > 0)
		put(role+"_settings", p.Settings, len(p.Settings) > 0)
		put(role+"_settings_if_supported", p.Optional, len(p.Optional) > 0)
	}
	return s
}
