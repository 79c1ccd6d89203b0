// Package results holds the records of runs and their append-only store; it
// knows nothing of how they came about.
package results

import (
	"encoding/json"
	"math"
	"slices"

	"zcbench/results/caveat"
)

// Schema names this version of the record. A reader that meets another one
// reports it rather than guess.
const Schema = "zcbench/1"

// Status says how a run ended.
type Status string

// The three ways a run ends.
const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Record is one run: what was asked, what was measured at both ends, and the
// facts of both hosts. Its JSON is one line of results.jsonl.
type Record struct {
	Schema  string `json:"schema"`
	ID      string `json:"id"`     // unique to this run
	Cell    string `json:"cell"`   // the same for repeats of the same settings
	Repeat  int    `json:"repeat"` // from 0
	Dropped string `json:"dropped"`
	Status  Status `json:"status"`
	Reason  string `json:"reason"`

	Started string  `json:"started"`        // RFC 3339, start of the window
	Window  float64 `json:"window_seconds"` // the receiver's, as it was sampled
	Gbps    float64 `json:"gbps"`           // 10⁹ payload bits per second received in the window
	Bytes   uint64  `json:"bytes"`          // payload received in the window

	// RX and TX are nil when that end was not ours (--raw) or never ran.
	RX    *End  `json:"rx"`
	TX    *End  `json:"tx"`
	Total Total `json:"total"`
	ROI   ROI   `json:"roi"`

	Facts Pair[Facts] `json:"facts"`
	// Settings are what identifies the cell; Tuned and Command do not. Records
	// of older versions have these two in Settings, from where reading takes
	// them.
	Settings map[string]any `json:"settings"`
	// Tuned is what had to change on each end for the run, by rx and tx:
	// nothing where a host was as the run wants it. It was put back after it.
	Tuned map[string][]string `json:"tuned,omitempty"`
	// Command is the user's, or one that makes this cell's runs by itself.
	Command string `json:"command,omitempty"`
	// Axes are the values that tell this run's cell from its neighbours, where
	// it belongs to a matrix: {"mode": "devmem", "gro": "hw"}.
	Axes       map[string]string `json:"axes,omitempty"`
	Experiment string            `json:"experiment,omitempty"` // the matrix's name
	Pair       string            `json:"pair,omitempty"`       // the host pair's name within it
	// ShuffleSeed is what the matrix' order follows from.
	ShuffleSeed uint64   `json:"shuffle_seed,omitempty"`
	Samples     []Sample `json:"samples"`
	// Flows are the data connections, in the order of their ports.
	Flows    []Connection `json:"flows"`
	Warnings []string     `json:"warnings"`
	// Notes say what holds of every run of this kind and a reader must know; they
	// are no faults of the run. They have codes as warnings have.
	Notes []string `json:"notes,omitempty"`
}

// Pair is one value for each end.
type Pair[T any] struct {
	RX T `json:"rx"`
	TX T `json:"tx"`
}

// Facts describe a host: nested maps and scalars, as JSON has them.
type Facts map[string]any

