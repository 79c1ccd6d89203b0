// Package wire is the control protocol between an agent and its driver: the
// messages, the link that carries them, and their limits.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/power"
	"zcbench/results"
)

// The control protocol is one JSON object a line, each way, over TCP, a pipe
// or ssh. A driver asks, an agent answers, and nothing crosses the link while
// a run is measured, unless the link is a pipe on the same host and the
// driver asked for live samples.
//
//	driver                agent
//	hello            →
//	                 ←    hello      versions, nonce, whether a token is needed
//	auth             →
//	                 ←    welcome    CPUs, limits, engines its user pinned
//	clock (several)  →
//	                 ←    clock
//	hold             →
//	                 ←    held       no driver with another ticket is let in; may be left out
//	survey           →
//	                 ←    surveyed   what the host offers to one end; may be left out
//	prepare          →               opens the engine; a receiver listens, a sender connects
//	                 ←    prepared   a sender tells the marks of its data connections (agent/greet.go)
//	start            →               a common time; a receiver is told the marks
//	                 ←    started
//	                 ←    live       only when asked for
//	                 ←    result     when the run is over
//
// and from prepare again for the next run. From welcome on each end says once a
// second that it is there, and whether it is busy (beat.go). An end that is not, and
// owes the other the next of these, is given up. An agent may answer with error at
// any point from prepare on; the run is over then and the link stays usable.
// Closing the link aborts the run; an end that is interrupted says so in an error first.
const (
	// Magic is what each end says first.
	Magic = "zcbench"
	// Protocol is its number, which both ends must have.
	Protocol = 5
)

// Longest accepted lines: an agent hears from strangers, a driver from an
// agent it chose, whose results may hold hours of samples.
const (
	MaxRequest = 64 << 10
	MaxReply   = 64 << 20
)

// Message is one line; exactly one field is set.
type Message struct {
	Hello    *Hello    `json:"hello,omitempty"`
	Auth     *Auth     `json:"auth,omitempty"`
	Welcome  *Welcome  `json:"welcome,omitempty"`
	Clock    *Clock    `json:"clock,omitempty"`
	Hold     *Hold     `json:"hold,omitempty"`
	Held     *Held     `json:"held,omitempty"`
	Survey   *Survey   `json:"survey,omitempty"`
	Surveyed *Surveyed `json:"surveyed,omitempty"`
	Prepare  *Prepare  `json:"prepare,omitempty"`
	Prepared *Prepared `json:"prepared,omitempty"`
	Start    *Start    `json:"start,omitempty"`
	Started  *Started  `json:"started,omitempty"`
	Live     *Sample   `json:"live,omitempty"`
	Result   *Result   `json:"result,omitempty"`
	Watch    *Watch    `json:"watch,omitempty"`
	Watched  *Watched  `json:"watched,omitempty"`
	Tell     *Tell     `json:"tell,omitempty"`
	Said     *Said     `json:"said,omitempty"`
	Error    *failure  `json:"error,omitempty"`
}

// Hello is the first word of either end; its form is that of every protocol.
type Hello struct {
	Magic    string `json:"magic"`
	Protocol int    `json:"protocol"`
	Version  string `json:"version"` // of zcbench, for the error text
	Nonce    []byte `json:"nonce"`
	Token    bool   `json:"token,omitempty"` // the agent wants one
}

// Auth proves that the driver knows the token.
type Auth struct {
	MAC []byte `json:"mac,omitempty"`
}

// Welcome tells the driver about the agent's host.
type Welcome struct {
	MAC     []byte  `json:"mac,omitempty"`
	BootID  string  `json:"boot_id"` // equal on both ends: one shared host, but see driver.Shared
	CPUs    []int   `json:"cpus"`    // that the agent may run on
	Cores   []int   `json:"cores"`   // of each of CPUs, as procfile.Cores gives them
	Pinned  Pins    `json:"pinned"`
	Limits  Limits  `json:"limits"`
	Version string  `json:"version"`
	Process Process `json:"process"`         // of the agent
	Power   int     `json:"power,omitempty"` // meters of the agent\'s own user; watch opens them
}

