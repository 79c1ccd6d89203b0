package agent

import (
	"io"
	"math"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcbench/analysis"
	"zcbench/endpoint"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/testutil/tier"
	"zcbench/reports"
	"zcbench/reports/html"
	"zcbench/results"
	"zcbench/results/caveat"
)

// ticking is a Reader whose values follow from how often it was read.
type ticking struct{ reads uint64 }

func (r *ticking) Quantities() []instrument.Quantity {
	return []instrument.Quantity{{Name: "packets"}, {Name: "celsius", Form: instrument.Gauge}, {Name: "celsius_max", Form: instrument.Gauge}}
}

func (r *ticking) Read(to []uint64) error {
	to[0] = r.reads * 7
	to[1] = 40 + r.reads%10
	to[2] = 40
	if r.reads == 123_457 {
		to[2] = 99 // once in two days
	}
	r.reads++
	return nil
}

func (r *ticking) Close() error { return nil }

func openTicking(t *testing.T) *instrument.Set {
	t.Helper()
	m, err := instrument.Open(&instrument.Instruments{Counters: []instrument.Counter{{Name: "ticking",
		Open: func(instrument.Place) (instrument.Reader, error) { return &ticking{}, nil }}}}, nil, instrument.Place{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDaysOfSamples: two days at ten samples a second fit the link and the store,
// and say the same as all samples would.
func TestDaysOfSamples(t *testing.T) {
	tier.Long(t)
	const (
		interval  = 100 * time.Millisecond
		intervals = int(48 * time.Hour / interval)
	)
	at := func(i int) (wire.Sample, uint64) { // a burst in each third interval
		n := uint64(i)*1_000_000 + uint64(i%3)
		return wire.Sample{At: int64(i) * int64(interval), Copied: n, Busy: float64(i) * 0.05}, n
	}
	results48 := map[endpoint.Role]*wire.Result{}
	for _, role := range []endpoint.Role{endpoint.RX, endpoint.TX} {
		m := openTicking(t)
		s := &sampler{timeline: newTimeline(intervals, m.Width()), r: &run{p: wire.Prepare{Role: role}, beside: m}}
		m.Expect(s.most)
		samples := cap(s.samples)
		v, n := at(0)
		m.Begin()
		s.start(v, n)
		for i := 1; i <= intervals; i++ {
			s.interval(at(i))
		}
		if cap(s.samples) != samples {
			t.Errorf("%s: room was made within the window: %d → %d samples", role, samples, cap(s.samples))
		}
		first, _ := at(0)
		last, _ := at(intervals)
		if a, b := s.samples[0], s.samples[len(s.samples)-1]; a != first || b != last || len(s.crossed) != len(s.samples) {
			t.Errorf("%s: from %+v to %+v", role, a, b)
		}
		for i, v := range s.samples {
			if s.crossed[i] != v.Copied {
				t.Fatalf("%s: sample %d is %+v, and %d bytes had crossed", role, i, v, s.crossed[i])
			}
		}
		r := &wire.Result{Samples: s.samples, Counters: map[string]float64{}, Syscalls: map[string]uint64{}}
		m.Report(role, r, func(int) *float64 { return nil })
		results48[role] = throughLink(t, r)
	}
	ends := map[endpoint.Role]*summary.Side{}
	for role, r := range results48 {
		ends[role] = &summary.Side{Role: role, Want: &wire.Prepare{Role: role, Time: 48 * time.Hour, Interval: interval, Scope: wire.ScopeThread},
			Result: r}
	}
	rec := results.Record{ID: "days", Cell: "c", RX: &results.End{Engine: "baseline"}, TX: &results.End{Engine: "baseline"}}
	if err := summary.Fill(&rec, ends[endpoint.RX], ends[endpoint.TX]); err != nil {
		t.Fatal(err)
	}
	rec.Derive()
	store := filepath.Join(t.TempDir(), results.StoreFile)
	if err := results.Append(store, rec); err != nil {
		t.Fatal(err)
	}
	back, torn, err := results.Load(store)
	if err != nil || len(torn) > 0 || len(back) != 1 {
		t.Fatal(err, torn)
	}
	got := back[0]
	whole, _ := at(intervals)
	if got.Bytes != whole.Copied || got.Window != (48*time.Hour).Seconds() {
		t.Errorf("%d bytes in %g s", got.Bytes, got.Window)
	}
	for _, role := range []string{"rx", "tx"} {
		var n, count uint64
		var seconds, cpu, packets, hottest, end float64
		for _, s := range got.Samples {
			if s.End != role {
				continue
			}
			if math.Abs(s.Start-end) > 1e-6 {
				t.Fatalf("%s: a sample begins at %g s, the one before ended at %g s", role, s.Start, end)
			}
			end = s.Start + s.Seconds
			count++
			n += s.Bytes
			seconds += s.Seconds
			cpu += *s.CPUPercent * s.Seconds
			packets += s.Series["packets_per_second"] * s.Seconds
			hottest = max(hottest, s.Series["celsius_max"])
		}
		if n != whole.Copied || math.Abs(seconds-got.Window) > 1e-3 || math.Abs(cpu/seconds-50) > 1e-3 ||
			math.Abs(packets-7*float64(intervals)) > float64(intervals)/100 || hottest != 99 {
			t.Errorf("%s: %d samples have %d bytes in %g s, CPU %g %%, %g packets, %g °C at most", role, count, n, seconds, cpu/seconds, packets,
				hottest)
		}
		if c := map[string]*results.End{"rx": got.RX, "tx": got.TX}[role].Counters; c["packets"] != 7*float64(intervals) ||
			c["celsius_max"] != 99 || math.Abs(c["celsius"]-44.5) > 0.01 {
			t.Errorf("%s: %v", role, c)
		}
		every := math.Round(seconds / float64(count) / interval.Seconds())
		note := false
		for _, text := range got.Notes {
			note = note || strings.HasPrefix(text, role) && caveat.CodeOf(text) == caveat.SamplesMerged
		}
		if every < 2 || !note {
			t.Errorf("%s: %d samples, notes %q", role, count, got.Notes)
		}
	}
	set, err := analysis.Load(store)
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range reports.Formats() {
		if err := format.Write(io.Discard, r); err != nil {
			t.Errorf("%s: %v", format.Name, err)
		}
	}
	if err := html.Write(io.Discard, r); err != nil {
		t.Error(err)
	}
	if err := reports.Run(io.Discard, got); err != nil {
		t.Error(err)
	}
}

// throughLink gives a result as the other end of the control link has it.
func throughLink(t *testing.T, r *wire.Result) *wire.Result {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	sent := make(chan error, 1)
	go func() { sent <- wire.NewLink(a, wire.MaxRequest).Send(wire.Message{Result: r}) }()
	m, err := wire.NewLink(b, wire.MaxReply).Receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := m.Result.Check(); err != nil {
		t.Fatal(err)
	}
	return m.Result
}

// TestTimelineEdges: whatever the number of intervals, none is lost and the last
// one ends where the window does.
func TestTimelineEdges(t *testing.T) {
	for n := 1; n < 600; n++ {
		line := newTimeline(n, maxValues) // as few as there can be
		line.start(wire.Sample{}, 0)
		for i := 1; i <= n; i++ {
			if line.full() {
				line.halve()
			}
			line.add(wire.Sample{At: int64(i) * int64(wire.MinInterval)}, uint64(i))
		}
		for i, v := range line.samples {
			if want := int64(min(i*line.every, n)); v.At != want*int64(wire.MinInterval) || line.crossed[i] != uint64(want) {
				t.Fatalf("of %d intervals, edge %d is at %d, want %d (every %d)", n, i, v.At, want, line.every)
			}
		}
		if last := line.samples[len(line.samples)-1].At; last != int64(n)*int64(wire.MinInterval) || len(line.samples) > line.most+1 {
			t.Fatalf("of %d intervals the last ends at %d, there are %d edges", n, last, len(line.samples))
		}
	}
}

// TestSliver: what is left of a window after its last sample, because the streams
// ended then, is a part of the interval before it, with its bytes and readings.
func TestSliver(t *testing.T) {
	m := openTicking(t)
	s := &sampler{timeline: newTimeline(3, m.Width()), r: &run{beside: m}}
	m.Expect(3)
	m.Begin()
	s.start(wire.Sample{}, 0)
	for _, ms := range []int64{100, 200, 209} {
		s.interval(wire.Sample{At: ms * 1e6, Busy: float64(ms) / 1e3, Copied: uint64(ms)}, uint64(ms))
	}
	r := &wire.Result{Samples: s.samples, Counters: map[string]float64{}}
	m.Report(endpoint.RX, r, func(int) *float64 { return nil })
	got := summary.Half(&wire.Prepare{Role: endpoint.RX}, nil, r).Samples
	if len(got) != 2 || got[1].Bytes != 109 || math.Abs(got[1].Seconds-0.109) > 1e-9 || math.Abs(*got[1].CPUPercent-100) > 1e-6 {
		t.Errorf("%+v", got)
	}
	if last := got[1].Series["packets_per_second"]; math.Abs(last-14/0.109) > 1e-3 {
		t.Errorf("series %v", got[1].Series)
	}
	only := newTimeline(1, 1)
	only.start(wire.Sample{}, 0)
	only.add(wire.Sample{At: 9e6}, 9)
	if len(only.samples) != 2 {
		t.Errorf("a window of one short interval has %d samples", len(only.samples))
	}
}
