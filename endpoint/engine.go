// Package endpoint is the contract that engines fulfil, and all that they see of
// a run.
package endpoint

import (
	"fmt"
	"strings"
	"sync/atomic"

	"zcbench/internal/answers"
	"zcbench/internal/feature"
)

// Engine moves TCP payload in one direction by one technique. Engines are
// values handed in by cmd; nothing registers itself.
type Engine interface {
	// Name is the engine's name in flags and records.
	Name() string
	// Layout names the engine's own counters; it never changes.
	Layout() Layout
	// Options lists what Params.Options may set, for help and for checks
	// before Open; it never changes. ParseOptions applies it.
	Options() []Option
	// Probe says whether Open could work here. iface, possibly empty, is
	// the interface the payload would use. Probe changes nothing.
	Probe(iface string) feature.Verdict
	// Memory is the most that Open and all workers of p take: buffers, rings,
	// dma-bufs, and what the kernel maps of the payload. An agent that limits it
	// asks before Open. It takes nothing by itself; an error is as Open's.
	Memory(p Params) (int64, error)
	// Open checks p, including p.Options, strictly and takes what all flows
	// share. It is called before the data connections exist (and, on the
	// receiver, before it listens). A value that can never work is an Error
	// of kind Usage; something this host lacks is of kind Unsupported.
	Open(p Params) (Session, error)
}

// Asker is an Engine whose Probe asks about an interface. What it asks can be
// recorded, and answered from a record.
type Asker interface {
	// ProbeFrom is Probe where another than the kernel may answer.
	ProbeFrom(from *answers.Source, iface string) feature.Verdict
}

// Session is an engine opened for one run.
type Session interface {
	// Workers is how many threads carry the p.Flows connections: connection
	// i belongs to worker i modulo Workers. Most engines answer p.Flows.
	Workers() int
	// Worker makes worker i. It is called on that worker's own thread, which
	// is locked, already pinned, and is the one Run will use: an io_uring
	// made here is entered by its submitter only. No connection exists yet.
	Worker(i int) (Worker, error)
	// Close releases what Open took, after every Worker was closed.
	Close() error
}

// Worker moves the payload of its connections on one locked OS thread.
type Worker interface {
	// Run moves payload until it is over. A sender sends until stop is
	// requested, then waits until the kernel no longer reads its buffers
	// and returns nil. A receiver receives until every connection is at
	// end of stream and returns nil. The agent may shut the connections
	// down at any time to abort a run: Run then returns promptly with any
	// error, which the agent ignores. Connections are blocking sockets,
	// outside the Go netpoller; the agent closes them.
	//
	// Inside Run: no allocation, no locks, no logging.
	Run(conns []Conn, stop *Stop) error
	// Close releases what Worker took, on the same thread, after Run or
	// instead of it. Memory that the kernel may still read is not unmapped.
	Close() error
}

// Params is what both ends of a run agree on.
type Params struct {
	Flows  int // TCP connections, at least 1
	Length int // bytes per application read or write, at least 1
	// Pattern is the payload: connection i carries Pattern.Bytes(i),
	// repeated for ever. Its period is a multiple of Length.
	Pattern Pattern
	// Validate is set when the receiver checks every byte (through
	// Conn.Consume). An engine that cannot show the payload refuses it.
	Validate bool
	// Interface is the network interface that carries the payload, where
	// it is known; engines that bind NIC queues need it.
	Interface string
	// Queues are the receive queues of Interface that were granted to the run,
	// as the engine's Needs asked; connection i is steered to queue i modulo
	// their number. None when the run does not tune.
	Queues []uint32
	// Options are the engine's own, by name. An unknown name or a bad value
	// is an Error of kind Usage.
	Options map[string]string
	// Window, where it is not 0, is what the run set the connections' socket
	// buffers to, in bytes as setsockopt takes them. An engine that must have
	// them smaller makes them so.
	Window int
	// Note, where it is not nil, is told by Took.
	Note func(option string, value int)
}

// Took tells the run the value of an option that took effect, where that is
// not always the one given: rounded, bounded, or chosen. Of several values the
// least is kept. It is not for the loop.
func (p *Params) Took(option string, value int) {
	if p.Note != nil {
		p.Note(option, value)
	}
}

