package main

import (
	"io"
	"runtime"

	"golang.org/x/sys/unix"

	"zcbench/counters"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/procfile"
)

// instruments are what this program can read and record beside the payload;
// nothing else in the program lists them.
func instruments() instrument.Instruments {
	return instrument.Instruments{Counters: counters.All("/"), Profiler: counters.Profiler(), Tracer: counters.Tracer()}
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
	site := instrument.Place{Interface: iface, Scope: wire.ScopeHost, Stat: stat, Threads: []int{unix.Gettid()},
		Flows: func() []int { return nil }}
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
	for _, m := range in.Counters {
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
