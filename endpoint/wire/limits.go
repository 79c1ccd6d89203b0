package wire

import (
	"cmp"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
)

// Bounds that no run needs to exceed, so that neither arithmetic on a peer's
// numbers overflows, nor its words fill a screen or a disk.
const (
	maxFlows    = 1024
	maxLength   = 1 << 30
	MaxTime     = 7 * 24 * time.Hour
	maxPorts    = 1 << 16
	maxWord     = 64       // of a name or a small value
	maxValue    = 16 << 10 // of a setting: the RSS table of a large NIC
	maxSettings = 256
	maxKin      = 16
	maxSpec     = 4 << 10 // of a meter's address: a command may be long
)

// Check holds every field of a request to what it can mean, and then to what this
// agent's user allows.
func (p *Prepare) Check(l Limits) error {
	for _, check := range []func() error{p.CheckNumbers, p.cpus, p.words} {
		if err := check(); err != nil {
			return err
		}
	}
	if p.Pattern.Period%p.Length != 0 {
		return fault.Errorf(fault.Usage, "the pattern's period %d is not a multiple of the length %d", p.Pattern.Period, p.Length)
	}
	switch {
	case l.Flows > 0 && p.Flows > l.Flows:
		return fault.Errorf(fault.Denied, "%s asked for, and the receiver allows %d (its --max-flows)", printable.Count(p.Flows, "flow"), l.Flows)
	case l.Time > 0 && p.Time == 0:
		return fault.Errorf(fault.Denied, "a run without end is asked for and the receiver allows %s (its --max-time)", l.Time)
	case l.Time > 0 && p.Omit+p.Time > l.Time:
		return fault.Errorf(fault.Denied, "a run of %s is asked for and the receiver allows %s (its --max-time)", p.Omit+p.Time, l.Time)
	}
	return nil
}

// inBounds refuses a number that is outside of its bounds.
func inBounds(what string, v, low, high int64) error {
	if v < low || v > high {
		most := strconv.FormatInt(high, 10)
		if high > 0 && high%(1<<30) == 0 { // as sizes are given
			most = strconv.FormatInt(high>>30, 10) + "G"
		}
		return fault.Errorf(fault.Usage, "%s is %d; it must be from %d to %s", what, v, low, most)
	}
	return nil
}

// Trusting says that the request has what only a trusted driver may set.
func (p *Prepare) Trusting() bool {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if _, tagged := v.Type().Field(i).Tag.Lookup("trust"); tagged && said(v.Field(i)) {
			return true
		}
	}
	return false
}

// said is false of what a message leaves out, and of lists and maps without anything.
func said(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() > 0
	}
	return !v.IsZero()
}

// CheckNumbers holds what is asked for in numbers to their bounds; of those that have
// a flag the errors speak of the flag.
func (p *Prepare) CheckNumbers() error {
	for _, n := range []struct {
		what         string
		v, low, high int64
	}{
		{"--parallel", int64(p.Flows), 1, maxFlows},
		{"--length", int64(p.Length), 1, maxLength},
		{"pattern period in bytes", int64(p.Pattern.Period), 1, maxLength},
		{"--window", int64(p.Window), 0, maxLength},
		{"data port", int64(p.DataPort), 0, maxPorts - 1},
		{"--cport", int64(p.SourcePort), 0, maxPorts - 1 - int64(p.Flows)}, // one for each flow
	} {
		if err := inBounds(n.what, n.v, n.low, n.high); err != nil {
			return err
		}
	}
	// What the kernel takes as TCP_MAXSEG: TCP_MIN_MSS to MAX_TCP_WINDOW.
	if p.MSS != 0 && (p.MSS < 88 || p.MSS > 32767) {
		return fault.Errorf(fault.Usage, "--set-mss is %d; it must be from 88 to 32767, or 0 for the kernel's choice", p.MSS)
	}
	for _, d := range []struct {
		what string
		v    time.Duration
	}{{"--time", p.Time}, {"--omit", p.Omit}, {"--interval", p.Interval}} {
		if d.v < 0 || d.v > MaxTime {
			return fault.Errorf(fault.Usage, "%s is %s; it must be from 0 to %s", d.what, d.v, MaxTime)
		}
	}
	endless := p.Raw && p.Role == endpoint.RX
	switch {
	case p.Time == 0 && !endless:
		return fault.Errorf(fault.Usage, "--time must be above zero")
	case p.Verify && p.Omit == 0:
		return fault.Errorf(fault.Usage, "--verify looks at the warm-up, and there is none: give --omit above 0")
	case p.Interval > 0 && p.Interval < MinInterval:
		return fault.Errorf(fault.Usage, "--interval is %s; it must be 0 or at least %g", p.Interval, MinInterval.Seconds())
	}
	if p.Family != 0 && p.Family != 4 && p.Family != 6 {
		return fault.Errorf(fault.Usage, "address family %d is neither 4 nor 6", p.Family)
	}
	return nil
}

