package main

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"zcbench/results"
	"zcbench/results/caveat"
)

// These, too, run the built program as a user does.

var busyStates = []string{"user", "nice", "system", "irq", "softirq", "steal"}

// TestStoryCounters: what the CPUs did adds up, in the window and in each
// interval, to the CPU figures of the run.
func TestStoryCounters(t *testing.T) {
	needNamespaces(t)
	r := measured(t, "local", "--counters", "all", "-P", "2", "-t", "1", "-O", "0.1", "-i", "0.25")
	warned := strings.Join(r.Warnings, "\n")
	for name, e := range map[string]*results.End{"rx": r.RX, "tx": r.TX} {
		if len(e.CPUs) == 0 {
			t.Fatalf("%s: no CPU did anything", name)
		}
		busy, ticks := 0.0, 0.0
		for _, c := range e.CPUs {
			total := 0.0
			for _, state := range busyStates {
				ticks += c.States[state]
			}
			for _, share := range c.States {
				total += share
			}
			if c.Busy == nil {
				t.Fatalf("%s: how busy CPU %d was is not known", name, c.CPU)
			}
			busy += *c.Busy
			// A kernel that samples busy time by ticks may miss some; the run says so
			// where it has no better clock.
			if e.CPUMethod == "ticks" && math.Abs(total-100) > 12 && !strings.Contains(warned, name+": the times of CPU") {
				t.Errorf("%s: states of CPU %d add up to %v: %v; warnings %s", name, c.CPU, total, c.States, warned)
			}
		}
		// Both come from the same readings; CPUs that did next to nothing are
		// not in the list, and shares are rounded to a thousandth.
		for _, f := range []struct{ sum, whole float64 }{{busy, *e.CPUPercent}, {ticks, *e.CPUTicks}} {
			if e.CPUScope == "cpuset" && (f.sum > f.whole+0.1 || f.sum < f.whole-0.6*float64(len(e.CPUs))-0.1) {
				t.Errorf("%s: CPUs were busy for %v, by ticks %v; cpu_percent is %v, by ticks %v", name, busy, ticks, *e.CPUPercent, *e.CPUTicks)
			}
		}
		for _, want := range []string{"softnet_processed", "tcp_mss_bytes", "tcp_rtt_us", "host_context_switches", "link_rx_packets",
			"link_tx_packets", "sampler_cpu_seconds"} {
			if e.Counters[want] <= 0 {
				t.Errorf("%s: %s is %v", name, want, e.Counters[want])
			}
		}
		intervals, seconds, weighted, cpu := 0, 0.0, 0.0, 0.0
		for _, s := range r.Samples {
			if s.End != name {
				continue
			}
			intervals++
			sum := 0.0
			for _, state := range busyStates {
				sum += s.Series["cpu_"+state+"_percent"]
			}
			if e.CPUScope == "cpuset" && sum == 0 {
				t.Errorf("%s: the sample at %v has no states", name, s.Start)
			}
			cpu += *s.CPUPercent * s.Seconds
			if s.Series["host_context_switches_per_second"] <= 0 || s.Series["tcp_rtt_us"] <= 0 {
				t.Errorf("%s: series %v", name, s.Series)
			}
			seconds += s.Seconds
			weighted += s.Series["host_context_switches_per_second"] * s.Seconds
		}
		if math.Abs(cpu/seconds-*e.CPUPercent) > 0.5 {
			t.Errorf("%s: %v%% CPU by the samples, %v%% over the window", name, cpu/seconds, *e.CPUPercent)
		}
		if intervals < 3 || math.Abs(weighted-e.Counters["host_context_switches"]) > 0.01*e.Counters["host_context_switches"]+10 {
			t.Errorf("%s: %d intervals of %v s have %v context switches, the window %v", name, intervals, seconds, weighted,
				e.Counters["host_context_switches"])
		}
	}
	// What a packet counter says and what the run says are about the same bytes.
	if sent := r.TX.Counters["link_tx_bytes"]; sent < 0.9*float64(r.TX.Bytes) {
		t.Errorf("the interface sent %v bytes of %d", sent, r.TX.Bytes)
	}
}

