// Package ask has a run as its user asks for it: one table of fields, of which come
// the flags of rx, tx and local, the keys of a spec, their checks and help, what the
// two ends are asked for, and what tells a cell from others.
package ask

import (
	"slices"
	"strings"
	"time"

	"zcbench/endpoint"
	"zcbench/internal/fault"
)

// DefaultPort is that of the control connection; flow i carries its data on
// DefaultPort+1+i.
const DefaultPort = 5301

// Run is a run as its flags have it, or the flags of a cell.
type Run struct {
	Mode, RX, TX          string            // the pair by a common name, or each engine by its own
	RXOptions, TXOptions  map[string]string // of the engines, by name
	own                   map[string]string // options of the receive engine that have a field of their own
	memory                memory
	Time, Omit, Interval  Seconds
	Flows                 int
	Length                Size
	window                Size
	mss                   int
	Port, SourcePort      int // the first of the data flows' own; 0: any
	v4, v6                bool
	Affinity, SoftirqCPUs string
	Congestion            string
	noDelay               bool
	Bind, Interface       string
	JSON, Stream          bool
	Validate, Raw         bool
	NoTune, Verify        bool
	Counters              names
	Profile, Syscalls     bool
	TokenFile             string
	Meters                []string // as their flag has them
	Baseline              Seconds  // for which they are read before the run
	seed                  uint64
	profiles              []string
	set, rxSet, txSet     []string // NAME=VALUE; a ? after the name: where the host has it
}

// New is a run of which nothing was said.
func New() *Run {
	return &Run{
		Time: Seconds(10 * time.Second), Omit: Seconds(time.Second), Interval: Seconds(time.Second),
		Flows: 1, Length: 128 << 10, Port: DefaultPort, seed: 1,
	}
}

// Family is 4 or 6, or 0 for either.
func (r *Run) Family() int {
	switch {
	case r.v4:
		return 4
	case r.v6:
		return 6
	}
	return 0
}

// Known is what a run can name: the engines of both ends, and the counters.
type Known struct {
	RX, TX   []endpoint.Engine
	Counters []string
}

// modes are pairs of engines by a common name.
var modes = map[string]struct{ rx, tx string }{
	"baseline": {"baseline", "baseline"},
	"msgzc":    {"mmap", "msgzc"},
	"devmem":   {"devmem", "devmem"},
	"iouring":  {"zcrx", "sendzc"},
}

// engines are those of an end.
func (k *Known) engines(role endpoint.Role) (_ []endpoint.Engine, what string) {
	if role == endpoint.TX {
		return k.TX, "send"
	}
	return k.RX, "receive"
}

// engine finds one by its name.
func (k *Known) engine(role endpoint.Role, name string) (endpoint.Engine, error) {
	engines, what := k.engines(role)
	var all []string
	for _, e := range engines {
		if e.Name() == name {
			return e, nil
		}
		all = append(all, e.Name())
	}
	return nil, fault.Errorf(fault.Usage, "unknown %s engine %q; there are: %s", what, name, strings.Join(all, " "))
}

func hasOption(e endpoint.Engine, name string) bool {
	return slices.ContainsFunc(e.Options(), func(o endpoint.Option) bool { return o.Name == name })
}

// end is the name of an end's engine, and its options.
func (r *Run) end(role endpoint.Role) (name *string, options *map[string]string) {
	if role == endpoint.TX {
		return &r.TX, &r.TXOptions
	}
	return &r.RX, &r.RXOptions
}