// Pins are what the agent's user fixed on its own command line; empty means
// that the driver chooses.
type Pins struct {
	RX   string `json:"rx,omitempty"`   // receive engine
	TX   string `json:"tx,omitempty"`   // send engine to use with it
	CPUs []int  `json:"cpus,omitempty"` // -A of the agent's own command line
}

// Limits bound what a peer may ask of an agent. Zero is no limit.
type Limits struct {
	Time   time.Duration `json:"time"`   // warm-up and window together
	Flows  int           `json:"flows"`  // connections
	Memory int64         `json:"memory"` // bytes for buffers, patterns and socket buffers
}

// Clock asks for the time at the other end, and answers.
type Clock struct {
	Now    int64    `json:"now"`              // ns on the sender's CLOCK_MONOTONIC
	Count  bool     `json:"count,omitempty"`  // asks for Totals
	Totals []uint64 `json:"totals,omitempty"` // of the agent's kernel, as package agent reads them
}

// Prepare asks an agent to open an engine and the data connections.
type Prepare struct {
	Role     endpoint.Role     `json:"role"`
	Engine   string            `json:"engine"`
	Options  map[string]string `json:"options,omitempty"`
	Flows    int               `json:"flows"`
	Length   int               `json:"length"` // bytes per call
	Pattern  endpoint.Pattern  `json:"pattern"`
	Validate bool              `json:"validate,omitempty"`
	Time     time.Duration     `json:"time"` // 0: until the peer ends the stream (raw receivers only)
	Omit     time.Duration     `json:"omit"`
	Interval time.Duration     `json:"interval"` // 0: no samples inside the window
	Family   int               `json:"family,omitempty"`
	MSS      int               `json:"mss,omitempty"`    // bytes, TCP_MAXSEG
	Window   int               `json:"window,omitempty"` // bytes, SO_RCVBUF and SO_SNDBUF
	CPUs     []int             `json:"cpus,omitempty"`   // worker i runs on CPUs[i mod len]
	Scope    Scope             `json:"scope"`
	ScopeSet []int             `json:"scope_cpus,omitempty"`             // CPUs of a cpuset scope
	PeerSet  []int             `json:"peer_cpus,omitempty"`              // CPUs of the other end's cpuset scope, where it is on this host
	Kin      []Process         `json:"kin,omitempty"`                    // processes of the run, which may be on this host
	Counters []string          `json:"counters,omitempty" trust:"token"` // counters by name, all or none; empty: those that are cheap

	// Only a trusted driver (a pipe, or a token) may set what has this tag.
	Host       string `json:"host,omitempty" trust:"token"` // sender: where to connect
	Bind       string `json:"bind,omitempty" trust:"token"` // local address
	Interface  string `json:"interface,omitempty" trust:"token"`
	DataPort   int    `json:"data_port,omitempty" trust:"token"`   // flow i uses DataPort+i; 0: the agent's own choice
	SourcePort int    `json:"source_port,omitempty" trust:"token"` // sender: flow i binds SourcePort+i; 0: any
	Congestion string `json:"congestion,omitempty" trust:"token"`
	NoDelay    bool   `json:"nodelay,omitempty" trust:"token"`
	Raw        bool   `json:"raw,omitempty" trust:"token"`     // the peer is not zcbench
	NoTune     bool   `json:"no_tune,omitempty" trust:"token"` // change no setting of the NIC or the host
	Verify     bool   `json:"verify,omitempty" trust:"token"`  // capture headers in the warm-up
	Profile    bool   `json:"profile,omitempty" trust:"token"`
	Syscalls   bool   `json:"syscalls,omitempty" trust:"token"` // time each system call
	// Settings of the NIC and the host that this end shall have for the run,
	// beside what the engine needs, as ringcfg.Want has them.
	Settings map[string]string `json:"settings,omitempty" trust:"token"`
	Optional map[string]string `json:"optional,omitempty" trust:"token"`
}

