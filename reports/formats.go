package reports

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// Formats are those that Write knows.
func Formats() []string {
	return []string{"table", "markdown", "csv", "runs", "json", "benchfmt", "html", "records"}
}

// TellsPlan says whether reports in a format have Set.Plan in them.
func TellsPlan(format string) bool {
	return slices.Contains([]string{"table", "markdown", "json", "html"}, format)
}

// Write writes the report in the named format, one of Formats.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.Table(w)
	case "markdown":
		return r.writeMarkdown(w)
	case "csv":
		return r.writeCSV(w)
	case "runs":
		return r.writeRuns(w)
	case "json":
		return r.writeJSON(w)
	case "benchfmt":
		return r.writeBenchfmt(w)
	case "html":
		return r.HTML(w)
	case "records":
		return r.writeRecords(w)
	}
	return fmt.Errorf("no format %q%s; there are %s", format, nearest(format, Formats()), strings.Join(Formats(), ", "))
}

// writeMarkdown writes the table as a document's, with half intervals in the unit
// of the figure.
func (r *Report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	for _, text := range r.plan {
		b.WriteString("**" + markdown(text) + ".**\n\n")
	}
	for _, line := range r.hosts() {
		b.WriteString(markdown(line) + "\n\n")
	}
	columns := r.columns()
	heads := slices.Clone(r.heads())
	for _, c := range columns {
		head := strings.TrimSpace(c.over + " " + c.head)
		if r.asked && c.over != "" {
			head = c.head + " (" + c.over + ")"
		}
		heads = append(heads, head)
	}
	row := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + c + " ")
		}
		b.WriteString("|\n")
	}
	for i := range heads {
		heads[i] = markdown(heads[i])
	}
	row(heads)
	rule := make([]string, len(heads))
	for i := range rule {
		rule[i] = "---:"
		if i < len(r.heads()) {
			rule[i] = "---"
		}
	}
	row(rule)
	for i, c := range r.cells {
		var cells []string
		for _, k := range c.keys() {
			cells = append(cells, markdown(k))
		}
		if c.differs != "" {
			cells[len(cells)-1] += "<br>" + markdown(c.differs)
		}
		if m := r.marks(c); m != "" {
			cells[len(cells)-1] += " <sup>" + markdown(m) + "</sup>"
		}
		if len(c.runs) == 0 {
			status, reason := c.unmeasured()
			cells = append(cells, markdown(string(status)+": "+reason))
		}
		for _, col := range columns {
			if len(c.runs) > 0 {
				cells = append(cells, markdown(col.cells[i].absolute(col.places)))
			}
		}
		for len(cells) < len(heads) {
			cells = append(cells, "")
		}
		row(cells)
	}
	b.WriteString("\n" + markdown(r.legend()) + "\n")
	for _, n := range r.notes {
		if n.every {
			b.WriteString("\n- " + markdown(n.text) + " (all)")
		} else {
			fmt.Fprintf(&b, "\n- [%d] %s", n.mark, markdown(n.text))
		}
	}
	if len(r.notes) > 0 {
		b.WriteByte('\n')
	}
	for _, one := range r.references {
		s := one.study
		fmt.Fprintf(&b, "\nPublished, %s: %s. Set-up: %s. Source: %s. Other hosts and NICs: for orientation.\n\n| run | Gbit/s | here |\n| --- | ---: | ---: |\n",
			markdown(s.Name), markdown(s.Title), markdown(s.Setup), markdown(s.Source))
		for _, p := range one.points {
			row([]string{markdown(p.what), p.value, p.here})
		}
		for _, text := range one.differing {
			b.WriteString("\n" + markdown(text) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// absolute is a figure with the half of its interval in its own unit.
func (c columnCell) absolute(places int) string {
	if c.figure.n < 2 || c.around == "" {
		return c.text
	}
	if c.figure.share {
		return c.text + " " + c.around
	}
	return c.text + " ± " + digits.Fixed(c.figure.hi-c.figure.mean, places)
}

// markdown keeps text from being taken for markup.
func markdown(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`).Replace(s)
}

// csvHead are the columns of writeCSV after those that name the cell.
var csvHead = []string{"source", "cell", "tx", "rx", "tx_cpu_scope", "rx_cpu_scope", "tx_power_scope", "rx_power_scope", "metric", "unit",
	"better", "n", "dropped", "failed", "skipped", "mean", "lo95", "hi95", "sd", "median", "min", "max", "warnings"}

// writeCSV writes a line for each cell and metric, with all digits.
func (r *Report) writeCSV(w io.Writer) error {
	c := newCSV(w)
	by := r.by
	head := slices.Concat(r.heads(), []string{"differs"}, csvHead)
	if by == nil {
		head = head[1:] // the engines have columns of their own
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, k := range r.cells {
		warnings := strings.Join(k.warnings(), "; ")
		for _, m := range r.metrics {
			f := over(k.runs, m)
			line := slices.Concat(k.by, []string{k.differs, "measured", printable.Line(k.id), k.tx, k.rx, k.scope(txEnd), k.scope(rxEnd), k.powerScope(txEnd),
				k.powerScope(rxEnd), m.name, m.unit, strconv.Itoa(m.better),
				strconv.Itoa(f.n), strconv.Itoa(len(k.dropped)), strconv.Itoa(len(k.failed)), strconv.Itoa(len(k.skipped))})
			for _, v := range []float64{f.mean, f.lo, f.hi, f.sd, f.median, f.min, f.max} {
				line = append(line, optionally(v, f.n > 0))
			}
			if err := c.Write(append(line, warnings)); err != nil {
				return err
			}
		}
	}
	for _, one := range r.references {
		s := one.study
		for _, p := range one.points {
			line := make([]string, len(by), len(head))
			for i, name := range by {
				line[i] = p.Axes[name]
			}
			upper := p.Gbps
			if p.Upper > 0 {
				upper = p.Upper
			}
			line = append(line, p.what, s.Name, "", p.Axes["tx"], p.Axes["rx"], "", "", "", "", "gbps", unitSpeed, "1", "", "", "", "",
				optionally((p.Gbps+upper)/2, p.Upper == 0), "", "", "", "", optionally(p.Gbps, p.Upper > 0), optionally(upper, p.Upper > 0), s.Source)
			if err := c.Write(line); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// writeRuns writes a line of CSV for each run, whether it counts or not, with all
// digits.
func (r *Report) writeRuns(w io.Writer) error {
	c := newCSV(w)
	head := slices.Concat(r.heads(), []string{"differs", "cell", "tx", "rx", "id", "repeat", "started", "status", "dropped", "reason"})
	if r.by == nil {
		head = head[1:] // the engines have columns of their own
	}
	for _, m := range r.metrics {
		head = append(head, m.name)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, k := range r.cells {
		for _, one := range k.records() {
			line := slices.Concat(k.by, []string{k.differs, printable.Line(one.Cell), k.tx, k.rx, printable.Line(one.ID), strconv.Itoa(one.Repeat), printable.Line(one.Started),
				printable.Line(string(one.Status)), printable.Line(one.Dropped), printable.Line(one.Reason)})
			for _, m := range r.metrics {
				v := m.of(one.Record)
				if v == nil || one.Status != results.OK {
					line = append(line, "")
				} else {
					line = append(line, digits.Exact(*v))
				}
			}
			if err := c.Write(line); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// scope is how an end's CPU was counted in a cell's runs.
func (c *cell) scope(end func(*results.Record) *results.End) string {
	return printable.Line(strings.Join(scopesOf([]*cell{c}, end), "+"))
}

// powerScope is what an end's meters saw in a cell's runs.
func (c *cell) powerScope(end func(*results.Record) *results.End) string {
	return printable.Line(strings.Join(powerScopesOf([]*cell{c}, end), "+"))
}

// optionally are the digits of a number where there is one.
func optionally(v float64, has bool) string {
	if !has {
		return ""
	}
	return digits.Exact(v)
}

// reportSchema names this version of what writeJSON writes.
const reportSchema = "zcbench-report/1"

type jsonReport struct {
	Schema     string       `json:"schema"`
	GroupBy    []string     `json:"group_by"`
	Metrics    []jsonMetric `json:"metrics"`
	Cells      []jsonCell   `json:"cells"`
	References []Study      `json:"references"`
	Plan       []string     `json:"plan"`
	Problems   []string     `json:"problems"`
}

type jsonMetric struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Unit   string `json:"unit"`
	Better int    `json:"better"`
}

type jsonCell struct {
	Name     string                `json:"name"`
	Cell     string                `json:"cell"`
	TX       string                `json:"tx"`
	RX       string                `json:"rx"`
	TXScope  string                `json:"tx_cpu_scope"`
	RXScope  string                `json:"rx_cpu_scope"`
	TXClock  []string              `json:"tx_cpu_methods"`
	RXClock  []string              `json:"rx_cpu_methods"`
	TXPower  string                `json:"tx_power_scope"`
	RXPower  string                `json:"rx_power_scope"`
	Group    map[string]string     `json:"group"`
	Differs  string                `json:"differs"`
	N        int                   `json:"n"`
	Dropped  int                   `json:"dropped"`
	Failed   int                   `json:"failed"`
	Skipped  int                   `json:"skipped"`
	Figures  map[string]jsonFigure `json:"figures"`
	Runs     []jsonRun             `json:"runs"`
	Warnings []string              `json:"warnings"`
}

type jsonFigure struct {
	N      int      `json:"n"`
	Mean   *float64 `json:"mean"`
	Lo     *float64 `json:"lo95"`
	Hi     *float64 `json:"hi95"`
	SD     *float64 `json:"sd"`
	Median *float64 `json:"median"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
}

type jsonRun struct {
	ID       string              `json:"id"`
	Repeat   int                 `json:"repeat"`
	Started  string              `json:"started"`
	Status   results.Status      `json:"status"`
	Dropped  string              `json:"dropped"`
	Reason   string              `json:"reason"`
	Values   map[string]*float64 `json:"values"`
	Warnings []string            `json:"warnings"`
}

// writeJSON writes all figures, all runs that they are made of, and those that
// they are not.
func (r *Report) writeJSON(w io.Writer) error {
	out := jsonReport{Schema: reportSchema, GroupBy: append([]string{}, r.by...), Metrics: []jsonMetric{}, Cells: []jsonCell{},
		References: []Study{}, Plan: append([]string{}, r.plan...), Problems: append([]string{}, r.problems...)}
	for _, one := range r.references {
		out.References = append(out.References, one.study)
	}
	for _, m := range r.metrics {
		out.Metrics = append(out.Metrics, jsonMetric{m.name, m.title, m.unit, m.better})
	}
	for _, c := range r.cells {
		k := jsonCell{Name: c.name(), Cell: c.id, TX: c.tx, RX: c.rx, TXScope: c.scope(txEnd), RXScope: c.scope(rxEnd),
			TXClock: append([]string{}, clocksOf([]*cell{c}, txEnd)...), RXClock: append([]string{},
				clocksOf([]*cell{c}, rxEnd)...), TXPower: c.powerScope(txEnd), RXPower: c.powerScope(rxEnd), Group: map[string]string{}, Differs: c.differs,
			N: len(c.runs), Dropped: len(c.dropped), Failed: len(c.failed), Skipped: len(c.skipped),
			Figures: map[string]jsonFigure{}, Runs: []jsonRun{}, Warnings: append([]string{}, c.warnings()...)}
		for i, name := range r.by {
			k.Group[name] = c.by[i]
		}
		for _, m := range r.metrics {
			if f := over(c.runs, m); f.n > 0 {
				k.Figures[m.name] = jsonFigure{f.n, finite(f.mean), finite(f.lo), finite(f.hi), finite(f.sd), finite(f.median), finite(f.min), finite(f.max)}
			}
		}
		for _, one := range c.records() {
			run := jsonRun{one.ID, one.Repeat, one.Started, one.Status, one.Dropped, one.Reason, map[string]*float64{}, append([]string{}, one.Warnings...)}
			if one.Status == results.OK {
				for _, m := range r.metrics {
					v := m.of(one.Record)
					if v != nil {
						v = finite(*v)
					}
					run.Values[m.name] = v
				}
			}
			k.Runs = append(k.Runs, run)
		}
		out.Cells = append(out.Cells, k)
	}
	return writeIndented(w, out)
}

// writeIndented writes a value as JSON over several lines.
func writeIndented(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = w.Write(append(printable.JSON(b), '\n'))
	return err
}

// writeRecords writes the records themselves, a line each, as a store has them.
func (r *Report) writeRecords(w io.Writer) error {
	for _, one := range r.runs {
		rec, err := one.full()
		if err != nil {
			return err
		}
		b, err := json.Marshal(rec)
		if err != nil {
			return fmt.Errorf("encode run %s: %w", printable.Line(rec.ID), err)
		}
		if _, err := w.Write(append(printable.JSON(b), '\n')); err != nil {
			return err
		}
	}
	return nil
}

// writeBenchfmt writes each run that counts as a line of Go's benchmark format,
// which benchstat reads.
func (r *Report) writeBenchfmt(w io.Writer) error {
	b := benchfmt.NewWriter(w)
	for _, m := range r.metrics {
		better := map[int]string{1: "higher", -1: "lower"}[m.better]
		if better == "" {
			continue
		}
		if err := b.Write(&benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: benchUnit(m), Key: "better"},
			OrigUnit: benchUnit(m), Value: better}); err != nil {
			return err
		}
	}
	names := r.benchNames()
	for i, c := range r.cells {
		for _, one := range c.runs {
			res := benchfmt.Result{Name: benchfmt.Name(names[i]), Iters: 1}
			for _, m := range r.metrics {
				if v := m.of(one.Record); v != nil && finite(*v) != nil {
					res.Values = append(res.Values, benchfmt.Value{Value: *v, Unit: benchUnit(m)})
				}
			}
			if len(res.Values) == 0 {
				continue // a line without a value is none
			}
			if err := b.Write(&res); err != nil {
				return err
			}
		}
	}
	return nil
}

// benchNames are the cells' names as benchmarks have them, no two alike:
// /key=value for what tells a cell from others.
func (r *Report) benchNames() []string {
	names := make([]string, len(r.cells))
	count := map[string]int{}
	for i, c := range r.cells {
		name := "TCP"
		add := func(key, value string) {
			name += "/" + benchWord(key) + "=" + benchWord(value)
		}
		if r.by == nil {
			add("tx", c.tx)
			add("rx", c.rx)
		}
		for k, key := range r.by {
			add(key, c.by[k])
		}
		for _, f := range c.apart {
			add(f.Name, f.Value)
		}
		names[i] = name
		count[name]++
	}
	for i, c := range r.cells {
		if count[names[i]] > 1 {
			names[i] += "/cell=" + benchWord(cmp.Or(c.id, strconv.Itoa(i)))
		}
		// A number at the end would be read as GOMAXPROCS.
		if at := strings.LastIndexByte(names[i], '-'); at >= 0 && at < len(names[i])-1 && strings.Trim(names[i][at+1:], "0123456789") == "" {
			names[i] = names[i][:at] + "%2D" + names[i][at+1:]
		}
	}
	return names
}

// benchWord is text without what would end a name or a part of it, each such
// byte in the escape of URLs: what differs before does so after.
func benchWord(s string) string {
	var b strings.Builder
	for _, c := range []byte(printable.Line(s)) {
		if c <= ' ' || strings.IndexByte(`/="%`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// benchUnit is the metric's name and unit as one word; benchstat makes a
// table of each.
func benchUnit(m metric) string {
	if m.name == "gbps" {
		return unitSpeed
	}
	return benchWord(m.name)
}
