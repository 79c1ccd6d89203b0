package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zcbench/results"
)

// study writes runs of two cells into dir; those of the second are slower by
// a factor.
func study(t *testing.T, dir string, factor float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 8 {
		for k, mode := range []string{"baseline", "msgzc"} {
			speed := 10 * (1 + 0.005*rng.NormFloat64())
			if k == 1 {
				speed *= factor
			}
			cpu := 80.0
			r := results.Record{ID: fmt.Sprint(dir, i, k), Cell: "cell" + mode, Repeat: i, Status: results.OK, Gbps: speed, Window: 1, Bytes: 1,
				Axes: map[string]string{"mode": mode},
				RX:   &results.End{Engine: "mmap", Bytes: 1, CopiedBytes: 1, CPUPercent: &cpu, CPUScope: "host"},
				TX:   &results.End{Engine: mode, Bytes: 1, CopiedBytes: 1, CPUPercent: &cpu, CPUScope: "host"}}
			r.Derive()
			if err := results.Append(filepath.Join(dir, "results.jsonl"), r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestReportStory(t *testing.T) {
	before, after, empty := t.TempDir(), t.TempDir(), t.TempDir()
	study(t, before, 1)
	study(t, after, 0.9)
	store := filepath.Join(before, "results.jsonl")
	f, err := os.OpenFile(store, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `{"schema":"zcbench/9","id":"x"}`+"\n"+`{"schema":"zcben`)
	f.Close()
	torn := filepath.Join(empty, "torn.jsonl")
	if err := os.WriteFile(torn, []byte(`{"schema":"zcben`), 0o644); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(empty, "plain.jsonl")
	if _, stderr, code := run(t, "report", after, "--filter", "mode=baseline", "-o", plain); code != 0 {
		t.Fatal(stderr)
	}
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"report " + before, 0, "baseline  8", `1 line not read (line 17): record of schema "zcbench/9"`},
		{"report " + before, 0, "msgzc     8", "1 line not read (line 18): torn line"},
		{"report " + before + " " + store, 0, "msgzc     8", "16 records are there more than once"},
		{"report " + before + " " + after, 0, "msgzc     16", ""},
		{"report " + before + " --format markdown", 0, "| msgzc", ""},
		{"report " + before + " --group-by rx --metric gbps,roi.cpu.rx", 0, "mmap  16", ""},
		{"report " + before + " --explain cellmsgzc", 0, "what limited it cannot be told", ""},
		{"report " + before + " --explain nix", 2, "", "none is \"nix\""},
		{"report", 2, "", "wants directories or files"},
		{"report " + filepath.Join(before, "none"), 2, "", "no such file"},
		{"report " + t.TempDir(), 2, "", "holds no *.jsonl\n"},
		{"report " + plain + " -o " + filepath.Join(empty, "x.txt"), 0, "", ""},
		{"report " + before + " --group-by nix", 2, "", `no run has "nix"`},
		{"report " + before + " --filter mode=devmem", 2, "", "none of 16 runs"},
		{"report " + before + " --metric nix", 2, "", `no run has a metric "nix"`},
		{"report " + before + " --format xml", 2, "", `no format "xml"`},
		{"report " + before + " --reference nix", 2, "", "netdev-0x19"},
		{"report " + before + " --nix", 2, "", "nix"},
		{"report " + torn, 1, "", "no record could be read"},
		{"report " + before + " -o /nonexistent/x.html", 1, "", "/nonexistent"},
		{"report " + before + " -o /dev/full", 1, "", "no space left"},
		{"compare " + before + " " + before, 0, "~", ""},
		{"compare " + before + " " + after, 1, "loss", "worse, beyond 2%: msgzc: gbps -"},
		{"compare " + before + " " + after + " --threshold 30%", 0, "<0.001", ""},
		{"compare " + after + " " + before, 0, "+", ""},
		{"compare " + before + " " + after + " --filter mode=baseline", 0, "~", ""},
		{"compare " + before + " " + after + " --format json", 1, `"loss": true`, ""},
		{"compare " + before + " " + after + " --filter repeat=1|2|3", 0, "~", "too few runs for any difference"},
		{"compare " + before + " " + plain, 1, "only in old: msgzc", "NEW has no runs of this cell: msgzc (--filter"},
		{"compare " + plain + " " + before, 0, "only in new: msgzc", ""},
		{"compare " + before + " " + plain + " --filter mode=baseline", 0, "~", ""},
		{"compare " + before, 2, "", "wants two"},
		{"compare " + before + " " + after + " --threshold much", 2, "", "threshold"},
		{"compare " + before + " " + after + " --format html", 2, "", `no format "html"`},
		{"compare " + before + " " + torn, 1, "", "no record could be read"},
	} {
		stdout, stderr, code := run(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("zcbench %s: exit %d, want %d\nstdout, want %q:\n%s\nstderr, want %q:\n%s", c.args, code, c.code, c.stdout, stdout, c.stderr,
				stderr)
		}
	}
	// The ending says the format.
	for name, check := range map[string]func([]byte) error{
		"x.html": func(b []byte) error {
			if !strings.HasPrefix(string(b), "<!DOCTYPE html>") {
				return fmt.Errorf("no page")
			}
			return nil
		},
		"x.csv":  func(b []byte) error { _, err := csv.NewReader(strings.NewReader(string(b))).ReadAll(); return err },
		"x.json": func(b []byte) error { var v map[string]any; return json.Unmarshal(b, &v) },
		"x.md": func(b []byte) error {
			if !strings.Contains(string(b), "| --- |") {
				return fmt.Errorf("no table")
			}
			return nil
		},
	} {
		path := filepath.Join(empty, name)
		if stdout, stderr, code := run(t, "report", after, "-o", path); code != 0 || stdout != "" {
			t.Fatalf("%s: exit %d\n%s%s", name, code, stdout, stderr)
		}
		b, err := os.ReadFile(path)
		if err == nil {
			err = check(b)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What tells whose the records are stands in a report unless it is asked to be left
// out, and then in no format.
func TestStoryRedacted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	cpu := 80.0
	r := results.Record{ID: "a", Cell: "cell", Status: results.OK, Gbps: 10, Window: 1, Bytes: 1,
		RX: &results.End{Engine: "mmap", Bytes: 1, CopiedBytes: 1, CPUPercent: &cpu, CPUScope: "host"},
		TX: &results.End{Engine: "msgzc", Bytes: 1, CopiedBytes: 1, CPUPercent: &cpu, CPUScope: "host"}}
	r.Facts.RX = results.Facts{"machine": map[string]any{"hostname": "secretbox"}}
	if err := results.Append(path, r); err != nil {
		t.Fatal(err)
	}
	told := false
	for _, format := range []string{"table", "markdown", "csv", "runs", "json", "benchfmt", "html", "records"} {
		plain, errs, code := run(t, "report", path, "--format", format)
		if code != 0 {
			t.Fatalf("%s: exit %d: %s", format, code, errs)
		}
		told = told || strings.Contains(plain, "secretbox")
		out, errs, code := run(t, "report", path, "--format", format, "--redact")
		if code != 0 || strings.Contains(out+errs, "secretbox") {
			t.Errorf("%s --redact: exit %d: %s%s", format, code, out, errs)
		}
	}
	if !told {
		t.Error("no report names the host")
	}
}
