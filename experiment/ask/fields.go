package ask

import (
	"slices"
	"strings"
	"sync"

	"zcbench/ringcfg"
)

// Field is one thing that can be said of a run.
type Field struct {
	Name, Short string // of its flag; Name is its key in a spec
	Help        string
	// What becomes of it in each place.
	InRX, InTX, InLocal, InSpec Use
	// Record is its key among the settings of a record, by a hash of which cells are
	// told apart; "": it is told by what the ends were asked for, or is not of the cell.
	Record string
	// Always records it, even where nothing was said.
	Always bool

	at     func(*Run) any // a pointer to the value, of a type that Value knows
	option string         // of the receive engine, where it is one; at gives all of these
	check  func(*Run) error
}

// Use is what becomes of a field in a place.
type Use int

const (
	Obeyed  Use = iota
	Absent      // it is not there
	Refused     // it is there, and whoever gives it is told why it does nothing
	RawOnly     // the sender says it for both ends; rx refuses it, but with --raw
)

// Fields are all that can be said of a run, in the order of its help.
var Fields = sync.OnceValue(fields)

// Lookup finds a field by its name.
func Lookup(name string) (*Field, bool) {
	all := Fields()
	i := slices.IndexFunc(all, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return nil, false
	}
	return &all[i], true
}