// Prepared answers Prepare.
type Prepared struct {
	DataPort int           `json:"data_port"`
	Facts    results.Facts `json:"facts"`
	Changes  []string      `json:"changes,omitempty"` // settings changed for the run
	Marks    [][]byte      `json:"marks,omitempty"`   // sender: of its data connections (agent/greet.go), by flow
}

// Start begins the payload at a time of the agent's own CLOCK_MONOTONIC.
type Start struct {
	At    int64    `json:"at"` // ns
	Live  bool     `json:"live,omitempty"`
	Marks [][]byte `json:"marks,omitempty"` // receiver: of the data connections that are the run's
}

// Started answers Start.
type Started struct{}

// Scope says whose CPU time an end's cpu_percent is.
type Scope string

// The three scopes.
const (
	ScopeHost   Scope = "host"   // every CPU of the host, from /proc/stat
	ScopeCPUSet Scope = "cpuset" // the CPUs of this end only, from /proc/stat
	ScopeThread Scope = "thread" // the threads of this end's process; softirq work counts for whomever it interrupted
)

// Sample is cumulative, so that any two make an interval. ZeroCopied and Copied
// are, together, what had crossed then; which of the two it was is known after
// the run, and is a first guess in live samples.
type Sample struct {
	At         int64    `json:"at"` // ns after the window opened, on this end's clock
	ZeroCopied uint64   `json:"zero_copied"`
	Copied     uint64   `json:"copied"`
	Unknown    uint64   `json:"unknown,omitempty"` // of Copied
	Busy       float64  `json:"busy"`              // CPU seconds in the scope
	Second     *float64 `json:"second,omitempty"`  // the same by a second clock, where there is one
	Ticks      *float64 `json:"ticks,omitempty"`   // the same by the columns of /proc/stat; nil where the scope cannot know
	Iowait     *float64 `json:"iowait"`            // CPU seconds; nil where the scope cannot know
	Idle       *float64 `json:"idle"`              // likewise, iowait not included
	// Verify is what crossed the interface in the warm-up; only the sample that
	// opens the window has it.
	Verify *results.Crossing `json:"verify,omitempty"`
}

// Result is what an end measured in one run.
type Result struct {
	Opened   int64              `json:"opened"`   // the window, ns on this end's CLOCK_MONOTONIC
	Samples  []Sample           `json:"samples"`  // first and last are the edges of the window
	Total    uint64             `json:"total"`    // bytes over the whole run, warm-up and tail included
	Syscalls map[string]uint64  `json:"syscalls"` // in the window
	Counters map[string]float64 `json:"counters"` // in the window
	Checked  *uint64            `json:"checked,omitempty"`
	Cut      bool               `json:"cut,omitempty"` // ended by force: totals of the ends need not agree
	Warnings []string           `json:"warnings,omitempty"`
	Notes    []string           `json:"notes,omitempty"`
	Flows    []FlowResult       `json:"flows,omitempty"` // in the window, by index
	// Which clocks gave Sample.Busy and Sample.Second, how far the first was off
	// when it was calibrated, in percent of one CPU, and over how many CPUs.
	CPUMethod string  `json:"cpu_method,omitempty"`
	CPUSecond string  `json:"cpu_second,omitempty"`
	CPUError  float64 `json:"cpu_error,omitempty"`
	CPUScoped int     `json:"cpu_scoped,omitempty"`
	// What the data connections had.
	Congestion string          `json:"congestion,omitempty"`
	Socket     *results.Socket `json:"socket,omitempty"`
	Options    map[string]int  `json:"options,omitempty"` // of the engine, as results.End has them
	Traits     []string        `json:"traits,omitempty"`  // of the engine, likewise

	// What counters and recorders saw: a series for each interval between
	// Samples, CPUs and the rest for the window.
	Series       []map[string]float64  `json:"series,omitempty"`
	CPUs         []results.CPUTime     `json:"cpus,omitempty"`
	SyscallCosts []results.SyscallCost `json:"syscall_costs,omitempty"`
	Profile      *results.Profile      `json:"profile,omitempty"`
	// Missing says why a counter could not be read, for the facts.
	Missing map[string]string `json:"missing,omitempty"`
}

