package results

// Power is one end's electric power over the common window.
type Power struct {
	Meter string `json:"meter"` // kind and address, never a credential
	// Scope is what the meter sees: wall (the whole host), package (CPU packages
	// and maybe DRAM, not the wall), gpu, or other.
	Scope      string   `json:"scope"`
	Watts      float64  `json:"watts"` // mean over the window
	Min        *float64 `json:"watts_min"`
	Max        *float64 `json:"watts_max"`
	Joules     float64  `json:"joules"`           // over the window
	JoulesPerG *float64 `json:"joules_per_gb"`    // per 10⁹ payload bytes of the window
	Baseline   *float64 `json:"baseline_watts"`   // idle, before the run; nil: not measured
	Samples    int      `json:"samples"`          // within the window
	Interval   float64  `json:"interval_seconds"` // the meter's own, as seen
	Resolution float64  `json:"resolution_watts"` // smallest step; 0: not known
	Energy     bool     `json:"energy_counter"`   // Joules come from a counter of the meter, not from sampled watts
	// Bound is how far Watts may be off for the steps that the meter counts in:
	// its counter's at the window's edges, or those of its watts; 0: not known.
	Bound float64 `json:"bound_watts"`
	// Source says which of the meter's figures it is, or how it was read.
	Source string `json:"source,omitempty"`
}

// CPUTime is one CPU over the window, in percent of the window. The kernel counts
// a stay in a C-state when it ends: one that reaches over an edge of the window
// is in it as a whole or not at all.
type CPUTime struct {
	CPU    int                `json:"cpu"`
	Busy   *float64           `json:"busy_percent,omitempty"`    // by End.CPUMethod
	States map[string]float64 `json:"states_percent"`            // user nice system irq softirq steal iowait idle, by ticks
	Idle   map[string]float64 `json:"cstates_percent,omitempty"` // residency by C-state
	MHz    float64            `json:"mhz,omitempty"`             // mean of the samples
}

// AtLeast is what the kernel says that the CPU was busy, in percent, AtMost what it
// does not say that it was idle: its accounts of short bursts do not always add up.
// Where the run had a clock that was calibrated they are that.
func (c CPUTime) AtLeast() float64 {
	if c.Busy != nil {
		return *c.Busy
	}
	total := 0.0
	for state, v := range c.States {
		if state != "idle" && state != "iowait" {
			total += v
		}
	}
	return total
}

// AtMost: see AtLeast.
func (c CPUTime) AtMost() float64 {
	if c.Busy != nil {
		return *c.Busy
	}
	return max(c.AtLeast(), min(100, 100-c.States["idle"]-c.States["iowait"]))
}

// SyscallCost is one system call over the window, of all threads that carry the
// payload. Times include what a call waited.
type SyscallCost struct {
	Name   string  `json:"name"`
	Calls  uint64  `json:"calls"`
	Errors uint64  `json:"errors"`
	Total  float64 `json:"total_ms"`
	Min    float64 `json:"min_us"`
	Mean   float64 `json:"mean_us"`
	Max    float64 `json:"max_us"`
}

// Profile says where CPU time went in the window.
type Profile struct {
	Event   string   `json:"event"`   // cycles or cpu-clock
	Samples uint64   `json:"samples"` // taken
	Lost    uint64   `json:"lost"`
	Hz      int      `json:"hz"`      // per CPU
	Symbols []Symbol `json:"symbols"` // most samples first
	// Stacks are folded, root first, as flame graph tools read them:
	// "main;tcp_sendmsg 12" is one.
	Stacks []string `json:"stacks,omitempty"`
}

// Symbol is one function's share of a profile.
type Symbol struct {
	Name    string  `json:"name"`
	Module  string  `json:"module"` // kernel, a kernel module, or a program
	Percent float64 `json:"percent"`
}
