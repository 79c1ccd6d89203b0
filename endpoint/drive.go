package endpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"zcbench/internal/cpuclock"
	"zcbench/results"
)

// Trial is one run as its driver wants it. A nil client is a raw end: a plain
// TCP peer that is not ours.
type Trial struct {
	RX, TX         *Client
	RXWant, TXWant Prepare
	Cell           string         // "": the hash of Settings
	Repeat         int            // from 0
	Settings       map[string]any // what identifies the cell, for the record
	Command        string         // the user's own, for the record
	// Live, when set, is given both ends' samples as they come; only an
	// agent that is reached without a network is asked for them.
	Live           func(Role, Sample)
	LiveRX, LiveTX bool
	// Power is read from before the run until after it, and for Baseline before
	// anything is prepared.
	Power    []Metering
	Baseline time.Duration
	// Unattended goes on without a meter that does not answer; else that fails
	// the trial, whose user is there to see it.
	Unattended bool
	// Refused, when set, is why the trial cannot begin; it still gets its
	// record.
	Refused error

	shared Sharing // whether both ends run on one kernel
}

// lead is how far ahead of now the payload starts: both ends must have heard.
const lead = 200 * time.Millisecond

// Drive runs a trial once and returns its record. On an error the record says
// failed or, for Unsupported, skipped, with the reason; the error carries the
// kind for the exit code. The clients of a failed trial are closed.
func Drive(ctx context.Context, t Trial) (results.Record, error) {
	started := time.Now()
	if t.Cell == "" {
		t.Cell = CellID(t.Settings)
	}
	rec, err := results.Record{}, t.Refused
	if err == nil {
		rec, err = drive(ctx, &t)
	}
	if rec.RX == nil && rec.TX == nil {
		rec.RX = &results.End{Engine: t.RXWant.Engine}
		rec.TX = &results.End{Engine: t.TXWant.Engine}
	}
	rec.Schema = results.Schema
	rec.ID = newID()
	rec.Repeat = t.Repeat
	rec.Settings, rec.Command = t.Settings, t.Command
	rec.Cell = t.Cell
	if rec.Started == "" {
		rec.Started = started.Format(time.RFC3339Nano)
	}
	if err != nil {
		rec.Status = results.Failed
		if KindOf(err) == Unsupported {
			rec.Status = results.Skipped
		}
		rec.Reason = err.Error()
		for _, c := range []*Client{t.RX, t.TX} {
			if c != nil {
				c.link.goodbye(err)
				c.Close()
			}
		}
	}
	return rec, err
}

// CellID is the identity of a cell: a hash of its resolved settings.
func CellID(settings map[string]any) string {
	b, err := json.Marshal(settings) // maps are encoded in key order
	if err != nil {
		return ""
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:6])
}

// busy tells both ends that it takes so long until they are asked something.
func (t *Trial) busy(most time.Duration) {
	for _, c := range []*Client{t.RX, t.TX} {
		if c != nil {
			c.link.busy(most)
		}
	}
}

// end is a driver's state of one side.
type end struct {
	role   Role
	c      *Client
	want   *Prepare
	live   bool
	offset int64
	unsure int64
	result *Result
	marks  [][]byte // that data connections have, which are the run's
}

