package main

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/wire"
	"zcbench/internal/bounded"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
	"zcbench/internal/printable"
)

const (
	defaultPort = 5301     // control; flow i carries its data on defaultPort+1+i
	maxFlows    = 1024     // connections of one run
	maxPeriod   = 16 << 20 // bytes of distinct payload of a validated run

	// What the kernel takes as TCP_MAXSEG: TCP_MIN_MSS to MAX_TCP_WINDOW.
	minMSS, maxMSS = 88, 32767
)

// runFlags are shared by rx, tx and local. Short names are iperf3's where
// iperf3 has the flag.
type runFlags struct {
	mode, rx, tx   string
	rxOpts, txOpts map[string]string
	rxFlags        map[string]string // options given by a flag of their own
	mem            memory
	time, omit     seconds
	interval       seconds
	flows          int
	length, window size
	mss            int
	port, cport    int
	v4, v6         bool
	affinity       string
	softirq        string
	congestion     string
	noDelay        bool
	bind           string
	iface          string
	json, stream   bool
	validate       bool
	raw            bool
	noTune, verify bool
	tokenFile      string
	record         recordFlags
	tuning         tuning
	meters         meterFlags
	seed           uint64
	set            *pflag.FlagSet
}

func (r *runFlags) add(f *pflag.FlagSet) {
	r.set = f
	r.time, r.omit, r.interval = seconds(10*time.Second), seconds(time.Second), seconds(time.Second)
	r.length = 128 << 10
	f.StringVar(&r.mode, "mode", "", "pair of engines: baseline, msgzc, devmem or iouring")
	f.StringVar(&r.rx, "rx", "", "receive engine (zcbench probe lists them)")
	f.StringVar(&r.tx, "tx", "", "send engine")
	f.StringToStringVar(&r.rxOpts, "rx-opt", nil, "option of the receive engine, NAME=VALUE")
	f.StringToStringVar(&r.txOpts, "tx-opt", nil, "option of the send engine, NAME=VALUE")
	r.addOptions(f)
	f.Var(&r.mem, "mem", "dma-buf of the devmem engines and of zcrx: udmabuf[:SIZE], hugepages[:SIZE], heap:NAME[:SIZE] or fd:N")
	f.VarP(&r.time, "time", "t", "measured time")
	f.VarP(&r.omit, "omit", "O", "warm-up before it, not measured")
	f.VarP(&r.interval, "interval", "i", "time between interval lines; 0 for none")
	f.IntVarP(&r.flows, "parallel", "P", 1, "TCP connections, each with a pinned thread on either end")
	f.VarP(&r.length, "length", "l", "bytes per read or write (K, M, G are powers of 1024)")
	f.VarP(&r.window, "window", "w", "socket buffer in bytes, instead of TCP's autotuning")
	f.IntVarP(&r.mss, "set-mss", "M", 0, "TCP maximum segment size in bytes")
	f.IntVarP(&r.port, "port", "p", defaultPort, "control port; data flows follow on the next ports")
	f.IntVar(&r.cport, "cport", 0, "source port of the first data flow, counted up for the others")
	f.BoolVarP(&r.v4, "version4", "4", false, "IPv4 only")
	f.BoolVarP(&r.v6, "version6", "6", false, "IPv6 only")
	f.StringVarP(&r.affinity, "affinity", "A", "", "CPUs of this end and, where it has a say in them, after a comma of the other: 2,3 or 0-3,4-7 or 0+2,1+3 (local: sender,receiver)")
	f.StringVar(&r.softirq, "softirq-cpus", "", "CPUs of the network stack's own work, in the form of --affinity, counted with each end: local has its veth pair work there; over --link say where the interrupts go")
	f.StringVarP(&r.congestion, "congestion", "C", "", "TCP congestion control, of both ends where the receiver may be asked (local, experiments, with a token), else of the sender")
	f.BoolVarP(&r.noDelay, "no-delay", "N", false, "set TCP_NODELAY on the sender")
	f.StringVarP(&r.bind, "bind", "B", "", "local address of the data connections")
	f.StringVar(&r.iface, "iface", "", "network interface of the data connections, for engines that bind NIC queues and for the record")
	f.BoolVarP(&r.json, "json", "J", false, "print the record as JSON")
	f.BoolVar(&r.stream, "json-stream", false, "print a JSON event a line: start, interval, end")
	f.BoolVar(&r.validate, "validate", false, "compare every received byte with what was sent (costs CPU; not for comparisons)")
	f.BoolVar(&r.raw, "raw", false, "no control connection: the other end is any TCP program, on --port")
	f.BoolVar(&r.noTune, "no-tune", false, "change no setting of this end's NIC or host; engines that need some then rely on yours")
	f.BoolVar(&r.verify, "verify", false, "capture headers in the first half of the warm-up (1 s at most) and show what crossed this end's interface; needs CAP_NET_RAW")
	r.record.add(f)
	f.StringVar(&r.tokenFile, "token-file", "", "file with a secret that both ends must hold")
	r.meters.add(f)
	f.Uint64Var(&r.seed, "seed", 1, "seed of the payload pattern")
}