func TestStoryCountersChosen(t *testing.T) {
	needNamespaces(t)
	r := measured(t, "local", "--counters", "none", "-t", "0.5", "-O", "0", "-i", "0.2")
	for _, s := range r.Samples {
		if len(s.Series) > 0 || len(r.RX.CPUs)+len(r.TX.CPUs) > 0 {
			t.Fatalf("series %v, CPUs %v", s.Series, r.RX.CPUs)
		}
	}
	r = measured(t, "local", "--counters", "tcp,link", "-t", "0.5", "-O", "0", "-i", "0.2")
	if _, ok := r.TX.Counters["softnet_processed"]; ok || r.TX.Counters["tcp_mss_bytes"] == 0 || len(r.RX.CPUs) > 0 ||
		r.Settings["counters"] != "tcp,link" {
		t.Errorf("%v, settings %v", r.TX.Counters, r.Settings)
	}
	if _, errs, code := run(t, "local", "--counters", "nosuch"); code != exitUsage || !strings.Contains(errs, "there are: all none cpu ") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, errs, code := run(t, "local", "--counters", "all,cpu"); code != exitUsage || !strings.Contains(errs, "alone") {
		t.Errorf("exit %d: %s", code, errs)
	}
	// What probe calls impossible is an error for who insists, a note for who
	// wants all there is, and a missing fact for anyone else.
	for name, v := range probed(t) {
		if v.Answer == "yes" || strings.HasPrefix(name, "--") || strings.Contains(v.Reason, "--iface") {
			continue
		}
		_, errs, code := run(t, "local", "--counters", name, "-t", "0.3", "-O", "0")
		if code != exitUnsupported || !strings.Contains(errs, "counters "+name+": ") {
			t.Errorf("%s: exit %d: %s", name, code, errs)
		}
		all := measured(t, "local", "--counters", "all", "-t", "0.3", "-O", "0")
		missing, _ := all.Facts.TX["missing"].(map[string]any)
		i := slices.IndexFunc(all.Notes, func(n string) bool { return caveat.CodeOf(n) == caveat.CountersMissing })
		if i < 0 || !strings.Contains(all.Notes[i], name) || missing["counters."+name] == nil || len(all.Notes) > i+2 {
			t.Errorf("%s: notes %q, missing %v", name, all.Notes, missing)
		}
		if slices.ContainsFunc(all.Warnings, func(w string) bool { return caveat.CodeOf(w) == caveat.CountersMissing }) {
			t.Errorf("%s: warnings %q", name, all.Warnings)
		}
		usual := measured(t, "local", "-t", "0.3", "-O", "0")
		missing, _ = usual.Facts.TX["missing"].(map[string]any)
		told := func(n string) bool { return caveat.CodeOf(n) == caveat.CountersMissing }
		if s, _ := missing["counters."+name].(string); s == "" || slices.ContainsFunc(append(usual.Notes, usual.Warnings...), told) {
			t.Errorf("%s: missing %v, notes %v, warnings %v", name, missing, usual.Notes, usual.Warnings)
		}
		break
	}
}

// probed is what zcbench probe says of counters and recorders.
func probed(t *testing.T) map[string]reader {
	t.Helper()
	var answers struct{ Counters []reader }
	out, _, _ := run(t, "probe", "--json")
	if err := json.Unmarshal([]byte(out), &answers); err != nil || len(answers.Counters) == 0 {
		t.Fatalf("probe: %v\n%s", err, out)
	}
	all := map[string]reader{}
	for _, v := range answers.Counters {
		all[v.Name] = v
	}
	return all
}