func drive(ctx context.Context, t *Trial) (results.Record, error) {
	rx := &end{role: RX, c: t.RX, want: &t.RXWant, live: t.LiveRX}
	tx := &end{role: TX, c: t.TX, want: &t.TXWant, live: t.LiveTX}
	var ends []*end
	for _, e := range []*end{rx, tx} {
		if e.c != nil {
			ends = append(ends, e)
		}
	}
	kin := kinOf(t.RX, t.TX)
	rx.want.Kin, tx.want.Kin = kin, kin
	rx.want.PeerSet, tx.want.PeerSet = tx.want.ScopeSet, rx.want.ScopeSet
	var rec results.Record
	for _, e := range ends {
		v := &results.End{Engine: e.want.Engine, CPUScope: string(e.want.Scope), Syscalls: map[string]uint64{}, Counters: map[string]float64{}}
		if e.role == RX {
			rec.RX = v
		} else {
			rec.TX = v
		}
	}
	defer t.busy(0)
	t.busy(4 * owedWait)
	for _, e := range ends {
		var err error
		if e.offset, e.unsure, err = e.c.clockOffset(ctx); err != nil {
			return rec, err
		}
	}
	if err := t.compareHosts(ctx, &rec); err != nil {
		return rec, err
	}
	watts, err := t.openPower(ctx)
	if err != nil {
		return rec, err
	}
	// The receiver first: it says where it listens.
	for _, e := range ends {
		if e == tx && rx.c != nil {
			tx.want.DataPort = rx.want.DataPort
		}
		t.busy(e.want.preparing())
		pr, err := e.c.prepare(ctx, e.want)
		if err != nil {
			if e == tx && rx.c != nil {
				// A receiver that died meanwhile is why nobody answers the sender.
				if died := rx.c.ended(); died != nil {
					err = died
				}
			}
			return rec, err
		}
		if e.role == RX {
			rec.Facts.RX = pr.Facts
		} else {
			rec.Facts.TX = pr.Facts
		}
		e.want.DataPort = pr.DataPort
		if e == tx {
			rx.marks = pr.Marks
		}
		if len(pr.Changes) > 0 {
			if rec.Tuned == nil {
				rec.Tuned = map[string][]string{}
			}
			rec.Tuned[string(e.role)] = pr.Changes
		}
	}
	rec.Started = time.Now().Add(lead + rx.want.Omit).Format(time.RFC3339Nano)
	// Where the sender is in this process, so is what beats for the receiver.
	shared := rx.c != nil && tx.c != nil && tx.c.link.within()
	before := 0.0
	if shared {
		rx.c.link.keepOff(tx.want.CPUs)
		before = rx.c.link.cost()
	}
	seen := map[Role][]Sample{}
	if err := t.measure(ctx, ends, func(role Role, s Sample) {
		seen[role] = append(seen[role], s)
		if t.Live != nil {
			t.Live(role, s)
		}
	}); err != nil {
		for _, e := range ends {
			e.salvage(&rec, seen[e.role])
		}
		return rec, err
	}
	if shared {
		tx.result.Counters["heartbeat_cpu_seconds"] = rx.c.link.cost() - before
	}
	first := ends[0] // the receiver, where it is ours
	rec.Started = first.result.window(first.want, first.offset).From.Format(time.RFC3339Nano)
	err = summarize(&rec, rx, tx)
	if t.RX != nil && t.TX != nil && t.shared != OneHost {
		rec.Warnings = append(rec.Warnings, unlike(rec.Facts.RX, rec.Facts.TX)...)
	}
	rec.Notes = append(rec.Notes, t.notes(&rec)...)
	t.busy(telling(2 * maxMeters))
	watts.read(ctx, &rec, rx, tx)
	return rec, err
}

// salvage puts what is known of one end of a run that failed into its record: its
// result, or what it told meanwhile.
func (e *end) salvage(rec *results.Record, seen []Sample) {
	r := e.result
	if r == nil {
		r = &Result{Samples: seen}
	}
	if len(r.Samples) < 2 {
		return
	}
	v := rec.RX
	if e.role == TX {
		v = rec.TX
	}
	r.describe(v, e)
	rec.Samples = append(rec.Samples, r.intervals(e.role)...)
	rec.Flows = r.connections(e.role, rec.Flows)
	rec.Warnings = append(rec.Warnings, r.Warnings...)
}

// compareHosts holds what the run was placed for against what the two ends'
// kernels show: CPU time of one host must not be counted for both ends.
func (t *Trial) compareHosts(ctx context.Context, rec *results.Record) (err error) {
	if t.RX == nil || t.TX == nil {
		return nil
	}
	if t.shared, err = Shared(ctx, t.RX, t.TX); err != nil {
		return err
	}
	hosts := t.RXWant.Scope == ScopeHost || t.TXWant.Scope == ScopeHost
	switch {
	case t.shared == OneHost && hosts:
		return Errorf(Usage, "both ends run on one host, and the run was planned for two, each with a host's CPU time to itself: plan it anew")
	case t.shared == HostUnknown && hosts:
		rec.Warnings = append(rec.Warnings, results.Warn(results.HostUnknown, "whether both ends run on one host is not known, since their boot IDs differ and /proc/vmstat or /proc/softirqs cannot be read on one of them; each end's cpu_percent is that of all CPUs it sees: if they are the same CPUs, it is counted twice"))
	}
	return nil
}

