package analysis

import (
	"strings"
	"testing"

	"zcbench/analysis/analysistest"
	"zcbench/results"
	"zcbench/results/caveat"
)

func TestDiagnose(t *testing.T) {
	with := func(r results.Record, f func(*results.Record)) results.Record { f(&r); return r }
	unpinned := func(r *results.Record) {
		for _, e := range []*results.End{r.TX, r.RX} {
			e.CPUs = nil
			e.CPUScope = "thread"
		}
	}
	for _, c := range []struct {
		name    string
		r       results.Record
		cause   cause
		why     []string
		also    string
		not     string
		unknown string
	}{
		{"sender", analysistest.OnNIC(100, 90, 9, 30, 20), bySender,
			[]string{"the sender's busiest CPU, 5, was busy for 99.0 % (9.0 % in softirq)", "while the receiver's"}, "",
			"the receiver's CPU", ""},
		{"softirq", analysistest.OnNIC(100, 30, 9, 10, 89), bySoftirq, []string{"busy for 99.0 % (89.0 % in softirq)"}, "",
			"the sender's CPU", ""},
		{"application", analysistest.OnNIC(100, 30, 9, 90, 8), byApplication, []string{"(8.0 % in softirq)"}, "",
			"the link, 51 % of the 195.7 Gbit/s", ""},
		{"both parts of the receiver", analysistest.OnNIC(100, 30, 9, 50, 48), byReceiverCPU, nil, "", "", ""},
		{"both ends", with(analysistest.OnNIC(100, 90, 9, 50, 48), func(r *results.Record) { r.TX.Counters["tcp_rwnd_limited_us"] = 3e6 }),
			byBothCPUs, nil, "", "", ""},
		{"both ends, of an older record", with(analysistest.OnNIC(100, 90, 9, 50, 48),
			func(r *results.Record) { delete(r.TX.Counters, "tcp_busy_us") }), byBothCPUs, nil, "", "", "for what TCP waited"},
		{"both ends, and the window stayed open",
			with(analysistest.OnNIC(100, 90, 9, 50, 48), func(r *results.Record) { delete(r.TX.Counters, "tcp_rwnd_limited_us") }),
			bySender, []string{"TCP hardly waited for the receiver's window (0 %"}, "", "", ""},
		{"other programs on its CPU", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) {
			r.TX.Counters["rusage_user_seconds"], r.TX.Counters["rusage_system_seconds"] = 1, 6
		}), bySender, nil, "other work: at least 20 % of the sender's busiest CPU went to something else", "", ""},
		{"other programs, as the run warns", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) {
			r.Warnings = []string{caveat.Warn(caveat.CPUForeign, "tx: at least 80%% of a CPU"), caveat.Warn(caveat.CPUSteal, "rx: 3%%")}
		}), bySender, nil,
			"other programs used CPUs that are counted here, at the sender, so what was full may be so by them [cpu-foreign]; the hypervisor kept " +
				"CPU time for others, at the receiver", "", ""},
		{"both ends, but the window says who", with(analysistest.OnNIC(100, 90, 9, 50, 48),
			func(r *results.Record) { r.TX.Counters["tcp_rwnd_limited_us"] = 7e6 }), byReceiverCPU,
			[]string{"waited for the receiver's window for 70 %"}, "", "", ""},
		{"link", analysistest.OnNIC(194, 60, 9, 50, 28), byLink,
			[]string{"99 % of the 195.7 Gbit/s of payload that 200 Gbit/s carry at MTU 4148"}, "", "", ""},
		{"faster than its link", analysistest.OnNIC(250, 60, 9, 50, 28), byNobody, nil, "", "", "more went over it than the 200 Gbit/s"},
		{"veth", with(analysistest.OnNIC(194, 60, 9, 50, 28),
			func(r *results.Record) { r.Facts.RX = results.Facts{"nic": map[string]any{"kind": "veth"}} }), byNobody,
			[]string{"No CPU was full", "nothing that was counted stands out"}, "", "", "its interfaces are not both real devices"},
		{"buffers", with(analysistest.OnNIC(100, 30, 9, 40, 20), func(r *results.Record) {
			r.RX.Counters["pool_empty"] = 500
			r.TX.Counters["tcp_rwnd_limited_us"] = 9e6
		}), byMemory, []string{"500 times the NIC found no free buffer"}, "", "", ""},
		{"buffers beside a full CPU", with(analysistest.OnNIC(100, 30, 9, 90, 8),
			func(r *results.Record) { r.RX.Counters["refill_stalls"] = 5 }), byApplication, nil, "5 times the refill ring was full", "",
			""},
		{"loss", with(analysistest.OnNIC(100, 30, 9, 40, 8), func(r *results.Record) { r.TX.Counters["tcp_retransmits"] = 5e4 }), byLoss,
			[]string{"50000 of 1000000 segments sent again (5 %)"}, "", "", ""},
		{"a little loss", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) { r.TX.Counters["tcp_retransmits"] = 5e3 }),
			bySender, nil, "5000 of 1000000 segments sent again (0.5 %)", "", ""},
		{"receiver waits", with(analysistest.OnNIC(100, 30, 9, 40, 8),
			func(r *results.Record) { r.TX.Counters["tcp_rwnd_limited_us"] = 6e6 }), byReceiverWait, []string{"for its window for 60 %"},
			"", "", ""},
		{"nothing stands out", analysistest.OnNIC(100, 30, 9, 40, 8), byNobody, []string{"No CPU was full"}, "", "loss, with 0 of 1000000",
			""},
		{"held by its buffer", with(analysistest.OnNIC(100, 30, 9, 40, 8),
			func(r *results.Record) { r.TX.Counters["tcp_sndbuf_limited_us"] = 8e6 }), byNobody,
			[]string{"held by the sender's buffer for 80 %"}, "", "", ""},
		{"copy fallback", with(analysistest.OnNIC(100, 90, 9, 40, 8),
			func(r *results.Record) { r.RX.ZeroCopiedBytes, r.RX.CopiedBytes = 60, 40 }), bySender, nil,
			"a CPU copied 40.0 % of the payload at the receiver, though zcrx means to copy nothing", "copying at the sender", ""},
		{"an engine that copies by design", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) {
			r.RX.Engine, r.RX.ZeroCopiedBytes, r.RX.CopiedBytes = "baseline", 0, 100
		}), bySender, nil, "", "", ""},
		{"threads", with(analysistest.OnNIC(100, 60, 0, 97, 0), unpinned), byReceiverCPU,
			[]string{"the receiver's thread was busy for 99.0 %"}, "", "the sender's CPU", "softirq work by end"},
		{"several threads, none known", with(analysistest.OnNIC(100, 60, 0, 97, 0), func(r *results.Record) {
			unpinned(r)
			r.Settings = map[string]any{"flows": 2}
		}), byNobody, []string{"2 threads were busy for 49.5 % on average"}, "", "", "how busy each CPU of the receiver was"},
		{"CPU sets, not by CPU", with(analysistest.OnNIC(100, 60, 0, 97, 0), func(r *results.Record) {
			unpinned(r)
			r.RX.CPUScope, r.TX.CPUScope = "cpuset", "cpuset"
			r.Settings = map[string]any{"rx_cpus": []any{float64(3)}, "tx_cpus": []int{2, 4}}
		}), byReceiverCPU, []string{"the receiver's CPU was busy for 99.0 %", "the sender's 2 CPUs were busy for 31.0 % on average"}, "",
			"the sender's CPU", ""},
		{"whole hosts, not by CPU", with(analysistest.OnNIC(100, 200, 0, 300, 0),
			func(r *results.Record) { r.RX.CPUs, r.TX.CPUs = nil, nil }), byNobody, []string{"No CPU is known to have been full"}, "", "",
			"how busy each CPU of the sender was"},
		{"accounts with gaps, but a thread that always runs", with(analysistest.OnNIC(100, 50, 11, 20, 10), func(r *results.Record) {
			r.TX.CPUs[1].States["idle"], r.TX.CPUs[1].States["iowait"] = 0, 0
			r.TX.Counters["rusage_user_seconds"], r.TX.Counters["rusage_system_seconds"] = 0.5, 9.2
		}), bySender, []string{"was busy for 61 to 100 %", "own threads ran for 97.0 %"}, "", "the receiver's CPU", ""},
		{"accounts with gaps", with(analysistest.OnNIC(100, 50, 11, 20, 10), func(r *results.Record) { r.TX.CPUs[1].States["idle"] = 0 }),
			byNobody, []string{"No CPU is known to have been full", "the sender's may have been. If not, waiting"}, "", "",
			"how busy each CPU of the sender was"},
		{"heat", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) { r.TX.Counters["core_throttles"] = 3 }), bySender,
			nil, "the sender's CPUs were slowed down 3 times", "", ""},
		{"buffers in flight", with(analysistest.OnNIC(100, 30, 9, 40, 8), func(r *results.Record) { r.TX.Counters["window_full"] = 4 }),
			byNobody, nil, "4 times all of the sender's buffers were in flight", "", ""},
		{"a kernel that does not tell what it copied, in bytes",
			with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) { r.RX.UnknownBytes = 100 }), bySender, nil, "",
			"copying at the sender", "how much of 100 B that zcrx moved at the receiver"},
		{"a kernel that does not tell what it copied",
			with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) { r.RX.Counters["copy_unknown_bytes"] = 100 }), bySender,
			nil, "", "copying at the sender", "how much of 100 B that zcrx moved at the receiver"},
		{"of some payload nobody knows", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) {
			r.TX.ZeroCopiedBytes, r.TX.CopiedBytes, r.TX.UnknownBytes = 20, 80, 80
		}), bySender, nil, "", "copying at the receiver", "how much of 80 B that sendzc moved at the sender the kernel copied"},
		{"of some payload nobody knows, some was copied", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) {
			r.TX.ZeroCopiedBytes, r.TX.CopiedBytes, r.TX.UnknownBytes = 20, 80, 50
		}), bySender, nil, "copying: a CPU copied 30.0 % of the payload at the sender", "", "how much of 50 B"},
		{"unsteady", with(analysistest.OnNIC(100, 90, 9, 40, 8), func(r *results.Record) {
			for _, v := range []float64{100, 100, 60, 100, 100} {
				r.Samples = append(r.Samples, results.Sample{End: "rx", Gbps: v}, results.Sample{End: "tx", Gbps: 9 * v})
			}
		}), bySender, nil, "throughput was not steady: 60.0 to 100.0 Gbit/s in 5 intervals", "", ""},
		{"a plain receiver", with(analysistest.OnNIC(100, 96, 0, 0, 0), func(r *results.Record) { r.RX = nil }), bySender, nil, "", "",
			"anything of the receiver"},
		{"nothing at all", results.Record{Gbps: 1}, byNobody, nil, "", "", "retransmits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := diagnose(&c.r)
			if d.cause != c.cause {
				t.Errorf("limited by %q (%s), want %q", d.cause, d.why, c.cause)
			}
			for _, want := range c.why {
				if !strings.Contains(d.why, want) {
					t.Errorf("no %q in %q", want, d.why)
				}
			}
			for _, part := range []struct {
				want string
				in   []string
			}{{c.also, d.also}, {c.not, d.not}, {c.unknown, d.unknown}} {
				if all := strings.Join(part.in, "; "); !strings.Contains(all, part.want) {
					t.Errorf("no %q in %q", part.want, all)
				}
			}
			if c.also == "" && len(d.also) > 0 {
				t.Errorf("also %q", d.also)
			}
		})
	}
}