// check finds what can never work, before anything is touched.
func (r *runFlags) check() error {
	bad := func(format string, args ...any) error { return fault.Errorf(fault.Usage, format, args...) }
	switch {
	case r.flows < 1 || r.flows > maxFlows:
		return bad("--parallel is %d; it must be from 1 to %d", r.flows, maxFlows)
	case r.length < 1 || r.length > 1<<30:
		return bad("--length is %d bytes; it must be from 1 to 1G", int64(r.length))
	case r.window < 0 || r.window > 1<<30:
		return bad("--window is %d bytes; it must be at most 1G", int64(r.window))
	case r.time < 0 || r.time == 0 && !r.raw:
		return bad("--time is %s; it must be above zero", r.time.String())
	case r.omit < 0 || r.interval < 0:
		return bad("--omit is %s and --interval is %s; neither can be negative", r.omit.String(), r.interval.String())
	case r.verify && r.omit == 0:
		return bad("--verify looks at the warm-up, and there is none: give --omit above 0")
	case r.interval > 0 && time.Duration(r.interval) < 100*time.Millisecond:
		return bad("--interval is %s; it must be 0 or at least 0.1", r.interval.String())
	case r.port < 1 || r.port+r.flows > math.MaxUint16:
		return bad("--port %d: it and %s after it must be from 1 to 65535", r.port, printable.Count(r.flows, "data port"))
	case r.cport < 0 || r.cport+r.flows > math.MaxUint16:
		return bad("--cport %d: %s from it must be from 1 to 65535", r.cport, printable.Count(r.flows, "source port"))
	case r.mss != 0 && (r.mss < minMSS || r.mss > maxMSS):
		return bad("--set-mss is %d; it must be from %d to %d, or 0 for the kernel's choice", r.mss, minMSS, maxMSS)
	case r.v4 && r.v6:
		return bad("-4 and -6 exclude each other")
	case r.json && r.stream:
		return bad("--json and --json-stream exclude each other")
	case r.mode != "" && (r.rx != "" || r.tx != ""):
		return bad("--mode names both engines; give it or --rx and --tx")
	case r.raw && r.tokenFile != "":
		return bad("--raw has no control connection that a token could protect")
	}
	if err := r.record.check(); err != nil {
		return err
	}
	if r.mode != "" {
		m, ok := modes[r.mode]
		if !ok {
			return bad("unknown mode %q; there are: baseline msgzc devmem iouring", r.mode)
		}
		r.rx, r.tx = m.rx, m.tx
	}
	if err := r.meters.check(); err != nil {
		return err
	}
	if r.iface != "" {
		name, err := netif.Name(r.iface)
		if err != nil {
			return bad("--iface: %w", err)
		}
		r.iface = name
	}
	if err := errors.Join(r.checkBind(), r.giveOptions()); err != nil {
		return err
	}
	return r.checkOptions()
}

// checkBind finds a local address that is none.
func (r *runFlags) checkBind() error {
	if r.bind == "" {
		return nil
	}
	r.bind = netif.Zoned(r.bind)
	a, err := netip.ParseAddr(r.bind)
	if err != nil {
		return fault.Errorf(fault.Usage, "--bind %q is no IP address", r.bind)
	}
	if err := checkAddress(a); err != nil {
		return fault.Errorf(fault.Usage, "--bind %s: %w", r.bind, err)
	}
	if family := r.family(); family != 0 && family != familyOf(a) {
		return fault.Errorf(fault.Usage, "--bind %s is an IPv%d address, and -%d asks for IPv%d", r.bind, familyOf(a), family, family)
	}
	return agent.TrySocket(&wire.Prepare{Bind: r.bind})
}

// tryCongestion finds a congestion control that this host does not have.
func (r *runFlags) tryCongestion() error {
	return agent.TrySocket(&wire.Prepare{Congestion: r.congestion})
}

// checkOptions finds options that the engines named do not have.
func (r *runFlags) checkOptions() error {
	for _, end := range []struct {
		engines    []endpoint.Engine
		what, name string
		options    map[string]string
	}{{rxEngines(), "receive", r.rx, r.rxOpts}, {txEngines(), "send", r.tx, r.txOpts}} {
		if end.name == "" { // nobody knows yet
			continue
		}
		e, err := find(end.engines, end.name, end.what)
		if err != nil {
			return err
		}
		if _, err := endpoint.ParseOptions(e.Options(), end.options); err != nil {
			return fmt.Errorf("the %s engine %s: %w", end.what, end.name, err)
		}
	}
	return nil
}

func (r *runFlags) family() int {
	switch {
	case r.v4:
		return 4
	case r.v6:
		return 6
	}
	return 0
}

