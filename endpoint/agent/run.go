package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/agent/others"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/abi"
	"zcbench/internal/cpuclock"
	"zcbench/internal/egress"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
	"zcbench/internal/threads"
	"zcbench/results"
	"zcbench/results/caveat"
	"zcbench/ringcfg"
)

// spareThreads are what the runtime makes beside those that it was told of.
const spareThreads = 4

// run is one end of one run: its workers, its connections and its samples.
type run struct {
	p        wire.Prepare
	engine   endpoint.Engine
	session  endpoint.Session
	workers  []*worker
	stop     endpoint.Stop
	conns    []int
	counters []*endpoint.Counters
	checkers []*endpoint.Checker

	link      *wire.Link // to the driver
	listeners []int
	host      *host      // lets connections in; nil: there are none of zcbench's
	marks     [][]byte   // of the connections that this end made
	local     netip.Addr // where the payload arrives, where it is known

	stat        *procfile.Stat
	calibration cpuclock.Calibration
	clock       *pollers

	beside     *instrument.Set
	recordings []instrument.Recording

	began time.Time    // when the window opened
	part  *wire.Result // what was measured of a run that was aborted; nil: nothing
	stuck bool         // the sampler was given up
	whole bool         // all that was sent has arrived

	undo    ringcfg.Undo
	took    took        // options of the engine
	changes []string    // settings changed for the run
	way     egress.Rate // of a sender, as the window closed
	warned  []string    // of settings that somebody else changed meanwhile

	look func(context.Context) (*results.Crossing, error) // at the headers of the warm-up; nil: none

	ctx    context.Context // ends when the run is aborted
	cancel context.CancelCauseFunc
}

// worker is one locked thread. The goroutine owns the engine's Worker from
// birth to Close, because io_uring and affinity belong to the thread.
type worker struct {
	conns  chan []endpoint.Conn // closed without a value: nothing to do
	opened chan error
	done   chan error
	tid    int // of its thread, once opened has spoken
}

// params is what the engine is told of a run.
func params(p *wire.Prepare) endpoint.Params {
	return endpoint.Params{
		Flows: p.Flows, Length: p.Length, Pattern: p.Pattern, Validate: p.Validate,
		Interface: p.Interface, Options: p.Options, Window: p.Window,
	}
}

// prepare opens the engine on its threads. The connections come after that: a
// receiver that binds NIC queues must have done so before it listens.
func prepare(ctx context.Context, e endpoint.Engine, p wire.Prepare, v Verifier,
	in *instrument.Instruments, l *wire.Link, local netip.Addr) (_ *run, err error) {
	r := &run{p: p, engine: e, link: l, local: localAddress(&p, local)}
	l.KeepOff(p.CPUs)
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	defer func() {
		if v := recover(); v != nil {
			err = mistake(v)
		}
		if err != nil {
			r.abort(err)
			err = errors.Join(err, r.close())
		}
	}()
	if err := e.Layout().Check(); err != nil {
		return nil, fmt.Errorf("engine %s: %w", e.Name(), err)
	}
	params := params(&p)
	params.Note = r.took.note
	l.Busy(wire.PrepareWait)
	if err = r.calibrate(); err != nil {
		return nil, err
	}
	l.Busy(tuneWait)
	if err = r.tune(&params); err == nil {
		l.Busy(p.Opening())
		r.session, err = e.Open(params)
	}
	if err != nil {
		return nil, fmt.Errorf("%s engine %s: %w", p.Role, e.Name(), err)
	}
	if err = r.readyLook(v); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Role, err)
	}
	// Two more than the workers: the sampler and the control link must run
	// while every worker is inside a system call or a burst.
	n := r.session.Workers() + 2
	if err = threads.Need(n + spareThreads); err != nil {
		return nil, fault.Errorf(fault.Failed, "%s: %w", p.Role, err)
	}
	if runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
	for i := range r.session.Workers() {
		w := &worker{conns: make(chan []endpoint.Conn, 1), opened: make(chan error, 1), done: make(chan error, 1)}
		r.workers = append(r.workers, w)
		go r.work(w, i)
	}
	for i, w := range r.workers {
		if e := <-w.opened; e != nil && err == nil {
			err = fmt.Errorf("%s engine %s, worker %d: %w", p.Role, r.engine.Name(), i, e)
		}
	}
	if err != nil {
		return nil, err
	}
	l.Busy(wire.PrepareWait)
	if err = r.instrument(in); err != nil {
		return nil, err
	}
	runtime.GC()
	return r, nil
}