func (p *Prepare) cpus() error {
	for _, set := range []struct {
		what string
		cpus []int
	}{{"CPUs", p.CPUs}, {"counted CPUs", p.ScopeSet}, {"CPUs that the other end counts", p.PeerSet}} {
		if err := inBounds("number of "+set.what, int64(len(set.cpus)), 0, maxCPUs); err != nil {
			return err
		}
		for _, cpu := range set.cpus {
			if err := inBounds("number of one of the "+set.what, int64(cpu), 0, maxCPUs-1); err != nil {
				return err
			}
		}
	}
	switch p.Scope {
	case ScopeHost, ScopeThread:
	case ScopeCPUSet:
		if len(p.ScopeSet) == 0 {
			return fault.Errorf(fault.Usage, "the CPU time of a set of CPUs is asked for, and the set has none")
		}
	default:
		return fault.Errorf(fault.Usage, "unknown CPU scope %q", Clip(string(p.Scope)))
	}
	return nil
}

func (p *Prepare) words() error {
	for _, a := range []struct{ what, text string }{{"receiver address", p.Host}, {"bind address", p.Bind}} {
		if a.text == "" {
			continue
		}
		if addr, err := netip.ParseAddr(a.text); err != nil || len(addr.Zone()) > maxWord {
			return fault.Errorf(fault.Usage, "%s: %q is no IP address", a.what, Clip(a.text))
		}
	}
	if err := checkInterface(p.Interface); err != nil {
		return err
	}
	if len(p.Congestion) > maxControls || strings.Trim(p.Congestion, controlLetters) != "" {
		return fault.Errorf(fault.Usage, "%q names no congestion control", Clip(p.Congestion))
	}
	if err := inBounds("number of counters' names", int64(len(p.Counters)), 0, 256); err != nil {
		return err
	}
	for _, name := range p.Counters {
		if !isText(name, maxWord) {
			return fault.Errorf(fault.Usage, "%q names no counters", Clip(name))
		}
	}
	if err := inBounds("number of the run's processes", int64(len(p.Kin)), 0, maxKin); err != nil {
		return err
	}
	for _, k := range p.Kin {
		if !isText(k.Namespace, maxWord) || len(k.Name) > maxWord || k.PID < 0 || k.PID > math.MaxInt32 {
			return fault.Errorf(fault.Usage, "process %d %q in %q is none", k.PID, Clip(k.Name), Clip(k.Namespace))
		}
	}
	for _, m := range []struct {
		what        string
		of          map[string]string
		many, value int
	}{{"option", p.Options, maxOptions, maxWord}, {"setting", p.Settings, maxSettings, maxValue}, {"setting", p.Optional, maxSettings,
		maxValue}} {
		if err := inBounds("number of "+m.what+"s", int64(len(m.of)), 0, int64(m.many)); err != nil {
			return err
		}
		for name, value := range m.of {
			if !isText(name, 2*maxWord) || !isText(strings.ReplaceAll(value, "\t", " "), m.value) {
				return fault.Errorf(fault.Usage, "%s %q cannot be %q", m.what, Clip(name), Clip(value))
			}
		}
	}
	return nil
}

// checkInterface refuses what the kernel has no interface by, before the name
// becomes a part of a path.
func checkInterface(name string) error {
	const altname = 127 // ALTIFNAMSIZ of linux/if.h, less its end
	if name == "." || name == ".." || len(name) > altname || strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return fault.Errorf(fault.Usage, "%q names no interface", Clip(name))
	}
	return nil
}

