package experiment

import (
	"context"
	"strings"
	"time"

	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/internal/feature"
	"zcbench/results"
	"zcbench/ringcfg"
)

// Survey is what a host offers to one end of a pair: all that a plan needs to
// know of it, so that it can be saved and planned with elsewhere.
type Survey struct {
	Host    results.Facts              `json:"host"`
	Engines map[string]feature.Verdict `json:"engines"` // of the end's own direction, by name
	View    ringcfg.View               `json:"settings"`
	CPUs    []int                      `json:"cpus"`            // that the end may run on
	Cores   []int                      `json:"cores,omitempty"` // of each of CPUs, as procfile.Cores gives them
	BootID  string                     `json:"boot_id"`
	// Shared says whether both ends run on one kernel.
	Shared    driver.Sharing `json:"shared,omitempty"`
	Interface string         `json:"interface"`
	Addr4     string         `json:"addr4,omitempty"`
	Addr6     string         `json:"addr6,omitempty"`
	// Transport is what lies between the ends: veth, link or tcp.
	Transport string `json:"transport"`
}

// Site is an open pair: two hosts, or one machine that is both. Its methods
// are not called at the same time.
type Site interface {
	// Survey looks at both ends and changes nothing.
	Survey(ctx context.Context) (results.Pair[Survey], error)
	// Open starts a fresh agent at each end for one run. After an error that is
	// not of kind Usage or Unsupported it is called again a few times, then the
	// pair is given up: --resume goes on with its runs.
	Open(ctx context.Context, t Trial) (Ends, error)
	// Close lets go of the hosts.
	Close() error
}

// Ends are the agents of one run.
type Ends struct {
	RX, TX *driver.Client
	// LiveRX and LiveTX say that the end is reached without a network, so that
	// showing samples as they come disturbs nothing.
	LiveRX, LiveTX bool
	// Power are the trial's meters, and who reads them.
	Power []driver.Metering
	// Close ends both agents and waits for what they put back.
	Close func()
}

// Trial is a cell as it will be run: what the two agents are asked, and what
// the record says of it.
type Trial struct {
	RX, TX   wire.Prepare
	Settings map[string]any // its hash is the cell's identity
	Command  string         // one that does the same by itself; "": run with --only does
	Meters   []string       // as the flag has them
	Baseline time.Duration  // for which they are read before the run
}

// Resolver turns the flags of a cell into a trial between two hosts that were
// surveyed. It is pure; flags that make no sense are an Error of kind Usage.
type Resolver func(p Pair, flags Flags, at results.Pair[Survey]) (Trial, error)

// lacking says what an end lacks for its part of a trial.
type lacking struct {
	known map[string]string // by setting
	at    *Survey
}

func (l *lacking) of(p *wire.Prepare) []string {
	var all []string
	v, ok := l.at.Engines[p.Engine]
	if !ok {
		v = feature.Undecided("", "")
	}
	if v.Answer == feature.No {
		why := v.Reason
		if v.Fix != "" {
			why += " (" + v.Fix + ")"
		}
		all = append(all, string(p.Role)+" engine "+p.Engine+": "+why)
	}
	for name, value := range p.Settings {
		key := name + "=" + value
		why, ok := l.known[key]
		if !ok {
			why = strings.Join(l.at.View.Lacks(map[string]string{name: value}), "; ")
			l.known[key] = why
		}
		if why != "" {
			all = append(all, string(p.Role)+" setting "+why)
		}
	}
	return all
}

// expected is how long a run takes but for what cannot be known: starting the
// agents, connecting, and putting settings back.
func (t *Trial) expected() time.Duration { return t.Baseline + t.RX.Omit + t.RX.Time }
