package reports

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"zcbench/analysis/analysistest"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// formats are the names of all that there are.
func formats() (names []string) {
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return names
}

// write writes a report in the named format.
func write(w io.Writer, r *Report, format string) error { return formatOf(format).Write(w, r) }

func tellsPlan(format string) bool { return formatOf(format).TellsPlan }

func formatOf(name string) Format {
	list := Formats()
	return list[slices.IndexFunc(list, func(f Format) bool { return f.Name == name })]
}

func TestTable(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		var b bytes.Buffer
		if err := Table(&b, FirstLook(analysistest.Fixture(t, name))); err != nil {
			t.Fatal(err)
		}
		analysistest.Golden(t, name+".table", b.Bytes())
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > 100 || strings.TrimRight(line, " ") != line {
				t.Errorf("%s: %d columns, or space at the end: %q", name, n, line)
			}
		}
	}
}

// What other programs read, of the same figures.
func TestFormats(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		r := FirstLook(analysistest.Fixture(t, name))
		for format, file := range map[string]string{"markdown": ".md", "csv": ".csv", "runs": ".runs.csv", "json": ".json", "benchfmt": ".bench"} {
			var b bytes.Buffer
			if err := write(&b, r, format); err != nil {
				t.Fatal(err)
			}
			analysistest.Golden(t, name+file, b.Bytes())
		}
	}
}