// controlLetters are those of congestion controls, whose names become those of
// kernel modules.
const controlLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// isText says that a peer's words are printable and no longer than they may be.
func isText(s string, most int) bool {
	return len(s) <= most && !slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) })
}

// Check holds a start to the present: the ends' clocks were compared just before.
func (s *Start) Check(now int64) error {
	if s.At > now+int64(ConnectWait) || s.At < now-int64(PrepareWait) {
		return fault.Errorf(fault.Failed, "start at %.1f s where it is %.1f s now: clocks of the two ends disagree", float64(s.At)/1e9,
			float64(now)/1e9)
	}
	return nil
}

// Check refuses meters that no run has.
func (w *Watch) Check() error {
	if len(w.Specs) > MaxMeters {
		return fault.Errorf(fault.Usage, "%d meters are more than the %d of a run", len(w.Specs), MaxMeters)
	}
	for _, spec := range w.Specs {
		if !isText(spec, maxSpec) {
			return fault.Errorf(fault.Usage, "a meter's address of %d characters, or with some that cannot be shown", len(spec))
		}
	}
	return inBounds("time until meters are asked, in ns,", int64(w.Quiet), 0, int64(2*MaxTime))
}

// Check refuses times that cannot be meant; now is that of the agent's clock.
func (t *Tell) Check(now int64) error {
	if t.Until > now+int64(ConnectWait) {
		return fault.Errorf(fault.Failed, "what meters say until %.1f s where it is %.1f s now: clocks of the two ends disagree",
			float64(t.Until)/1e9, float64(now)/1e9)
	}
	const ages = 1 << 62 // ns; a driver that asks for all says 0 on its own clock
	return cmp.Or(inBounds("beginning of what meters said, in ns,", t.From, -ages, ages), inBounds("end of what meters said, in ns,", t.Until,
		-ages, ages))
}

// Check refuses what names no interface and no address.
func (s *Survey) Check() error {
	if s.Role != endpoint.RX && s.Role != endpoint.TX {
		return fault.Errorf(fault.Usage, "unknown role %q", Clip(string(s.Role)))
	}
	for _, a := range []string{s.Address, s.To} {
		if addr, err := netip.ParseAddr(a); a != "" && (err != nil || len(addr.Zone()) > maxWord) {
			return fault.Errorf(fault.Usage, "%q is no IP address", Clip(a))
		}
	}
	return checkInterface(s.Interface)
}

// What an agent says of itself is bounded too: a driver may have met the wrong one.

// Check refuses what no agent says of itself.
func (w *Welcome) Check() error {
	for _, set := range [][]int{w.CPUs, w.Cores, w.Pinned.CPUs} {
		if err := inBounds("number of the agent's CPUs", int64(len(set)), 0, maxCPUs); err != nil {
			return err
		}
		for _, n := range set {
			if err := inBounds("number of one of the agent's CPUs", int64(n), 0, maxCPUs-1); err != nil {
				return err
			}
		}
	}
	for _, word := range []string{w.BootID, w.Pinned.RX, w.Pinned.TX, w.Version, w.Process.Namespace} {
		if !isText(word, maxWord) {
			return fault.Errorf(fault.Usage, "%q is nothing that an agent is called", Clip(word))
		}
	}
	return cmp.Or(
		inBounds("length of the agent's name", int64(len(w.Process.Name)), 0, maxWord),
		inBounds("number of the agent's own meters", int64(w.Power), 0, MaxMeters),
	)
}

// Check refuses an answer that a run of so many flows cannot have.
func (p *Prepared) Check(flows int) error {
	return cmp.Or(
		inBounds("data port", int64(p.DataPort), 1, maxPorts-int64(flows)),
		inBounds("number of changed settings", int64(len(p.Changes)), 0, 16*maxSettings),
	)
}

// MaxMeters is more than any host has.
const MaxMeters = 64

// Bounds of a peer's result: a few names of congestion controls, of
// TCP_CA_NAME_MAX (16) each, and the options of an engine.
const (
	maxControls = 128
	maxOptions  = 64
)

// MinInterval is how long intervals are at least; more would measure the sampler.
const MinInterval = 100 * time.Millisecond
