package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// Run as a child, the test binary appends; see TestAppendersDoNotMix.
func TestMain(m *testing.M) {
	if path := os.Getenv("ZCBENCH_TEST_APPEND"); path != "" {
		if err := appendMany(path, fmt.Sprint(os.Getpid()), 20); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func appendMany(path, who string, n int) error {
	for i := range n {
		r := Record{ID: fmt.Sprintf("%s-%d", who, i), Reason: strings.Repeat(who, 4000)}
		if err := Append(path, r); err != nil {
			return err
		}
	}
	return nil
}

func TestStoreReturnsWhatWasAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	want := []Record{
		{Schema: Schema, ID: "a", Status: OK, Gbps: 12.5, Bytes: math.MaxUint64, Reason: "line\nbreak \u2028 <&>"},
		{Schema: Schema, ID: "b", Status: Failed, Reason: "x"},
	}
	for _, r := range want {
		if err := Append(path, r); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte{'\n'}); n != 2 || b[len(b)-1] != '\n' {
		t.Errorf("%d line ends in %q", n, b)
	}
	got, bad, err := Load(path)
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d records", len(got))
	}
	for i := range want {
		// The empty maps that MarshalJSON wrote read back as empty, not nil.
		got[i].Settings, got[i].Samples, got[i].Flows, got[i].Warnings = nil, nil, nil, nil
		got[i].Facts = Pair[Facts]{}
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("record %d:\ngot  %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestReadReportsAndGoesOn(t *testing.T) {
	const good = `{"schema":"zcbench/1","id":"good"}`
	for _, c := range []struct {
		name, in string
		records  int
		bad      map[int]string // line → text
	}{
		{"empty", "", 0, nil},
		{"one", good + "\n", 1, nil},
		{"complete but for the line end", good, 1, nil},
		{"blank lines", "\n" + good + "\n \n\n", 1, nil},
		{"torn last", good + "\n" + good[:20], 1, map[int]string{2: "torn"}},
		{"torn inside a string", good + "\n" + good[:31], 1, map[int]string{2: "torn"}},
		{"torn in the middle", good[:20] + "\n" + good + "\n", 1, map[int]string{1: "torn"}},
		{"garbage", good + "\nhello\n" + good + "\n", 2, map[int]string{2: "it is no JSON"}},
		{"zeros after a power loss", good + "\n" + strings.Repeat("\x00", 100), 1, map[int]string{2: "it is no JSON"}},
		{"two on a line", good + good + "\n", 0, map[int]string{1: "it is no JSON"}},
		{"newer", good + "\n" + `{"schema":"zcbench/2","id":"x"}` + "\n" + good + "\n", 2, map[int]string{2: `schema "zcbench/2"`}},
		{"newer with other types", `{"id":7,"gbps":{"mean":1},"schema":"zcbench/2"}`, 0, map[int]string{1: `schema "zcbench/2"`}},
		{"no schema", `{"id":"x"}`, 0, map[int]string{1: "no schema"}},
		{"not an object", "null\n[1]\n7\n", 0, map[int]string{1: "no schema", 2: "no schema", 3: "no schema"}},
		{"wrong type", `{"schema":"zcbench/1","bytes":-1}`, 0, map[int]string{1: "not a record: bytes is a number -1, and should be a whole " +
			"number from 0 on"}},
		{"a text for a number", `{"schema":"zcbench/1","gbps":"NaN"}`, 0, map[int]string{1: "not a record: gbps is a string, and should be a " +
			"number below 1e308"}},
		{"a text in an end", `{"schema":"zcbench/1","rx":{"syscalls":{"recv":"many"}}}`, 0, map[int]string{1: "not a record: rx.syscalls"}},
		{"no run's figures", `{"schema":"zcbench/1","gbps":-5}
{"schema":"zcbench/1","gbps":1e308}
{"schema":"zcbench/1","tx":{"engine":"msgzc","cpu_percent":-1}}
{"schema":"zcbench/1","roi":{"cpu":{"total":-1}}}
{"schema":"zcbench/1","samples":[{"seconds":1},{"seconds":1,"gbps":-1}]}
{"schema":"zcbench/1","gbps":400,"window_seconds":1,"rx":{"engine":"zcrx","cpu_percent":0,"watts":0.5}}`, 1, map[int]string{
			1: "not a record: gbps is -5, and no run has that", 2: "gbps is 1e+308", 3: "tx.cpu_percent is -1", 4: "roi.cpu.total is -1", 5: "samples[1].gbps is -1"}},
		{"number out of range", `{"schema":"zcbench/1","gbps":1e999}`, 0, map[int]string{1: "not a record"}},
		{"added field", `{"schema":"zcbench/1","future":1}`, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, bad := 0, map[int]string{}
			for r, err := range Read(strings.NewReader(c.in)) {
				if err == nil {
					n++
					continue
				}
				line, ok := errors.AsType[*LineError](err)
				if !ok {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(r, Record{}) {
					t.Errorf("line %d gave part of a record: %+v", line.Line, r)
				}
				bad[line.Line] = err.Error()
				if strings.Contains(c.bad[line.Line], "torn") != errors.Is(err, ErrTorn) {
					t.Errorf("line %d: %v", line.Line, err)
				}
			}
			if n != c.records || len(bad) != len(c.bad) {
				t.Errorf("%d records, want %d; reported %v", n, c.records, bad)
			}
			for line, want := range c.bad {
				if !strings.Contains(bad[line], want) {
					t.Errorf("line %d: got %q, want %q", line, bad[line], want)
				}
			}
		})
	}
}

func TestReadStopsAtADeviceError(t *testing.T) {
	broken := errors.New("I/O error")
	in := io.MultiReader(strings.NewReader("{\"schema\":\"zcbench/1\"}\n{\"sch"), iotest.ErrReader(broken))
	var last error
	n := 0
	for _, err := range Read(in) {
		n, last = n+1, err
	}
	if n != 2 || !errors.Is(last, broken) {
		t.Errorf("after %d: %v", n, last)
	}
}

func TestReadStopsWhenAsked(t *testing.T) {
	for range Read(strings.NewReader("x\nx\n")) {
		break
	}
}

func TestReadLinePassesOverALongLine(t *testing.T) {
	r := bufio.NewReaderSize(strings.NewReader("12345678\n123456789\nab"), 16)
	for _, want := range []struct {
		line   string
		length int64
		err    error
	}{{"12345678", 9, nil}, {"", 10, nil}, {"ab", 2, io.EOF}} {
		line, length, err := readLine(r, 8, 100)
		if string(line) != want.line || length != want.length || err != want.err {
			t.Errorf("got %q %v %v, want %+v", line, length, err, want)
		}
	}
}

// endless is a file without an end of line.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestReadLineEnds(t *testing.T) {
	if _, _, err := readLine(bufio.NewReaderSize(endless{}, 16), 8, 100); err == nil || !strings.Contains(err.Error(), "no store of records") {
		t.Errorf("got %v", err)
	}
}

func TestAppendAfterATear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	torn := `{"schema":"zcbench/1","id":"half`
	if err := os.WriteFile(path, []byte(torn), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Append(path, Record{ID: "whole"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte(torn+"\n")) {
		t.Errorf("the torn line was changed: %q", b)
	}
	got, bad, err := Load(path)
	if err != nil || len(got) != 1 || got[0].ID != "whole" || len(bad) != 1 || !errors.Is(bad[0], ErrTorn) || bad[0].Line != 1 {
		t.Errorf("%+v %v %v", got, bad, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "results.jsonl")
	if err := Append(path, Record{Schema: "zcbench/2"}); err == nil || !strings.Contains(err.Error(), "zcbench/2") {
		t.Errorf("another schema: %v", err)
	}
	if err := Append(path, Record{ID: "nan", Gbps: math.NaN()}); err == nil || !strings.Contains(err.Error(), "nan") {
		t.Errorf("NaN: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused record left a file: %v", err)
	}
	if err := Append(filepath.Join(dir, "none", "x"), Record{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
}

func TestAppendSaysThatTheDiskIsFull(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip("no ", full)
	}
	if err := Append(full, Record{ID: "lost"}); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("got %v", err)
	}
}

// Goroutines share a process, so locks that belong to processes would not
// keep them apart; processes share nothing.
func TestAppendersDoNotMix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	const each, goroutines, processes = 20, 4, 4
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			if err := appendMany(path, fmt.Sprintf("g%d", i), each); err != nil {
				t.Error(err)
			}
		})
	}
	for range processes {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "ZCBENCH_TEST_APPEND="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	got, bad, err := Load(path)
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	ids := map[string]bool{}
	for _, r := range got {
		ids[r.ID] = true
	}
	if want := each * (goroutines + processes); len(got) != want || len(ids) != want {
		t.Errorf("%d records with %d ids, want %d", len(got), len(ids), want)
	}
}

