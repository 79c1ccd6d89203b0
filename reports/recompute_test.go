package reports

import (
	"bytes"
	"encoding/csv"
	"fmt"
	stdhtml "html"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/reports/html"
)

// recompute is an awk program that knows nothing of this package: from the
// lines of a store it takes throughput, CPU and power, and gives for each
// cell the mean of ROI run by run and its interval by Student's t, whose
// distribution it has from Abramowitz and Stegun, 26.7.3 and 26.7.4.
const recompute = `
function text(key,    s) { # the first string of that key
	if (!match($0, "\"" key "\":\"[^\"]*\"")) return ""
	s = substr($0, RSTART, RLENGTH); sub(/^[^:]*:"/, "", s); sub(/"$/, "", s); return s
}
function after(pattern,    s) { # the number at the end of what matches
	if (!match($0, pattern "-?[0-9.eE+-]+")) return "none"
	s = substr($0, RSTART, RLENGTH); sub(/^.*:/, "", s); return s + 0
}
function A(t, nu,    theta, c, term, sum, k) { # P(|T| < t)
	theta = atan2(t, sqrt(nu)); c = cos(theta); sum = 0
	if (nu % 2) {
		term = c
		for (k = 1; k <= nu - 2; k += 2) { sum += term; term *= c * c * (k + 1) / (k + 2) }
		return 2 / atan2(0, -1) * (theta + sin(theta) * sum)
	}
	term = 1
	for (k = 0; k <= nu - 2; k += 2) { sum += term; term *= c * c * (k + 1) / (k + 2) }
	return sin(theta) * sum
}
function quantile(nu,    lo, hi, i) {
	lo = 0; hi = 100
	for (i = 0; i < 200; i++) if (A((lo + hi) / 2, nu) < 0.95) lo = (lo + hi) / 2; else hi = (lo + hi) / 2
	return (lo + hi) / 2
}
function put(cell, name, v) { if (v != "none") { k = cell "," name; n[k]++; x[k, n[k]] = v } }
function over(a, b) { return a == "none" || b == "none" || b <= 0 ? "none" : a * a / b }
function both(a, b) { return a == "none" || b == "none" ? "none" : a + b }
{
	if (text("status") != "ok" || text("dropped") != "") next
	cell = text("cell"); g = after("\"window_seconds\":[^,]*,\"gbps\":")
	rc = after("\"rx\":{\"engine\":[^{}]*\"cpu_percent\":"); tc = after("\"tx\":{\"engine\":[^{}]*\"cpu_percent\":")
	rw = after("\"rx\":{\"engine\":[^{}]*\"syscalls\":{[^}]*},\"watts\":"); tw = after("\"tx\":{\"engine\":[^{}]*\"syscalls\":{[^}]*},\"watts\":")
	put(cell, "gbps", g); put(cell, "rx.cpu_percent", rc); put(cell, "tx.cpu_percent", tc); put(cell, "total.cpu_percent", both(rc, tc))
	put(cell, "roi.cpu.rx", over(g, rc)); put(cell, "roi.cpu.tx", over(g, tc)); put(cell, "roi.cpu.total", over(g, both(rc, tc)))
	put(cell, "roi.power.rx", over(g, rw)); put(cell, "roi.power.tx", over(g, tw)); put(cell, "roi.power.total", over(g, both(rw, tw)))
}
END {
	for (k in n) {
		m = 0; for (i = 1; i <= n[k]; i++) m += x[k, i]; m /= n[k]
		s = 0; for (i = 1; i <= n[k]; i++) s += (x[k, i] - m) ^ 2
		h = n[k] > 1 ? quantile(n[k] - 1) * sqrt(s / (n[k] - 1) / n[k]) : 0
		printf "%s,%d,%.17g,%.17g,%.17g\n", k, n[k], m, m - h, m + h
	}
}`