// open makes the data connections, or waits for them, and is the last that an end does
// before the payload: a receiver keeps those that have come last.
func (r *run) open() (err error) {
	r.link.Busy(wire.ConnectTime(r.p.Flows))
	if r.p.Role == endpoint.TX {
		r.conns, r.marks, err = connect(r.ctx, &r.p, wire.ConnectWait)
	} else if r.listeners, err = listen(&r.p); err == nil && !r.p.Raw {
		r.host, err = welcome(r.ctx, r.listeners)
	}
	if err != nil {
		r.abort(err)
		err = errors.Join(err, r.close())
	}
	return err
}

// work is a worker's thread. It never unlocks, so the thread ends with it and
// no other goroutine inherits its affinity.
func (r *run) work(w *worker, i int) {
	runtime.LockOSThread()
	w.tid = unix.Gettid()
	if len(r.p.CPUs) > 0 {
		if err := pin(r.p.CPUs[i%len(r.p.CPUs)]); err != nil {
			w.opened <- err
			w.done <- nil
			return
		}
	}
	var ew endpoint.Worker
	err := contain(func() (err error) {
		ew, err = r.session.Worker(i)
		return err
	})
	w.opened <- err
	if err != nil {
		w.done <- nil
		return
	}
	conns, ok := <-w.conns
	if ok {
		err = contain(func() error { return ew.Run(conns, &r.stop) })
		if r.p.Role == endpoint.TX {
			for _, c := range conns {
				_ = unix.Shutdown(c.FD, unix.SHUT_WR) // the receiver's end of stream; an aborted one is gone already
			}
		}
	}
	w.done <- errors.Join(err, contain(ew.Close))
}

// meet takes the sender's connections: those with the marks that its driver says,
// or, of a plain TCP program that a person starts, those that come.
func (r *run) meet(marks [][]byte) (err error) {
	if r.p.Role != endpoint.RX {
		return nil
	}
	if r.host != nil {
		r.conns, err = r.host.meet(marks)
	} else {
		r.conns, err = accept(r.ctx, r.listeners)
	}
	if err == nil {
		closeAll(r.listeners)
		r.listeners = nil
	}
	return err
}

// measure carries the payload from time at on, samples the window, and ends
// the streams. It returns when the last byte has been accounted for.
func (r *run) measure(at int64, live func(wire.Sample)) (*wire.Result, error) {
	// The collector shares the CPUs that are measured: it ran when the run was
	// prepared, and does not again until the end.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))

	for range r.conns {
		r.counters = append(r.counters, &endpoint.Counters{})
	}
	s, err := newSampler(r, r.clock, at+int64(r.p.Omit), live)
	if err != nil {
		return nil, err
	}
	defer s.others.Close()
	defer s.changes.close()
	if r.p.Omit < others.Ahead {
		s.others.Before()
	}
	if r.p.Raw && r.p.Role == endpoint.RX && r.p.Omit == 0 {
		// The payload may be there already, and all of it.
		s.whole = true
		if err := s.begin(); err != nil {
			return nil, err
		}
	}
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		s.others.Listen(at)
	}()
	s.sight = r.verify(at)
	connected, unread := readBack(r.conns)
	r.hand(at)
	done := r.ended()
	sampled := make(chan error, 1)
	go func() {
		punctual()
		sampled <- contain(func() error { return s.run(done) })
	}()
	if err := r.await(sampled, at); err != nil {
		if r.ctx.Err() == nil {
			return nil, err
		}
		if !r.stuck && s.closed && done.over() { // the counters are at rest
			r.part, _ = s.finish(true) // there may be nothing
		}
		return nil, context.Cause(r.ctx)
	}
	if s.flows.Swallowed() {
		return nil, r.blackHole(s.sockets.MSS)
	}
	cut, err := r.drain(s, done)
	if err != nil {
		return nil, err
	}
	<-listened
	res, err := s.finish(cut)
	if err != nil {
		return nil, err
	}
	if err := r.complete(res, s, cut, connected, unread); err != nil {
		return nil, err
	}
	r.whole = !cut
	return res, nil
}

