package main

import (
	"io"
	"runtime"
	"slices"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"zcbench/counters"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
)

// instruments are what this program can read and record beside the payload;
// nothing else in the program lists them.
func instruments() instrument.Instruments {
	return instrument.Instruments{Meters: counters.All("/"), Profiler: counters.Profiler(), Tracer: counters.Tracer()}
}

// reader is what probe says of one thing to read or record.
type reader struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	Answer string `json:"answer"` // yes or no
	Reason string `json:"reason,omitempty"`
}

// probeInstruments tries them all on this host and lets them go again.
func probeInstruments(iface string) ([]reader, error) {
	stat, err := procfile.OpenStat("/")
	if err != nil {
		return nil, err
	}
	defer stat.Close()
	if err := stat.Read(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	site := instrument.Site{Interface: iface, Scope: wire.ScopeHost, Stat: stat, Threads: []int{unix.Gettid()}, Flows: func() []int { return nil }}
	for n, on := range stat.Online {
		if on {
			site.CPUs = append(site.CPUs, n)
		}
	}
	var all []reader
	add := func(name, about string, c io.Closer, err error) {
		r := reader{Name: name, About: about, Answer: "yes"}
		if err == nil {
			err = c.Close()
		}
		if err != nil {
			r.Answer, r.Reason = "no", err.Error()
		}
		all = append(all, r)
	}
	in := instruments()
	for _, m := range in.Meters {
		r, err := m.Open(site)
		add(m.Name, m.About, r, err)
	}
	for _, e := range []struct {
		instrument.Recorder
		about string
	}{{in.Profiler, "where CPU time goes"}, {in.Tracer, "what each system call costs"}} {
		r, err := e.Open(site)
		add("--"+e.Name, e.about, r, err)
	}
	return all, nil
}

// recordFlags choose among the instruments.
type recordFlags struct {
	counters          []string
	profile, syscalls bool
}

func (r *recordFlags) add(f *pflag.FlagSet) {
	f.StringSliceVar(&r.counters, "counters", nil, "what to read beside the payload: all, none, or names (zcbench probe lists them); default is what is cheap; of the receiver too where it may be asked (local, experiments, with a token)")
	f.BoolVar(&r.profile, "profile", false, "sample where CPU time goes in the window; needs CAP_PERFMON (root)")
	f.BoolVar(&r.syscalls, "syscalls", false, "time each system call of the threads that carry the payload, in the window; costs CPU, so not for comparisons; needs CAP_PERFMON (root)")
}

// check finds names that there are not.
func (r *recordFlags) check() error {
	list := instruments().Meters
	for _, name := range r.counters {
		switch {
		case name == instrument.AllCounters || name == instrument.NoCounters:
			if len(r.counters) > 1 {
				return fault.Errorf(fault.Usage, "--counters %s stands alone", name)
			}
		case !slices.ContainsFunc(list, func(m instrument.Meter) bool { return m.Name == name }):
			all := ""
			for _, m := range list {
				all += " " + m.Name
			}
			return fault.Errorf(fault.Usage, "--counters: no %q; there are: all none%s", name, all)
		}
	}
	return nil
}

// apply puts the choice into what an end is asked for.
func (r *recordFlags) apply(p *wire.Prepare) {
	p.Counters, p.Profile, p.Syscalls = r.counters, r.profile, r.syscalls
}
