package main

import (
	"slices"

	"github.com/spf13/pflag"

	"zcbench/counters"
	"zcbench/endpoint"
)

// instruments are what this program can read and record beside the payload;
// nothing else in the program lists them.
func instruments() endpoint.Instruments {
	return endpoint.Instruments{Meters: counters.All("/"), Profiler: counters.Profiler(), Tracer: counters.Tracer()}
}

// recordFlags choose among the instruments.
type recordFlags struct {
	counters          []string
	profile, syscalls bool
}

func (r *recordFlags) add(f *pflag.FlagSet) {
	f.StringSliceVar(&r.counters, "counters", nil, "what to read beside the payload: all, none, or names (zcbench probe lists them); default is what is cheap")
	f.BoolVar(&r.profile, "profile", false, "sample where CPU time goes in the window; needs CAP_PERFMON (root)")
	f.BoolVar(&r.syscalls, "syscalls", false, "time each system call of the threads that carry the payload, in the window; costs CPU, so not for comparisons; needs CAP_PERFMON (root)")
}

// check finds names that there are not.
func (r *recordFlags) check() error {
	list := instruments().Meters
	for _, name := range r.counters {
		switch {
		case name == endpoint.AllCounters || name == endpoint.NoCounters:
			if len(r.counters) > 1 {
				return endpoint.Errorf(endpoint.Usage, "--counters %s stands alone", name)
			}
		case !slices.ContainsFunc(list, func(m endpoint.Meter) bool { return m.Name == name }):
			all := ""
			for _, m := range list {
				all += " " + m.Name
			}
			return endpoint.Errorf(endpoint.Usage, "--counters: no %q; there are: all none%s", name, all)
		}
	}
	return nil
}

// apply puts the choice into what an end is asked for.
func (r *recordFlags) apply(p *endpoint.Prepare) {
	p.Counters, p.Profile, p.Syscalls = r.counters, r.profile, r.syscalls
}