// notes are what is to be known of every run over such a pair.
func (t *Trial) notes(rec *results.Record) (notes []string) {
	nic, _ := rec.Facts.RX["nic"].(map[string]any)
	steered := func(name string) bool { return strings.Contains(name, "rps") }
	if t.shared == OneHost && t.RXWant.Scope == ScopeCPUSet && nic["kind"] == "veth" &&
		!slices.ContainsFunc(slices.Collect(maps.Keys(t.RXWant.Settings)), steered) {
		notes = append(notes, results.Warn(results.VethSoftirq, "a veth pair receives in softirq on the CPU that sends: most of what TCP does for the receiver is in the sender's CPU time, and what it does for acknowledgements in the receiver's, unless receive packet steering moves it (--softirq-cpus)"))
	}
	return notes
}

// half is one end's own record of a run that another process drives.
func half(p *Prepare, facts results.Facts, res *Result) results.Record {
	e := &end{role: p.Role, want: p, result: res}
	v := &results.End{Engine: p.Engine, CPUScope: string(p.Scope)}
	rec := results.Record{Schema: results.Schema, ID: newID(), Status: results.OK}
	if p.Role == RX {
		rec.RX, rec.Facts.RX = v, facts
	} else {
		rec.TX, rec.Facts.TX = v, facts
	}
	rec.Window, rec.Gbps = res.rate()
	res.describe(v, e)
	res.explain(facts)
	rec.Samples = res.intervals(p.Role)
	rec.Notes = append(rec.Notes, res.merged(p)...)
	rec.Flows = res.connections(p.Role, nil)
	rec.Warnings = res.Warnings
	rec.Notes = append(res.Notes, results.Warn(results.HalfRecord, "this is the %s's half of the run; the other end's output has the record of both", map[Role]string{RX: "receiver", TX: "sender"}[p.Role]))
	rec.Derive()
	return rec
}

func newID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// measure starts all ends at one time and waits for all results.
func (t *Trial) measure(ctx context.Context, ends []*end, live func(Role, Sample)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slack := int64(lead)
	for _, e := range ends {
		slack = max(slack, 4*e.unsure)
	}
	at := Monotonic() + slack
	errs := make(chan error, len(ends))
	var showing sync.Mutex // live has one caller at a time
	for _, e := range ends {
		go func() {
			over := time.Duration(0)
			if e.want.Time > 0 && !(e.want.Raw && e.role == RX) {
				over = time.Duration(slack) + e.want.Omit + e.want.Time
			}
			var err error
			e.result, err = e.c.measure(ctx, Start{At: at + e.offset, Live: e.live, Marks: e.marks}, over, func(s Sample) {
				if live != nil {
					showing.Lock()
					defer showing.Unlock()
					live(e.role, s)
				}
			})
			errs <- err
		}()
	}
	// When one end fails the other does too, as a consequence. The cause is
	// what counts, whichever is heard first.
	var first error
	for range ends {
		err := <-errs
		if err == nil {
			t.busy(endingWait) // for the other end
			continue
		}
		if first == nil || KindOf(first) == PeerGone {
			first = err
		}
		cause := first
		time.AfterFunc(drainWait/4, func() { cancel(cause) })
	}
	return first
}