// End is what one end moved and spent within the window.
type End struct {
	Engine          string   `json:"engine"`
	Bytes           uint64   `json:"bytes"` // ZeroCopiedBytes + CopiedBytes
	ZeroCopiedBytes uint64   `json:"zero_copied_bytes"`
	CopiedBytes     uint64   `json:"copied_bytes"`
	UnknownBytes    uint64   `json:"unknown_bytes"`  // of CopiedBytes: whether they were copied is not known
	CPUPercent      *float64 `json:"cpu_percent"`    // 100 is one CPU; nil: not measured
	IowaitPercent   *float64 `json:"iowait_percent"` // apart from CPUPercent; nil: not known in this scope
	CPUScope        string   `json:"cpu_scope"`      // host, cpuset or thread
	// CPUMethod names the clock of CPUPercent, which was calibrated as right on
	// the end's host: idle, cpuidle, schedstat or cpuacct, either with +interrupts or
	// without, or ticks; or threads. CPUError is how far it was off then, in percent
	// of one CPU and for each CPU that was busy, and what readings that take long and
	// rounding to ticks add over the window, and no less than what the second clock
	// differs by; nil where that is not known.
	CPUMethod string   `json:"cpu_method,omitempty"`
	CPUError  *float64 `json:"cpu_error_percent,omitempty"`
	// CPUSecond is CPUPercent by CPUSecondMethod, another clock that was right when
	// it was calibrated; nil where there was none.
	CPUSecond       *float64 `json:"cpu_second_percent,omitempty"`
	CPUSecondMethod string   `json:"cpu_second_method,omitempty"`
	// CPUTicks is what the columns of /proc/stat add up to, as other tools show
	// it: a kernel that samples misses short bursts there.
	CPUTicks   *float64 `json:"cpu_ticks_percent,omitempty"`
	Congestion string   `json:"congestion,omitempty"` // what the data sockets used, joined by + where they differ
	Socket     *Socket  `json:"socket,omitempty"`     // what else they had
	// Options are those of the engine that it rounds, bounds or chooses, with
	// the values that took effect.
	Options map[string]int `json:"options,omitempty"`
	// Traits say what the engine is: zero-copy, discards the payload, moves none
	// (no-payload), or has it where no CPU can read it (unreadable).
	Traits   []string          `json:"traits,omitempty"`
	Syscalls map[string]uint64 `json:"syscalls"`
	Watts    *float64          `json:"watts"`
	Power    *Power            `json:"power,omitempty"` // how Watts was measured
	// Meters are all that read this end where there are several; Power is the
	// sum of those that see most.
	Meters []Power `json:"meters,omitempty"`
	// Counters are the engine's, TCP's and the host's own, by name; the unit
	// is in the name where it is not a count.
	Counters map[string]float64 `json:"counters"`
	// Verify is what crossed this end's interface in the warm-up.
	Verify *Crossing `json:"verify,omitempty"`
	// CPUs say what each CPU of the scope did in the window, those that were
	// idle for 99.5 % of it left out. In the scope thread, both ends' work is
	// in it.
	CPUs []CPUTime `json:"cpus,omitempty"`
	// SyscallCosts and Profile are there when they were asked for.
	SyscallCosts []SyscallCost `json:"syscall_costs,omitempty"`
	Profile      *Profile      `json:"profile,omitempty"`
}

// Total is the sum over both ends; nil where an end was not measured.
type Total struct {
	CPUPercent *float64 `json:"cpu_percent"`
	Watts      *float64 `json:"watts"`
	// Power is of meters that see both ends, and Watts theirs where it is there.
	Power *Power `json:"power,omitempty"`
}

// ROI is throughput squared over cost: the square puts throughput first, so
// that 10 Gbit/s at 200% beats 5 Gbit/s at 100% (netdev 0x19).
type ROI struct {
	CPU   Return `json:"cpu"`   // (Gbit/s)² per percent of a CPU
	Power Return `json:"power"` // (Gbit/s)² per watt
}

// Return is one ROI for each end and for both; nil where the cost was not
// measured.
type Return struct {
	RX    *float64 `json:"rx"`
	TX    *float64 `json:"tx"`
	Total *float64 `json:"total"`
}

// Sample is one end over one interval of the window.
type Sample struct {
	End        string   `json:"end"`   // rx or tx
	Start      float64  `json:"start"` // seconds into the window
	Seconds    float64  `json:"seconds"`
	Bytes      uint64   `json:"bytes"`
	Gbps       float64  `json:"gbps"`
	CPUPercent *float64 `json:"cpu_percent"`
	Watts      *float64 `json:"watts,omitempty"`
	// Series are further values over the interval, by names as in
	// End.Counters: rates where the name ends in _per_second, shares of the
	// interval where it ends in _percent (cpu_ and cstate_: summed over the
	// CPUs of the scope, 100 is one CPU), states otherwise. One that was zero
	// in all samples of the run is left out.
	Series map[string]float64 `json:"series,omitempty"`
}

// Connection is one data connection in the window, as each end's TCP has it; an
// end that is not ours is nil.
type Connection struct {
	RX *ConnectionEnd `json:"rx"`
	TX *ConnectionEnd `json:"tx"`
}

// ConnectionEnd is one end of a Connection.
type ConnectionEnd struct {
	Bytes       uint64   `json:"bytes"`       // received in order, or acknowledged by the peer
	Retransmits uint64   `json:"retransmits"` // segments that this end sent again
	RTT         *float64 `json:"rtt_us"`      // mean of the smoothed round trips; nil: none was measured
	MinRTT      *float64 `json:"min_rtt_us"`  // since the connection was made
	// the longest time that nothing crossed, at least; nil: this end did not run for longer, and saw none
	Stall   *float64 `json:"stall_seconds"`
	StallAt float64  `json:"stall_start"` // when that began, seconds into the window
}

