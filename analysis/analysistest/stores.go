package analysistest

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcbench/results"
)

//go:embed testdata
var testdata embed.FS

// Fixtures are the stores of records that were measured once.
//
// demo: one host, threads, a pair that was skipped and a run that failed.
// pair: two hosts, a NIC, mixed CPU scopes, runs left out of the means, a host
// that changed, cells of the same engines, and a plain TCP receiver.
var Fixtures = []string{"demo", "pair"}

// Fixture are the records of one of Fixtures.
func Fixture(tb testing.TB, name string) []results.Record {
	tb.Helper()
	records, bad, err := results.Load(File(tb, name))
	if err != nil || len(bad) > 0 || len(records) == 0 {
		tb.Fatal(bad, err)
	}
	return records
}

// File is the path of a copy of one of Fixtures.
func File(tb testing.TB, name string) string {
	tb.Helper()
	return Store(tb, tb.TempDir(), name+".jsonl", Lines(tb, name)...)
}

// Lines are those of one of Fixtures.
func Lines(tb testing.TB, name string) []string {
	tb.Helper()
	b, err := testdata.ReadFile("testdata/" + name + ".jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// Store writes lines into a new file, and gives its path.
func Store(tb testing.TB, dir, name string, lines ...string) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// LongStudy writes n records of 100 s with a sample a second from each end,
// as rich as a real one's, ten runs to a cell.
func LongStudy(tb testing.TB, n int) (path string) {
	tb.Helper()
	records := Fixture(tb, "pair")
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
	for _, name := range []string{"cpu_user_percent", "cpu_system_percent", "cpu_softirq_percent", "cpu_irq_percent", "cpu_iowait_percent",
		"cpu_idle_percent",
		"cstate_POLL_percent", "cstate_C1_percent", "cstate_C6_percent", "cpu_mhz", "tcp_rtt_us", "tcp_cwnd_segments",
		"page_pool_inflight_bytes", "qstat_rx_packets_per_second", "host_interrupts_per_second"} {
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
		r.Axes = map[string]string{"mode": []string{"baseline", "msgzc", "devmem", "iouring"}[cell%4],
			"length": fmt.Sprint(4096 << (cell / 4 % 8)), "mtu": fmt.Sprint(1500 + cell/32)}
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
				r.Samples = append(r.Samples, results.Sample{End: end, Start: float64(s), Seconds: 1, Bytes: 16e9,
					Gbps:       120 + 16*random.Float64(),
					CPUPercent: rx.CPUPercent, Watts: rx.Watts, Series: series[random.IntN(len(series))]})
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

var update = flag.Bool("update", false, "write the golden files")

// Golden compares with testdata/name; on a difference what was got is left
// beside it.
func Golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		os.Remove(path + ".got")
		return
	}
	if err := os.WriteFile(path+".got", got, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Errorf("not as %s; see %s.got, and go test -update if it should be so", path, path)
}