// summarize derives the record's figures from both results and refuses totals
// that contradict each other.
func summarize(rec *results.Record, rx, tx *end) error {
	rec.Status = results.OK
	var notes []string
	if rx.result != nil {
		rec.Window, rec.Gbps = rx.result.rate()
	} else {
		rec.Window, rec.Gbps = tx.result.rate()
		rec.Notes = append(rec.Notes, results.Warn(results.PlainPeer, "the receiver is a plain TCP peer: bytes and Gbit/s are the sender's own"))
	}
	for _, e := range []*end{rx, tx} {
		if e.result == nil {
			continue
		}
		v := rec.RX
		if e.role == TX {
			v = rec.TX
		}
		e.result.describe(v, e)
		e.result.explain(map[Role]results.Facts{RX: rec.Facts.RX, TX: rec.Facts.TX}[e.role])
		rec.Samples = append(rec.Samples, e.result.intervals(e.role)...)
		rec.Notes = append(rec.Notes, e.result.merged(e.want)...)
		rec.Flows = e.result.connections(e.role, rec.Flows)
		rec.Warnings = append(rec.Warnings, e.result.Warnings...)
		notes = append(notes, e.result.Notes...)
		if warning := e.doubt(v); warning != "" {
			rec.Warnings = append(rec.Warnings, warning)
		}
		if e.unsure > int64(e.want.Time/100) && e.want.Time > 0 {
			rec.Warnings = append(rec.Warnings, results.Warn(results.ClocksUnsure, "%s: the ends' clocks are known to each other within %s only, over 1%% of the window", e.role, time.Duration(e.unsure)))
		}
	}
	rec.Notes = append(rec.Notes, ofBoth(notes)...)
	if tx.c == nil {
		rec.Notes = append(rec.Notes, results.Warn(results.PlainPeer, "the sender is a plain TCP peer: nothing is known of its CPU and copies"))
	}
	for _, e := range []*end{rx, tx} {
		if e.result != nil && e.want.Scope == ScopeThread {
			rec.Warnings = append(rec.Warnings, results.Warn(results.CPUShared, "both ends share this host's CPUs: cpu_percent is that of each end's threads; softirq work counts for the thread it interrupted; the times of single CPUs are of both"))
			break
		}
	}
	if warning := differ(rx, tx); warning != "" {
		rec.Warnings = append(rec.Warnings, warning)
	}
	if rx.result != nil && tx.result != nil {
		rec.Warnings = append(rec.Warnings, compare(rx, tx)...)
	}
	rec.Derive()
	if rx.result != nil && tx.result != nil && !rx.result.Cut && !tx.result.Cut {
		if rx.result.Total != tx.result.Total {
			return Errorf(Failed, "the sender counted %d bytes over the whole run and the receiver %d: one of them is wrong", tx.result.Total, rx.result.Total)
		}
	}
	if rec.Bytes == 0 {
		if rx.want.Engine != "null" && tx.want.Engine != "null" {
			return Errorf(Failed, "no payload crossed in the window")
		}
		rec.Notes = append(rec.Notes, results.Warn(results.NullEngine, "the null engine moves no payload: the CPU figures are zcbench's own"))
	}
	return nil
}

// ofBoth says once what is so of both ends.
func ofBoth(endNotes []string) (notes []string) {
	rx, tx := string(RX)+": ", string(TX)+": "
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
func compare(rx, tx *end) (warnings []string) {
	type window struct{ from, to, bytes float64 } // seconds on our clock
	of := func(e *end) window {
		a, b := e.result.edges()
		base := float64(e.result.Opened-e.offset) / 1e9
		return window{base + float64(a.At)/1e9, base + float64(b.At)/1e9, float64(b.bytes() - a.bytes())}
	}
	r, t := of(rx), of(tx)
	longer := max(r.to-r.from, t.to-t.from)
	common := min(r.to, t.to) - max(r.from, t.from)
	unsure := float64(rx.unsure+tx.unsure) / 1e9
	if longer-common > float64(tolerance(time.Duration(longer*1e9)))/1e9+unsure {
		warnings = append(warnings, results.Warn(results.WindowsApart, "the ends measured at the same time for %.3f s only of %.3f s: the receiver's window began %+.3f s and ended %+.3f s after the sender's; figures of the two ends are not of one time",
			max(0, common), longer, r.from-t.from, r.to-t.to))
	}
	if common < 0.9*longer-unsure {
		warnings = append(warnings, results.Warn(results.WindowsDisjoint, "the ends' windows have %.0f%% in common: the receiver's throughput and the sender's cost are of different times, so there is no ROI of the sender and of both, and no sum of both", 100*max(0, common)/longer))
	}
	// What one window has and the other has not: at its edges, and what had
	// arrived and its acknowledgement not. That is less than the shortest round
	// trip, whatever queues the payload passes.
	away := 0.0
	for _, e := range []*end{rx, tx} {
		for _, f := range e.result.Flows {
			away = max(away, f.MinRTT/1e6)
		}
	}
	slack := math.Abs(r.from-t.from) + math.Abs(r.to-t.to) + 2*unsure + 2*away
	most, differ := max(r.bytes, t.bytes), math.Abs(r.bytes-t.bytes)
	if longer > 0 && differ > max(most/100, fewBytes)+most/longer*slack {
		warnings = append(warnings, results.Warn(results.BytesDiffer, "the sender moved %.0f bytes in the window and the receiver %.0f: they differ by %.1f%%, more than the edges of the window explain; throughput is known to that only", t.bytes, r.bytes, 100*differ/most))
	}
	return warnings
}

// connections adds one end's flows to those of a record.
func (r *Result) connections(role Role, to []results.Connection) []results.Connection {
	known := func(v float64) *float64 {
		if v <= 0 {
			return nil
		}
		v = round(v)
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
			stall := round(float64(f.Stall) / 1e9)
			e.Stall, e.StallAt = &stall, round(float64(f.StallAt)/1e9)
		}
		if role == RX {
			to[i].RX = e
		} else {
			to[i].TX = e
		}
	}
	return to
}