// Half says that the record is of one end alone, whose peer has that of both.
func (r *Record) Half() bool {
	return slices.ContainsFunc(r.Notes, func(n string) bool { return caveat.CodeOf(n) == caveat.HalfRecord })
}

// Derive fills what follows from the two ends: Bytes, Total and ROI. Gbps and
// Window must be set.
//
// WindowOf is how many seconds an end, rx or tx, was sampled; the ends' clocks never
// tick at quite the same time. Without samples it is the record's window, which is
// the receiver's.
func (r *Record) WindowOf(role string) float64 {
	seconds := 0.0
	for _, s := range r.Samples {
		if s.End == role {
			seconds += s.Seconds
		}
	}
	if role == "rx" || seconds == 0 {
		return r.Window
	}
	return seconds
}

// Of windows that are hardly of one time (caveat.WindowsDisjoint) only the receiver's
// throughput and the receiver's cost belong together.
func (r *Record) Derive() {
	rx, tx := costs(r.RX), costs(r.TX)
	if r.RX != nil {
		r.Bytes = r.RX.Bytes
	} else if r.TX != nil {
		r.Bytes = r.TX.Bytes
	}
	r.Total = Total{CPUPercent: sum(rx.cpu, tx.cpu), Watts: sum(rx.watts, tx.watts), Power: r.Total.Power}
	if r.RX != nil && r.TX != nil && r.RX.Power != nil && r.TX.Power != nil && r.RX.Power.Scope != r.TX.Power.Scope {
		r.Total.Watts = nil // watts of the wall and of a package have no sum
	}
	if r.Total.Power != nil {
		r.Total.Watts = &r.Total.Power.Watts
	}
	r.ROI = ROI{
		CPU:   Return{RX: roi(r.Gbps, rx.cpu), TX: roi(r.Gbps, tx.cpu), Total: roi(r.Gbps, r.Total.CPUPercent)},
		Power: Return{RX: roi(r.Gbps, rx.watts), TX: roi(r.Gbps, tx.watts), Total: roi(r.Gbps, r.Total.Watts)},
	}
	if slices.ContainsFunc(r.Warnings, func(text string) bool { return caveat.CodeOf(text) == caveat.WindowsDisjoint }) {
		r.Total.CPUPercent = nil
		if r.Total.Power == nil { // a meter that sees both ends needs no sum
			r.Total.Watts = nil
		}
		r.ROI = ROI{CPU: Return{RX: r.ROI.CPU.RX}, Power: Return{RX: r.ROI.Power.RX}}
	}
}

type cost struct{ cpu, watts *float64 }

func costs(e *End) cost {
	if e == nil {
		return cost{}
	}
	return cost{cpu: e.CPUPercent, watts: e.Watts}
}

func sum(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	s := *a + *b
	return &s
}

// roi is nil for a cost of zero too: the clock that measured it was too
// coarse, and no return is infinite.
func roi(gbps float64, cost *float64) *float64 {
	if cost == nil || *cost <= 0 {
		return nil
	}
	v := gbps * gbps / *cost
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil // JSON has no such number
	}
	return &v
}

// MarshalJSON keeps maps and lists that are empty from becoming null, which
// scripts trip over.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	p := plain(r)
	if p.Schema == "" {
		p.Schema = Schema
	}
	if p.Settings == nil {
		p.Settings = map[string]any{}
	}
	if p.Samples == nil {
		p.Samples = []Sample{}
	}
	if p.Flows == nil {
		p.Flows = []Connection{}
	}
	if p.Warnings == nil {
		p.Warnings = []string{}
	}
	if p.Facts.RX == nil {
		p.Facts.RX = Facts{}
	}
	if p.Facts.TX == nil {
		p.Facts.TX = Facts{}
	}
	return json.Marshal(p)
}

// MarshalJSON keeps empty maps from becoming null.
func (e End) MarshalJSON() ([]byte, error) {
	type plain End
	p := plain(e)
	if p.Syscalls == nil {
		p.Syscalls = map[string]uint64{}
	}
	if p.Counters == nil {
		p.Counters = map[string]float64{}
	}
	return json.Marshal(p)
}

// Round keeps records small: no series is known better than to a thousandth.
func Round(v float64) float64 {
	if math.Abs(v) >= 1000 {
		return math.Round(v)
	}
	return math.Round(v*1000) / 1000
}
