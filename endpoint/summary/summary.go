// Package summary makes a record of what the ends of a run measured.
package summary

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/cpuclock"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Side is one end of a run, as its part of a record is made from it.
type Side struct {
	Role   endpoint.Role
	Want   *wire.Prepare
	Result *wire.Result // nil: the peer is a plain TCP program, or the run has none
	Offset int64        // how far the end's CLOCK_MONOTONIC is ahead of the driver's, ns
	Unsure int64        // how wrong that may be, ns
}

// Salvage puts what is known of one end of a run that failed into its record: its
// result, or what it told meanwhile.
func (e *Side) Salvage(rec *results.Record, seen []wire.Sample) {
	r := e.Result
	if r == nil {
		r = &wire.Result{Samples: seen}
	}
	if len(r.Samples) < 2 {
		return
	}
	v := rec.RX
	if e.Role == endpoint.TX {
		v = rec.TX
	}
	describe(r, v, e)
	rec.Samples = append(rec.Samples, intervals(r, e.Role)...)
	rec.Flows = connections(r, e.Role, rec.Flows)
	rec.Warnings = append(rec.Warnings, r.Warnings...)
}

// Half is one end's own record of a run that another process drives.
func Half(p *wire.Prepare, facts results.Facts, res *wire.Result) results.Record {
	e := &Side{Role: p.Role, Want: p, Result: res}
	v := &results.End{Engine: p.Engine, CPUScope: string(p.Scope)}
	rec := results.Record{Schema: results.Schema, ID: NewID(), Status: results.OK}
	if p.Role == endpoint.RX {
		rec.RX, rec.Facts.RX = v, facts
	} else {
		rec.TX, rec.Facts.TX = v, facts
	}
	rec.Window, rec.Gbps = res.Rate()
	describe(res, v, e)
	explain(res, facts)
	rec.Samples = intervals(res, p.Role)
	rec.Notes = append(rec.Notes, merged(res, p)...)
	rec.Flows = connections(res, p.Role, nil)
	rec.Warnings = res.Warnings
	rec.Notes = append(append(rec.Notes, res.Notes...), caveat.Warn(caveat.HalfRecord, "this is the %s's half of the run; the other end's "+
		"output has the record of both", map[endpoint.Role]string{endpoint.RX: "receiver", endpoint.TX: "sender"}[p.Role]))
	rec.Derive()
	return rec
}

// NewID is a new record's.
func NewID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// Fill derives the record's figures from both results and refuses totals
// that contradict each other.
func Fill(rec *results.Record, rx, tx *Side) error {
	rec.Status = results.OK
	var notes []string
	if rx.Result != nil {
		rec.Window, rec.Gbps = rx.Result.Rate()
	} else {
		rec.Window, rec.Gbps = tx.Result.Rate()
		rec.Notes = append(rec.Notes, caveat.Warn(caveat.PlainPeer, "the receiver is a plain TCP peer: bytes and Gbit/s are the sender's own"))
	}
	for _, e := range []*Side{rx, tx} {
		if e.Result == nil {
			continue
		}
		v := rec.RX
		if e.Role == endpoint.TX {
			v = rec.TX
		}
		describe(e.Result, v, e)
		explain(e.Result, map[endpoint.Role]results.Facts{endpoint.RX: rec.Facts.RX, endpoint.TX: rec.Facts.TX}[e.Role])
		rec.Samples = append(rec.Samples, intervals(e.Result, e.Role)...)
		rec.Notes = append(rec.Notes, merged(e.Result, e.Want)...)
		rec.Flows = connections(e.Result, e.Role, rec.Flows)
		rec.Warnings = append(rec.Warnings, e.Result.Warnings...)
		notes = append(notes, e.Result.Notes...)
		if warning := e.doubt(v); warning != "" {
			rec.Warnings = append(rec.Warnings, warning)
		}
		if e.Unsure > int64(e.Want.Time/100) && e.Want.Time > 0 {
			rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.ClocksUnsure, "%s: the ends' clocks are known to each other within %s only, "+
				"over 1%% of the window", e.Role, time.Duration(e.Unsure)))
		}
	}
	rec.Notes = append(rec.Notes, ofBoth(notes)...)
	if tx.Result == nil {
		rec.Notes = append(rec.Notes, caveat.Warn(caveat.PlainPeer, "the sender is a plain TCP peer: nothing is known of its CPU and copies"))
	}
	for _, e := range []*Side{rx, tx} {
		if e.Result != nil && e.Want.Scope == wire.ScopeThread {
			rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.CPUShared, "both ends share this host's CPUs: cpu_percent is that of each "+
				"end's threads; softirq work counts for the thread it interrupted; the times of single CPUs are of both"))
			break
		}
	}
	if warning := differ(rx, tx); warning != "" {
		rec.Warnings = append(rec.Warnings, warning)
	}
	if rx.Result != nil && tx.Result != nil {
		rec.Warnings = append(rec.Warnings, compare(rx, tx)...)
	}
	rec.Derive()
	if rx.Result != nil && tx.Result != nil && !rx.Result.Cut && !tx.Result.Cut {
		if rx.Result.Total != tx.Result.Total {
			return fault.Errorf(fault.Failed, "the sender counted %d bytes over the whole run and the receiver %d: one of them is wrong",
				tx.Result.Total, rx.Result.Total)
		}
	}
	if rec.Bytes == 0 {
		if !movesNothing(rx) && !movesNothing(tx) {
			return fault.Errorf(fault.Failed, "no payload crossed in the window")
		}
		rec.Notes = append(rec.Notes, caveat.Warn(caveat.NullEngine, "the null engine moves no payload: the CPU figures are zcbench's own"))
	}
	return nil
}

