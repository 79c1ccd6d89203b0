package agent

import (
	"errors"
	"fmt"
	"slices"

	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
)

// site is what this end's counters look at.
func (r *run) site() instrument.Place {
	s := instrument.Place{Interface: r.p.Interface, Scope: r.p.Scope, Stat: r.stat, Flows: func() []int { return r.conns }}
	for _, w := range r.workers {
		s.Threads = append(s.Threads, w.tid)
	}
	switch r.p.Scope {
	case wire.ScopeCPUSet:
		s.CPUs = slices.Clone(r.p.ScopeSet)
	case wire.ScopeHost:
		for n, on := range r.stat.Online {
			if on {
				s.CPUs = append(s.CPUs, n)
			}
		}
	default:
		if s.CPUs = slices.Clone(r.p.CPUs); len(s.CPUs) == 0 {
			s.CPUs = AllowedCPUs()
		}
	}
	slices.Sort(s.CPUs)
	s.CPUs = slices.Compact(s.CPUs)
	return s
}

// instrument opens the counters and the recorders that the run asks for.
func (r *run) instrument(in *instrument.Instruments) (err error) {
	site := r.site()
	clock, err := newCPUClock(r.p.Scope, site.CPUs, r.stat, r.calibration)
	if err != nil {
		return fmt.Errorf("%s: %w", r.p.Role, err)
	}
	if r.clock, err = openPollers(clock, &r.p, site.CPUs); err != nil {
		clock.close()
		return err
	}
	if r.beside, err = instrument.Open(in, r.p.Counters, site); err != nil {
		return fmt.Errorf("%s: %w", r.p.Role, err)
	}
	for _, rec := range []struct {
		instrument.Recorder
		what   string
		wanted bool
	}{{in.Profiler, "profiler", r.p.Profile}, {in.Tracer, "tracer of system calls", r.p.Syscalls}} {
		if !rec.wanted {
			continue
		}
		if rec.Open == nil {
			return fault.Errorf(fault.Unsupported, "%s: this end has no %s", r.p.Role, rec.what)
		}
		o, err := rec.Open(site)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", r.p.Role, rec.Name, err)
		}
		r.recordings = append(r.recordings, o)
	}
	return nil
}

// putAway closes what instrument opened.
func (r *run) putAway() error {
	err := r.beside.Close()
	for _, o := range r.recordings {
		err = errors.Join(err, o.Close())
	}
	if r.clock != nil {
		r.clock.close()
	}
	if r.stat != nil {
		err = errors.Join(err, r.stat.Close())
	}
	return err
}
