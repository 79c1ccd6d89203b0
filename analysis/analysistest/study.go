package analysistest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"zcbench/results"
)

// RichStudy is a matrix in the shape of netdev 0x19's, made up, with all that a
// record may have: 4 modes × 2 GROs × 2 numbers of CPUs, 5 runs of each, the
// first and the last left out, one cell skipped, one that failed once, a host
// that changed.
func RichStudy() []results.Record {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(v, share float64) float64 { return v * (1 + share*random.NormFloat64()) }
	speed := map[string]float64{
		"baseline,sw,1": 61, "baseline,hw,1": 63, "baseline,sw,2": 84, "baseline,hw,2": 84.5,
		"msgzc,sw,1": 66, "msgzc,hw,1": 71, "msgzc,sw,2": 92, "msgzc,hw,2": 99,
		"devmem,sw,1": 75, "devmem,hw,1": 130, "devmem,sw,2": 119, "devmem,hw,2": 112,
		"iouring,sw,1": 0, "iouring,hw,1": 183, "iouring,sw,2": 140, "iouring,hw,2": 189,
	}
	engines := map[string][2]string{"baseline": {"baseline", "baseline"}, "msgzc": {"msgzc", "mmap"}, "devmem": {"devmem", "devmem"},
		"iouring": {"sendzc", "zcrx"}}
	host := func(name, governor string) results.Facts {
		return results.Facts{
			"machine": map[string]any{"hostname": name}, "kernel": map[string]any{"release": "7.1.0", "cmdline": "quiet mitigations=off"},
			"cpu":    map[string]any{"model": "Xeon Platinum 8468", "threads": 96, "smt": "off", "governor": governor, "turbo": "on"},
			"nic":    map[string]any{"name": "eth1", "driver": "idpf", "mtu": 4148, "firmware": "1.9"},
			"sysctl": map[string]any{"net.core.optmem_max": "4194304"},
		}
	}
	tx, rx, later := host("sender", "performance"), host("receiver", "powersave"), host("receiver", "performance")
	var records []results.Record
	n := 0
	for repeat := range 5 {
		for _, mode := range []string{"baseline", "msgzc", "devmem", "iouring"} {
			for _, gro := range []string{"sw", "hw"} {
				for _, cpus := range []string{"1", "2"} {
					n++
					at := speed[mode+","+gro+","+cpus]
					r := results.Record{
						ID: fmt.Sprintf("%016x", n), Cell: fmt.Sprintf("%s-%s-%s", mode, gro, cpus), Repeat: repeat, Status: results.OK,
						Started: time.Date(2026, 11, 21, 9, 2*n, 0, 0, time.UTC).Format(time.RFC3339), Window: 30,
						Axes: map[string]string{"mode": mode, "gro": gro, "cpus": cpus}, Experiment: "netdev-0x19",
						Settings: map[string]any{"tx": engines[mode][0], "rx": engines[mode][1], "time_seconds": 30, "length": 64 << 20,
							"flows": 1, "rx_gro_hw": gro == "hw"},
						Command: fmt.Sprintf("zcbench run netdev-0x19 --only 'mode=%s,gro=%s,cpus=%s'", mode, gro, cpus),
					}
					r.Facts.TX, r.Facts.RX = tx, rx
					if repeat > 2 && mode == "msgzc" {
						r.Facts.RX = later
					}
					if repeat == 0 || repeat == 4 {
						r.Dropped = map[int]string{0: "first", 4: "last"}[repeat]
					}
					if at == 0 {
						r.Status, r.Reason = results.Skipped,
							"iouring needs HW GRO with one CPU here: the NIC's queue has no buffers of 4096 bytes"
						records = append(records, r)
						continue
					}
					if repeat == 2 && mode == "devmem" && gro == "hw" && cpus == "1" {
						r.Status, r.Reason = results.Failed, "rx: bind the dma-buf: no space left on device"
						records = append(records, r)
						continue
					}
					r.Gbps = noise(at, 0.015)
					if repeat == 0 {
						r.Gbps *= 0.93
					}
					r.TX, r.RX = richEnd(random, &r, "tx", mode, cpus), richEnd(random, &r, "rx", mode, cpus)
					r.Derive()
					records = append(records, r)
				}
			}
		}
	}
	return records
}