// drain ends the streams once the window has closed; cut says that payload was still in
// flight then, and was cut off.
func (r *run) drain(s *sampler, done *outcome) (cut bool, err error) {
	if !s.early && r.p.Role == endpoint.TX {
		// A sender goes on a little, so that its peer's window closes
		// under load too.
		done.wait(r.ctx, wire.Tail)
	}
	r.stop.Request()
	limit := wire.Tail + wire.DrainWait
	// Where it has little CPU, it may be late for its window before, and now for this.
	r.link.Busy(limit + 2*wire.DrainWait)
	if r.p.Raw && r.p.Role == endpoint.RX {
		limit = 0 // a foreign sender ends when it likes
	}
	if cut = !done.wait(r.ctx, limit); cut {
		r.shutdown()
		done.wait(context.Background(), wire.DrainWait)
	}
	if r.ctx.Err() != nil {
		return cut, context.Cause(r.ctx)
	}
	err = done.err
	if wire.IsReset(err) {
		if s.early {
			return cut, fault.Errorf(fault.PeerGone, "%s engine %s: %w", r.p.Role, r.engine.Name(), err)
		}
		cut, err = true, nil // we did that, or the other end
	}
	if err != nil {
		if down := s.changes.down(); down != "" {
			err = fmt.Errorf("%w; %s", err, down)
		}
		return cut, fmt.Errorf("%s engine %s: %w", r.p.Role, r.engine.Name(), err)
	}
	if s.early && !r.p.Raw {
		return cut, fault.Errorf(fault.PeerGone, "%s: the other end closed the data connections before the window was over", r.p.Role)
	}
	return cut, nil
}

// complete adds to the figures of a window what its sockets had, connected before it and
// at its end, and whether it was cut off. That nothing crossed is an error where an
// interface was down.
func (r *run) complete(res *wire.Result, s *sampler, cut bool, connected taken, unread error) error {
	if a, b := res.Edges(); a.Bytes() == b.Bytes() {
		if down := s.changes.down(); down != "" {
			return fault.Errorf(fault.Failed, "%s: no payload crossed in the window: %s", r.p.Role, down)
		}
	}
	if unread = cmp.Or(unread, s.unread); unread == nil {
		r.settle(res, connected, s.sockets)
	} else {
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.SettingNotTaken, "%s: what the sockets have is not known: %v", r.p.Role, unread))
	}
	if res.Cut = cut; cut && !r.p.Raw {
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.CutOff, "%s: data was still in flight %s after the window and was cut off",
			r.p.Role, wire.Tail+wire.DrainWait))
	}
	return nil
}

// await waits for the sampler. Its thread can be stopped while this process runs,
// by a debugger or by who shares its CPUs with it: that must not hold the run.
func (r *run) await(sampled <-chan error, at int64) error {
	var late <-chan time.Time // never, where the streams' end is the window's
	if r.p.Time > 0 {
		late = time.After(time.Duration(at-wire.Monotonic()) + r.p.Omit + r.p.Time + wire.SamplerWait)
	}
	select {
	case err := <-sampled:
		return err
	case <-late:
		r.stuck = true
		return fault.Errorf(fault.Failed, "%s: the thread that samples has not closed the window %s after it was over: it was stopped, or got "+
			"no CPU", r.p.Role, wire.SamplerWait)
	}
}