// movesNothing says that the engine of an end is none that moves payload.
func movesNothing(s *Side) bool {
	return s.Result != nil && slices.Contains(s.Result.Traits, endpoint.TraitNoPayload)
}

// ofBoth says once what is so of both ends.
func ofBoth(endNotes []string) (notes []string) {
	rx, tx := string(endpoint.RX)+": ", string(endpoint.TX)+": "
	for _, note := range endNotes {
		ofRX, isRX := strings.CutPrefix(note, rx)
		ofTX, isTX := strings.CutPrefix(note, tx)
		switch {
		case isRX && slices.Contains(endNotes, tx+ofRX):
			notes = append(notes, "both ends: "+strings.TrimPrefix(note, rx))
		case isTX && slices.Contains(endNotes, rx+ofTX): // as just said
		default:
			notes = append(notes, note)
		}
	}
	return notes
}

// compare finds what the two ends' windows do not agree on.
func compare(rx, tx *Side) (warnings []string) {
	type window struct{ from, to, bytes float64 } // seconds on our clock
	of := func(e *Side) window {
		a, b := e.Result.Edges()
		base := float64(e.Result.Opened-e.Offset) / 1e9
		return window{base + float64(a.At)/1e9, base + float64(b.At)/1e9, float64(b.Bytes() - a.Bytes())}
	}
	r, t := of(rx), of(tx)
	longer := max(r.to-r.from, t.to-t.from)
	common := min(r.to, t.to) - max(r.from, t.from)
	unsure := float64(rx.Unsure+tx.Unsure) / 1e9
	if longer-common > float64(Tolerance(time.Duration(longer*1e9)))/1e9+unsure {
		warnings = append(warnings, caveat.Warn(caveat.WindowsApart, "the ends measured at the same time for %.3f s only of %.3f s: the "+
			"receiver's window began %+.3f s and ended %+.3f s after the sender's; figures of the two ends are not of one time",
			max(0, common), longer, r.from-t.from, r.to-t.to))
	}
	if common < 0.9*longer-unsure {
		warnings = append(warnings, caveat.Warn(caveat.WindowsDisjoint, "the ends' windows have %.0f%% in common: the receiver's throughput "+
			"and the sender's cost are of different times, so there is no ROI of the sender and of both, and no sum of both", 100*max(0,
			common)/longer))
	}
	// What one window has and the other has not: at its edges, and what had
	// arrived and its acknowledgement not. That is less than the shortest round
	// trip, whatever queues the payload passes.
	away := 0.0
	for _, e := range []*Side{rx, tx} {
		for _, f := range e.Result.Flows {
			away = max(away, f.MinRTT/1e6)
		}
	}
	slack := math.Abs(r.from-t.from) + math.Abs(r.to-t.to) + 2*unsure + 2*away
	most, differ := max(r.bytes, t.bytes), math.Abs(r.bytes-t.bytes)
	if longer > 0 && differ > max(most/100, FewBytes)+most/longer*slack {
		warnings = append(warnings, caveat.Warn(caveat.BytesDiffer, "the sender moved %.0f bytes in the window and the receiver %.0f: they "+
			"differ by %.1f%%, more than the edges of the window explain; throughput is known to that only", t.bytes, r.bytes, 100*differ/most))
	}
	return warnings
}