// fields is the table. Short names are iperf3's where iperf3 has the flag.
func fields() []Field {
	type run = *Run
	all := []Field{
		{Name: "mode", Help: "pair of engines: baseline, msgzc, devmem or iouring", at: func(r run) any { return &r.Mode }, check: run.checkMode},
		{Name: "rx", Help: "receive engine (zcbench probe lists them)", at: func(r run) any { return &r.RX }},
		{Name: "tx", Help: "send engine", at: func(r run) any { return &r.TX }},
		{Name: "rx-opt", Help: "option of the receive engine, NAME=VALUE", at: func(r run) any { return &r.RXOptions }},
		{Name: "tx-opt", Help: "option of the send engine, NAME=VALUE", InRX: Refused, at: func(r run) any { return &r.TXOptions }},
	}
	// Options of receive engines that have a flag of their own, being what most is
	// asked about; every other is set by rx-opt.
	for _, o := range []struct{ name, option, help string }{
		{"zcrx-area", "area", "what zcrx receives into: normal, huge (reserved huge pages) or dmabuf (of what --mem says)"},
		{"rx-buf-len", "rx-buf-len", "bytes of one receive buffer of zcrx or devmem"},
		{"rq-entries", "rq-entries", "size of zcrx's refill queue"},
		{"cq-entries", "cq-entries", "size of zcrx's completion queue"},
		{"wait-nr", "wait-nr", "completions that an io_uring receiver wakes up for"},
		{"min-wait-us", "min-wait-us", "with --wait-nr, most microseconds to sleep, after which one is enough"},
		{"busy-poll", "busy-poll", "microseconds an io_uring receiver polls the NIC's queue before it sleeps"},
	} {
		all = append(all, Field{Name: o.name, Help: o.help, option: o.option, at: func(r run) any { return &r.own }})
	}
	return append(all, []Field{
		{Name: "mem", Help: "dma-buf of the devmem engines and of zcrx: udmabuf[:SIZE], hugepages[:SIZE], heap:NAME[:SIZE] or fd:N",
			at: func(r run) any { return &r.memory }},
		{Name: "time", Short: "t", Help: "measured time", InRX: RawOnly, Record: "time_seconds", Always: true,
			at: func(r run) any { return &r.Time }},
		{Name: "omit", Short: "O", Help: "warm-up before it, not measured", InRX: RawOnly, Record: "omit_seconds", Always: true,
			at: func(r run) any { return &r.Omit }},
		{Name: "interval", Short: "i", Help: "time between interval lines; 0 for none", InRX: RawOnly,
			at: func(r run) any { return &r.Interval }},
		{Name: "parallel", Short: "P", Help: "TCP connections, each with a pinned thread on either end", InRX: RawOnly, Record: "flows",
			Always: true,
			at:     func(r run) any { return &r.Flows }},
		{Name: "length", Short: "l", Help: "bytes per read or write (K, M, G are powers of 1024)", InRX: RawOnly, Record: "length", Always: true,
			at: func(r run) any { return &r.Length }},
		{Name: "window", Short: "w", Help: "socket buffer in bytes, instead of TCP's autotuning", InRX: RawOnly, Record: "window",
			at: func(r run) any { return &r.window }},
		{Name: "set-mss", Short: "M", Help: "TCP maximum segment size in bytes", InRX: RawOnly, Record: "mss",
			at: func(r run) any { return &r.mss }},
		{Name: "port", Short: "p", Help: "control port; data flows follow on the next ports",
			at: func(r run) any { return &r.Port }, check: run.checkPort},
		{Name: "cport", Help: "source port of the first data flow, counted up for the others", InRX: Refused,
			at: func(r run) any { return &r.SourcePort }},
		{Name: "version4", Short: "4", Help: "IPv4 only", at: func(r run) any { return &r.v4 }, check: run.checkFamily},
		{Name: "version6", Short: "6", Help: "IPv6 only", at: func(r run) any { return &r.v6 }},
		{Name: "affinity", Short: "A", Help: "CPUs of this end and, where it has a say in them, after a comma of the other: " +
			"2,3 or 0-3,4-7 or 0+2,1+3 (local: sender,receiver)", at: func(r run) any { return &r.Affinity }},
		{Name: "softirq-cpus", Help: "CPUs of the network stack's own work, in the form of --affinity, counted with each end: " +
			"local has its veth pair work there; over --link say where the interrupts go",
			InRX: Refused, InTX: Refused, Record: "softirq_cpus", at: func(r run) any { return &r.SoftirqCPUs }},
		{Name: "congestion", Short: "C", Help: "TCP congestion control, of both ends where the receiver may be asked " +
			"(local, experiments, with a token), else of the sender", InRX: RawOnly, Record: "congestion",
			at: func(r run) any { return &r.Congestion }},
		{Name: "no-delay", Short: "N", Help: "set TCP_NODELAY on the sender", InRX: Refused, Record: "nodelay",
			at: func(r run) any { return &r.noDelay }},
		{Name: "bind", Short: "B", Help: "local address of the data connections", InLocal: Refused, InSpec: Absent,
			at: func(r run) any { return &r.Bind }},
		{Name: "iface", Help: "network interface of the data connections, for engines that bind NIC queues and for the record",
			InLocal: Refused, InSpec: Absent, at: func(r run) any { return &r.Interface }},
		{Name: "json", Short: "J", Help: "print the record as JSON", InSpec: Absent, at: func(r run) any { return &r.JSON },
			check: run.checkJSON},
		{Name: "json-stream", Help: "print a JSON event a line: start, interval, end", InSpec: Absent, at: func(r run) any { return &r.Stream }},
		{Name: "validate", Help: "compare every received byte with what was sent (costs CPU; not for comparisons)",
			InRX: RawOnly, Record: "validate", Always: true, at: func(r run) any { return &r.Validate }},
		{Name: "raw", Help: "no control connection: the other end is any TCP program, on --port",
			InLocal: Refused, InSpec: Absent, Record: "raw", Always: true, at: func(r run) any { return &r.Raw }},
		{Name: "no-tune", Help: "change no setting of this end's NIC or host; engines that need some then rely on yours",
			InSpec: Absent, at: func(r run) any { return &r.NoTune }},
		{Name: "verify", Help: "capture headers in the first half of the warm-up (1 s at most) and show what crossed this end's interface; " +
			"needs CAP_NET_RAW",
			at: func(r run) any { return &r.Verify }},
		{Name: "counters", Help: "what to read beside the payload: all, none, or names (zcbench probe lists them); default is what is cheap; " +
			"of the receiver too where it may be asked (local, experiments, with a token)", Record: "counters",
			at: func(r run) any { return &r.Counters }},
		{Name: "profile", Help: "sample where CPU time goes in the window; needs CAP_PERFMON (root)", Record: "profile",
			at: func(r run) any { return &r.Profile }},
		{Name: "syscalls", Help: "time each system call of the threads that carry the payload, in the window; costs CPU, so not for " +
			"comparisons; " +
			"needs CAP_PERFMON (root)", Record: "syscalls", at: func(r run) any { return &r.Syscalls }},
		{Name: "token-file", Help: "file with a secret that both ends must hold", InLocal: Refused, InSpec: Absent,
			at: func(r run) any { return &r.TokenFile }, check: run.checkToken},
		{Name: "meter", Help: "power meter [rx=|tx=]KIND:ADDRESS[@HOST], whose watts the record tells; may be given again (zcbench power list)",
			at: func(r run) any { return &r.Meters }, check: run.checkMeters},
		{Name: "baseline-power", Help: "idle time before the run in which the meters are read for comparison", InRX: RawOnly,
			at: func(r run) any { return &r.Baseline }, check: run.checkBaseline},
		{Name: "seed", Help: "seed of the payload pattern", InRX: RawOnly, at: func(r run) any { return &r.seed }},
		{Name: "tune-profile", Help: "settings of both ends for the run: " + strings.Join(ringcfg.Profiles(), ", ") +
			", or the path of your own (repeatable)",
			InRX: Absent, InTX: Absent, at: func(r run) any { return &r.profiles }},
		{Name: "set", Help: "one setting of both ends for the run, NAME=VALUE as tune has them; NAME?=VALUE where the end has such a setting " +
			"(repeatable; overrides profiles)", InRX: Absent, InTX: Absent, at: func(r run) any { return &r.set }},
		{Name: "rx-set", Help: "the same of the receiver alone; overrides --set", InRX: Absent, InTX: Absent,
			at: func(r run) any { return &r.rxSet }},
		{Name: "tx-set", Help: "the same of the sender alone", InRX: Absent, InTX: Absent, at: func(r run) any { return &r.txSet }},
	}...)
}
