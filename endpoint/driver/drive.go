// Package driver asks the agents of both ends for a run and gives its record.
package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Run is one run as its driver wants it. A nil client is a raw end: a plain
// TCP peer that is not ours.
type Run struct {
	RX, TX         *Client
	RXWant, TXWant wire.Prepare
	Cell           string         // "": the hash of Settings
	Repeat         int            // from 0
	Settings       map[string]any // what identifies the cell, for the record
	Command        string         // the user's own, for the record
	// Live, when set, is given both ends' samples as they come; only an
	// agent that is reached without a network is asked for them.
	Live           func(endpoint.Role, wire.Sample)
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
func Drive(ctx context.Context, t Run) (results.Record, error) {
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
	rec.ID = summary.NewID()
	rec.Repeat = t.Repeat
	rec.Settings, rec.Command = t.Settings, t.Command
	rec.Cell = t.Cell
	if rec.Started == "" {
		rec.Started = started.Format(time.RFC3339Nano)
	}
	if err != nil {
		rec.Status = results.Failed
		if fault.Of(err) == fault.Unsupported {
			rec.Status = results.Skipped
		}
		rec.Reason = err.Error()
		for _, c := range []*Client{t.RX, t.TX} {
			if c != nil {
				c.link.Goodbye(err)
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
func (t *Run) busy(most time.Duration) {
	for _, c := range []*Client{t.RX, t.TX} {
		if c != nil {
			c.link.Busy(most)
		}
	}
}

// end is a driver's state of one side.
type end struct {
	summary.Side
	c     *Client
	live  bool
	marks [][]byte // that data connections have, which are the run's
}

func drive(ctx context.Context, t *Run) (results.Record, error) {
	rx := &end{Side: summary.Side{Role: endpoint.RX, Want: &t.RXWant}, c: t.RX, live: t.LiveRX}
	tx := &end{Side: summary.Side{Role: endpoint.TX, Want: &t.TXWant}, c: t.TX, live: t.LiveTX}
	var ends []*end
	for _, e := range []*end{rx, tx} {
		if e.c != nil {
			ends = append(ends, e)
		}
	}
	kin := kinOf(t.RX, t.TX)
	rx.Want.Kin, tx.Want.Kin = kin, kin
	rx.Want.PeerSet, tx.Want.PeerSet = tx.Want.ScopeSet, rx.Want.ScopeSet
	rec := begun(ends)
	defer t.busy(0)
	t.busy(4 * wire.OwedWait)
	for _, e := range ends {
		var err error
		if e.Offset, e.Unsure, err = e.c.clockOffset(ctx); err != nil {
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
	if err := t.prepare(ctx, rx, tx, &rec); err != nil {
		return rec, err
	}
	rec.Started = time.Now().Add(lead + rx.Want.Omit).Format(time.RFC3339Nano)
	// Where the sender is in this process, so is what beats for the receiver.
	shared := rx.c != nil && tx.c != nil && tx.c.link.Within()
	before := 0.0
	if shared {
		rx.c.link.KeepOff(tx.Want.CPUs)
		before = rx.c.link.Cost()
	}
	seen := map[endpoint.Role][]wire.Sample{}
	if err := t.measure(ctx, ends, func(role endpoint.Role, s wire.Sample) {
		seen[role] = append(seen[role], s)
		if t.Live != nil {
			t.Live(role, s)
		}
	}); err != nil {
		for _, e := range ends {
			e.Salvage(&rec, seen[e.Role])
		}
		return rec, err
	}
	if shared {
		tx.Result.Counters["heartbeat_cpu_seconds"] = rx.c.link.Cost() - before
	}
	first := ends[0] // the receiver, where it is ours
	rec.Started = summary.Window(first.Result, first.Want, first.Offset).From.Format(time.RFC3339Nano)
	err = summary.Fill(&rec, &rx.Side, &tx.Side)
	if t.RX != nil && t.TX != nil && t.shared != OneHost {
		rec.Warnings = append(rec.Warnings, unlike(rec.Facts.RX, rec.Facts.TX)...)
	}
	rec.Notes = append(rec.Notes, t.notes(&rec)...)
	t.busy(wire.Telling(2 * wire.MaxMeters))
	watts.read(ctx, &rec, rx, tx)
	return rec, err
}

// begun is the record of a run of which nothing but its ends is known.
func begun(ends []*end) (rec results.Record) {
	for _, e := range ends {
		v := &results.End{Engine: e.Want.Engine, CPUScope: string(e.Want.Scope), Syscalls: map[string]uint64{}, Counters: map[string]float64{}}
		if e.Role == endpoint.RX {
			rec.RX = v
		} else {
			rec.TX = v
		}
	}
	return rec
}

// prepare has both ends prepare the run, and notes in its record what they tell of their
// hosts. The receiver is the first: it says where it listens.
func (t *Run) prepare(ctx context.Context, rx, tx *end, rec *results.Record) error {
	for _, e := range []*end{rx, tx} {
		if e.c == nil {
			continue
		}
		if e == tx && rx.c != nil {
			tx.Want.DataPort = rx.Want.DataPort
		}
		t.busy(e.Want.Preparing())
		pr, err := e.c.prepare(ctx, e.Want)
		if err != nil {
			if e == tx && rx.c != nil {
				// A receiver that died meanwhile is why nobody answers the sender.
				if died := rx.c.ended(); died != nil {
					err = died
				}
			}
			return err
		}
		if e.Role == endpoint.RX {
			rec.Facts.RX = pr.Facts
		} else {
			rec.Facts.TX = pr.Facts
		}
		e.Want.DataPort = pr.DataPort
		if e == tx {
			rx.marks = pr.Marks
		}
		if len(pr.Changes) > 0 {
			if rec.Tuned == nil {
				rec.Tuned = map[string][]string{}
			}
			rec.Tuned[string(e.Role)] = pr.Changes
		}
	}
	return nil
}

// compareHosts holds what the run was placed for against what the two ends'
// kernels show: CPU time of one host must not be counted for both ends.
func (t *Run) compareHosts(ctx context.Context, rec *results.Record) (err error) {
	if t.RX == nil || t.TX == nil {
		return nil
	}
	if t.shared, err = Shared(ctx, t.RX, t.TX); err != nil {
		return err
	}
	hosts := t.RXWant.Scope == wire.ScopeHost || t.TXWant.Scope == wire.ScopeHost
	switch {
	case t.shared == OneHost && hosts:
		return fault.Errorf(fault.Usage, "both ends run on one host, and the run was planned for two, each with a host's CPU time to itself: "+
			"plan it anew")
	case t.shared == HostUnknown && hosts:
		rec.Warnings = append(rec.Warnings, caveat.Warn(caveat.HostUnknown, "whether both ends run on one host is not known, since their boot "+
			"IDs differ and /proc/vmstat or /proc/softirqs cannot be read on one of them; each end's cpu_percent is that of all CPUs it sees: if "+
			"they are the same CPUs, it is counted twice"))
	}
	return nil
}

// notes are what is to be known of every run over such a pair.
func (t *Run) notes(rec *results.Record) (notes []string) {
	nic, _ := rec.Facts.RX["nic"].(map[string]any)
	steered := func(name string) bool { return strings.Contains(name, "rps") }
	if t.shared == OneHost && t.RXWant.Scope == wire.ScopeCPUSet && nic["kind"] == "veth" &&
		!slices.ContainsFunc(slices.Collect(maps.Keys(t.RXWant.Settings)), steered) {
		notes = append(notes, caveat.Warn(caveat.VethSoftirq, "a veth pair receives in softirq on the CPU that sends: most of what TCP does "+
			"for the receiver is in the sender's CPU time, and what it does for acknowledgements in the receiver's, unless receive packet "+
			"steering moves it (--softirq-cpus)"))
	}
	return notes
}

// measure starts all ends at one time and waits for all results.
func (t *Run) measure(ctx context.Context, ends []*end, live func(endpoint.Role, wire.Sample)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slack := int64(lead)
	for _, e := range ends {
		slack = max(slack, 4*e.Unsure)
	}
	at := wire.Monotonic() + slack
	errs := make(chan error, len(ends))
	var showing sync.Mutex // live has one caller at a time
	for _, e := range ends {
		go func() {
			over := time.Duration(0)
			if e.Want.Time > 0 && !(e.Want.Raw && e.Role == endpoint.RX) {
				over = time.Duration(slack) + e.Want.Omit + e.Want.Time
			}
			var err error
			e.Result, err = e.c.measure(ctx, wire.Start{At: at + e.Offset, Live: e.live, Marks: e.marks}, over, func(s wire.Sample) {
				if live != nil {
					showing.Lock()
					defer showing.Unlock()
					live(e.Role, s)
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
			t.busy(wire.EndingWait) // for the other end
			continue
		}
		if first == nil || fault.Of(first) == fault.PeerGone {
			first = err
		}
		cause := first
		time.AfterFunc(wire.DrainWait/4, func() { cancel(cause) })
	}
	return first
}

// kinOf are the processes of a run, for both of its ends.
func kinOf(clients ...*Client) []wire.Process {
	all := map[wire.Process]bool{wire.ThisProcess(): true}
	for _, c := range clients {
		if c != nil {
			all[c.Welcome.Process] = true
		}
	}
	delete(all, wire.Process{})
	return slices.Collect(maps.Keys(all))
}