// connections adds one end's flows to those of a record.
func connections(r *wire.Result, role endpoint.Role, to []results.Connection) []results.Connection {
	known := func(v float64) *float64 {
		if v <= 0 {
			return nil
		}
		v = results.Round(v)
		return &v
	}
	for i, f := range r.Flows {
		if i == len(to) {
			to = append(to, results.Connection{})
		}
		e := &results.ConnectionEnd{
			Bytes: f.Bytes, Retransmits: f.Retransmits, RTT: known(f.RTT), MinRTT: known(f.MinRTT),
		}
		if !f.StallUnknown {
			stall := results.Round(float64(f.Stall) / 1e9)
			e.Stall, e.StallAt = &stall, results.Round(float64(f.StallAt)/1e9)
		}
		if role == endpoint.RX {
			to[i].RX = e
		} else {
			to[i].TX = e
		}
	}
	return to
}

func describe(r *wire.Result, v *results.End, e *Side) {
	a, b := r.Edges()
	v.Bytes = b.Bytes() - a.Bytes()
	v.ZeroCopiedBytes = b.ZeroCopied - a.ZeroCopied
	v.CopiedBytes = b.Copied - a.Copied
	v.UnknownBytes = b.Unknown - a.Unknown
	v.CPUPercent = Percent(a, b, a.Busy, b.Busy)
	v.CPUMethod = r.CPUMethod
	if r.CPUError > 0 {
		v.CPUError = &r.CPUError
	}
	if a.Second != nil && b.Second != nil {
		v.CPUSecond, v.CPUSecondMethod = Percent(a, b, *a.Second, *b.Second), r.CPUSecond
	}
	if a.Ticks != nil && b.Ticks != nil {
		v.CPUTicks = Percent(a, b, *a.Ticks, *b.Ticks)
	}
	var idle *float64
	if a.Iowait != nil && b.Iowait != nil {
		v.IowaitPercent = Percent(a, b, *a.Iowait, *b.Iowait)
	}
	if a.Idle != nil && b.Idle != nil {
		idle = Percent(a, b, *a.Idle, *b.Idle)
	}
	v.Verify = a.Verify
	v.Congestion, v.Socket, v.Options, v.Traits = r.Congestion, r.Socket, r.Options, r.Traits
	v.CPUs, v.SyscallCosts, v.Profile = r.CPUs, r.SyscallCosts, r.Profile
	v.Syscalls = r.Syscalls
	v.Counters = maps.Clone(r.Counters)
	if v.Counters == nil {
		v.Counters = map[string]float64{}
	}
	v.Counters["total_bytes"] = float64(r.Total)
	if idle != nil {
		v.Counters["cpu_idle_percent"] = *idle
	}
	if r.Checked != nil {
		v.Counters["validated_bytes"] = float64(*r.Checked)
	}
	v.Counters["clock_uncertainty_us"] = float64(e.Unsure) / 1e3
}

// explain adds what could not be read to a host's facts, where they say what
// is missing.
func explain(r *wire.Result, facts results.Facts) {
	missing, ok := facts["missing"].(map[string]any)
	if !ok {
		return
	}
	for name, why := range r.Missing {
		missing[name] = why
	}
}

// doubt compares the CPU figure with other clocks of the same window: one that
// was right too when they were calibrated, and the exact run time of this end's
// own threads, which is a part of it.
func (e *Side) doubt(v *results.End) (warning string) {
	r := e.Result
	if v.CPUPercent == nil || e.Want.Scope == wire.ScopeThread {
		return ""
	}
	a, b := r.Edges()
	seconds := float64(b.At-a.At) / 1e9
	if a.Second != nil && b.Second != nil && contradict(r, b.Busy-a.Busy, *b.Second-*a.Second, seconds, v.Counters["voluntary_switches"]) {
		second := (*b.Second - *a.Second) / seconds * 100
		return caveat.Warn(caveat.ClocksDiffer, "%s: CPU time is %.1f%% by %s and %.1f%% by %s, which both were right when they were "+
			"calibrated: they differ by %.1f%% of a CPU, and so may the truth",
			e.Role, *v.CPUPercent, r.CPUMethod, second, r.CPUSecond, math.Abs(second-*v.CPUPercent))
	}
	threads := v.Counters["rusage_user_seconds"] + v.Counters["rusage_system_seconds"]
	threads -= r.CPUError / 100 * seconds
	if threads < b.Busy-a.Busy || !Apart(b.Busy-a.Busy, threads, seconds, r.CPUScoped) {
		return ""
	}
	return caveat.Warn(caveat.ClocksDiffer, "%s: CPU time is %.1f%% by %s, yet this end's own threads ran for %.1f%%: the figure misses "+
		"some of it, or threads ran on CPUs that are not counted",
		e.Role, *v.CPUPercent, r.CPUMethod, threads/seconds*100+r.CPUError)
}