func (r *runFlags) token() ([]byte, error) {
	if r.tokenFile == "" {
		return nil, nil
	}
	return readToken(r.tokenFile)
}

func readToken(path string) ([]byte, error) {
	b, err := bounded.ReadSecret(path)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "read the token: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 16 {
		return nil, fault.Errorf(fault.Usage, "the token in %s is shorter than 16 characters; make one: head -c 32 /dev/urandom | base64", path)
	}
	return []byte(t), nil
}

// prepare is what both ends have in common.
func (r *runFlags) prepare(role endpoint.Role) wire.Prepare {
	p := wire.Prepare{
		Role: role, Flows: r.flows, Length: int(r.length), Validate: r.validate,
		Time: time.Duration(r.time), Omit: time.Duration(r.omit), Interval: time.Duration(r.interval),
		Family: r.family(), MSS: r.mss, Window: int(r.window), Raw: r.raw, NoTune: r.noTune, Verify: r.verify,
		Pattern: endpoint.Pattern{Seed: r.seed, Period: r.period()}, Congestion: r.congestion,
	}
	r.record.apply(&p)
	if role == endpoint.TX {
		p.Engine, p.Options = r.tx, r.txOpts
		p.SourcePort, p.NoDelay = r.cport, r.noDelay
	} else {
		p.Engine, p.Options = r.rx, r.rxOpts
	}
	if p.Interval >= p.Time {
		p.Interval = 0
	}
	return p
}

// period is one buffer, as in other tools, so that the sender's memory stays
// as warm as theirs; a validated run has more, so that a buffer that is sent
// twice or left out shows.
func (r *runFlags) period() int {
	l := int(r.length)
	if !r.validate {
		return l
	}
	return l * max(1, maxPeriod/l)
}

// settings identify the cell in records: what was asked, resolved.
func (r *runFlags) settings(rx, tx *wire.Prepare, transport string) map[string]any {
	s := map[string]any{
		"transport": transport, "flows": r.flows, "length": int64(r.length),
		"time_seconds": time.Duration(r.time).Seconds(), "omit_seconds": time.Duration(r.omit).Seconds(),
		"validate": r.validate, "raw": r.raw,
	}
	put := func(name string, v any, set bool) {
		if set {
			s[name] = v
		}
	}
	put("window", int64(r.window), r.window != 0)
	put("mss", r.mss, r.mss != 0)
	put("family", r.family(), r.family() != 0)
	put("congestion", r.congestion, r.congestion != "")
	put("nodelay", true, r.noDelay)
	put("counters", strings.Join(r.record.counters, ","), len(r.record.counters) > 0)
	put("profile", true, r.record.profile)
	put("syscalls", true, r.record.syscalls)
	put("softirq_cpus", r.softirq, r.softirq != "")
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

// seconds is a duration flag that takes plain seconds, as iperf3 does, or a
// Go duration.
type seconds time.Duration

func (s *seconds) Set(v string) error {
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		if math.IsNaN(n) || math.Abs(n) > 1e9 {
			return fmt.Errorf("%s seconds is out of range", v)
		}
		*s = seconds(n * float64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(v)
	*s = seconds(d)
	return err
}

func (s *seconds) String() string { return time.Duration(*s).String() }
func (s *seconds) Type() string   { return "seconds" }

// size is a byte count with iperf3's suffixes.
type size int64

func (s *size) Set(v string) error {
	n, err := endpoint.ParseSize(v)
	*s = size(n)
	return err
}

func (s *size) String() string {
	n := int64(*s)
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
func (s *size) Type() string { return "bytes" }

// parseCPUs reads "2,3", "0-3,4-7" or "0+2+4,1": the CPUs of the first end and
// of the second, either possibly empty.
func parseCPUs(flag, v string) (first, second []int, err error) {
	if v == "" {
		return nil, nil, nil
	}
	parts := strings.Split(v, ",")
	if len(parts) > 2 {
		return nil, nil, fault.Errorf(fault.Usage, "%s %q: one comma parts the two ends; join CPUs of one end with + or -", flag, v)
	}
	lists := make([][]int, 2)
	for i, part := range parts {
		for item := range strings.SplitSeq(part, "+") {
			if item == "" && part == "" {
				continue
			}
			low, high, isRange := strings.Cut(item, "-")
			a, err1 := strconv.Atoi(low)
			b := a
			var err2 error
			if isRange {
				b, err2 = strconv.Atoi(high)
			}
			if err1 != nil || err2 != nil || a < 0 || b < a || b > 1<<14 {
				return nil, nil, fault.Errorf(fault.Usage, "%s %q: %q is not a CPU or a range of CPUs", flag, v, item)
			}
			for cpu := a; cpu <= b; cpu++ {
				if !slices.Contains(lists[i], cpu) {
					lists[i] = append(lists[i], cpu)
				}
			}
		}
	}
	return lists[0], lists[1], nil
}
