package agent

import (
	"cmp"
	"fmt"
	"strings"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/egress"
	"zcbench/results/caveat"
)

// copies says what of the window was copied, by the engine's word and by what is
// known beside it: changed is what a change within the window leaves of that. Of
// the last bytes, cut off, the engine never had a word.
func (s *sampler) copies(res *wire.Result, cutOff uint64, changed endpoint.Doubt) {
	role, name := s.r.p.Role, s.r.engine.Name()
	first, last := res.Edges()
	bytes := last.Bytes() - first.Bytes()
	share := func(n uint64) float64 { return 100 * float64(n) / float64(bytes) }
	warn := func(c caveat.Code, format string, args ...any) {
		res.Warnings = append(res.Warnings, caveat.Warn(c, "%s: "+format, append([]any{role}, args...)...))
	}
	d := s.before.doubt(s.after)
	if d.Bytes == 0 && s.before != nil {
		d = changed
	}
	if d.Copied {
		reported := last.ZeroCopied - first.ZeroCopied + last.Unknown - first.Unknown
		copied(res)
		if reported > 0 {
			warn(caveat.CopiesUnreported, "100.0%% of the payload of %s was copied by a CPU, though the kernel does not say so of %.1f%%: %s", name,
				share(reported), d.Why)
			return
		}
	} else if n := doubted(res, d); n > 0 {
		warn(caveat.CopiesUnknown, "whether a CPU copied %.1f%% of the payload of %s (%d bytes) is not known, and it stands as copied: %s",
			share(n), name, n, d.Why)
	}
	unknown := last.Unknown - first.Unknown
	if n := last.Copied - first.Copied - unknown; s.layout.ZeroCopy && n > 0 {
		why := cmp.Or(s.copier, s.layout.Copied)
		if d.Copied {
			why = d.Why // as surely for this run
		}
		if why != "" {
			why = ": " + why
		}
		warn(caveat.Copied, "%.1f%% of the payload of %s was copied by a CPU%s", share(n), name, why)
	}
	if cutOff > bytes/100 {
		warn(caveat.CopiesUnknown, "whether a CPU copied %d bytes (%.1f%% of the window) is not known, and they stand as copied: the run was "+
			"cut off before the kernel told", cutOff, share(cutOff))
	}
	if unknown -= min(unknown, cutOff); unknown > 0 {
		warn(caveat.CopiesUnknown, "whether a CPU copied %.1f%% of the payload of %s (%d bytes) is not known, and it stands as copied: %s",
			share(unknown), name, unknown, s.layout.Unknown)
	}
	if d, ok := s.r.session.(endpoint.Doubter); ok {
		d := d.Doubt()
		if n := doubted(res, d); n > 0 {
			warn(caveat.CopiesUnknown, "whether a CPU copied %.1f%% of the payload of %s (%d bytes at most) is not known, and it stands as "+
				"copied: %s", share(n), name, n, d.Why)
		}
	}
}

// copied makes everything of a result copied.
func copied(r *wire.Result) {
	for i := range r.Samples {
		s := &r.Samples[i]
		s.ZeroCopied, s.Copied, s.Unknown = 0, s.Bytes(), 0
	}
}

// doubted moves what a Doubt is about from zero-copied to unknown, and gives how
// much of the window that was.
func doubted(r *wire.Result, d endpoint.Doubt) uint64 {
	first, last := r.Edges()
	n := min(d.Bytes, last.ZeroCopied-first.ZeroCopied)
	for i := range r.Samples {
		s := &r.Samples[i]
		part := min(n, s.ZeroCopied-first.ZeroCopied)
		s.ZeroCopied, s.Copied, s.Unknown = s.ZeroCopied-part, s.Copied+part, s.Unknown+part
	}
	return n
}

// waysOut are the different ways that the flows' payload leaves this host by.
type waysOut map[egress.Way]bool

// copier says what has payload copied that an engine means not to copy: of a sender
// who captures on its way out, this run's own look in the warm-up, or the way itself.
func (r *run) copier() string {
	known := r.engine.Layout().Copied
	if r.waysOut() == nil {
		return known
	}
	iface, way, err := egress.Socket(r.conns[0])
	if err != nil {
		return known
	}
	names, err := egress.Taps(iface)
	switch {
	case err == nil && len(names) > 0:
		return fmt.Sprintf("%s sees every packet of %s, and the kernel makes copies for that: end it for the run", strings.Join(names, ", "),
			iface)
	case egress.InMemory(iface) || way.Verdict != egress.Clear:
		return known
	case r.look != nil:
		return "the kernel made copies while --verify captured, in the warm-up, and told of some of them only within the window: " +
			"give a longer warm-up (--omit), or leave --verify out"
	}
	return fmt.Sprintf("%s by itself has nothing copied; a capture there that has ended since does (tcpdump, dhclient), "+
		"and so does a rule that mirrors packets (tc filter show dev %s)", iface, iface)
}

// rate is how fast the interface that a sender's payload leaves by lets it out;
// nothing where that cannot be found out, which takes a reason to be quiet away
// and no warning.
func (r *run) rate() (v egress.Rate) {
	if r.p.Role != endpoint.TX || len(r.conns) == 0 {
		return v
	}
	if iface, _, err := egress.Socket(r.conns[0]); err == nil {
		v, _ = egress.RateOf(iface)
	}
	return v
}

// waysOut looks where the kernel would copy what a sender sends by reference; it
// is nil where that does not matter.
func (r *run) waysOut() waysOut {
	l := r.engine.Layout()
	if r.p.Role != endpoint.TX || !l.ZeroCopy || l.Unreadable {
		return nil
	}
	w := waysOut{}
	for _, fd := range r.conns {
		_, way, err := egress.Socket(fd)
		if err != nil {
			way = egress.Way{Verdict: egress.Hidden, Why: fmt.Sprintf("how it leaves this host cannot be found out (%v)", err)}
		}
		w[way] = true
	}
	return w
}

// doubt is what the ways before and after the window leave of the kernel's word.
func (w waysOut) doubt(after waysOut) (d endpoint.Doubt) {
	clear, copies, same := 0, 0, true
	for _, all := range []waysOut{w, after} {
		for way := range all {
			same = same && w[way] && after[way]
			switch way.Verdict {
			case egress.Clear:
				clear++
				continue
			case egress.Copies:
				copies++
			}
			d.Bytes = endpoint.All
			if d.Why == "" || way.Verdict == egress.Copies {
				d.Why = way.Why
			}
		}
	}
	d.Copied = copies > 0 && same && len(w) == 1
	if d.Bytes > 0 && !same {
		d.Why = "the interface changed during the run: " + d.Why
	}
	return d
}
