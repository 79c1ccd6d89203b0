package instrument

import (
	"errors"
	"maps"
	"math"
	"strings"
	"testing"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/results"
	"zcbench/results/caveat"
)

// script is a counter that shows given readings.
type script struct {
	q      []Quantity
	rows   [][]uint64
	closed bool
}

func (s *script) Quantities() []Quantity { return s.q }

func (s *script) Close() error { s.closed = true; return nil }

func (s *script) Read(to []uint64) error {
	if len(s.rows) == 0 {
		return errors.New("the sensor fell off")
	}
	copy(to, s.rows[0])
	s.rows = s.rows[1:]
	return nil
}

func (s *script) counter(name string) Counter {
	return Counter{Name: name, Open: func(Place) (Reader, error) { return s, nil }}
}

// window reads the counters at 0, 1 and 3 s.
func window(t *testing.T, in ...Counter) (*wire.Result, *Set) {
	t.Helper()
	m, err := Open(&Instruments{Counters: in}, nil, Place{})
	if err != nil {
		t.Fatal(err)
	}
	m.Expect(3)
	m.Begin()
	m.Take(false)
	m.Take(false)
	m.End()
	res := &wire.Result{Counters: map[string]float64{}, Samples: []wire.Sample{{}, {At: 1e9}, {At: 3e9, Copied: 1000}}}
	m.Report(endpoint.RX, res, func(int) *float64 { return nil })
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	return res, m
}

