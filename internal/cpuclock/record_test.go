package cpuclock

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zcbench/internal/procfile"
	"zcbench/results"
	"zcbench/results/caveat"
)

// The CPU time in the record of a run is that of the truth by tracepoints, taken
// from outside, to what the record says it is off by. ZCBENCH_RUNS are commands that
// print a record, separated by semicolons: zcbench local -J --mode msgzc;… It is no
// test, for it wants a program and a machine to itself.
func BenchmarkRecord(t *testing.B) {
	runs := os.Getenv("ZCBENCH_RUNS")
	if runs == "" {
		t.Skip("ZCBENCH_RUNS has no runs to judge")
	}
	truth, err := openTruth()
	if err != nil {
		t.Skip(err)
	}
	defer truth.close()
	cpus := allowed(t)
	clocks := list{{name: "least", method: atLeast{truth}}, {name: "most", method: atMost{truth}}}
	stat, err := procfile.OpenStat("/")
	if err != nil {
		t.Fatal(err)
	}
	defer stat.Close()
	for command := range strings.SplitSeq(runs, ";") {
		words := strings.Fields(command)
		type reading struct {
			at          time.Time
			least, most []int64
		}
		var readings []reading
		var stop atomic.Bool
		done := make(chan error)
		go func() {
			for !stop.Load() {
				r := reading{least: make([]int64, len(cpus)), most: make([]int64, len(cpus))}
				if err := clocks[0].read(0, stat, r.least); err != nil {
					done <- err
					return
				}
				r.at = time.Now()
				if err := clocks[1].read(monotonic(), stat, r.most); err != nil {
					done <- err
					return
				}
				readings = append(readings, r)
				time.Sleep(3 * time.Millisecond)
			}
			done <- nil
		}()
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		stop.Store(true)
		if err2 := <-done; err2 != nil {
			t.Fatal(err2)
		}
		var r results.Record
		if err != nil || json.Unmarshal(out, &r) != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
			continue
		}
		from, err := time.Parse(time.RFC3339Nano, r.Started)
		if err != nil {
			t.Fatal(err)
		}
		at := func(when time.Time) (least, most []float64) {
			for i := 1; i < len(readings); i++ {
				a, b := readings[i-1], readings[i]
				if b.at.Before(when) {
					continue
				}
				part := float64(when.Sub(a.at)) / float64(b.at.Sub(a.at))
				for n := range cpus {
					least = append(least, float64(a.least[n])+part*float64(b.least[n]-a.least[n]))
					most = append(most, float64(a.most[n])+part*float64(b.most[n]-a.most[n]))
				}
				return least, most
			}
			t.Fatalf("%s: the window is not in the readings", command)
			return nil, nil
		}
		ns := r.Window * 1e9
		l0, m0 := at(from)
		l1, m1 := at(from.Add(time.Duration(ns)))
		for _, e := range []struct {
			role string
			end  *results.End
		}{{"rx", r.RX}, {"tx", r.TX}} {
			low, high := 0.0, 0.0
			set, _ := r.Settings[e.role+"_cpus"].([]any)
			for _, v := range set {
				n := int(v.(float64))
				low += 100 * (l1[n] - l0[n]) / ns
				high += 100 * (m1[n] - m0[n]) / ns
			}
			stated := -1.0
			if e.end.CPUError != nil {
				stated = *e.end.CPUError
			}
			off := away(*e.end.CPUPercent, low, max(low, high))
			told := ""
			for _, w := range r.Warnings {
				if strings.HasPrefix(w, e.role+":") {
					told += " " + string(caveat.CodeOf(w))
				}
			}
			t.Logf("%-60s %s %-22s %6.1f%% ± %.1f, ticks %6.1f, tracepoints %6.1f to %6.1f: off by %5.1f;%s", command, e.role, e.end.CPUMethod,
				*e.end.CPUPercent, stated, *e.end.CPUTicks, low, high, off, told)
			if most := max(stated, 0.03**e.end.CPUPercent, 1); off > most || off < -most {
				t.Errorf("%s: the CPU time of %s is off by %.1f%% of a CPU, by tracepoints from outside", command, e.role, off)
			}
		}
	}
}
