package power

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// Trace is what a meter said over some time.
type Trace struct {
	Info     Info
	Readings []Reading
	Lost     int   // reads that failed
	Err      error // why the latest of them did, or why there were no more
}

// Recorder reads a meter until it is closed.
type Recorder struct {
	meter  Meter
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	trace Trace
	ended bool          // nothing more to come
	more  chan struct{} // closed, and made anew, with each reading
}

// How often a meter is asked, and how long it may take to answer. Twice in its
// own interval finds each of its values soon after it came.
const (
	minPace  = 100 * time.Millisecond
	maxPace  = time.Second
	readWait = 5 * time.Second
)

// most is how many readings a Recorder keeps; beyond, every other one goes and
// the rest stand for them.
const most = 1 << 17

// Record begins to read m, and owns it from now on.
func Record(m Meter) *Recorder {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Recorder{meter: m, cancel: cancel, done: make(chan struct{}), more: make(chan struct{})}
	r.trace.Info = m.Info()
	go r.run(ctx)
	return r
}

func (r *Recorder) run(ctx context.Context) {
	defer close(r.done)
	interval, pushed := r.trace.Info.Interval, r.trace.Info.Pushed
	pace := min(max(interval/2, minPace), maxPace)
	if interval == 0 {
		pace = maxPace
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ctx.Err() == nil {
		one, cancel := ctx, context.CancelFunc(func() {})
		if !pushed {
			one, cancel = context.WithTimeout(ctx, max(readWait, 2*interval))
		}
		v, err := r.meter.Read(one)
		cancel()
		if err == nil {
			err = v.check()
		}
		if ctx.Err() != nil {
			return
		}
		r.add(v, err, r.meter.Info())
		if errors.Is(err, io.EOF) {
			return
		}
		// One that is not asked sets the pace itself, that of values which are
		// none too, but not that of its errors.
		if !pushed || err != nil && !errors.Is(err, errNoValue) {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
}

// check refuses a reading without a number; one that cannot be is for Over to
// find.
func (r Reading) check() error {
	if r.Watts == nil && r.Joules == nil {
		return errNoValue
	}
	for _, v := range []*float64{r.Watts, r.Joules} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			return fmt.Errorf("%w: %v", errNoValue, *v)
		}
	}
	return nil
}

func (r *Recorder) add(v Reading, err error, now Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trace.Info = now
	if err == nil {
		r.trace.Readings = append(r.trace.Readings, v)
	} else if r.trace.Err = err; errors.Is(err, io.EOF) {
		r.ended = true
	} else {
		r.trace.Lost++
	}
	r.trace = Thin(r.trace, most-1)
	close(r.more)
	r.more = make(chan struct{})
}

// Thin keeps a trace to a number of readings: of a longer one every other goes,
// and the rest stand for them.
func Thin(t Trace, most int) Trace {
	for len(t.Readings) > max(most, few) {
		kept := t.Readings[:0]
		for i := 1; i < len(t.Readings); i += 2 {
			kept = append(kept, t.Readings[i])
		}
		t.Readings = kept
	}
	return t
}

// Info describes the meter, as far as it is known by now.
func (r *Recorder) Info() Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trace.Info
}

// readyWait is how long a meter that publishes may take to say something.
const readyWait = 2 * time.Second

// Ready waits for the first reading. An error is that of a meter that fails
// from the start; one that has no value yet is no error.
func (r *Recorder) Ready(ctx context.Context) error {
	wait := time.NewTimer(readWait)
	if r.Info().Pushed {
		wait.Reset(readyWait)
	}
	defer wait.Stop()
	for {
		r.mu.Lock()
		n, err, more := len(r.trace.Readings), r.trace.Err, r.more
		r.mu.Unlock()
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, errNoValue):
			return err
		}
		select {
		case <-more:
		case <-wait.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// graceMost is how long a run waits after its window for a slow meter.
const graceMost = 30 * time.Second

// Grace bounds how long after a moment its reading may come.
func (i Info) Grace() time.Duration {
	return min(max(2*i.Interval, 2*time.Second)+max(i.Latency, 0), graceMost)
}

// Trace gives what the meter said, once that reaches until, or, if the meter
// has ended, is dead or too slow, after its Grace. The readings are the
// caller's.
func (r *Recorder) Trace(ctx context.Context, until time.Time) Trace {
	// A reading that is stamped later may still have been on its way.
	info := r.Info()
	reach := until.Add(info.Latency)
	grace := time.NewTimer(time.Until(until) + info.Grace())
	defer grace.Stop()
	for {
		t, ended, more := r.now()
		if n := len(t.Readings); ended || n > 0 && !t.Readings[n-1].At.Before(reach) {
			if ended || !info.Pushed {
				return t
			}
			break
		}
		select {
		case <-more:
		case <-grace.C:
			return t
		case <-ctx.Done():
			return t
		}
	}
	// What came at once with it is on its way.
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
	t, _, _ := r.now()
	return t
}

// settle is more than lines that were printed at once take to be read.
const settle = 50 * time.Millisecond

// now gives what the meter has said, whether that is all, and what is closed when
// there is more. The readings are the caller's.
func (r *Recorder) now() (t Trace, ended bool, more chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t = r.trace
	t.Readings = append([]Reading(nil), t.Readings...)
	return t, r.ended, r.more
}

// closeWait is for a meter that does not heed its context.
const closeWait = 2 * time.Second

// Close ends the reading and closes the meter.
func (r *Recorder) Close() error {
	r.cancel()
	select {
	case <-r.done:
		return r.meter.Close()
	case <-time.After(closeWait):
		return errors.Join(errors.New("a read of it does not end"), r.meter.Close())
	}
}
