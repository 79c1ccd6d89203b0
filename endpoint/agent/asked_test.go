package agent

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/ringcfg"
)

// tuner is an engine that changes settings of the NIC.
type tuner struct{ endpointtest.Plain }

func (tuner) Needs(endpoint.Params) (ringcfg.Want, error) { return ringcfg.Want{}, nil }

// An engine that changes the NIC is a stranger's to ask for only where the receiver's
// own user named it, and what to do is said.
func TestTunersAreTheReceiversToAllow(t *testing.T) {
	engine := tuner{endpointtest.Plain{Role: endpoint.RX}}
	p := wire.Prepare{Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: endpoint.Pattern{Period: 1000}, Time: 1e9,
		Scope: wire.ScopeThread}
	for _, c := range []struct {
		a       *Agent
		trusted bool
		refused bool
	}{{&Agent{}, false, true}, {&Agent{Pinned: wire.Pins{RX: "plain"}}, false, false}, {&Agent{}, true, false}} {
		c.a.RX, c.a.DataPort = []endpoint.Engine{engine}, 5302
		ask := p
		_, err := c.a.admit(&ask, c.trusted)
		if c.refused != (fault.Of(err) == fault.Denied) || !c.refused && err != nil || c.refused && !strings.Contains(err.Error(),
			"start the receiver with --rx plain, or give both ends a --token-file") {
			t.Errorf("pinned %q, trusted %t: %v", c.a.Pinned.RX, c.trusted, err)
		}
	}
}

// What a peer may write into each field of a prepare, and never more. None of it
// gets as far as an engine, a file or a clock.
func TestAskedIsBounded(t *testing.T) {
	base := wire.Prepare{
		Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: endpoint.Pattern{Period: 1000},
		Time: time.Second, Scope: wire.ScopeHost, DataPort: 5302,
	}
	many := func(n int) []int { return make([]int, n) }
	long := strings.Repeat("x", 1<<10)
	a := &Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, DataPort: 5302}
	if p := base; true {
		if _, err := a.admit(&p, true); err != nil {
			t.Fatalf("the run that the others differ from: %v", err)
		}
	}
	for name, change := range map[string]func(*wire.Prepare){
		"no role":                     func(p *wire.Prepare) { p.Role = "" },
		"no engine":                   func(p *wire.Prepare) { p.Engine = "" },
		"a cpuset without CPUs":       func(p *wire.Prepare) { p.Scope = wire.ScopeCPUSet },
		"no scope":                    func(p *wire.Prepare) { p.Scope = "" },
		"a scope of none":             func(p *wire.Prepare) { p.Scope = "galaxy" },
		"a family that is none":       func(p *wire.Prepare) { p.Family = 5 },
		"a worker's CPU":              func(p *wire.Prepare) { p.CPUs = []int{-1} },
		"a counted CPU":               func(p *wire.Prepare) { p.Scope, p.ScopeSet = wire.ScopeCPUSet, []int{1 << 20} },
		"a CPU of the other end":      func(p *wire.Prepare) { p.PeerSet = []int{-5} },
		"many CPUs":                   func(p *wire.Prepare) { p.CPUs = many(1 << 15) },
		"many counted CPUs":           func(p *wire.Prepare) { p.ScopeSet = many(1 << 15) },
		"many CPUs of the other end":  func(p *wire.Prepare) { p.PeerSet = many(1 << 15) },
		"many processes":              func(p *wire.Prepare) { p.Kin = make([]wire.Process, 17) },
		"a process below zero":        func(p *wire.Prepare) { p.Kin = []wire.Process{{PID: -1}} },
		"a process of a long name":    func(p *wire.Prepare) { p.Kin = []wire.Process{{Name: long}} },
		"a namespace of a long name":  func(p *wire.Prepare) { p.Kin = []wire.Process{{Namespace: long}} },
		"many counters":               func(p *wire.Prepare) { p.Counters = make([]string, 257) },
		"a counter of a long name":    func(p *wire.Prepare) { p.Counters = []string{long} },
		"a host that is no address":   func(p *wire.Prepare) { p.Host = "localhost" },
		"a bind address that is none": func(p *wire.Prepare) { p.Bind = "eth0" },
		"an interface with a path":    func(p *wire.Prepare) { p.Interface = "../../../etc" },
		"an interface of dots":        func(p *wire.Prepare) { p.Interface = ".." },
		"an interface of a long name": func(p *wire.Prepare) { p.Interface = long },
		"an interface with a space":   func(p *wire.Prepare) { p.Interface = "eth0 up" },
		"a congestion control's path": func(p *wire.Prepare) { p.Congestion = "../bbr" },
		"a long congestion control":   func(p *wire.Prepare) { p.Congestion = long },
		"many options":                func(p *wire.Prepare) { p.Options = numbered(65) },
		"a long option":               func(p *wire.Prepare) { p.Options = map[string]string{long: "1"} },
		"an option's long value":      func(p *wire.Prepare) { p.Options = map[string]string{"a": long} },
		"many settings":               func(p *wire.Prepare) { p.Settings = numbered(257) },
		"many optional settings":      func(p *wire.Prepare) { p.Optional = numbered(257) },
		"a long setting":              func(p *wire.Prepare) { p.Settings = map[string]string{long: "1"} },
		"a setting's long value":      func(p *wire.Prepare) { p.Settings = map[string]string{"mtu": strings.Repeat(long, 17)} },
		"a setting with an escape":    func(p *wire.Prepare) { p.Settings = map[string]string{"mtu": "\x1b[2J"} },
		"a source port":               func(p *wire.Prepare) { p.SourcePort = -1 },
		"a source port too high":      func(p *wire.Prepare) { p.SourcePort = 1<<16 - 1 },
		"a data port":                 func(p *wire.Prepare) { p.DataPort = -1 },
		"a data port too high":        func(p *wire.Prepare) { p.DataPort = 65536 },
		"a segment size":              func(p *wire.Prepare) { p.MSS = -1 },
		"a window":                    func(p *wire.Prepare) { p.Window = -1 },
		"an interval":                 func(p *wire.Prepare) { p.Interval = -1 },
		"a warm-up":                   func(p *wire.Prepare) { p.Omit = -1 },
	} {
		p := base
		change(&p)
		if _, err := a.admit(&p, true); err == nil || fault.Of(err) != fault.Usage ||
			len(err.Error()) > 1<<10 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %.2000v of kind %s", name, err, fault.Of(err))
		}
	}
}

func numbered(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m["o"+strconv.Itoa(i)] = "1"
	}
	return m
}
