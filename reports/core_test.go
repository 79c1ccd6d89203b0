package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
)

func indented(t *testing.T, line string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(line), "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLoad(t *testing.T) {
	good := analysistest.Lines(t, "pair")
	newer := strings.Replace(good[0], "zcbench/1", "zcbench/2", 1)
	other := strings.Replace(good[1], `"repeat":0`, `"repeat":7`, 1)
	for _, c := range []struct {
		name     string
		files    map[string][]string
		runs     int
		problems []string
	}{
		{"one file", map[string][]string{"a.jsonl": good}, len(good), nil},
		{"shards", map[string][]string{"a.jsonl": good[:9], "b.jsonl": good[9:]}, len(good), nil},
		{"overlap", map[string][]string{"a.jsonl": good, "b.jsonl": good[:3]}, len(good), []string{"3 records are there more than once"}},
		{"one id, two contents", map[string][]string{"a.jsonl": {good[1], other}}, 1, []string{"1 record has the id of another but not its content"}},
		{"newer among them", map[string][]string{"a.jsonl": {newer, good[0], newer}}, 1, []string{`2 lines not read (lines 1, 3): record of schema "zcbench/2"`}},
		{"torn and wrong", map[string][]string{"a.jsonl": {good[0], good[1][:3000], "hello"}}, 1, []string{"1 line not read (line 2): torn line", "1 line not read (line 3): not a record"}},
		{"many torn", map[string][]string{"a.jsonl": slices.Repeat([]string{good[1][:99]}, 7)}, 0, []string{"7 lines not read (lines 1, 2, 3, 4, 5, …): torn"}},
		{"mixed hosts", map[string][]string{"a.jsonl": {good[0], analysistest.Lines(t, "demo")[0]}}, 2, []string{"runs of 2 pairs of hosts: r760-a → r760-a (1), r760-a → r760-b (1)"}},
		{"as -J prints them", map[string][]string{"a.jsonl": {indented(t, good[0]), indented(t, good[1])}}, 2, nil},
		{"other files beside", map[string][]string{"a.jsonl": good[:1], "plan.json": {"{}"}}, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a [b]*") // a path is no pattern
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range c.files {
				analysistest.Store(t, dir, name, text...)
			}
			s, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.runs) != c.runs || s.Empty() != (c.runs == 0) {
				t.Errorf("%d runs, want %d", len(s.runs), c.runs)
			}
			if len(s.Problems) != len(c.problems) {
				t.Fatalf("problems %q", s.Problems)
			}
			for i, want := range c.problems {
				if !strings.Contains(s.Problems[i], want) {
					t.Errorf("problem %q, want %q", s.Problems[i], want)
				}
			}
			for _, r := range s.runs {
				whole, err := r.full()
				if err != nil || whole.ID != r.ID || whole.Gbps != r.Gbps {
					t.Errorf("read again: %+v %v", whole.ID, err)
				}
			}
		})
	}
	for name, path := range map[string]string{"no such path": "testdata/none", "no records in it": t.TempDir(), "a device": "/dev/zero"} {
		if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A record that is odd where most reports do not look is told by all, and left out.
func TestOddSamples(t *testing.T) {
	good := analysistest.Lines(t, "pair")
	odd := strings.Replace(good[1], `"samples":[]`, `"samples":[{"gbps":"x"}]`, 1)
	if odd == good[1] {
		t.Fatal("the record has no samples")
	}
	path := analysistest.Store(t, t.TempDir(), "a.jsonl", good[0], odd, good[2])
	s, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(s.Problems, "\n"); len(s.runs) != 2 || !strings.Contains(all, "samples.gbps is a string, and should be a number") || !strings.Contains(all, path) || !strings.Contains(all, "line 2") {
		t.Errorf("%d runs, %q", len(s.runs), all)
	}
	r, err := s.Report(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := write(&out, r, "records"); err != nil || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%v: %.300s", err, out.String())
	}
}

func TestReadAgainFindsAChangedFile(t *testing.T) {
	good := analysistest.Lines(t, "pair")
	path := analysistest.Store(t, t.TempDir(), "a.jsonl", good[0], good[1])
	s, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	analysistest.Store(t, filepath.Dir(path), "a.jsonl", good[1], good[0])
	if _, err := s.runs[0].full(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

// Reading from a file and records at hand must come to the same report.
func TestLoadAgreesWithRecordsAtHand(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		s, err := Load(analysistest.File(t, name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Report(Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range formats() {
			var a, b bytes.Buffer
			if err := write(&a, r, format); err != nil {
				t.Fatal(err)
			}
			if err := write(&b, FirstLook(analysistest.Fixture(t, name)), format); err != nil {
				t.Fatal(err)
			}
			if a.String() != b.String() {
				t.Errorf("%s differs as %s", name, format)
			}
		}
	}
}

func TestGroupAndFilter(t *testing.T) {
	for _, c := range []struct {
		options Options
		names   string // of the cells
		n       int    // runs of the first
	}{
		{Options{}, "baseline, sw|baseline, hw|devmem, sw|devmem, hw|iouring, sw|iouring, hw", 8},
		{Options{GroupBy: []string{"gro"}}, "sw|hw", 24},
		{Options{GroupBy: []string{"gro", "mode"}, Filter: "mode=devmem"}, "sw, devmem|hw, devmem", 8},
		{Options{GroupBy: []string{"rx.nic.mtu", "kernel.release"}}, "4148, 6.18", 48},
		{Options{GroupBy: []string{"nic.mtu"}}, "1500 → 4148", 48},
		{Options{GroupBy: []string{"length", "cell"}, Filter: "gro!=hw, mode = devmem | iouring"}, "4096, devmemsw|4096, iouringsw", 8},
		{Options{GroupBy: []string{"tx", "rx"}, Filter: "repeat=0"}, "sendfile, baseline", 6},
	} {
		r, err := Of(analysistest.Matrix()).Report(c.options)
		if err != nil {
			t.Errorf("%+v: %v", c.options, err)
			continue
		}
		var names []string
		for _, k := range r.cells {
			names = append(names, k.name())
		}
		if got := strings.Join(names, "|"); got != c.names || len(r.cells[0].runs) != c.n {
			t.Errorf("%+v: %d of %s", c.options, len(r.cells[0].runs), got)
		}
	}
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{GroupBy: []string{"moed"}}, "did you mean mode?"},
		{Options{Filter: "gor=hw"}, "did you mean gro?"},
		{Options{Filter: "mode=msgzc"}, "none of 48 runs"},
		{Options{Filter: "mode"}, "is no condition"},
		{Options{Metrics: []string{"gbsp"}}, "did you mean gbps?"},
		{Options{References: []string{"netdev-0x18"}}, "did you mean netdev-0x19?"},
	} {
		if _, err := Of(analysistest.Matrix()).Report(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.options, err, c.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	records := analysistest.Matrix()
	for i := range records {
		records[i].RX.Counters = map[string]float64{"tcp_rtt_us": 12}
		records[i].RX.Syscalls = map[string]uint64{"recvmsg": 50}
		records[i].RX.Bytes = 2e9
	}
	r, err := Of(records).Report(Options{Metrics: []string{"rx.counters", "roi.cpu", "rx.syscalls.recvmsg", "rx.syscalls_per_gb.rec*", "roi.cpu.rx"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range r.metrics {
		got = append(got, fmt.Sprintf("%s %.4g", m.name, m.over(r.cells[0].runs).mean))
	}
	roi := known("roi.cpu.rx").over(r.cells[0].runs).mean
	want := []string{"rx.counters.tcp_rtt_us 12", fmt.Sprintf("roi.cpu.tx %.4g", roi*90/80), fmt.Sprintf("roi.cpu.rx %.4g", roi), fmt.Sprintf("roi.cpu.total %.4g", roi*90/170), "rx.syscalls.recvmsg 50", "rx.syscalls_per_gb.recvmsg 25"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	var b bytes.Buffer
	if err := Table(&b, r); err != nil || !strings.Contains(b.String(), "rx.counters.tcp_rtt_us") {
		t.Errorf("%v\n%s", err, &b)
	}
}

// The limit is said to pass 99% of normal samples, and must catch what a
// person sees at once.
func TestHeaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{6, 7, 9, 12, 20, 40} {
		wrong := 0
		const samples = 1500
		for range samples {
			v := make([]float64, n)
			for i := range v {
				v[i] = 100 + 20*rng.NormFloat64()
			}
			slices.Sort(v)
			if _, _, two := heaps(v); two {
				wrong++
			}
		}
		if wrong > samples*2/100 {
			t.Errorf("%d of %d normal samples of %d called bimodal", wrong, samples, n)
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = 80 + 40*float64(i%2) + rng.NormFloat64()
		}
		slices.Sort(v)
		if low, high, two := heaps(v); !two || math.Abs(low-80) > 3 || math.Abs(high-120) > 3 {
			t.Errorf("heaps of %d at 80 and 120: %v %v %v", n, low, high, two)
		}
	}
	for name, v := range map[string][]float64{
		"all the same":         {5, 5, 5, 5, 5, 5, 5, 5},
		"an outlier":           {1, 1, 1, 1, 1, 1, 9},
		"too few":              {1, 1, 1, 9, 9},
		"apart by a hundredth": {100, 100, 100, 100, 101, 101, 101, 101},
	} {
		if _, _, two := heaps(v); two {
			t.Errorf("%s: called bimodal", name)
		}
	}
}

func TestWiden(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"rx: 3% of it", "rx: 3% of it", "rx: 3% of it"},
		{"rx: 3.5% of it", "rx: 2.0% of it", "rx: 2.0–3.5% of it"},
		{"rx: 2.0–3.5% of 7%", "rx: 9.1% of 7%", "rx: 2.0–9.1% of 7%"},
		{"rx: 3% of it", "rx: 2–5% of it", "rx: 2–5% of it"},
		{"rx: 2.0–3.5% of 7%", "rx: 2.5% of 8%", "rx: 2.0–3.5% of 7–8%"},
	} {
		if got := widen(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %q", c.a, c.b, got)
		}
	}
	if skeleton("eth1 at 5.5 W: 3%") != skeleton("eth1 at 5.5 W: 44.1%") || skeleton("eth1: 3%") == skeleton("eth2: 3%") {
		t.Error("skeletons")
	}
}

func TestWarnings(t *testing.T) {
	series := func(gbps ...float64) []results.Record {
		var list []results.Record
		for _, g := range gbps {
			list = append(list, analysistest.OK("a", g, 100, 50))
		}
		return list
	}
	six := []float64{10, 10.1, 10.2, 9.9, 9.8, 10}
	mixedScope := series(six...)
	mixedScope[3].RX.CPUScope = "host"
	partly := series(six...)
	partly[1].RX.CPUPercent, partly[2].RX.CPUPercent = nil, nil
	partly[1].Derive()
	partly[2].Derive()
	changed := series(six...)
	changed[2].ROI.CPU.RX = p(99)
	mixedPower := series(six...)
	for i := range mixedPower {
		mixedPower[i].RX.Watts, mixedPower[i].RX.Power = p(100), &results.Power{Scope: []string{"wall", "package"}[i/5]}
		mixedPower[i].Derive()
	}
	drifted := series(six...)
	drifted[0].Facts.RX = results.Facts{"cpu": map[string]any{"turbo": "on"}, "process": map[string]any{"command": "x"}}
	drifted[1].Facts.RX = results.Facts{"cpu": map[string]any{"turbo": "off"}, "process": map[string]any{"command": "y"}}
	pooled := series(six...)
	pooled[0].Settings, pooled[1].Settings = map[string]any{"length": 1}, map[string]any{"length": 2}
	for _, c := range []struct {
		name    string
		records []results.Record
		options Options
		want    []string
	}{
		{"six are enough", series(six...), Options{}, nil},
		{"five", series(six[:5]...), Options{}, []string{"fewer than 6 runs"}},
		{"one", series(7), Options{}, []string{"only one run"}},
		{"two heaps", series(10, 10.1, 10.2, 15, 15.1, 15.2), Options{}, []string{"two heaps, near 10.10 and near 15.10 Gbit/s"}},
		{"scopes", mixedScope, Options{}, []string{"the receiver's CPU was not counted in one way in all runs (host, thread)"}},
		{"power of two things", mixedPower, Options{}, []string{"the receiver's power was not measured of one thing in all runs (package, wall)"}},
		{"measured in some", partly, Options{}, []string{"not all was measured in each of 6 runs: rx.cpu_percent in 4"}},
		{"changed by hand", changed, Options{}, []string{"the ROI of 1 run cannot follow"}},
		{"host changed", drifted, Options{}, []string{"the receiver's host changed between runs: cpu.turbo on, then off"}},
		{"pooled", pooled, Options{GroupBy: []string{"tx"}}, []string{"pools runs of different settings: length 1 / 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Of(c.records).Report(c.options)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.notes) != len(c.want) {
				t.Fatalf("notes %+v", r.notes)
			}
			for i, want := range c.want {
				if !strings.Contains(r.notes[i].text, want) {
					t.Errorf("%q, want %q", r.notes[i].text, want)
				}
			}
		})
	}
}

func TestNatural(t *testing.T) {
	got := []string{"zcrx", "queue10", "1M", "1s", "queue9", "iouring", "64K", "10", "9", "100us", "", "baseline", "20ms", "devmem", "msgzc", "a", "1500 → 4148", "[2,10]", "[2,9]"}
	slices.SortStableFunc(got, natural)
	if want := []string{"baseline", "msgzc", "devmem", "iouring", "9", "10", "64K", "1M", "100us", "20ms", "1s", "", "1500 → 4148", "[2,9]", "[2,10]", "a", "queue9", "queue10", "zcrx"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Every study is whole, and what it shows beside it is of the same axes.
func TestReferences(t *testing.T) {
	for _, name := range References() {
		s, err := reference(name)
		if err != nil || s.Title == "" || s.Setup == "" || s.Source == "" || len(s.Points) == 0 {
			t.Errorf("%s: %+v %v", name, s, err)
		}
		seen := map[string]bool{}
		for _, q := range s.Points {
			if q.Gbps <= 0 || q.Upper != 0 && q.Upper <= q.Gbps || seen[q.text()] {
				t.Errorf("%s: %+v", name, q)
			}
			seen[q.text()] = true
			for k := range q.Axes {
				if axisOrder(k) < 0 {
					t.Errorf("%s: axis %q", name, k)
				}
			}
		}
	}
	records := analysistest.Matrix()
	for i := range records {
		records[i].Axes["cpus"] = "2"
		analysistest.AsTheMode(&records[i])
	}
	r, err := Of(records).Report(Options{References: []string{"netdev-0x19"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Table(&b, r); err != nil {
		t.Fatal(err)
	}
	analysistest.Golden(t, "reference.table", b.Bytes())
	for _, q := range r.references[0].points {
		c := q.cell
		if want := q.What == "" && q.Axes["cpus"] == "2"; (c != nil) != want {
			t.Errorf("%s: beside it %v", q.text(), c)
		}
		if c != nil && !reflect.DeepEqual(c.runs[0].Axes, q.Axes) {
			t.Errorf("%s: beside it %v", q.text(), c.runs[0].Axes)
		}
	}
}

// What is of another kind does not stand beside a published figure; of the
// same kind, what differs stands beside it.
func TestReferencesOfAnotherKind(t *testing.T) {
	nic := func(r *results.Record, name string, value any) {
		for _, f := range []results.Facts{r.Facts.RX, r.Facts.TX} {
			f["nic"].(map[string]any)[name] = value
		}
	}
	make := func(f func(*results.Record)) []results.Record {
		records := analysistest.Matrix()
		for i := range records {
			r := &records[i]
			r.Axes["cpus"] = "2"
			analysistest.AsTheMode(r)
			for _, to := range []*results.Facts{&r.Facts.RX, &r.Facts.TX} {
				*to = results.Facts{"nic": map[string]any{"name": "eth1", "kind": "device", "driver": "idpf", "speed_mbps": 200000, "mtu": 4148},
					"offload": map[string]any{"rx-gro": "on", "rx-gro-hw": map[string]string{"hw": "on", "sw": "off"}[r.Axes["gro"]]}}
			}
			f(r)
		}
		return records
	}
	for _, c := range []struct {
		name  string
		f     func(*results.Record)
		shown int // of the six
		text  string
		not   string
	}{
		{"as published", func(*results.Record) {}, 6, "", "Not as published|Left out|netdev-0x19; here"},
		{"another NIC and MTU", func(r *results.Record) { nic(r, "driver", "mlx5_core"); nic(r, "mtu", 1500) }, 6, "Not as published here: NIC mlx5_core at 200000 Mbit/s, MTU 1500.", "Left out"},
		{"a slower one", func(r *results.Record) { nic(r, "speed_mbps", 100000) }, 6, "Not as published here: NIC idpf at 100000 Mbit/s.", "Left out"},
		{"several flows", func(r *results.Record) { r.Settings["flows"] = 4 }, 6, "Not as published here: 4 flows.", "NIC idpf"},
		{"over veth", func(r *results.Record) { nic(r, "kind", "veth"); nic(r, "driver", "veth") }, 0, "baseline, 2 CPUs, sw GRO went over veth, published is nic", "Not as published"},
		{"over loopback", func(r *results.Record) { nic(r, "name", "lo") }, 0, "went over loopback, published is nic", "Not as published"},
		{"in a virtual machine", func(r *results.Record) { nic(r, "driver", "virtio_net") }, 0, "went over virtio_net, published is nic", "Not as published"},
		{"on the lab's NIC, whatever it calls its driver", func(r *results.Record) { nic(r, "bus", "zcnic.0") }, 0, "went over zcnic, published is nic", "Not as published"},
		{"other engines under the names of modes", func(r *results.Record) {
			if r.Axes["mode"] == "devmem" {
				r.TX.Engine = "msgzc"
			}
		}, 4, "devmem, 2 CPUs, sw GRO is msgzc → devmem, published is devmem → devmem", "Not as published"},
		{"one run of another engine", func(r *results.Record) {
			if r.Axes["mode"] == "devmem" && r.Axes["gro"] == "sw" && r.Repeat == 7 {
				r.RX.Engine = "baseline"
			}
		}, 5, "is devmem → baseline", ""},
		{"HW GRO in name alone", func(r *results.Record) {
			r.Facts.RX["offload"].(map[string]any)["rx-gro-hw"] = "off"
		}, 3, "had GRO sw, published is hw", ""},
		{"no GRO", func(r *results.Record) {
			r.Facts.RX["offload"] = map[string]any{"rx-gro": "off", "rx-gro-hw": "off"}
		}, 0, "had GRO off, published is", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Of(make(c.f)).Report(Options{References: []string{"netdev-0x19"}})
			if err != nil {
				t.Fatal(err)
			}
			shown := 0
			for _, b := range r.references[0].points {
				if b.cell != nil {
					shown++
				}
			}
			if shown != c.shown {
				t.Errorf("%d figures beside published ones, want %d", shown, c.shown)
			}
			for _, format := range []string{"table", "markdown", "html"} {
				var b bytes.Buffer
				if err := write(&b, r, format); err != nil {
					t.Fatal(err)
				}
				text := strings.ReplaceAll(strings.Join(strings.Fields(html.UnescapeString(b.String())), " "), `\_`, "_")
				if !strings.Contains(text, c.text) {
					t.Errorf("%s: no %q", format, c.text)
				}
				for _, not := range strings.Split(c.not, "|") {
					if not != "" && strings.Contains(text, not) {
						t.Errorf("%s: %q", format, not)
					}
				}
				if format == "html" {
					if n := strings.Count(text, `<path class="mark" d="M0 -6`); n != c.shown {
						t.Errorf("%d marks in the charts, want %d", n, c.shown)
					}
				}
			}
		})
	}
}

func TestManyHostsAreTold(t *testing.T) {
	records := analysistest.Matrix()
	for i := range records {
		records[i].Facts.RX = results.Facts{"machine": map[string]any{"hostname": fmt.Sprint("rx", i%3)}}
		records[i].Facts.TX = results.Facts{"machine": map[string]any{"hostname": "tx0"}}
	}
	var b bytes.Buffer
	if err := Table(&b, FirstLook(records)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "Sender: tx0\nReceiver: rx0; and 2 other hosts\n") || !strings.Contains(b.String(), "machine.hostname rx0, then rx1, then rx2") {
		t.Errorf("got\n%s", &b)
	}
	if err := write(broken{}, FirstLook(records), "json"); err == nil {
		t.Error("a failed write went unnoticed")
	}
}

// Figures beyond all reason must end in a report, whatever it says.
func TestExtremes(t *testing.T) {
	for _, speeds := range [][]float64{{1e308, 1e308, 1e308}, {1e-320, 1e-320}, {5e-324}, {-1, -5}, {1e308, -1e308}, {0, 0, 0, 0}, {1e300, 1e-300, 1, 1, 1, 1, 1}} {
		var records []results.Record
		for i, v := range speeds {
			r := analysistest.OK("a", v, 1e-300, 1e300)
			r.ID = fmt.Sprint(i)
			records = append(records, r)
		}
		for _, format := range formats() {
			if err := write(io.Discard, FirstLook(records), format); err != nil {
				t.Errorf("%v as %s: %v", speeds, format, err)
			}
		}
		c, err := Compare(Of(records), Of(records), CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range CompareFormats() {
			if err := WriteComparison(io.Discard, c, format); err != nil {
				t.Errorf("%v against itself as %s: %v", speeds, format, err)
			}
		}
		if l := c.Losses(); len(l) > 0 {
			t.Errorf("%v against itself: %q", speeds, l)
		}
	}
}