// Conn is one data connection as an engine sees it.
type Conn struct {
	FD    int
	Index int // 0 … Flows-1
	// Counters belong to this connection; only its worker writes them.
	Counters *Counters
	// Consume is given each piece of received payload, in stream order,
	// before the buffer is handed back to the kernel. It checks the bytes
	// when the run validates and does nothing otherwise; it is never nil, so
	// that no loop asks which it is.
	Consume func([]byte)
}

// Stop asks workers to end.
type Stop struct{ flag atomic.Bool }

// Request asks; it may be called from any goroutine, more than once.
func (s *Stop) Request() { s.flag.Store(true) }

// Requested reports whether the worker should end.
func (s *Stop) Requested() bool { return s.flag.Load() }

// Sizes of the counter arrays: fixed so that a sample is a flat copy.
const (
	MaxSyscalls = 6
	MaxExtra    = 32
)

// Layout names the elements of Counters.Syscalls and Counters.Extra.
type Layout struct {
	Syscalls []string // kernel names: "recvfrom", "io_uring_enter"
	// Extra are snake_case, with the unit where it is not a count. They are
	// summed over connections and differenced over the window, but for a name
	// that ends in _max: that is the highest value so far, of any connection.
	Extra []string
	// ZeroCopy says that the engine exists to avoid copies, so that a run in
	// which payload was copied carries a warning.
	ZeroCopy bool
	// Copied says why payload of such an engine is copied, and what to do about
	// it; it follows a colon.
	Copied string
	// Unknown says why there can be bytes in Counters.Unknown, and what to do
	// about it; it follows a colon.
	Unknown string
	// Unreadable says that no CPU can read the payload, so that none copies it.
	Unreadable bool
	// Discards says that the payload is dropped, and no program gets it.
	Discards bool
	// NoPayload says that none is moved: what is measured is zcbench.
	NoPayload bool
}

// What an engine is, in words that records keep.
const (
	TraitZeroCopy   = "zero-copy"
	TraitUnreadable = "unreadable"
	TraitDiscards   = "discards"
	TraitNoPayload  = "no-payload"
)

// Traits are what the engine is, in these words.
func (l Layout) Traits() []string {
	var all []string
	for _, t := range []struct {
		is   bool
		word string
	}{{l.ZeroCopy, TraitZeroCopy}, {l.Unreadable, TraitUnreadable}, {l.Discards, TraitDiscards}, {l.NoPayload, TraitNoPayload}} {
		if t.is {
			all = append(all, t.word)
		}
	}
	return all
}

// Check reports a Layout that does not fit Counters.
func (l Layout) Check() error {
	if len(l.Syscalls) > MaxSyscalls || len(l.Extra) > MaxExtra {
		return fmt.Errorf("counter layout: %d syscalls of at most %d, %d counters of at most %d",
			len(l.Syscalls), MaxSyscalls, len(l.Extra), MaxExtra)
	}
	return nil
}

// Counters are one connection's running totals. The worker adds; a sampler on
// another thread only reads. The padding keeps two workers off one cache
// line (128 bytes: adjacent-line prefetch).
//
// Every payload byte is counted exactly once, in ZeroCopied or in Copied, so
// their sum is the bytes moved. A sender whose kernel tells the fate of a
// buffer later counts it then. Copied means that a CPU copied the payload on
// this end, whoever asked for it. Only what is proven not to be copied counts in
// ZeroCopied: of the part of Copied that is in Unknown, too, nobody can tell.
type Counters struct {
	_          [128]byte
	ZeroCopied atomic.Uint64 // bytes
	Copied     atomic.Uint64 // bytes
	Unknown    atomic.Uint64 // bytes of Copied, added before they are there
	Syscalls   [MaxSyscalls]atomic.Uint64
	Extra      [MaxExtra]atomic.Uint64
	_          [128]byte
}

// IsMax says that a counter is the highest value so far, by its name: as in
// Layout.Extra.
func IsMax(name string) bool { return strings.HasSuffix(name, "_max") }