func richEnd(random *rand.Rand, r *results.Record, role, mode, cpus string) *results.End {
	noise := func(v, share float64) float64 { return max(0, v*(1+share*random.NormFloat64())) }
	bytes := uint64(r.Gbps * r.Window / 8 * 1e9)
	e := &results.End{Engine: r.Settings[role].(string), Bytes: bytes, CPUScope: "host",
		Counters: map[string]float64{"tcp_retransmits": 0, "tcp_rtt_us": noise(120, 0.1)}}
	if mode == "baseline" {
		e.CopiedBytes = bytes
	} else {
		e.CopiedBytes = bytes / 2000
	}
	e.ZeroCopiedBytes = bytes - e.CopiedBytes
	user, system, softirq, iowait := 6., 72., 88., 0.4
	switch {
	case role == "tx":
		user, system, softirq = 4, noise(70, 0.1), 11
	case cpus == "1":
		user, system, softirq = 2, 38, 59
	case mode == "iouring":
		user, system, softirq, iowait = 3, 22, 96, 35
	}
	samples := make([]results.Sample, 0, 30)
	sum, wait, watts := 0., 0., 0.
	for s := range 30 {
		u, sy, so, io := noise(user, 0.05), noise(system, 0.04), noise(softirq, 0.02), noise(iowait, 0.1)
		cpu, w := u+sy+so, noise(338+r.Gbps/9, 0.006)
		sum, wait, watts = sum+cpu/30, wait+io/30, watts+w/30
		c6 := noise(9000, 0.01)
		series := map[string]float64{"cpu_user_percent": u, "cpu_system_percent": sy, "cpu_softirq_percent": so,
			"cpu_idle_percent":    9600 - cpu - io,
			"cstate_POLL_percent": noise(30, 0.2), "cstate_C1_percent": noise(120, 0.1), "cstate_C1E_percent": noise(220, 0.1),
			"cstate_C6_percent": c6,
			"tcp_rtt_us":        noise(120, 0.08), "tcp_cwnd_segments": math.Round(noise(900, 0.05)),
			"host_context_switches_per_second": noise(18000, 0.05), "qstat_rx_packets_per_second": noise(r.Gbps/8*1e9/65536, 0.02)}
		if io > 0 {
			series["cpu_iowait_percent"] = io
		}
		if role == "rx" && mode != "baseline" {
			series["nic_pool_inflight_bytes"] = noise(41e6, 0.15)
		}
		samples = append(samples, results.Sample{End: role, Start: float64(s), Seconds: 1, Bytes: bytes / 30, Gbps: noise(r.Gbps, 0.02),
			CPUPercent: &cpu, Watts: &w, Series: series})
	}
	r.Samples = append(r.Samples, samples...)
	e.CPUPercent, e.IowaitPercent, e.Watts = &sum, &wait, &watts
	low, high, idle, per := watts*0.97, watts*1.03, 231., watts*r.Window/(float64(bytes)/1e9)
	e.Power = &results.Power{Meter: "scpi:wt310.example", Scope: "wall", Watts: watts, Min: &low, Max: &high, Joules: watts * r.Window,
		JoulesPerG: &per, Baseline: &idle, Samples: 300, Interval: 0.1, Resolution: 0.01}
	e.CPUs = []results.CPUTime{
		{CPU: 1, States: map[string]float64{"user": 0.2, "system": 1.1, "softirq": softirq, "idle": 98 - softirq},
			Idle: map[string]float64{"C1": 1.2}, MHz: 3700},
		{CPU: 2, States: map[string]float64{"user": user, "system": system, "iowait": min(iowait, 20), "idle": max(0, 80-user-system)},
			Idle: map[string]float64{"C1": 10, "C1E": 3, "C6": 1}, MHz: 3512},
		{CPU: 7, States: map[string]float64{"user": 1.3, "system": 0.8, "idle": 97.9}, Idle: map[string]float64{"C6": 96}, MHz: 800},
	}
	richSyscalls(e, role)
	if e.Engine == "devmem" && role == "rx" {
		e.Counters["recvmsg_frags_below_512"], e.Counters["recvmsg_frags_512_to_1024"], e.Counters["recvmsg_frags_above_1024"] =
			54000, 101000, 97000
		e.Counters["tokens"], e.Counters["recvmsg_frags_min"], e.Counters["recvmsg_frags_max"] = 252000*874.6, 1, 1499
	}
	if role == "rx" {
		e.Verify = &results.Crossing{Interface: "eth1", Seconds: 1, Received: results.Direction{Frames: 120000, Bytes: 5 << 30,
			Sizes:    map[int]uint64{4096: 900, 8192: 1200, 16384: 3000, 32768: 14900, 65536: 100000},
			Segments: map[int]uint64{4096: 119000, 1208: 1000}}}
	}
	e.Profile = richProfile()
	return e
}