// Whatever a file holds, reading gives whole records of this schema or says
// which line is not one, and appending adds exactly one record.
func FuzzStore(f *testing.F) {
	f.Add([]byte(`{"schema":"zcbench/1","id":"good"}` + "\n" + `{"schema":"zcb`))
	f.Add([]byte("\n\n{}\nnull\n\x00"))
	f.Add([]byte(`{"schema":"zcbench/1","rx":{"counters":{"a":1e300}},"tx":null,"samples":[{}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		read := func(b []byte) (n int, last Record) {
			for r, err := range Read(bytes.NewReader(b)) {
				line, isLine := errors.AsType[*LineError](err)
				switch {
				case isLine:
					if line.Line < 1 || line.Line > 1+bytes.Count(b, []byte{'\n'}) {
						t.Fatalf("no such line: %v", err)
					}
				case err != nil:
					t.Fatal(err)
				case r.Schema != Schema:
					t.Fatalf("schema %q passed for a record", r.Schema)
				default:
					n, last = n+1, r
				}
			}
			return n, last
		}
		before, _ := read(content)
		path := filepath.Join(t.TempDir(), "store")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Append(path, Record{ID: "added"}); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(after, content) {
			t.Fatal("what was there has changed")
		}
		if n, last := read(after); n != before+1 || last.ID != "added" {
			t.Fatalf("%d records before, %d after, the last %q", before, n, last.ID)
		}
	})
}