func same(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	if !maps.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestTotals(t *testing.T) {
	s := &script{
		q: []Quantity{{Name: "packets"}, {Name: "packets"}, {Name: "drops", Wrap: math.MaxUint32, Code: caveat.CPUHot,
			Means: "packets were dropped"},
			{Name: "cycles", PerByte: true, Quiet: true}, {Name: "bytes", Scale: 64}, {Name: "still"}},
		rows: [][]uint64{
			{10, 1000, math.MaxUint32 - 1, 5000, 0, 7},
			{20, 1100, math.MaxUint32, 6000, 1, 7},
			{20, 1300, 4, 9000, 3, 7},
		},
	}
	res, _ := window(t, s.counter("nic"))
	same(t, "counters", res.Counters, map[string]float64{"packets": 310, "drops": 6, "cycles": 4000, "cycles_per_byte": 4, "bytes": 192,
		"still": 0})
	if len(res.Series) != 2 {
		t.Fatalf("%d series", len(res.Series))
	}
	same(t, "first second", res.Series[0], map[string]float64{"packets_per_second": 110, "drops_per_second": 1, "bytes_per_second": 64})
	same(t, "the other two", res.Series[1], map[string]float64{"packets_per_second": 100, "drops_per_second": 2.5, "bytes_per_second": 64})
	if w := strings.Join(res.Warnings, "\n"); w != "rx: packets were dropped (drops: 6 in the window) [cpu-hot]" || !s.closed {
		t.Errorf("warnings %q, closed %v", w, s.closed)
	}
}

func TestGauges(t *testing.T) {
	below := -5 // degrees
	s := &script{
		q: []Quantity{{Name: "rtt_us", Form: Gauge}, {Name: "rtt_us", Form: Gauge}, {Name: "celsius_max", Form: Gauge, Scale: 0.001},
			{Name: "celsius_max", Form: Gauge, Scale: 0.001},
			{Name: "outside", Form: Gauge}, {Form: Clock, CPU: 3, Scale: 0.001}},
		rows: [][]uint64{
			{10, 20, 40000, 41000, uint64(below), 2000000},
			{20, 40, 60000, 50000, uint64(below), 3000000},
			{30, 60, 55000, 52000, uint64(below), 4000000},
		},
	}
	res, _ := window(t, s.counter("all"))
	same(t, "counters", res.Counters, map[string]float64{"rtt_us": 30, "celsius_max": 60, "outside": -5})
	same(t, "first", res.Series[0], map[string]float64{"rtt_us": 30, "celsius_max": 60, "outside": -5, "cpu_mhz": 3000})
	same(t, "second", res.Series[1], map[string]float64{"rtt_us": 45, "celsius_max": 55, "outside": -5, "cpu_mhz": 4000})
}

func TestCPUStates(t *testing.T) {
	state := func(name string, cpu int) Quantity {
		return Quantity{Name: name, Form: CPUState, CPU: cpu, Scale: 0.01}
	}
	s := &script{
		q: []Quantity{state("user", 0), state("idle", 0), state("iowait", 0), state("user", 2), state("idle", 2),
			{Name: "C6 deep", Form: IdleState, CPU: 0, Scale: 1e-6}},
		rows: [][]uint64{
			{0, 0, 50, 0, 0, 0},
			{50, 50, 49, 0, 100, 400_000},
			{150, 150, 52, 1, 299, 600_000},
		},
	}
	res, _ := window(t, s.counter("cpu"))
	if len(res.CPUs) != 1 || res.CPUs[0].CPU != 0 {
		t.Fatalf("CPU 2 was idle: %+v", res.CPUs)
	}
	same(t, "states", res.CPUs[0].States, map[string]float64{"user": 50, "idle": 50, "iowait": 0.667})
	same(t, "C-states", res.CPUs[0].Idle, map[string]float64{"C6 deep": 20})
	same(t, "first", res.Series[0], map[string]float64{"cpu_user_percent": 50, "cpu_idle_percent": 150, "cpu_iowait_percent": 0,
		"cstate_C6_deep_percent": 40})
	same(t, "second", res.Series[1], map[string]float64{"cpu_user_percent": 50.5, "cpu_idle_percent": 149.5, "cpu_iowait_percent": 1.5,
		"cstate_C6_deep_percent": 10})
	if len(res.Warnings) != 0 {
		t.Errorf("warnings %v", res.Warnings)
	}
}

// A kernel that misses busy time says too little, and the run says that.
func TestGap(t *testing.T) {
	for _, c := range []struct {
		user, idle float64
		warn       bool
	}{{50, 50, false}, {48, 49, false}, {28, 54.5, true}, {80, 40, true}} {
		w := gap([]results.CPUTime{{CPU: 7, States: map[string]float64{"user": c.user, "idle": c.idle}},
			{CPU: 8, States: map[string]float64{"user": 100}}}, 10)
		if c.warn != strings.Contains(w, "CPU 7 ") {
			t.Errorf("%+v: %q", c, w)
		}
	}
	if w := gap([]results.CPUTime{{States: map[string]float64{"user": 90}}}, 0.3); w != "" {
		t.Errorf("three ticks of thirty: %s", w)
	}
	if w := gap([]results.CPUTime{{Idle: map[string]float64{"C1": 10}}}, 10); w != "" {
		t.Errorf("states were not read: %s", w)
	}
}

// A counter that fails or is reset costs its figures, never the run.
func TestCounterFails(t *testing.T) {
	dying := &script{q: []Quantity{{Name: "a"}}, rows: [][]uint64{{1}, {2}}}
	reset := &script{q: []Quantity{{Name: "b"}}, rows: [][]uint64{{1000}, {1100}, {3}}}
	good := &script{q: []Quantity{{Name: "c"}}, rows: [][]uint64{{1}, {2}, {3}}}
	res, _ := window(t, dying.counter("dying"), reset.counter("nic"), good.counter("good"))
	same(t, "counters", res.Counters, map[string]float64{"c": 2})
	for i, want := range []string{"counters dying are missing: the sensor fell off", "b of counters nic ran backwards"} {
		if len(res.Warnings) != 2 || !strings.Contains(res.Warnings[i], want) {
			t.Errorf("warnings %q, want %q", res.Warnings, want)
		}
	}
	if _, ok := res.Series[0]["a_per_second"]; ok {
		t.Errorf("series of a counter that died: %v", res.Series)
	}
}

// A counter that is read at the edges is read twice.
func TestEdges(t *testing.T) {
	s := &script{q: []Quantity{{Name: "a"}}, rows: [][]uint64{{1}, {5}}}
	m := s.counter("edges")
	m.Edges = true
	res, _ := window(t, m)
	same(t, "counters", res.Counters, map[string]float64{"a": 4})
	if len(res.Series) != 0 || len(res.Warnings) != 0 {
		t.Errorf("%v, %v", res.Series, res.Warnings)
	}
}

func TestChoice(t *testing.T) {
	lacks := errors.New("no such thing here")
	mk := func(name string, err error, costly bool) Counter {
		return Counter{Name: name, Costly: costly, Open: func(Place) (Reader, error) { return &script{}, err }}
	}
	in := &Instruments{Counters: []Counter{mk("a", nil, false), mk("b", lacks, false), mk("c", nil, true), mk("d", lacks, true)}}
	for _, c := range []struct {
		names   string
		open    string
		missing int
		absent  string
		err     string
	}{
		{"", "a", 1, "", ""},
		{"none", "", 0, "", ""},
		{"all", "a c", 2, "b d", ""},
		{"a", "a", 0, "", ""},
		{"c a", "a c", 0, "", ""},
		{"a d", "", 0, "", "counters d: no such thing here"},
		{"nosuch", "", 0, "", "there are: a b c d"},
	} {
		m, err := Open(in, strings.Fields(c.names), Place{})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", c.names, err, c.err)
			}
			continue
		}
		var open []string
		for _, o := range m.list {
			open = append(open, o.Name)
		}
		if err != nil || strings.Join(open, " ") != c.open || len(m.missing) != c.missing || strings.Join(m.absent, " ") != c.absent {
			t.Errorf("%q: open %v, missing %v, absent %v, %v", c.names, open, m.missing, m.absent, err)
		}
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	row := []uint64{1, 2, 3}
	s := &script{q: []Quantity{{Name: "a"}, {Name: "a"}, {Name: "user", Form: CPUState}}}
	for range 200 {
		s.rows = append(s.rows, row)
	}
	m, err := Open(&Instruments{Counters: []Counter{s.counter("a")}}, nil, Place{})
	if err != nil {
		t.Fatal(err)
	}
	m.Expect(200)
	m.Begin()
	if n := testing.AllocsPerRun(99, func() { m.Take(false) }); n != 0 {
		t.Errorf("%v allocations a sample", n)
	}
	m.Halve() // of 100
	if n := testing.AllocsPerRun(90, func() { m.Take(false) }); n != 0 {
		t.Errorf("%v allocations a sample, after half of them were let go", n)
	}
}
