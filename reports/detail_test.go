package reports

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"zcbench/analysis/analysistest"
	"zcbench/results"
)

// detailed is a run on two hosts with everything recorded: a sender that had
// no PMU, a receiver with many CPUs.
func detailed() results.Record {
	cpu := func(n int, user, system, softirq, idle float64) results.CPUTime {
		return results.CPUTime{CPU: n, MHz: 3400, States: map[string]float64{"user": user, "nice": 0, "system": system, "irq": 0,
			"softirq": softirq, "steal": 0, "iowait": 0, "idle": idle},
			Idle: map[string]float64{"POLL": 0.1, "C1": idle / 4, "C1E": 0, "C6": idle / 2, "C10": 0}}
	}
	r := results.Record{Status: results.OK, Window: 10, Gbps: 80, RX: &results.End{Engine: "zcrx", Bytes: 1e11, ZeroCopiedBytes: 1e11},
		TX: &results.End{Engine: "sendzc", Bytes: 1e11}}
	for n := range 12 {
		r.RX.CPUs = append(r.RX.CPUs, cpu(n, 1, float64(5*n), 10, float64(89-5*n)))
	}
	r.TX.CPUs = []results.CPUTime{{CPU: 3, States: map[string]float64{"user": 2.5, "system": 90, "idle": 7.5}}}
	r.RX.Counters = map[string]float64{"cycles": 3e11, "instructions": 4.5e11, "cycles_per_byte": 3, "instructions_per_byte": 4.5,
		"cache_misses_per_byte":           0.0123,
		"host_memory_read_bytes_per_byte": 1.5, "host_memory_write_bytes_per_byte": 0.98, "cpu_temperature_celsius_max": 71}
	r.TX.Counters = map[string]float64{"cpu_temperature_celsius_max": 64}
	r.RX.Profile = &results.Profile{Event: "cycles", Samples: 4990, Lost: 3, Hz: 499}
	for i := range 20 {
		r.RX.Profile.Symbols = append(r.RX.Profile.Symbols,
			results.Symbol{Name: fmt.Sprint("function_", i), Module: "kernel", Percent: 40 / float64(i+1)})
	}
	r.RX.Profile.Symbols[1].Module = "mlx5_core"
	r.RX.Profile.Symbols[2].Name = strings.Repeat("generic[...]", 12) + "\x1b[31m"
	for i := range 10 {
		rtt := float64(i * 111)
		stood := float64(i) / 7
		end := results.ConnectionEnd{Bytes: 1e10, Retransmits: uint64(i * i * i * i), RTT: &rtt, Stall: &stood}
		r.Flows = append(r.Flows, results.Connection{RX: &end, TX: &end})
	}
	r.Flows[1].RX, r.Flows[2].TX = nil, nil
	r.TX.SyscallCosts = []results.SyscallCost{
		{Name: "io_uring_enter", Calls: 10500000, Errors: 12, Total: 9123.4567, Min: 0.65, Mean: 0.869, Max: 10234.5},
		{Name: "futex", Calls: 3, Total: 0.004, Min: 1.2, Mean: 1.3, Max: 1.5},
	}
	for i := range 12 {
		r.TX.SyscallCosts = append(r.TX.SyscallCosts, results.SyscallCost{Name: fmt.Sprint("other_", i), Calls: 1})
	}
	return r
}

func TestDetails(t *testing.T) {
	var b bytes.Buffer
	if err := Run(&b, detailed()); err != nil {
		t.Fatal(err)
	}
	analysistest.Golden(t, "detail.txt", b.Bytes())
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 100 || strings.TrimRight(line, " ") != line || strings.Contains(line, "\x1b") {
			t.Errorf("%d columns, space at the end, or an escape: %q", n, line)
		}
	}
}

// The states of a CPU are of another clock than what it was busy, and who adds
// them up is told that.
func TestStatesThatDoNotAddUp(t *testing.T) {
	for _, c := range []struct {
		busy float64
		want string
	}{
		{90, "receiver's CPU 3 they make 50.0 %, and it was busy for 90.0 %."}, {20, "they make 50.0 %, and it was busy for 20.0 %."},
		{50.4, ""}, {-1, ""},
	} {
		r := results.Record{Status: results.OK, Window: 1, Gbps: 1, Bytes: 1, RX: &results.End{Engine: "baseline"}}
		cpu := results.CPUTime{CPU: 3, States: map[string]float64{"user": 10, "system": 30, "softirq": 10, "idle": 45, "iowait": 5}}
		if c.busy >= 0 {
			cpu.Busy = &c.busy
		}
		r.RX.CPUs = []results.CPUTime{cpu}
		var b bytes.Buffer
		if err := Run(&b, r); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(b.String()), " ")
		if !strings.Contains(text, c.want) || c.want == "" && strings.Contains(text, "add up") {
			t.Errorf("busy %v: no %q in\n%s", c.busy, c.want, b.String())
		}
	}
}

func TestByDepth(t *testing.T) {
	names := []string{"C10", "C6", "haltpoll", "C1E", "POLL", "C1", "C99999999999"}
	slices.SortFunc(names, byDepth)
	if got, want := strings.Join(names, " "), "POLL haltpoll C1 C1E C6 C10 C99999999999"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