func TestAwkComesToTheSame(t *testing.T) {
	awk, err := exec.LookPath("awk")
	if err != nil {
		t.Skip("no awk, which every POSIX system has")
	}
	for _, name := range analysistest.Fixtures {
		cmd := exec.Command(awk, recompute, analysistest.File(t, name))
		cmd.Env = []string{"LC_ALL=C"}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, &errs)
		}
		theirs, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		ours := table(t, name)
		if len(theirs) < 20 {
			t.Errorf("%s: awk found %d figures only", name, len(theirs))
		}
		for _, line := range theirs {
			row, ok := ours[line[0]+" "+line[1]]
			if !ok {
				t.Errorf("%s: awk has %s of cell %s, the report has not", name, line[1], line[0])
				continue
			}
			for i, column := range []string{"n", "mean", "lo95", "hi95"} {
				want, got := number(t, line[2+i]), number(t, row[column])
				if row["n"] == "1" && i > 1 {
					if row[column] != "" {
						t.Errorf("%s: an interval of one run: %v", name, row)
					}
					continue
				}
				if !(math.Abs(got-want) <= 1e-9*math.Abs(want)) {
					t.Errorf("%s, cell %s, %s of %s: %v, awk has %v", name, line[0], column, line[1], got, want)
				}
			}
		}
	}
}

// table is the report as CSV, by "cell metric" and then by column.
func table(t *testing.T, name string) map[string]map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := writeCSV(&b, analysis.FirstLook(analysistest.Fixture(t, name))); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]string{}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, head := range lines[0] {
			row[head] = line[i]
		}
		rows[row["cell"]+" "+row["metric"]] = row
	}
	return rows
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	if s == "" {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What the page shows is what the CSV holds, rounded.
func TestPageAgreesWithCSV(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		r := analysis.FirstLook(analysistest.Fixture(t, name))
		var page bytes.Buffer
		if err := html.Write(&page, r); err != nil {
			t.Fatal(err)
		}
		rows := table(t, name)
		shown := 0
		for _, col := range r.Columns() {
			for i, c := range r.Cells {
				text, around := col.Entries[i].Text, col.Entries[i].Around
				if col.Of.Name == "" || len(c.Runs) == 0 || text == "–" {
					continue
				}
				row := rows[c.ID+" "+col.Of.Name]
				mean, half := number(t, row["mean"]), number(t, row["hi95"])-number(t, row["mean"])
				digits := strings.TrimRight(text, "cht")
				_, fraction, _ := strings.Cut(digits, ".")
				if v := number(t, strings.TrimLeft(digits, "<>")); math.Abs(v-mean) > 0.5001*math.Pow10(-len(fraction)) &&
					!strings.ContainsAny(digits, "<>") {
					t.Errorf("%s, %s: %s on the page, %v in the CSV", c.Name(), col.Of.Name, text, mean)
				}
				if p, ok := strings.CutSuffix(strings.TrimPrefix(around, "±"), "%"); ok && !strings.ContainsAny(p, "<>") {
					if v := number(t, p); math.Abs(v-100*half/mean) > 0.501 {
						t.Errorf("%s, %s: %s on the page, %v of %v in the CSV", c.Name(), col.Of.Name, around, half, mean)
					}
				}
				want := fmt.Sprintf(`<td data-mean="%s" data-metric="%s" data-lo="%s" data-hi="%s" data-n="%s">%s`, row["mean"],
					col.Of.Name, row["lo95"], row["hi95"], row["n"], stdhtml.EscapeString(text))
				if around != "" {
					want += ` <span class="soft">` + stdhtml.EscapeString(around)
				}
				if !strings.Contains(strings.ReplaceAll(page.String(), "&#43;", "+"), want) {
					t.Errorf("%s, %s: no %q on the page", c.Name(), col.Of.Name, want)
				}
				shown++
			}
		}
		if shown < 40 {
			t.Errorf("%s: %d figures only", name, shown)
		}
	}
}
