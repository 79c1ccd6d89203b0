package reports

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/internal/fault"
)

// FuzzReport feeds stores that anybody may have written.
func FuzzReport(f *testing.F) {
	f.Add([]byte(
		`{"schema":"zcbench/1","id":"a","cell":"c","status":"ok","gbps":9,"rx":{"engine":"mmap","bytes":1,"counters":{"n":1}},"settings":{"rx_cpus":[1]}}`), "mode,gro")
	f.Add([]byte(
		`{"schema":"zcbench/1","status":"ok","gbps":1e300,"rx":{"engine":"a","cpu_percent":1e-300,"bytes":1},"roi":{"cpu":{"rx":1e308}},"axes":{"a":"b"}}`+"\n"+`{"schema":"zcbench/1","status":"ok","gbps":-1e308,"roi":{"cpu":{"rx":-1e308}},"axes":{"a":"c"}}`), "a")
	f.Fuzz(func(t *testing.T, text []byte, by string) {
		path := filepath.Join(t.TempDir(), "r.jsonl")
		if err := os.WriteFile(path, slices.Concat(text, []byte{'\n'}, text), 0o644); err != nil {
			t.Fatal(err)
		}
		set, err := analysis.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		reports := []*analysis.Report{}
		for _, o := range []analysis.Options{{}, {GroupBy: strings.Split(by, ",")}, {Metrics: []string{"gbps", "rx.counters"}}} {
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
			for _, c := range r.Cells {
				var b bytes.Buffer
				if err := Explain(&b, r, c.ID); err != nil && fault.Of(err) != fault.Usage {
					t.Fatal(err)
				}
			}
		}
		if c, err := analysis.Compare(set, set, analysis.CompareOptions{}); err == nil {
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
	path := analysistest.LongStudy(b, 10_000)
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
				set, err := analysis.Load(path)
				if err != nil {
					b.Fatal(err)
				}
				r, err := set.Report(analysis.Options{})
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
