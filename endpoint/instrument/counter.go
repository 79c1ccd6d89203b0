// Package instrument is what an end reads and records beside the payload: columns of
// counters, and the series that they become.
package instrument

import (
	"zcbench/endpoint/wire"
	"zcbench/internal/procfile"
	"zcbench/results/caveat"
)

// Counter reads something that the kernel or the hardware counts beside the
// payload. Counters are values handed in by cmd, as engines are.
type Counter struct {
	Name  string // in flags and in the facts that say what is missing
	About string // a line of help
	// Costly counters are read only when they are asked for.
	Costly bool
	// Edges is set for a counter that is read only where the window opens and
	// closes, because a reading takes long or says little.
	Edges bool
	// Open readies one end's reading, before the connections exist. What this
	// host lacks is an error of kind Unsupported, with the cure where there
	// is one.
	Open func(Place) (Reader, error)
}

// Place is what a counter may look at.
type Place struct {
	Interface string // that carries the payload, "" where it is not known
	Scope     wire.Scope
	// CPUs are those of the scope, in order: of the host, of the set, or, where
	// only threads can be told apart, those the threads may run on.
	CPUs []int
	// Stat is /proc/stat as it was read for this sample's CPU time.
	Stat *procfile.Stat
	// Threads are those that carry the payload, by number.
	Threads []int
	// Flows gives the sockets of the data connections, none before they exist.
	Flows func() []int
}

// Reader is an open Counter. Read is called from one thread, the sampler's, which
// shares the CPUs that are measured: it allocates as little as it can.
type Reader interface {
	// Quantities say what Read gives; they never change.
	Quantities() []Quantity
	// Read puts the raw value of each quantity into to. A counter whose Read
	// fails is not read again, and the run says so and goes on.
	Read(to []uint64) error
	Close() error
}

// Warner is a Reader that may have something to say of its values.
type Warner interface {
	// Warnings is called once, after the window.
	Warnings() []string
}

// Quantity is one value of a counter. Several of one name, of different CPUs or
// sensors, are shown as one.
type Quantity struct {
	Name string // as in results.End.Counters, with the unit where it is no count
	Form Form
	CPU  int // for CPUState, IdleState and Clock
	// Wrap is the value after which a running total starts again from 0, less
	// one; 0: it does not wrap.
	Wrap uint64
	// Scale makes the raw value one in the unit of Name, or seconds for the two
	// states; 0 is 1.
	Scale float64
	// Quiet keeps it out of the interval samples.
	Quiet bool
	// PerByte asks for the Total over the payload bytes of the window too, as
	// NAME_per_byte.
	PerByte bool
	// Sparse leaves a Total out of the results where it did not grow: for long
	// lists of which few matter.
	Sparse bool
	// Code is that of the warning that a Total above 0 is, where a reader must
	// know; Means is what it says: "the CPU was throttled".
	Code  caveat.Code
	Means string
}

// Form says how raw values become results.
type Form int

// The forms.
const (
	// Total only grows. Its growth is a counter of the window; in samples it
	// is NAME_per_second.
	Total Form = iota
	// Gauge is a signed state. Counters have the mean of the samples, and
	// samples the value at their end; over CPUs or sensors it is the mean,
	// or the highest where the name ends in _max.
	Gauge
	// CPUState is the time that CPU has spent in the state Name; in samples it
	// is cpu_NAME_percent, summed over CPUs.
	CPUState
	// IdleState is the same for a C-state, cstate_NAME_percent in samples.
	IdleState
	// Clock is the frequency of CPU in MHz, a Gauge.
	Clock
)

// Recorder watches the window in ways that are no values: it makes a profile,
// or times system calls.
type Recorder struct {
	Name string
	// Open readies it, after the engine's threads were made, so that whatever
	// fails does so before any payload.
	Open func(Place) (Recording, error)
}

// Recording is an open Recorder, used from one goroutine at a time.
type Recording interface {
	Begin() error // the window opens
	Poll()        // some time has passed, 100 ms at most; from the sampler's thread
	End() error   // the window closes
	// Report adds to the result, after the last byte is in, and gives what a
	// reader of it must know: notes of any such recording, and warnings.
	Report(*wire.Result) (notes, warnings []string, err error)
	Close() error
}

// Instruments are what an agent can read and record beside the payload.
type Instruments struct {
	Counters []Counter
	Profiler Recorder // --profile
	Tracer   Recorder // --syscalls
}