func (r *Result) edges() (first, last Sample) {
	return r.Samples[0], r.Samples[len(r.Samples)-1]
}

func (s Sample) bytes() uint64 { return s.ZeroCopied + s.Copied }

// rate is the window's length in seconds and its payload in Gbit/s.
func (r *Result) rate() (seconds, gbps float64) {
	a, b := r.edges()
	seconds = float64(b.At-a.At) / 1e9
	if seconds <= 0 {
		return 0, 0
	}
	return seconds, float64(b.bytes()-a.bytes()) * 8 / 1e9 / seconds
}

func (r *Result) describe(v *results.End, e *end) {
	a, b := r.edges()
	v.Bytes = b.bytes() - a.bytes()
	v.ZeroCopiedBytes = b.ZeroCopied - a.ZeroCopied
	v.CopiedBytes = b.Copied - a.Copied
	v.UnknownBytes = b.Unknown - a.Unknown
	v.CPUPercent = percent(a, b, a.Busy, b.Busy)
	v.CPUMethod = r.CPUMethod
	if r.CPUError > 0 {
		v.CPUError = &r.CPUError
	}
	if a.Second != nil && b.Second != nil {
		v.CPUSecond, v.CPUSecondMethod = percent(a, b, *a.Second, *b.Second), r.CPUSecond
	}
	if a.Ticks != nil && b.Ticks != nil {
		v.CPUTicks = percent(a, b, *a.Ticks, *b.Ticks)
	}
	var idle *float64
	if a.Iowait != nil && b.Iowait != nil {
		v.IowaitPercent = percent(a, b, *a.Iowait, *b.Iowait)
	}
	if a.Idle != nil && b.Idle != nil {
		idle = percent(a, b, *a.Idle, *b.Idle)
	}
	v.Verify = a.Verify
	v.Congestion, v.Socket, v.Options = r.Congestion, r.Socket, r.Options
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
	v.Counters["clock_uncertainty_us"] = float64(e.unsure) / 1e3
}