// blackHole is the error of a sender whose connections stand and whose payload does
// not arrive.
func (r *run) blackHole(mss int) error {
	said := "the connections were made and greeted"
	if r.p.Raw {
		said = "the connections were made"
	}
	return fault.Errorf(fault.Failed, "%s: %s, and none of the payload got through, however often TCP sent it again: packets of %d bytes of "+
		"payload, the MSS, are dropped on the way and smaller ones are not (an MTU black hole), or a filter drops what goes to port %d; make "+
		"segments smaller (--set-mss 1200, or the MTU: ip link set dev %s mtu 1280), let TCP find out what passes (sysctl "+
		"net.ipv4.tcp_mtu_probing=1), or ask the filter",
		r.p.Role, said, mss, r.p.DataPort, cmp.Or(r.p.Interface, "IFACE"))
}

// hand gives each worker its connections; senders begin at the common time.
func (r *run) hand(at int64) {
	n := len(r.workers)
	parts := make([][]endpoint.Conn, n)
	for i, fd := range r.conns {
		consume := func([]byte) {}
		if r.p.Validate && r.p.Role == endpoint.RX {
			ck := endpoint.NewChecker(r.p.Pattern, i)
			r.checkers = append(r.checkers, ck)
			consume = ck.Consume
		}
		parts[i%n] = append(parts[i%n], endpoint.Conn{FD: fd, Index: i, Counters: r.counters[i], Consume: consume})
	}
	if r.p.Role == endpoint.TX {
		wire.SleepUntil(at)
	}
	for i, w := range r.workers {
		w.conns <- parts[i]
	}
}

// outcome is the end of all workers: err is valid once ch is closed.
type outcome struct {
	ch  chan struct{}
	err error
}

func (o *outcome) over() bool {
	select {
	case <-o.ch:
		return true
	default:
		return false
	}
}

// wait reports whether the workers ended within d and before ctx did.
func (o *outcome) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-o.ch:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return o.over()
}

// ended watches the workers. The first error is the outcome at once: the
// others may never end by themselves.
func (r *run) ended() *outcome {
	o := &outcome{ch: make(chan struct{})}
	errs := make(chan error, len(r.workers))
	for i, w := range r.workers {
		go func() {
			err := <-w.done
			w.done <- nil // for close
			if err != nil {
				err = fmt.Errorf("worker %d: %w", i, err)
			}
			errs <- err
		}()
	}
	go func() {
		defer close(o.ch)
		for range r.workers {
			if o.err = <-errs; o.err != nil {
				return
			}
		}
	}()
	return o
}

// abort ends the run from any goroutine; measure or close then shuts the
// connections down under the workers.
func (r *run) abort(cause error) {
	if cause == nil {
		cause = errors.New("the run was aborted")
	}
	r.cancel(cause)
}

func (r *run) shutdown() {
	r.stop.Request()
	for _, fd := range r.conns {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
}

// close releases everything; it may follow any step. Connections are closed
// only after their workers are gone, since a descriptor number may be reused.
func (r *run) close() error {
	r.link.Busy(wire.RestoreWait)
	r.cancel(errors.New("the run is over"))
	r.shutdown()
	for _, w := range r.workers {
		close(w.conns) // a worker that never got connections leaves
	}
	var errs []error
	patience, done := context.WithTimeout(context.Background(), wire.DrainWait) // with all of them
	defer done()
	for i, w := range r.workers {
		select {
		case <-w.done:
			continue
		default:
		}
		select {
		case <-w.done:
		case <-patience.Done():
			errs = append(errs, fmt.Errorf("%s engine %s: worker %d did not end", r.p.Role, r.engine.Name(), i))
		}
	}
	if r.host != nil {
		r.host.close()
	}
	if r.p.Role == endpoint.TX && !r.whole {
		// Closed as it is, TCP would go on sending for as long as the peer lets it
		// wait, into the next run, and the kernel would hold the memory that it
		// sends from.
		for _, fd := range r.conns {
			_ = abi.Disconnect(fd) // one that is gone has nothing to send
		}
	}
	if !r.stuck { // what is stopped may use them yet, when they would be another's
		closeAll(r.conns)
	}
	closeAll(r.listeners)
	if err := r.putAway(); err != nil {
		errs = append(errs, err)
	}
	if r.session != nil {
		if err := r.session.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s engine %s: %w", r.p.Role, r.engine.Name(), err))
		}
	}
	if err := r.untune(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