// richSyscalls are an end's system calls and what they took.
func richSyscalls(e *results.End, role string) {
	call := map[string]string{"baseline": "recvfrom", "mmap": "getsockopt", "devmem": "recvmsg", "zcrx": "io_uring_enter",
		"msgzc": "sendto", "sendzc": "io_uring_enter"}[e.Engine]
	if role == "tx" && e.Engine == "baseline" {
		call = "sendto"
	}
	calls := e.Bytes / 524288
	e.Syscalls = map[string]uint64{call: calls, "epoll_pwait": calls / 3}
	e.SyscallCosts = []results.SyscallCost{
		{Name: call, Calls: calls, Errors: calls / 90, Total: 18211.5, Min: 0.31, Mean: 18211.5e3 / float64(calls), Max: 4120.7},
		{Name: "epoll_pwait", Calls: calls / 3, Total: 2210.25, Min: 0.2, Mean: 2210.25e3 / float64(calls/3), Max: 990},
	}
}

func richProfile() *results.Profile {
	const (
		read = "zcbench;main.main;rx.(*devmem).read;entry_SYSCALL_64;do_syscall_64;__sys_recvmsg;tcp_recvmsg_locked;tcp_recvmsg_dmabuf"
		free = "zcbench;main.main;rx.(*devmem).free;entry_SYSCALL_64;do_syscall_64;__sys_setsockopt;sock_devmem_dontneed;page_pool_put_netmem"
		poll = "ksoftirqd/1;run_ksoftirqd;handle_softirqs;net_rx_action;idpf_vport_splitq_napi_poll"
	)
	return &results.Profile{Event: "cycles", Samples: 30000, Hz: 997,
		Symbols: []results.Symbol{{Name: "tcp_recvmsg_dmabuf", Module: "kernel", Percent: 21.4},
			{Name: "idpf_vport_splitq_napi_poll", Module: "idpf", Percent: 17.2}, {Name: "put_cmsg", Module: "kernel", Percent: 6.1},
			{Name: "xas_load", Module: "kernel", Percent: 4.9}},
		Stacks: []string{
			read + " 6420",
			read + ";put_cmsg 1830",
			read + ";xas_load 1470",
			free + " 3100",
			poll + " 5160",
			poll + ";napi_gro_receive;tcp4_gro_receive 4020",
			poll + ";page_pool_alloc_netmems;gen_pool_alloc 2240",
			"swapper;cpu_startup_entry;do_idle;cpuidle_enter_state 5760",
		}}
}