// contradict says whether what the two clocks say cannot both be, in seconds of CPU
// time. Where a thread waits and is woken, the idle task leaves its state and
// enters another; only one kind of clock counts that. By the kernel's tracepoints
// it takes 1 to 2 µs on a virtual machine.
func contradict(r *wire.Result, busy, second, window, waits float64) bool {
	const wake = 3e-6
	switch idle := cpuclock.Idling(r.CPUMethod); {
	case idle == cpuclock.Idling(r.CPUSecond):
	case idle && busy > second:
		second = min(busy, second+wake*waits)
	case !idle && second > busy:
		busy = min(second, busy+wake*waits)
	}
	return Apart(busy, second, window, r.CPUScoped)
}

// Percent is CPU seconds over wall seconds, 100 for one CPU. The iowait of
// /proc/stat can go backwards (proc(5)); that is shown as 0.
func Percent(a, b wire.Sample, from, to float64) *float64 {
	s := float64(b.At-a.At) / 1e9
	if s <= 0 {
		return nil
	}
	v := max(0, (to-from)/s*100)
	return &v
}

func intervals(r *wire.Result, role endpoint.Role) []results.Sample {
	var out []results.Sample
	for i := 1; i < len(r.Samples); i++ {
		s := Interval(role, r.Samples[i-1], r.Samples[i])
		if len(r.Series) > 0 {
			s.Series = r.Series[i-1]
		}
		out = append(out, s)
	}
	return out
}

// Interval is what happened between two samples of one end.
func Interval(role endpoint.Role, a, b wire.Sample) results.Sample {
	s := results.Sample{End: string(role), Start: float64(a.At) / 1e9, Seconds: float64(b.At-a.At) / 1e9, Bytes: b.Bytes() - a.Bytes()}
	s.CPUPercent = Percent(a, b, a.Busy, b.Busy)
	if s.Seconds > 0 {
		s.Gbps = float64(s.Bytes) * 8 / 1e9 / s.Seconds
	}
	return s
}

// TooShort says that so little time is between two samples that rates would tell of
// the reading of clocks, and of what a socket's buffers took at once. Where streams
// end by themselves, or are ended, they do so at any time after a sample.
func TooShort(a, b wire.Sample) bool { return b.At-a.At < int64(wire.MinInterval)/2 }

// merged is the note about a result whose samples are of longer intervals than
// were asked for; "" where they are not.
func merged(r *wire.Result, p *wire.Prepare) (notes []string) {
	var lengths []int64
	for i := 1; i < len(r.Samples); i++ {
		lengths = append(lengths, r.Samples[i].At-r.Samples[i-1].At)
	}
	if len(lengths) < 3 || p.Interval <= 0 {
		return nil
	}
	slices.Sort(lengths)
	every := math.Round(float64(lengths[len(lengths)/2]) / float64(p.Interval))
	if every < 2 {
		return nil
	}
	return append(notes, caveat.Warn(caveat.SamplesMerged, "%s: a record has no room for all samples of so long a window: each of its %d is "+
		"of %s, %.0f intervals of those that were asked for", p.Role, len(lengths), time.Duration(every)*p.Interval, every))
}

// differ says that the ends used two congestion controls. With one that was
// asked for, the sender has it, and where the receiver could be asked too, both.
func differ(rx, tx *Side) (warning string) {
	if rx.Result == nil || tx.Result == nil || tx.Want.Congestion != "" {
		return ""
	}
	a, b := tx.Result.Congestion, rx.Result.Congestion
	if a == "" || b == "" || a == b {
		return ""
	}
	return caveat.Warn(caveat.CongestionDiffers, "tx: the sender's congestion control is %s, which is what counts, and the receiver's %s: "+
		"the other way round this run would be another; give --congestion", a, b)
}

// Rounding is how far CPU time that counts in ticks may be off, in seconds: two
// columns are rounded at both edges, on each CPU, which comes to no more than this
// in 999 of 1000 windows.
func Rounding(cpus int) float64 { return 2 * math.Sqrt(float64(max(1, cpus))) / procfile.Hz }

// Apart says whether two figures of CPU time, in seconds, differ by more than 3 %
// of them, 1 % of a CPU, and what rounding to ticks explains.
func Apart(a, b, window float64, cpus int) bool {
	return math.Abs(a-b) > 0.03*max(a, b)+0.01*window+Rounding(cpus)
}

// FewBytes are too few to tell of, whatever share of the window they are.
const FewBytes = 64 << 10

// Tolerance is how far a time may be from what was asked for: 2% of the window
// and what a busy scheduler takes.
func Tolerance(window time.Duration) int64 { return int64(window/50 + 20*time.Millisecond) }