// FlowResult is one data connection in the window, as this end's TCP has it.
type FlowResult struct {
	Bytes       uint64  `json:"bytes"`       // that crossed
	Retransmits uint64  `json:"retransmits"` // segments that this end sent again
	RTT         float64 `json:"rtt_us"`      // mean; 0: not known
	MinRTT      float64 `json:"min_rtt_us"`  // 0: not known
	Stall       int64   `json:"stall"`       // the longest time that nothing crossed, ns, at least
	StallAt     int64   `json:"stall_at"`    // when it began, ns after the window opened
	// StallUnknown says that this end did not look for longer than Stall.
	StallUnknown bool `json:"stall_unknown,omitempty"`
}

type failure struct {
	Kind fault.Kind `json:"kind"`
	Text string     `json:"text"`
}

// decode is strict: a field this version does not know would be a promise
// this end does not keep.
func decode(line []byte) (Message, error) {
	var m Message
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	if d.More() {
		return Message{}, fmt.Errorf("%w: two values on a line", ErrGarbage)
	}
	n := 0
	for _, set := range []bool{
		m.Hello != nil, m.Auth != nil, m.Welcome != nil, m.Clock != nil, m.Hold != nil, m.Held != nil, m.Survey != nil, m.Surveyed != nil,
		m.Prepare != nil, m.Prepared != nil,
		m.Start != nil, m.Started != nil, m.Live != nil, m.Result != nil, m.Error != nil,
		m.Watch != nil, m.Watched != nil, m.Tell != nil, m.Said != nil,
	} {
		if set {
			n++
		}
	}
	if n != 1 {
		return Message{}, fmt.Errorf("%w: %d messages on a line", ErrGarbage, n)
	}
	return m, nil
}

// Err is what the other end says went wrong, as an error of its kind.
func (f *failure) Err() error {
	return fault.Wrap(fault.Named(f.Kind), errors.New(printable.Line(f.Text)))
}

// Clip keeps a peer's words short and printable in our errors.
func Clip(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return printable.Line(s)
}

// Survey asks a trusted agent what its host offers to one end of a pair.
type Survey struct {
	Role      endpoint.Role `json:"role"`
	Interface string        `json:"interface,omitempty"` // "": the one with Address, or by which To is reached
	Address   string        `json:"address,omitempty"`   // of that interface; "": its first
	To        string        `json:"to,omitempty"`        // address of the other end
}

// Surveyed answers Survey.
type Surveyed struct {
	Survey json.RawMessage `json:"survey"`
}

// Hold keeps drivers with another ticket from an agent's host.
type Hold struct {
	Ticket string `json:"ticket"`
}

// Held answers Hold.
type Held struct{}

// Watch asks an agent for meters of its host, beside its own user's.
type Watch struct {
	Specs []string `json:"specs,omitempty"` // as power.Open takes
	// Lenient goes on without those that do not answer.
	Lenient bool `json:"lenient,omitempty"`
	// Quiet is how long the driver has nothing to ask then: an idle baseline, or of one
	// that only reads meters all until the run is over.
	Quiet time.Duration `json:"quiet"`
}

// Watched describes the meters asked for, then the agent's own.
type Watched struct {
	Infos []power.Info `json:"infos"`
}

// Tell asks for what the meters said. Times are the agent's CLOCK_MONOTONIC.
type Tell struct {
	From  int64 `json:"from"`
	Until int64 `json:"until"`
}

// Said answers Tell.
type Said struct {
	Traces []Trace `json:"traces"` // in the order of watched
}

// MarkLength is that of a data connection's mark, bytes.
const MarkLength = 16
