package reports

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"zcbench/results"
)

// longStudy writes n records of 100 s with a sample a second from each end,
// as rich as a real one's, ten runs to a cell.
func longStudy(tb testing.TB, n int) (path string) {
	tb.Helper()
	records, bad, err := results.Load(filepath.Join("testdata", "pair.jsonl"))
	if err != nil || len(bad) > 0 {
		tb.Fatal(bad, err)
	}
	path = filepath.Join(tb.TempDir(), "results.jsonl")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	random := rand.New(rand.NewPCG(3, 4))
	var series [16]map[string]float64
	for i := range series {
		series[i] = map[string]float64{}
	}
	for _, name := range []string{"cpu_user_percent", "cpu_system_percent", "cpu_softirq_percent", "cpu_irq_percent", "cpu_iowait_percent", "cpu_idle_percent",
		"cstate_POLL_percent", "cstate_C1_percent", "cstate_C6_percent", "cpu_mhz", "tcp_rtt_us", "tcp_cwnd_segments", "page_pool_inflight_bytes", "qstat_rx_packets_per_second", "host_interrupts_per_second"} {
		for i := range series {
			series[i][name] = 12 + 2*random.Float64()
		}
	}
	states := map[string]float64{"user": 1.5, "system": 70.25, "softirq": 20.125, "idle": 8.125}
	ok := make([]results.Record, 0, len(records))
	for _, r := range records {
		if r.RX != nil && r.TX != nil {
			ok = append(ok, r)
		}
	}
	for i := range n {
		r := ok[i%len(ok)]
		cell := i / 10
		r.ID, r.Cell, r.Repeat = fmt.Sprintf("%016x", i), fmt.Sprintf("%012x", cell), i%10
		r.Dropped = ""
		r.Axes = map[string]string{"mode": []string{"baseline", "msgzc", "devmem", "iouring"}[cell%4], "length": fmt.Sprint(4096 << (cell / 4 % 8)), "mtu": fmt.Sprint(1500 + cell/32)}
		r.Facts.TX = maps.Clone(r.Facts.TX)
		r.Facts.TX["process"] = map[string]any{"command": fmt.Sprint("zcbench tx ", i)} // no two alike
		r.Started = time.Date(2026, 11, 21, 0, 0, 100*i, 0, time.UTC).Format(time.RFC3339)
		tx, rx := *r.TX, *r.RX
		r.TX, r.RX = &tx, &rx
		for cpu := range 16 {
			rx.CPUs = append(rx.CPUs, results.CPUTime{CPU: cpu, States: states})
		}
		tx.CPUs = rx.CPUs
		r.Samples = nil
		for s := range 100 {
			for _, end := range []string{"rx", "tx"} {
				r.Samples = append(r.Samples, results.Sample{End: end, Start: float64(s), Seconds: 1, Bytes: 16e9, Gbps: 120 + 16*random.Float64(), CPUPercent: rx.CPUPercent, Watts: rx.Watts, Series: series[random.IntN(len(series))]})
			}
		}
		line, err := json.Marshal(r)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// What a report keeps of a run must not grow with the run's length.
func TestLongRunsTakeLittleMemory(t *testing.T) {
	const n, limit = 60, 50_000 // bytes a run; its line has 120,000
	path := longStudy(t, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	set, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Report(Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; kept > limit {
		t.Errorf("%d bytes a run are kept", kept)
	}
	runtime.KeepAlive(r)
}

// FuzzReport feeds stores that anybody may have written.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"schema":"zcbench/1","id":"a","cell":"c","status":"ok","gbps":9,"rx":{"engine":"mmap","bytes":1,"counters":{"n":1}},"settings":{"rx_cpus":[1]}}`), "mode,gro")
	f.Add([]byte(`{"schema":"zcbench/1","status":"ok","gbps":1e300,"rx":{"engine":"a","cpu_percent":1e-300,"bytes":1},"roi":{"cpu":{"rx":1e308}},"axes":{"a":"b"}}`+"\n"+`{"schema":"zcbench/1","status":"ok","gbps":-1e308,"roi":{"cpu":{"rx":-1e308}},"axes":{"a":"c"}}`), "a")
	f.Fuzz(func(t *testing.T, text []byte, by string) {
		path := filepath.Join(t.TempDir(), "r.jsonl")
		if err := os.WriteFile(path, slices.Concat(text, []byte{'\n'}, text), 0o644); err != nil {
			t.Fatal(err)
		}
		set, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		reports := []*Report{}
		for _, o := range []Options{{}, {GroupBy: strings.Split(by, ",")}, {Metrics: []string{"gbps", "rx.counters"}}} {
			if r, err := set.Report(o); err == nil {
				reports = append(reports, r)
			}
		}
		for _, r := range reports {
			for _, format := range formats() {
				var b bytes.Buffer
				if err := write(&b, r, format); err != nil {
					t.Fatalf("%s: %v", format, err)
				}
				if format != "json" && format != "html" && strings.ContainsAny(b.String(), "\x1b\x00\r\u202e") {
					t.Fatalf("%s: control codes in %q", format, &b)
				}
			}
			for _, c := range r.cells {
				var b bytes.Buffer
				if err := Explain(&b, r, c.id); err != nil && !errors.Is(err, ErrWhichCell) {
					t.Fatal(err)
				}
			}
		}
		if c, err := Compare(set, set, CompareOptions{}); err == nil {
			for _, format := range CompareFormats() {
				if err := WriteComparison(io.Discard, c, format); err != nil {
					t.Fatalf("compare as %s: %v", format, err)
				}
			}
			if l := c.Losses(); len(l) > 0 {
				t.Fatalf("against itself: %q", l)
			}
		}
	})
}

// BenchmarkReport is 10,000 records of 100 s: a report is to take less than
// 10 s and 1 GiB.
func BenchmarkReport(b *testing.B) {
	path := longStudy(b, 10_000)
	st, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for _, format := range formats() {
		b.Run(format, func(b *testing.B) {
			peak := uint64(0)
			for b.Loop() {
				done := make(chan struct{})
				go func() {
					for {
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						peak = max(peak, m.Sys-m.HeapReleased)
						select {
						case <-done:
							return
						case <-time.After(50 * time.Millisecond):
						}
					}
				}()
				set, err := Load(path)
				if err != nil {
					b.Fatal(err)
				}
				r, err := set.Report(Options{})
				if err != nil {
					b.Fatal(err)
				}
				out := &counting{w: io.Discard}
				if err := write(out, r, format); err != nil {
					b.Fatal(err)
				}
				close(done)
				b.ReportMetric(float64(out.n)/1e6, "MB-written")
			}
			b.ReportMetric(float64(st.Size())/1e6, "MB-read")
			b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
		})
	}
}

// counting counts what goes through it.
type counting struct {
	w io.Writer
	n int
}

func (c *counting) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.w.Write(p)
}
