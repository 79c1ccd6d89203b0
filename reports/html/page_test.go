package html

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/results"
)

func TestHTML(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		var b bytes.Buffer
		if err := Write(&b, analysis.FirstLook(analysistest.Fixture(t, name))); err != nil {
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
		{"two runs far apart", []results.Record{run("a", 40), run("a", 60), run("b", 10), run("b", 10.1)}, 2, 2,
			"mean of 2 runs, 95 % interval -77.06 to 177.06; b may be as high"},
		{"two runs that agree", []results.Record{run("a", 50), run("a", 50.5), run("b", 10), run("b", 10.1)}, 4, 0,
			"mean of 2 runs, 95 % interval 47.07 to 53.43"},
		{"single runs", []results.Record{run("a", 50), run("b", 10), run("c", 20)}, 0, 0,
			"one run: how much runs differ is not known; 2 others may be as high"},
	} {
		var b bytes.Buffer
		if err := Write(&b, analysis.FirstLook(c.records)); err != nil {
			t.Fatal(err)
		}
		page := bare(t, b.String())
		caps, arrows := strings.Count(page, `<path class="interval" d="M0 -4V4"/>`),
			strings.Count(page, `<path class="interval" d="M5 -4L0 0L5 4"/>`)+strings.Count(page,
				`<path class="interval" d="M-5 -4L0 0L-5 4"/>`)
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
		if err := Write(&b, analysis.FirstLook(analysistest.Fixture(t, c.fixture))); err != nil {
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

func TestTicks(t *testing.T) {
	for _, top := range []float64{1e-6, 0.3, 1, 7, 46.57, 100, 101, 5e4} {
		step := tickStep(top)
		if n := top / step; n > 5 || n < 1 {
			t.Errorf("%v: steps of %v", top, step)
		}
	}
}

// Times of one page are in one zone, whatever that of the records is.
func TestOneTimeZone(t *testing.T) {
	list := analysistest.SixOf("c", nil)[:2]
	list[0].Started, list[1].Started = "2026-11-21T23:30:00+01:00", "2026-11-21T22:45:00Z"
	r := analysis.FirstLook(list)
	if from, to := span(r.Runs); from != "2026-11-21 23:30 +01:00" || to != "23:45" {
		t.Errorf("from %q to %q", from, to)
	}
	rows, _ := runLog(r)
	if rows[0].Started != "2026-11-21 23:30:00 +01:00" || rows[1].Started != "2026-11-21 23:45:00 +01:00" {
		t.Errorf("%q and %q", rows[0].Started, rows[1].Started)
	}
}

// Commands of a cell, and what its runs changed, are those of its records.
func TestCommands(t *testing.T) {
	const line = `{"schema":"zcbench/1","id":"%d","cell":"c","status":"ok","gbps":1%d,"window_seconds":1,"settings":{"length":4096,` +
		`"command":"zcbench run a","tuned":{"rx":["mtu: \"1500\" → \"4148\""]}}}`
	var lines []string
	for i := range 6 {
		lines = append(lines, fmt.Sprintf(line, i, i))
	}
	s, err := analysis.Load(analysistest.Store(t, t.TempDir(), "r.jsonl", lines...))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if list := commandsOf(r); len(list) != 1 || !slices.Equal(list[0].Lines, []string{"zcbench run a"}) ||
		!slices.Equal(list[0].Changed, []string{`rx: mtu: "1500" → "4148"`}) {
		t.Errorf("commands %+v", list)
	}
}

// ROI has no winner where CPU time was counted by clocks that do not compare.
func TestNoWinnerOfTwoClocks(t *testing.T) {
	for want, methods := range map[int][]string{1: {"idle", "ticks"}, 4: {"idle", "schedstat"}} {
		list := analysistest.SixOf("c", nil)
		for i := range list {
			list[i].TX.CPUMethod, list[i].RX.CPUMethod = methods[i/3], "idle"
			list[i].TX.CPUScope, list[i].RX.CPUScope = "host", "host"
		}
		if best := bests(analysis.FirstLook(list)); len(best) != want {
			t.Errorf("%q: %d winners, want %d: %+v", methods, len(best), want, best)
		}
	}
}