// TestStoryProfile: the sender's time goes to sending and the receiver's to
// receiving, in the kernel and in this program.
func TestStoryProfile(t *testing.T) {
	needNamespaces(t)
	if can := probed(t)["--profile"]; can.Answer != "yes" {
		_, errs, code := run(t, "local", "--profile", "-t", "0.3")
		if code != exitUnsupported || !strings.Contains(errs, "profile: ") || can.Reason == "" {
			t.Errorf("probe says no (%s), the run ends with %d: %s", can.Reason, code, errs)
		}
		return
	}
	r := measured(t, "local", "--profile", "-t", "1", "-O", "0.1")
	for _, c := range []struct {
		end              *results.End
		function, kernel string
	}{{r.TX, "zcbench/tx.", "tcp_sendmsg"}, {r.RX, "zcbench/rx.", "tcp_recvmsg"}} {
		p := c.end.Profile
		if p == nil || p.Samples == 0 || len(p.Symbols) == 0 || p.Hz == 0 {
			t.Fatalf("%s: %+v", c.end.Engine, p)
		}
		if all := strings.Join(p.Stacks, "\n"); !strings.Contains(all, ";"+c.function) || !strings.Contains(all, ";"+c.kernel+";") {
			t.Errorf("no %s and %s in\n%s", c.function, c.kernel, all)
		}
	}
	if w := strings.Join(r.Notes, "\n"); strings.Count(w, "both ends: a profile was taken") != 1 || r.Settings["profile"] != true {
		t.Errorf("notes %s, settings %v", w, r.Settings)
	}
}

// TestStorySyscalls: the calls that the kernel saw are those that the engine
// counted.
func TestStorySyscalls(t *testing.T) {
	needNamespaces(t)
	if can := probed(t)["--syscalls"]; can.Answer != "yes" {
		_, errs, code := run(t, "local", "--syscalls", "-t", "0.3")
		if code != exitUnsupported || !strings.Contains(errs, "syscalls: ") || can.Reason == "" {
			t.Errorf("probe says no (%s), the run ends with %d: %s", can.Reason, code, errs)
		}
		return
	}
	const flows = 2
	r := measured(t, "local", "--syscalls", "-t", "0.5", "-O", "0.1", "-P", "2")
	for _, e := range []*results.End{r.TX, r.RX} {
		costs := map[string]results.SyscallCost{}
		for _, c := range e.SyscallCosts {
			costs[c.Name] = c
		}
		for name, n := range e.Syscalls {
			if n == 0 {
				continue
			}
			// The window's edges are not at quite the same time for both.
			if got := float64(costs[name].Calls); math.Abs(got-float64(n)) > flows+0.05*float64(n) {
				t.Errorf("%s: %v calls of %s, the engine made %d", e.Engine, got, name, n)
			}
			if c := costs[name]; c.Total <= 0 || c.Min <= 0 || c.Mean < c.Min || c.Max < c.Mean || c.Total > 1e3*r.Window*1.2*flows {
				t.Errorf("%+v", c)
			}
		}
	}
	if w := strings.Join(r.Notes, "\n"); strings.Count(w, "both ends: system calls were traced") != 1 {
		t.Errorf("notes %s", w)
	}
	out, _, _ := run(t, "local", "--syscalls", "--profile", "-t", "0.3", "-O", "0")
	for _, want := range []string{"System calls of the sender's payload threads", "Where the CPU time of the receiver went",
		"Time of each CPU in % of the window"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestStoryRecordsOwn: a stranger's wish to record stays on his own side; a
// receiver's user has hers for every run.
func TestStoryRecordsOwn(t *testing.T) {
	if can := probed(t)["--profile"]; can.Answer != "yes" {
		t.Skip("needs the right to profile: ", can.Reason)
	}
	_, port, _ := service(t)
	r := measured(t, "tx", "127.0.0.1", "-p", port, "-t", "0.3", "-O", "0", "--profile", "--counters", "tcp")
	if r.TX.Profile == nil || r.RX.Profile != nil || len(r.TX.CPUs) > 0 || r.RX.Counters["softnet_processed"] == 0 {
		t.Errorf("tx %+v, rx %+v", r.TX, r.RX)
	}
	_, port, _ = service(t, "--profile", "--counters", "none")
	r = measured(t, "tx", "127.0.0.1", "-p", port, "-t", "0.3", "-O", "0")
	if _, ok := r.RX.Counters["softnet_processed"]; r.TX.Profile != nil || r.RX.Profile == nil || ok {
		t.Errorf("tx %+v, rx %+v", r.TX, r.RX)
	}
}
