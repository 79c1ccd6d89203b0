package html

import (
	"bytes"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/internal/testutil/tier"
	"zcbench/reports"
)

var shots = flag.String("shots", "", "directory to leave screenshots of the pages in")

// browser is a headless Chromium of the distribution's, with nothing of a user's.
type browser struct {
	ctx context.Context
	mu  sync.Mutex
	bad []string // errors, and requests that leave the file
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no chromium here (on Debian: apt-get install chromium)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Env("TMPDIR="+t.TempDir()), chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true), chromedp.WSURLReadTimeout(time.Minute))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	chromedp.ListenTarget(ctx, func(e any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning || e.Type == runtime.APITypeAssert {
				text := ""
				for _, a := range e.Args {
					text += " " + string(a.Value) + a.Description
				}
				b.bad = append(b.bad, "console "+string(e.Type)+":"+text)
			}
		case *runtime.EventExceptionThrown:
			b.bad = append(b.bad, "exception: "+e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			b.bad = append(b.bad, fmt.Sprintf("log %s: %s", e.Entry.Level, e.Entry.Text))
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "file" && u.Scheme != "data" {
				b.bad = append(b.bad, "request: "+e.Request.URL)
			}
		}
	})
	if err := chromedp.Run(ctx, network.Enable(), log.Enable(), runtime.Enable()); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return b
}

// open shows a report's page.
func (b *browser) open(t *testing.T, r *analysis.Report, width int64) {
	t.Helper()
	var text bytes.Buffer
	if err := Write(&text, r); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	b.do(t, emulation.SetDeviceMetricsOverride(width, 900, 1, false), chromedp.Navigate("file://"+path))
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// get evaluates an expression.
func get[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	var v T
	if err := chromedp.Run(b.ctx, chromedp.Evaluate(expression, &v,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) })); err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// is fails the test where an expression is not as wanted.
func is[T comparable](t *testing.T, b *browser, what, expression string, want T) {
	t.Helper()
	if got := get[T](t, b, expression); got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// quiet fails the test where a page complained, or asked for something.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.bad {
		t.Error(e)
	}
	b.bad = nil
}

