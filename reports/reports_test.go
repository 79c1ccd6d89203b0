package reports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/internal/testutil/tier"
	"zcbench/reports/html"
	"zcbench/results"
)

// allFormats are those of this package, and the page.
func allFormats() []Format { return append(Formats(), Format{"html", true, html.Write}) }

// formats are their names.
func formats() (names []string) {
	for _, f := range allFormats() {
		names = append(names, f.Name)
	}
	return names
}

// write writes a report in the named format.
func write(w io.Writer, r *analysis.Report, format string) error { return formatOf(format).Write(w, r) }

func tellsPlan(format string) bool { return formatOf(format).TellsPlan }

func formatOf(name string) Format {
	list := allFormats()
	return list[slices.IndexFunc(list, func(f Format) bool { return f.Name == name })]
}

func TestTable(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		var b bytes.Buffer
		if err := Table(&b, analysis.FirstLook(analysistest.Fixture(t, name))); err != nil {
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
		r := analysis.FirstLook(analysistest.Fixture(t, name))
		for format, file := range map[string]string{"markdown": ".md", "csv": ".csv", "runs": ".runs.csv", "json": ".json",
			"benchfmt": ".bench"} {
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
	r.RX.Verify = &results.Crossing{Interface: "eth1", Seconds: 0.5, Lost: 3,
		Received: results.Direction{Frames: 4, Bytes: 3 * 65536, Other: 1,
			Sizes: map[int]uint64{65536: 3, 131072: 1}, Segments: map[int]uint64{4096: 3, 1448: 1}, Headers: map[int]uint64{66: 4},
			Options: map[string]uint64{"Timestamps": 4}, Flows: []results.Flow{
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
	r.Samples = []results.Sample{{End: "tx", Seconds: 1.25}, {End: "rx", Seconds: 0.5}, {End: "tx", Seconds: 0.75},
		{End: "rx", Seconds: 0.5}}
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

// bareOf is a page without the style and the script that an empty one has.
func bareOf(t *testing.T, page string) string {
	t.Helper()
	var b bytes.Buffer
	if err := html.Write(&b, analysis.FirstLook(nil)); err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`(?s)<style>.*</style>|<script>.*</script>`).FindAllString(b.String(), -1)
	if len(own) != 2 {
		t.Fatalf("an empty page has %d styles and scripts", len(own))
	}
	for _, part := range own {
		if strings.Count(page, part) != 1 {
			t.Fatalf("the page has %d of %.40q", strings.Count(page, part), part)
		}
		page = strings.Replace(page, part, "", 1)
	}
	return page
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
	r.RX.Verify = &results.Crossing{Interface: evil, Received: results.Direction{Bytes: 1, Options: map[string]uint64{evil: 1},
		Flows: []results.Flow{{Flow: evil}}}}
	r.Facts.RX = results.Facts{evil: evil, "kernel": map[string]any{"release": evil}}
	r.Settings = map[string]any{"rx": evil, evil: evil}
	r.Started, r.ID = evil, evil
	failed := r
	failed.Status, failed.Cell = results.Failed, "b"
	strange := r
	strange.Status, strange.Cell = evil, "c"
	records := []results.Record{r, failed, strange}
	var b bytes.Buffer
	for _, err := range []error{Table(&b, analysis.FirstLook(records)), Run(&b, r), Run(&b, failed), Run(&b, strange)} {
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
	all, err := analysis.Of(records).Report(analysis.Options{Metrics: []string{"gbps", "rx.counters"}})
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
	if err := html.Write(&b, analysis.FirstLook(records)); err != nil {
		t.Fatal(err)
	}
	s := strings.ToLower(bareOf(t, b.String()))
	if strings.Contains(s, "alert(1)<") || strings.Contains(s, "<script>") || strings.Count(s, "<script") != 1 ||
		strings.Count(s, "</script") != 1 || strings.Count(s, "<svg") != strings.Count(s, "</svg>") || strings.Count(s, "</title>") != 1 {
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
		{"only skipped",
			[]results.Record{{Status: results.Skipped, Reason: "too old", Settings: map[string]any{"tx": "sendzc", "rx": "zcrx"}}},
			"sendzc → zcrx      skipped: too old"},
		{"only dropped", []results.Record{{Status: results.OK, Dropped: "first run"}}, "dropped: first run"},
		{"all zero", []results.Record{analysistest.OK("a", 0, 0, 0)}, "sendfile → baseline"},
		{"ends unknown", []results.Record{{Status: results.OK, Gbps: 3}}, "(raw) → (raw)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Table(&b, analysis.FirstLook(c.records)); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), c.want) || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
				t.Errorf("got %s", b.String())
			}
			b.Reset()
			if err := html.Write(&b, analysis.FirstLook(c.records)); err != nil {
				t.Fatal(err)
			}
			if s := bareOf(t, b.String()); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
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
	if Table(broken{}, analysis.FirstLook(records)) == nil || html.Write(broken{}, analysis.FirstLook(records)) == nil ||
		Run(broken{}, records[0]) == nil {
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
	if err := errors.Join(Table(io.Discard, analysis.FirstLook(records)), html.Write(&b, analysis.FirstLook(records))); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d records: %d bytes in %v", n, b.Len(), time.Since(start))
	if b.Len() > limit {
		t.Errorf("the page has %d bytes, more than %d", b.Len(), limit)
	}
}