func TestRun(t *testing.T) {
	var b bytes.Buffer
	demo, pair := analysistest.Fixture(t, "demo"), analysistest.Fixture(t, "pair")
	for _, r := range []results.Record{demo[0], demo[2], demo[6], demo[12], pair[1], pair[3], pair[4]} {
		if err := Run(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	analysistest.Golden(t, "run.txt", b.Bytes())
}

func TestRunShowsWhatCrossed(t *testing.T) {
	r := analysistest.OK("a", 8, 100, 100)
	r.RX.Verify = &results.Crossing{Interface: "eth1", Seconds: 0.5, Lost: 3, Received: results.Direction{Frames: 4, Bytes: 3 * 65536, Other: 1,
		Sizes: map[int]uint64{65536: 3, 131072: 1}, Segments: map[int]uint64{4096: 3, 1448: 1}, Headers: map[int]uint64{66: 4}, Options: map[string]uint64{"Timestamps": 4},
		Flows: []results.Flow{
			{Flow: "a → b", Frames: 3, Bytes: 2 * 65536, Queues: map[int]uint64{7: 2, -1: 1}, Steered: []uint32{7}, Elsewhere: 1},
			{Flow: "c → d", Frames: 1, Bytes: 65536, Queues: map[int]uint64{7: 1}, Steered: []uint32{7}}}}}
	var b bytes.Buffer
	if err := Run(&b, r); err != nil {
		t.Fatal(err)
	}
	const want = `
The receiver's headers, in the warm-up: eth1 for 0.50 s; 3 frames came too fast to be looked at, these are a sample
received: 4 TCP frames with 196608 bytes of payload, 1 other frame
  frame payload up to  65536 (75.0%) 131072 (25.0%)
  segment payload      4096 (75.0%) 1448 (25.0%); most are whole pages
  header bytes         66 (100.0%)
  TCP options          Timestamps (100.0%)
  a → b: 131072 bytes, queue 7 (66.7%) unknown (33.3%); ! its flow rule wants [7], 1 frame came elsewhere
  c → d: 65536 bytes, queue 7 (100.0%); as its flow rule wants
sent: 0 TCP frames with 0 bytes of payload, 0 other frames
`
	if !strings.HasSuffix(b.String(), want) {
		t.Errorf("not at its end:%s\n%s", want, b.String())
	}
}

func TestEachEndHasItsOwnWindow(t *testing.T) {
	r := analysistest.OK("a", 8, 100, 100)
	r.TX.Bytes, r.RX.Bytes, r.Window = 3e9, 1e9, 1
	r.Samples = []results.Sample{{End: "tx", Seconds: 1.25}, {End: "rx", Seconds: 0.5}, {End: "tx", Seconds: 0.75}, {End: "rx", Seconds: 0.5}}
	var b bytes.Buffer
	if err := Run(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.00-2.00 s     3.00 GB   12.00 Gbit/s", "0.00-1.00 s     1.00 GB   8.000 Gbit/s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestHTML(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		var b bytes.Buffer
		if err := HTML(&b, FirstLook(analysistest.Fixture(t, name))); err != nil {
			t.Fatal(err)
		}
		analysistest.Golden(t, name+".html", []byte(bare(t, b.String())))
		if ref := outside.FindString(bare(t, b.String())); ref != "" {
			t.Errorf("%s: the page refers to %q", name, ref)
		}
	}
}

// bare is a page without the style and the script that every page has.
func bare(t *testing.T, page string) string {
	t.Helper()
	for _, own := range []string{"<style>" + pageStyle + "</style>", "<script>" + pageScript + "</script>"} {
		if strings.Count(page, own) != 1 {
			t.Fatalf("the page has %d of %.40q", strings.Count(page, own), own)
		}
		page = strings.Replace(page, own, "", 1)
	}
	return regexp.MustCompile(`'sha256-[^']*'`).ReplaceAllString(page, "'sha256-'")
}

// What would make a browser ask for something, or run something.
var outside = regexp.MustCompile(`(?i)https?:|<script>|<script [^t]|@import|url\([^#]|src=| on\w+=`)

// Both ends of every interval are marked: with a cap, or with an arrow where it
// goes on beyond the axis, which leaves room for it where that is little.
func TestIntervalsHaveTwoEnds(t *testing.T) {
	run := func(engine string, gbps float64) results.Record {
		return results.Record{Status: results.OK, Gbps: gbps, RX: &results.End{Engine: engine}, TX: &results.End{Engine: "null"}}
	}
	for _, c := range []struct {
		name         string
		records      []results.Record
		caps, arrows int
		sure         string
	}{
		{"two runs far apart", []results.Record{run("a", 40), run("a", 60), run("b", 10), run("b", 10.1)}, 2, 2, "mean of 2 runs, 95 % interval -77.06 to 177.06; b may be as high"},
		{"two runs that agree", []results.Record{run("a", 50), run("a", 50.5), run("b", 10), run("b", 10.1)}, 4, 0, "mean of 2 runs, 95 % interval 47.07 to 53.43"},
		{"single runs", []results.Record{run("a", 50), run("b", 10), run("c", 20)}, 0, 0, "one run: how much runs differ is not known; 2 others may be as high"},
	} {
		var b bytes.Buffer
		if err := HTML(&b, FirstLook(c.records)); err != nil {
			t.Fatal(err)
		}
		page := bare(t, b.String())
		caps, arrows := strings.Count(page, `<path class="interval" d="M0 -4V4"/>`), strings.Count(page, `<path class="interval" d="M5 -4L0 0L5 4"/>`)+strings.Count(page, `<path class="interval" d="M-5 -4L0 0L-5 4"/>`)
		if lines := strings.Count(page, `<line class="interval"`); caps != c.caps || arrows != c.arrows || 2*lines != caps+arrows {
			t.Errorf("%s: %d lines, %d caps, %d arrows", c.name, lines, caps, arrows)
		}
		if told := strings.Contains(page, "goes on beyond the axis"); told != (c.arrows > 0) {
			t.Errorf("%s: what an arrow is, told: %v", c.name, told)
		}
		page = strings.ReplaceAll(page, "null → ", "")
		if !strings.Contains(page, c.sure+"<") {
			t.Errorf("%s: no %q beside the highest", c.name, c.sure)
		}
	}
}

func TestChartsAreWholeAndRight(t *testing.T) {
	for _, c := range []struct {
		fixture    string
		bars, runs []int // of the charts
	}{
		// 6 pairs measured, 17 runs; of the skipped one only words.
		{"demo", []int{6, 12, 18, 12}, []int{17, 34, 51, 34}},
		// 5 pairs of 5 runs, dropped ones drawn too; one receiver unknown.
		{"pair", []int{5, 9, 9, 13, 13, 9}, []int{25, 45, 45, 65, 65, 45}},
	} {
		var b bytes.Buffer
		if err := HTML(&b, FirstLook(analysistest.Fixture(t, c.fixture))); err != nil {
			t.Fatal(err)
		}
		figures := regexp.MustCompile(`(?s)<figure class="chart".*?</figure>`).FindAllString(b.String(), -1)
		if len(figures) != len(c.bars) {
			t.Fatalf("%s: %d charts", c.fixture, len(figures))
		}
		for i, svg := range figures {
			wellFormed(t, strings.ReplaceAll(svg, " data-plot", ""))
			if n := strings.Count(svg, `<rect class="bar `); n != c.bars[i] {
				t.Errorf("%s chart %d: %d bars, want %d", c.fixture, i, n, c.bars[i])
			}
			if n := strings.Count(svg, "<circle"); n != c.runs[i] {
				t.Errorf("%s chart %d: %d runs, want %d", c.fixture, i, n, c.runs[i])
			}
			for _, p := range regexp.MustCompile(`"(-?[\d.]+|NaN|[+-]Inf)%"`).FindAllStringSubmatch(svg, -1) {
				var v float64
				if _, err := fmt.Sscan(p[1], &v); err != nil || !(v >= 0 && v <= 100) {
					t.Errorf("%s chart %d: something at %s", c.fixture, i, p[0])
				}
			}
		}
	}
}

func wellFormed(t *testing.T, doc string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%v in %.200s…", err, doc)
			return
		}
	}
}

func p(v float64) *float64 { return &v }

func TestFigures(t *testing.T) {
	records := []results.Record{analysistest.OK("a", 10, 100, 50), analysistest.OK("a", 20, 100, 50), analysistest.OK("a", 30, 100, 50), analysistest.OK("b", 7, 70, 7)}
	records[1].RX.CPUPercent = nil
	cells := FirstLook(records).cells
	if len(cells) != 2 {
		t.Fatalf("%d cells", len(cells))
	}
	for _, c := range []struct {
		name string
		got  figure
		want figure
	}{
		{"Gbit/s", known("gbps").over(cells[0].runs), figure{n: 3, mean: 20, min: 10, max: 30, sd: 10, median: 20, lo: 20 - 4.302652729911275*10/math.Sqrt(3)}},
		// Run by run: 100/50, 400/50, 900/50. Of the means it would be 8.
		{"ROI of the sender", known("roi.cpu.tx").over(cells[0].runs), figure{n: 3, mean: 28. / 3, min: 2, max: 18, median: 8, sd: math.Sqrt((math.Pow(2-28./3, 2) + math.Pow(8-28./3, 2) + math.Pow(18-28./3, 2)) / 2)}},
		{"CPU measured twice", known("rx.cpu_percent").over(cells[0].runs), figure{n: 2, mean: 100, min: 100, max: 100, median: 100, lo: 100}},
		{"zero-copied", known("tx.zero_copied_percent").over(cells[0].runs), figure{n: 3, mean: 100, min: 100, max: 100, median: 100, lo: 100}},
	} {
		g, w := c.got, c.want
		if w.lo == 0 {
			w.lo = w.mean - 4.302652729911275*w.sd/math.Sqrt(3)
		}
		if math.Abs(g.lo-w.lo) > 1e-9*math.Abs(w.lo) || math.Abs(g.hi+w.lo-2*w.mean) > 1e-9*w.mean || g.median != w.median {
			t.Errorf("%s: interval %v to %v, median %v, want %+v", c.name, g.lo, g.hi, g.median, w)
		}
		if g.n != w.n || g.min != w.min || g.max != w.max || math.Abs(g.mean-w.mean) > 1e-12 || math.Abs(g.sd-w.sd) > 1e-12 {
			t.Errorf("%s: got %+v, want %+v", c.name, g, w)
		}
	}
	if f := known("gbps").over(cells[1].runs); f.n != 1 || !math.IsNaN(f.sd) {
		t.Errorf("one run: %+v", f)
	}
	if f := known("gbps").over(nil); f.n != 0 || f.text(2) != "–" {
		t.Errorf("no run: %+v", f)
	}
}

func TestTicks(t *testing.T) {
	for _, top := range []float64{1e-6, 0.3, 1, 7, 46.57, 100, 101, 5e4} {
		step := tickStep(top)
		if n := top / step; n > 5 || n < 1 {
			t.Errorf("%v: steps of %v", top, step)
		}
	}
}

// A peer chooses these texts. They must neither reach the terminal as control
// codes, nor break a line, nor become markup.
func TestHostileText(t *testing.T) {
	const evil = "\x1b[31mred\r\n\u202e</title></svg><script>alert(1)</script>\x00\xff"
	r := analysistest.OK("a", 1, 2, 3)
	r.RX.Engine, r.Reason, r.Dropped = evil, evil, ""
	r.RX.CPUScope = evil
	r.RX.Syscalls = map[string]uint64{evil: 5}
	r.Warnings = []string{evil}
	r.RX.Verify = &results.Crossing{Interface: evil, Received: results.Direction{Bytes: 1, Options: map[string]uint64{evil: 1}, Flows: []results.Flow{{Flow: evil}}}}
	r.Facts.RX = results.Facts{evil: evil, "kernel": map[string]any{"release": evil}}
	r.Settings = map[string]any{"rx": evil, evil: evil}
	r.Started, r.ID = evil, evil
	failed := r
	failed.Status, failed.Cell = results.Failed, "b"
	strange := r
	strange.Status, strange.Cell = evil, "c"
	records := []results.Record{r, failed, strange}
	var b bytes.Buffer
	for _, err := range []error{Table(&b, FirstLook(records)), Run(&b, r), Run(&b, failed), Run(&b, strange)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := b.String(); strings.ContainsAny(s, "\x1b\r\x00\u202e") || !utf8.ValidString(s) {
		t.Errorf("control codes in %q", s)
	}
	b.Reset()
	// Under names that others chose, too.
	for i := range records {
		records[i].Axes = map[string]string{evil: evil}
		records[i].RX.Counters = map[string]float64{evil: 1}
	}
	all, err := Of(records).Report(Options{Metrics: []string{"gbps", "rx.counters"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range formats() {
		if format == "html" || format == "json" { // escaped, as their readers expect
			continue
		}
		if err := write(&b, all, format); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.String(); strings.ContainsAny(s, "\x1b\r\x00\u202e") || !utf8.ValidString(s) {
		t.Errorf("control codes in %q", s)
	}
	b.Reset()
	if err := HTML(&b, FirstLook(records)); err != nil {
		t.Fatal(err)
	}
	s := strings.ToLower(bare(t, b.String()))
	if strings.Contains(s, "alert(1)<") || strings.Contains(s, "<script>") || strings.Count(s, "<script") != 1 || strings.Count(s, "</script") != 1 || strings.Count(s, "<svg") != strings.Count(s, "</svg>") || strings.Count(s, "</title>") != 1 {
		t.Error("markup got through")
	}
}

// Nothing measured, nothing recorded, nothing at all.
func TestLittleToSay(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []results.Record
		want    string // in the table
	}{
		{"none", nil, "no runs"},
		{"empty record", []results.Record{{}}, "failed: no reason given"},
		{"only skipped", []results.Record{{Status: results.Skipped, Reason: "too old", Settings: map[string]any{"tx": "sendzc", "rx": "zcrx"}}}, "sendzc → zcrx      skipped: too old"},
		{"only dropped", []results.Record{{Status: results.OK, Dropped: "first run"}}, "dropped: first run"},
		{"all zero", []results.Record{analysistest.OK("a", 0, 0, 0)}, "sendfile → baseline"},
		{"ends unknown", []results.Record{{Status: results.OK, Gbps: 3}}, "(raw) → (raw)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Table(&b, FirstLook(c.records)); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), c.want) || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
				t.Errorf("got %s", b.String())
			}
			b.Reset()
			if err := HTML(&b, FirstLook(c.records)); err != nil {
				t.Fatal(err)
			}
			if s := bare(t, b.String()); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
				t.Error("NaN or Inf in the page")
			}
			for _, r := range c.records {
				if err := Run(io.Discard, r); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriteErrorsAreTold(t *testing.T) {
	records := analysistest.Fixture(t, "demo")
	if Table(broken{}, FirstLook(records)) == nil || HTML(broken{}, FirstLook(records)) == nil || Run(broken{}, records[0]) == nil {
		t.Error("a failed write went unnoticed")
	}
}

// A long experiment must stay a page that a browser opens: 10,000 runs in
// less than 10 MB.
func TestManyRecords(t *testing.T) {
	tier.Long(t)
	const n, limit = 2000, 4_000_000
	some := analysistest.Fixture(t, "pair")
	var records []results.Record
	for i := range n {
		r := some[i%len(some)]
		r.Cell += fmt.Sprint(i / 200)
		records = append(records, r)
	}
	start := time.Now()
	var b bytes.Buffer
	if err := errors.Join(Table(io.Discard, FirstLook(records)), HTML(&b, FirstLook(records))); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d records: %d bytes in %v", n, b.Len(), time.Since(start))
	if b.Len() > limit {
		t.Errorf("the page has %d bytes, more than %d", b.Len(), limit)
	}
}

// Warnings of one code that differ in size and culprit are one footnote; those
// that say different things are not.
func TestNotesOfOneKind(t *testing.T) {
	var records []results.Record
	for i, w := range []string{
		"rx: at least 7.5% of a CPU went to programs that are not of the run, on CPU 1; most to go (pid 12, 7.0%)",
		"rx: at least 31.0% of a CPU went to programs that are not of the run, on CPU 1; most to cc1 (pid 345, 22.0%)",
		"rx: at least 9.0% of a CPU went to programs that are not of the run, on CPU 1; most to go (pid 99, 9.0%)",
		"tx: at least 8.0% of a CPU went to programs that are not of the run, on CPU 0; most to sh (pid 7, 8.0%)",
	} {
		records = append(records, results.Record{ID: fmt.Sprint(i), Cell: fmt.Sprint("c", i/2), Status: results.OK, Gbps: 1, Axes: map[string]string{"x": fmt.Sprint(i / 2)},
			Warnings: []string{w + " [cpu-foreign]", fmt.Sprintf("rx: --window %d was asked for [setting-not-taken]", i)}})
	}
	text := strings.Join(strings.Fields(tableOf(t, FirstLook(records))), " ")
	for _, want := range []string{
		"rx: at least 31.0% of a CPU went to programs that are not of the run, on CPU 1; most to cc1 (pid 345, 22.0%); the worst of 3 such [cpu-foreign]",
		"tx: at least 8.0% of a CPU", "--window 0 was", "--window 3 was",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "[cpu-foreign]"); n != 2 {
		t.Errorf("%d footnotes of cpu-foreign:\n%s", n, text)
	}
}

func tableOf(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := Table(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