// shoot leaves a picture of the whole page, where they are wanted.
func (b *browser) shoot(t *testing.T, name string) {
	if *shots == "" {
		return
	}
	t.Helper()
	// In parts that can be looked at.
	const part = 1500
	var size []float64
	b.do(t, chromedp.Evaluate(`[document.documentElement.clientWidth, document.documentElement.scrollHeight]`, &size))
	for i := 0; float64(i*part) < size[1]; i++ {
		var png []byte
		b.do(t, chromedp.ActionFunc(func(ctx context.Context) (err error) {
			png, err = cdpage.CaptureScreenshot().WithCaptureBeyondViewport(true).
				WithClip(&cdpage.Viewport{Y: float64(i * part), Width: size[0], Height: min(part, size[1]-float64(i*part)),
					Scale: 1}).Do(ctx)
			return err
		}))
		if err := os.WriteFile(filepath.Join(*shots, fmt.Sprintf("%s-%d.png", name, i)), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The page in a browser, as its reader has it.
func TestPageInBrowser(t *testing.T) {
	tier.Long(t)
	b := startBrowser(t)
	r, err := analysis.Of(analysistest.RichStudy()).Report(analysis.Options{References: []string{"netdev-0x19"}})
	if err != nil {
		t.Fatal(err)
	}
	b.open(t, r, 1280)

	t.Run("charts", func(t *testing.T) {
		// 15 of 16 cells ran: one end or both, of each chart.
		for id, want := range map[string]int{"throughput": 15, "cpu": 30, "power": 30, "roi": 45, "roi-power": 45, "zerocopy": 30} {
			is(t, b, id+": bars", fmt.Sprintf(`document.querySelectorAll("#%s .bar").length`, id), want)
			// 5 runs of each, and one that failed.
			is(t, b, id+": runs", fmt.Sprintf(`document.querySelectorAll("#%s .dot").length`, id), want*5-want/15)
			is(t, b, id+": left out", fmt.Sprintf(`document.querySelectorAll("#%s .dot.dropped").length`, id), want*2)
		}
		is(t, b, "published", `document.querySelectorAll("#throughput .mark").length`, 10)
		is(t, b, "panels", `[...document.querySelectorAll("#throughput h4")].map((e) => e.textContent).join()`, "1 CPU,2 CPUs")
		// A bar is as long as its figure says, on the scale of its axis.
		is(t, b, "length of the bars", `[...document.querySelectorAll("#throughput .slot")].every((s) => {
			const bar = s.querySelector(".bar"), row = document.querySelector('[data-row="' + s.dataset.cell + '"] [data-metric="gbps"]');
			if (!bar) return !row;
			const grid = s.closest("svg").querySelectorAll("line.grid"), tick = s.closest("svg").querySelectorAll("text.axis")[1];
			const unit = grid[0].getBoundingClientRect().x - s.closest("svg").querySelector("line.zero").getBoundingClientRect().x;
			return Math.abs(bar.getBoundingClientRect().width / unit * Number(tick.textContent) - Number(row.dataset.mean)) < 0.5;
		})`, true)
	})

	t.Run("figures are those of the CSV", func(t *testing.T) {
		var text bytes.Buffer
		asCSV := slices.IndexFunc(reports.Formats(), func(f reports.Format) bool { return f.Name == "csv" })
		if err := reports.Formats()[asCSV].Write(&text, r); err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(&text).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		at := func(line []string, name string) string { return line[slices.Index(lines[0], name)] }
		rows := map[string]int{}
		for i, c := range r.Cells {
			rows[c.ID] = i
		}
		compared := 0
		for _, line := range lines[1:] {
			if at(line, "source") != "measured" || at(line, "n") == "0" {
				continue
			}
			got := get[string](t, b,
				fmt.Sprintf(
					`(() => { const c = document.querySelector('[data-row="%d"] [data-metric="%s"]'); return c ? [c.dataset.mean, c.dataset.lo, c.dataset.hi, c.dataset.n].join() : "" })()`, rows[at(line, "cell")], at(line, "metric")))
			if got == "" {
				continue // the table does not show every metric
			}
			if want := strings.Join([]string{at(line, "mean"), at(line, "lo95"), at(line, "hi95"), at(line, "n")}, ","); got != want {
				t.Errorf("%s of %s: %s on the page, %s in the CSV", at(line, "metric"), at(line, "cell"), got, want)
			}
			compared++
		}
		if compared != 15*13 {
			t.Errorf("%d figures compared", compared)
		}
	})

	t.Run("sorting", func(t *testing.T) {
		order := `[...document.querySelectorAll("#table tbody tr")].map((r) => Number((r.querySelector('[data-metric="gbps"]') || {dataset: {mean: NaN}}).dataset.mean))`
		first := fmt.Sprint(get[[]*float64](t, b, `[...document.querySelectorAll("#table tbody tr")].map((r) => Number(r.dataset.row))`))
		head := `#table th[data-figure]:nth-of-type(2)`
		is(t, b, "the head", `document.querySelector("`+head+`").textContent`, "Gbit/s")
		b.do(t, chromedp.Click(head+" button", chromedp.ByQuery))
		is(t, b, "aria-sort", `document.querySelector("`+head+`").getAttribute("aria-sort")`, "descending")
		is(t, b, "descending, not measured last",
			`(() => { const v = `+order+`; return v.slice(0, 15).every((x, i) => !i || x <= v[i - 1]) && Number.isNaN(v[15]) })()`, true)
		// With the keyboard, too.
		b.do(t, chromedp.Focus(head+" button", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
		is(t, b, "ascending, not measured last",
			`(() => { const v = `+order+`; return v.slice(0, 15).every((x, i) => !i || x >= v[i - 1]) && Number.isNaN(v[15]) })()`, true)
		b.do(t, chromedp.KeyEvent(kb.Enter))
		if got := fmt.Sprint(get[[]*float64](t, b,
			`[...document.querySelectorAll("#table tbody tr")].map((r) => Number(r.dataset.row))`)); len(got) != len(first) {
			t.Errorf("not the first order again: %s, %s", got, first)
		}
		is(t, b, "the first order", `[...document.querySelectorAll("#table tbody tr")].every((r, i) => Number(r.dataset.row) === i)`, true)
	})

	t.Run("hovering", func(t *testing.T) {
		is(t, b, "no tip", `document.getElementById("tip").hidden`, true)
		b.hover(t, "#throughput .bar")
		is(t, b, "tip", `document.getElementById("tip").hidden`, false)
		tip := get[string](t, b, `document.getElementById("tip").textContent`)
		for _, want := range []string{"baseline, 1 CPU, sw GRO", "Gbit/s, mean of 3 runs", "95% interval", "◇ 60.99 published, netdev-0x19",
			"in brackets: left out"} {
			if !strings.Contains(tip, want) {
				t.Errorf("no %q in the tip %q", want, tip)
			}
		}
		b.do(t, chromedp.MouseEvent("mouseMoved", 1, 1))
		is(t, b, "tip gone", `document.getElementById("tip").hidden`, true)
		b.hover(t, "#run-detail svg.time")
		if tip := get[string](t, b, `document.getElementById("tip").textContent`); !strings.Contains(tip, "receiver: ") ||
			!strings.Contains(tip, " s\n") {
			t.Errorf("over time: tip %q", tip)
		}
		b.do(t, chromedp.MouseEvent("mouseMoved", 1, 1))
	})

	t.Run("keyboard", func(t *testing.T) {
		b.do(t, chromedp.Evaluate(`document.querySelector("#throughput svg.plot").focus()`, nil), chromedp.KeyEvent(kb.ArrowDown),
			chromedp.KeyEvent(kb.ArrowDown))
		is(t, b, "the second bar", `document.querySelector("#throughput .slot.on").dataset.cell`, "1")
		is(t, b, "its tip", `document.getElementById("tip").textContent.startsWith("baseline, 1 CPU, HW GRO")`, true)
		is(t, b, "focus is seen", `getComputedStyle(document.activeElement).outlineStyle`, "solid")
		b.do(t, chromedp.KeyEvent(kb.Enter))
		is(t, b, "its run", `document.getElementById("cell").value`, "1")
		is(t, b, "focus goes along", `document.activeElement.id`, "detail-title")
		// Everything there is to use comes by the Tab key.
		b.do(t, chromedp.Evaluate(`document.querySelector(".skip").focus()`, nil))
		seen := map[string]bool{}
		for range 60 {
			b.do(t, chromedp.KeyEvent(kb.Tab))
			seen[get[string](t, b,
				`document.activeElement.closest("[data-plot]") ? "chart" : document.activeElement.tagName + (document.activeElement.closest("th") ? " th" : "")`)] = true
		}
		for _, want := range []string{"chart", "BUTTON th", "A th"} {
			if !seen[want] {
				t.Errorf("the Tab key never came to a %s: %v", want, seen)
			}
		}
	})

	t.Run("a run in detail", func(t *testing.T) {
		choose := func(cell string) {
			b.do(t,
				chromedp.Evaluate(
					`(() => { const c = document.getElementById("cell"); c.value = [...c.options].find((o) => o.text === "`+cell+`").value; c.dispatchEvent(new Event("change")); })()`, nil))
		}
		choose("devmem, 2 CPUs, HW GRO")
		is(t, b, "runs to choose", `document.getElementById("run").options.length`, 5)
		is(t, b, "left out", `[...document.getElementById("run").options].filter((o) => o.text.includes("left out")).length`, 2)
		is(t, b, "over time",
			`[...document.querySelectorAll("#run-detail svg.time[tabindex]")].map((s) => s.getAttribute("aria-label").split(",")[0]).join()`,
			"Throughput,Power,CPU by state,CPU by state,C-states,C-states,Page pool in flight")
		is(t, b, "histograms", `document.querySelectorAll("#run-detail .hist").length`, 3)
		is(t, b, "fragments",
			`[...document.querySelectorAll("#run-detail figure")].some((f) => f.textContent.includes("Fragments of a recvmsg, receiver mean 874.6, min 1, max 1499"))`, true)
		is(t, b, "calls with their time", `document.querySelectorAll("#run-detail .lines table.numbers:not(.hist) tbody tr").length >= 4`,
			true)
		is(t, b, "flame graphs", `document.querySelectorAll("#run-detail .flame").length`, 2)
		// The embedded columns are the samples, to their three digits.
		c := r.Cells[slices.IndexFunc(r.Cells, func(c *analysis.Cell) bool { return r.Labelled(c) == "devmem, 2 CPUs, HW GRO" })]
		id := get[string](t, b,
			`JSON.parse(document.getElementById("runs").textContent).runs[Number(document.getElementById("run").value)].id`)
		one := c.Runs[slices.IndexFunc(c.Runs, func(r *analysis.Run) bool { return r.ID == id })]
		label := get[string](t, b, `[...document.querySelectorAll("#run-detail svg.time[tabindex]")][0].getAttribute("aria-label")`)
		low, high := 1e9, 0.
		for _, s := range one.Samples {
			if s.End == "rx" {
				low, high = min(low, s.Gbps), max(high, s.Gbps)
			}
		}
		if want := fmt.Sprintf("receiver: %.0f to %.0f Gbit/s", low, high); !strings.Contains(label, want) {
			t.Errorf("no %q in %q", want, label)
		}
		frames := get[int](t, b, `document.querySelectorAll("#run-detail .flame g").length`)
		b.do(t, chromedp.Evaluate(`document.querySelector("#run-detail .flame").focus()`, nil), chromedp.KeyEvent(kb.ArrowDown),
			chromedp.KeyEvent(kb.Enter))
		if zoomed := get[int](t, b, `document.querySelectorAll("#run-detail .flame g").length`); zoomed >= frames {
			t.Errorf("%d frames, zoomed %d", frames, zoomed)
		}
		b.do(t, chromedp.KeyEvent(kb.Escape))
		is(t, b, "all frames again", `document.querySelectorAll("#run-detail .flame g").length`, frames)
	})

	t.Run("commands", func(t *testing.T) {
		b.do(t, chromedp.Evaluate(`document.querySelector('[data-row="3"] a').click()`, nil))
		b.do(t, chromedp.Poll(`document.getElementById("commands").open`, nil))
		is(t, b, "its command", `document.querySelector("#cell-3 + dd").textContent`,
			"zcbench run netdev-0x19 --only 'mode=baseline,gro=hw,cpus=2'")
	})

	t.Run("widths and themes", func(t *testing.T) {
		for _, width := range []int64{1280, 400} {
			for _, theme := range []string{"light", "dark"} {
				b.do(t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}))
				b.open(t, r, width)
				is(t, b, fmt.Sprintf("%d: the page scrolls sideways", width),
					`document.documentElement.scrollWidth > document.documentElement.clientWidth`, false)
				// Of black on white, or the other way round.
				is(t, b, theme,
					`(() => { const l = (c) => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0); const s = getComputedStyle(document.body); return l(s.color) > l(s.backgroundColor) })()`, theme == "dark")
				is(t, b, fmt.Sprintf("%d: text of charts beyond the page", width),
					`[...document.querySelectorAll("svg.plot text")].filter((e) => { const b = e.getBoundingClientRect(); return b.width && (b.left < 0 || b.right > innerWidth) }).length`, 0)
				is(t, b, fmt.Sprintf("%d: names on names", width),
					`[...document.querySelectorAll("svg.plot")].filter((p) => { const s = [...p.querySelectorAll("text.series")].map((e) => e.getBoundingClientRect().left); return [...p.querySelectorAll("text.name")].some((e) => e.getBoundingClientRect().right > Math.min(...s)) }).length`, 0)
				b.shoot(t, fmt.Sprintf("rich-%d-%s", width, theme))
			}
		}
		b.do(t, emulation.SetEmulatedMedia().WithMedia("print"))
		b.open(t, r, 794)
		is(t, b, "print: sideways", `document.documentElement.scrollWidth > document.documentElement.clientWidth`, false)
		b.shoot(t, "rich-print")
		b.do(t, emulation.SetEmulatedMedia())
	})
	b.quiet(t)

	t.Run("nothing is reached", func(t *testing.T) {
		for _, attempt := range []string{`fetch("https://example.invalid/")`,
			`new Promise((y, n) => { const i = new Image(); i.onload = y; i.onerror = n; i.src = "https://example.invalid/x.png" })`,
			`import("https://example.invalid/x.js")`} {
			is(t, b, attempt, `(async () => { try { await `+attempt+`; return "reached" } catch (e) { return "refused" } })()`, "refused")
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		refused := 0
		for _, e := range b.bad {
			if strings.Contains(e, "Content Security Policy") {
				refused++
			}
		}
		if refused < 3 {
			t.Errorf("the policy refused %d of 3: %q", refused, b.bad)
		}
		b.bad = nil
	})

	t.Run("hostile", func(t *testing.T) {
		const evil = `"'></script></title></svg><script>document.title="owned"</script><img src=x onerror=document.title="owned">{{.}}${1}` +
			"\u2028"
		records := analysistest.RichStudy()
		for i := range records {
			one := &records[i]
			one.Axes = map[string]string{"mode": one.Axes["mode"] + evil, "gro": one.Axes["gro"], evil: one.Axes["cpus"]}
			one.ID, one.Dropped, one.Experiment = one.ID+evil, one.Dropped+strings.Repeat(evil, len(one.Dropped)/3), evil
			one.Command, one.Tuned = evil, map[string][]string{evil: {evil}}
			one.Warnings = []string{evil}
			if one.RX != nil {
				one.RX.Engine = evil
				one.RX.Profile.Stacks = []string{evil + ";" + evil + " 9"}
				one.RX.Syscalls = map[string]uint64{evil: 7}
				one.Samples[0].Series[evil] = 3
			}
		}
		r, err := analysis.Of(records).Report(analysis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b.open(t, r, 1280)
		b.hover(t, "#throughput .bar")
		if title := get[string](t, b, `document.title`); !strings.HasPrefix(title, "zcbench: ") || strings.HasPrefix(title, "owned") {
			t.Errorf("title %q", title)
		}
		is(t, b, "elements", `document.querySelectorAll("img").length + document.scripts.length`, 2)
		is(t, b, "charts", `document.querySelectorAll("#throughput .bar").length`, 15)
		is(t, b, "a run", `document.querySelectorAll("#run-detail svg.time").length > 3`, true)
		for _, width := range []int64{1280, 400} {
			b.open(t, r, width)
			is(t, b, "sideways", `document.documentElement.scrollWidth > document.documentElement.clientWidth`, false)
			is(t, b, "text of charts beyond the page",
				`[...document.querySelectorAll("svg.plot text")].filter((e) => { const b = e.getBoundingClientRect(); return b.width && (b.left < 0 || b.right > innerWidth) }).length`, 0)
			b.shoot(t, fmt.Sprintf("hostile-%d", width))
		}
		b.quiet(t)
	})

	t.Run("demo", func(t *testing.T) {
		for _, width := range []int64{1280, 400} {
			for _, name := range analysistest.Fixtures {
				b.open(t, analysis.FirstLook(analysistest.Fixture(t, name)), width)
				is(t, b, "charts", `document.querySelectorAll(".chart").length >= 4`, true)
				is(t, b, "sideways", `document.documentElement.scrollWidth > document.documentElement.clientWidth`, false)
				b.shoot(t, fmt.Sprintf("%s-%d", name, width))
			}
		}
		b.quiet(t)
	})
}

// hover puts the mouse over the first element that a selector finds.
func (b *browser) hover(t *testing.T, selector string) {
	t.Helper()
	at := get[[]float64](t, b,
		fmt.Sprintf(
			`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: "center", behavior: "instant"}); const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2] })()`, selector))
	// The scrolling's event comes first, and hides a tip.
	get[bool](t, b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
	b.do(t, chromedp.MouseEvent("mouseMoved", at[0], at[1]))
}