// explain adds what could not be read to a host's facts, where they say what
// is missing.
func (r *Result) explain(facts results.Facts) {
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
func (e *end) doubt(v *results.End) (warning string) {
	r := e.result
	if v.CPUPercent == nil || e.want.Scope == ScopeThread {
		return ""
	}
	a, b := r.edges()
	seconds := float64(b.At-a.At) / 1e9
	if a.Second != nil && b.Second != nil && r.contradict(b.Busy-a.Busy, *b.Second-*a.Second, seconds, v.Counters["voluntary_switches"]) {
		second := (*b.Second - *a.Second) / seconds * 100
		return results.Warn(results.ClocksDiffer, "%s: CPU time is %.1f%% by %s and %.1f%% by %s, which both were right when they were calibrated: they differ by %.1f%% of a CPU, and so may the truth",
			e.role, *v.CPUPercent, r.CPUMethod, second, r.CPUSecond, math.Abs(second-*v.CPUPercent))
	}
	threads := v.Counters["rusage_user_seconds"] + v.Counters["rusage_system_seconds"]
	threads -= r.CPUError / 100 * seconds
	if threads < b.Busy-a.Busy || !apart(b.Busy-a.Busy, threads, seconds, r.CPUScoped) {
		return ""
	}
	return results.Warn(results.ClocksDiffer, "%s: CPU time is %.1f%% by %s, yet this end's own threads ran for %.1f%%: the figure misses some of it, or threads ran on CPUs that are not counted",
		e.role, *v.CPUPercent, r.CPUMethod, threads/seconds*100+r.CPUError)
}

// contradict says whether what the two clocks say cannot both be, in seconds of CPU
// time. Where a thread waits and is woken, the idle task leaves its state and
// enters another; only one kind of clock counts that. By the kernel's tracepoints
// it takes 1 to 2 µs on a virtual machine.
func (r *Result) contradict(busy, second, window, waits float64) bool {
	const wake = 3e-6
	switch idle := cpuclock.Idling(r.CPUMethod); {
	case idle == cpuclock.Idling(r.CPUSecond):
	case idle && busy > second:
		second = min(busy, second+wake*waits)
	case !idle && second > busy:
		busy = min(second, busy+wake*waits)
	}
	return apart(busy, second, window, r.CPUScoped)
}

// percent is CPU seconds over wall seconds, 100 for one CPU. The iowait of
// /proc/stat can go backwards (proc(5)); that is shown as 0.
func percent(a, b Sample, from, to float64) *float64 {
	s := float64(b.At-a.At) / 1e9
	if s <= 0 {
		return nil
	}
	v := max(0, (to-from)/s*100)
	return &v
}

func (r *Result) intervals(role Role) []results.Sample {
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
func Interval(role Role, a, b Sample) results.Sample {
	s := results.Sample{End: string(role), Start: float64(a.At) / 1e9, Seconds: float64(b.At-a.At) / 1e9, Bytes: b.bytes() - a.bytes()}
	s.CPUPercent = percent(a, b, a.Busy, b.Busy)
	if s.Seconds > 0 {
		s.Gbps = float64(s.Bytes) * 8 / 1e9 / s.Seconds
	}
	return s
}

// Bounds of what a peer may say of its clock.
const (
	maxMethod = 32
	maxCPUs   = 1 << 14
)

// check refuses a peer's result that arithmetic cannot be done on.
func (r *Result) check() error {
	if r == nil || len(r.Samples) < 2 {
		return errors.New("a result without samples")
	}
	for i := 1; i < len(r.Samples); i++ {
		a, b := r.Samples[i-1], r.Samples[i]
		if b.At <= a.At || b.ZeroCopied < a.ZeroCopied || b.Copied < a.Copied || b.Unknown < a.Unknown {
			return fmt.Errorf("sample %d of the result runs backwards", i)
		}
	}
	if len(r.Congestion) > maxControls || len(r.Options) > maxOptions {
		return fmt.Errorf("a result with a congestion control of %d characters and %d options", len(r.Congestion), len(r.Options))
	}
	if strings.Trim(r.CPUMethod+r.CPUSecond, "abcdefghijklmnopqrstuvwxyz+") != "" {
		return fmt.Errorf("a result with a clock of CPU time %q", clip(r.CPUMethod+r.CPUSecond))
	}
	if len(r.CPUMethod) > maxMethod || len(r.CPUSecond) > maxMethod || !(r.CPUError >= 0) || r.CPUError > 100*maxCPUs || r.CPUScoped < 0 || r.CPUScoped > maxCPUs {
		return fmt.Errorf("a result with a clock of CPU time of %d characters, %d CPUs and an error of %g%%", len(r.CPUMethod), r.CPUScoped, r.CPUError)
	}
	if len(r.Flows) > maxFlows {
		return fmt.Errorf("a result of %d flows", len(r.Flows))
	}
	for i, f := range r.Flows {
		if f.Stall < 0 || f.Stall > int64(maxTime) || f.StallAt < -int64(maxTime) || f.StallAt > int64(maxTime) || f.RTT < 0 || f.MinRTT < 0 {
			return fmt.Errorf("flow %d of the result has times that no run has", i+1)
		}
	}
	if n := len(r.Series); n > 0 && n != len(r.Samples)-1 {
		return fmt.Errorf("a result of %d series for %d samples", n, len(r.Samples))
	}
	return nil
}
