package counters

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zcbench/endpoint/agent"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/netpair"
	"zcbench/internal/procfile"
	"zcbench/internal/testutil/tier"
)

// tree makes the files of a host.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// reading is what a counter shows, by name and CPU, what has the same added up.
type reading map[string]map[int]float64

func read(t *testing.T, r instrument.Reader) reading {
	t.Helper()
	q := r.Quantities()
	to := make([]uint64, len(q))
	if err := r.Read(to); err != nil {
		t.Fatal(err)
	}
	all := reading{}
	for i, v := range to {
		if all[q[i].Name] == nil {
			all[q[i].Name] = map[int]float64{}
		}
		scale := q[i].Scale
		if scale == 0 {
			scale = 1
		}
		all[q[i].Name][q[i].CPU] += float64(int64(v)) * scale
	}
	return all
}

func open(t *testing.T, m instrument.Counter, s instrument.Place) instrument.Reader {
	t.Helper()
	r, err := m.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r reading) want(t *testing.T, name string, cpu int, v float64) {
	t.Helper()
	if got, ok := r[name][cpu]; !ok || math.Abs(got-v) > 1e-9*math.Abs(v) {
		t.Errorf("%s of CPU %d: %v, want %v", name, cpu, got, v)
	}
}

func site(cpus ...int) instrument.Place { return instrument.Place{CPUs: cpus} }

const cpuN = "sys/devices/system/cpu/cpu"

func TestCPU(t *testing.T) {
	root := tree(t, map[string]string{"proc/stat": "cpu 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu3 10 20 30 40 50 60 70 80 0 0\nintr " +
		"5 1 2\nctxt 6\n"})
	s := site(0, 3)
	var err error
	if s.Stat, err = procfile.OpenStat(root); err != nil {
		t.Fatal(err)
	}
	defer s.Stat.Close()
	if err := s.Stat.Read(); err != nil {
		t.Fatal(err)
	}
	v := read(t, open(t, cpu(), s))
	v.want(t, "host_interrupts", 0, 5)
	v.want(t, "host_context_switches", 0, 6)
	for i, state := range []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"} {
		v.want(t, state, 0, float64(i+1)/100)
		v.want(t, state, 3, float64(i+1)/10)
	}
	s.CPUs = []int{2}
	r := open(t, cpu(), s)
	if err := r.Read(make([]uint64, len(r.Quantities()))); err == nil {
		t.Error("read a CPU that is offline")
	}
}

func TestCPUIdle(t *testing.T) {
	root := tree(t, map[string]string{
		cpuN + "0/cpuidle/state0/name": "POLL\n", cpuN + "0/cpuidle/state0/time": "1000000\n",
		cpuN + "0/cpuidle/state1/name": "C1E\n", cpuN + "0/cpuidle/state1/time": "2500000\n",
		cpuN + "4/cpuidle/state0/name": "haltpoll idle\n", cpuN + "4/cpuidle/state0/time": "7\n",
		cpuN + "5/topology/core_id": "5\n",
	})
	v := read(t, open(t, cpuidle(root), site(0, 4, 5)))
	v.want(t, "POLL", 0, 1)
	v.want(t, "C1E", 0, 2.5)
	v.want(t, "haltpoll", 4, 7e-6)
	unsupported(t, cpuidle(root), site(5), "idle=poll")
}

func unsupported(t *testing.T, m instrument.Counter, s instrument.Place, cure string) {
	t.Helper()
	_, err := m.Open(s)
	if err == nil || fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), cure) {
		t.Errorf("%s: %v, want one that says %q", m.Name, err, cure)
	}
}

func TestCPUFreq(t *testing.T) {
	root := tree(t, map[string]string{cpuN + "1/cpufreq/scaling_cur_freq": "3400123\n"})
	read(t, open(t, cpufreq(root), site(1))).want(t, "", 1, 3400.123)
	unsupported(t, cpufreq(root), site(0, 1), "no cpufreq driver")
}

func TestThermal(t *testing.T) {
	files := map[string]string{
		"sys/class/hwmon/hwmon0/name":        "nvme\n",
		"sys/class/hwmon/hwmon0/temp1_input": "90000\n",
		"sys/class/hwmon/hwmon3/name":        "coretemp\n",
		"sys/class/hwmon/hwmon3/temp1_input": "61000\n", "sys/class/hwmon/hwmon3/temp1_label": "Package id 0\n",
		"sys/class/hwmon/hwmon3/temp2_input": "70000\n", "sys/class/hwmon/hwmon3/temp2_label": "Core 0\n",
		"sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n", "sys/class/thermal/thermal_zone0/temp": "62000\n",
		"sys/class/thermal/thermal_zone1/type": "acpitz\n", "sys/class/thermal/thermal_zone1/temp": "20000\n",
	}
	for i, core := range []string{"0", "1", "0", "1"} { // two threads a core
		cpu := cpuN + string(rune('0'+i))
		files[cpu+"/topology/physical_package_id"] = "0\n"
		files[cpu+"/topology/core_id"] = core + "\n"
		files[cpu+"/thermal_throttle/core_throttle_count"] = "3\n"
		files[cpu+"/thermal_throttle/package_throttle_count"] = "7\n"
	}
	v := read(t, open(t, thermal(tree(t, files)), site(0, 1, 2, 3)))
	v.want(t, "cpu_temperature_celsius_max", 0, 61)
	v.want(t, "core_throttles", 0, 6)
	v.want(t, "package_throttles", 0, 7)
	delete(files, "sys/class/hwmon/hwmon3/name")
	read(t, open(t, thermal(tree(t, files)), site(0))).want(t, "cpu_temperature_celsius_max", 0, 62)
	unsupported(t, thermal(tree(t, nil)), site(0), "modprobe coretemp")
}

const softnetText = "" +
	"000d88c2 00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000003 00000004 00000000 00000000 00000000 00000000\n" +
	"ffffffff 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000005 00000000 00000000\n"

func TestSoftnet(t *testing.T) {
	const path = "proc/thread-self/net/softnet_stat"
	root := tree(t, map[string]string{path: softnetText})
	v := read(t, open(t, softnet(root), site(0)))
	for name, n := range map[string]float64{"softnet_processed": 0xd88c2, "softnet_dropped": 1, "softnet_time_squeezed": 2,
		"softnet_received_rps": 3, "softnet_flow_limit": 4} {
		v.want(t, name, 0, n)
	}
	read(t, open(t, softnet(root), site(5))).want(t, "softnet_processed", 0, 0xffffffff)
	// Before 5.10 the lines had no number of a CPU.
	old := tree(t, map[string]string{path: "1 0 0 0 0 0 0 0 0 0 0\n2 0 0 0 0 0 0 0 0 0 0\n"})
	read(t, open(t, softnet(old), site(1))).want(t, "softnet_processed", 0, 2)
	r := open(t, softnet(root), site(0, 1))
	if err := r.Read(make([]uint64, 10)); err == nil {
		t.Error("CPU 1 was read")
	}
}

const softirqsText = "                    CPU0       CPU2       \n          HI:          1          2\n      NET_RX:     695632 " +
	"4294967295\n"

func TestSoftirqs(t *testing.T) {
	root := tree(t, map[string]string{"proc/softirqs": softirqsText})
	v := read(t, open(t, softirqs(root), site(2)))
	v.want(t, "softirq_hi", 0, 2)
	v.want(t, "softirq_net_rx", 0, 4294967295)
	v = read(t, open(t, softirqs(root), site(0, 2)))
	v.want(t, "softirq_net_rx", 0, 4294967295+695632)
	if _, err := softirqs(root).Open(site(1)); err == nil {
		t.Error("CPU 1 was read")
	}
}

const interruptsText = "           CPU0       CPU3       \n" +
	" 24:          1          2  IO-APIC   5-edge      ACPI:Ged\n" +
	" 41:       1867 4294967290 PCI-MSIX-0000:00:04.0   1-edge      eth0-rx-0\n" +
	"LOC:         10         20   Local timer interrupts\n" +
	"ERR:          3\n"

func TestInterrupts(t *testing.T) {
	root := tree(t, map[string]string{"proc/interrupts": interruptsText})
	r := open(t, interrupts(root), site(3))
	before := read(t, r)
	// Interrupt 24 went, 25 came, and 41 ran over.
	later := strings.NewReplacer(" 24:", " 25:", "4294967290", "4", " 20 ", " 25 ").Replace(interruptsText)
	if err := os.WriteFile(filepath.Join(root, "proc/interrupts"), []byte(later), 0o644); err != nil {
		t.Fatal(err)
	}
	after := read(t, r)
	for name, grew := range map[string]float64{"irq_24_ACPI:Ged": 0, "irq_41_eth0-rx-0": 10, "irq_LOC": 5} {
		if got := after[name][0] - before[name][0]; got != grew || len(after) != 3 {
			t.Errorf("%s: %v, want %v, of %v", name, got, grew, after)
		}
	}
}

func FuzzInterrupts(f *testing.F) {
	f.Add([]byte(interruptsText), []byte(interruptsText))
	f.Add([]byte("\n:"), []byte("0"))
	f.Fuzz(func(t *testing.T, first, later []byte) {
		r := &interruptReader{cpus: []int{0, 3}}
		if r.learn(first) == nil {
			r.parse(first)
			r.parse(later)
		}
	})
}

const devText = "Inter-|   Receive                                                |  Transmit\n" +
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
	"    lo:       1       2    0    0    0     0          0         0        3       4    0    0    0     0       0          0\n" +
	"eth0:18446744073709551615 12 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"

func TestLink(t *testing.T) {
	root := tree(t, map[string]string{"proc/thread-self/net/dev": devText})
	at := func(iface string) instrument.Place { return instrument.Place{Interface: iface} }
	v := read(t, open(t, link(root), at("eth0")))
	for name, n := range map[string]float64{"link_rx_packets": 12, "link_rx_errors": 3, "link_rx_dropped": 4, "link_rx_fifo": 5,
		"link_rx_frame": 6,
		"link_tx_bytes": 9, "link_tx_packets": 10, "link_tx_errors": 11, "link_tx_dropped": 12, "link_tx_fifo": 13, "link_tx_carrier": 15} {
		v.want(t, name, 0, n)
	}
	read(t, open(t, link(root), at("lo"))).want(t, "link_tx_bytes", 0, 3)
	unsupported(t, link(root), at(""), "--iface")
	r := open(t, link(root), at("eth"))
	if err := r.Read(make([]uint64, len(r.Quantities()))); err == nil {
		t.Error("eth is not eth0")
	}
}

// TestTCP: what one connection carries shows at both its ends.
func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var fds []int
	for _, c := range []net.Conn{a, b} {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fds = append(fds, int(f.Fd()))
	}
	r := open(t, tcp(), instrument.Place{Flows: func() []int { return fds }})
	before := read(t, r)
	for range 10 {
		if _, err := a.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	after := read(t, r)
	out, in := after["tcp_segments_out"][0]-before["tcp_segments_out"][0], after["tcp_segments_in"][0]-before["tcp_segments_in"][0]
	if out < 10 || math.Abs(out-in) > 1 || after["tcp_mss_bytes"][0] < 500 || after["tcp_rtt_us"][0] <= 0 {
		t.Errorf("%v out and %v in: %v", out, in, after)
	}
	fds = append(fds, -1)
	if err := r.Read(make([]uint64, len(r.Quantities()))); err == nil {
		t.Error("read a socket that is none")
	}
}

// TestHere reads everything on the real host: what opens reads, never falls
// back in its totals, and costs no allocation unless it talks to sockets.
func TestHere(t *testing.T) {
	s := instrument.Place{Interface: "lo", CPUs: agent.AllowedCPUs(), Flows: func() []int { return nil }, Scope: wire.ScopeHost}
	var err error
	if s.Stat, err = procfile.OpenStat("/"); err != nil {
		t.Fatal(err)
	}
	defer s.Stat.Close()
	names := map[string]bool{}
	for _, m := range All("/") {
		t.Run(m.Name, func(t *testing.T) {
			if names[m.Name] || m.About == "" {
				t.Errorf("%q: %q", m.Name, m.About)
			}
			names[m.Name] = true
			r, err := m.Open(s)
			if err != nil {
				if k := fault.Of(err); k != fault.Unsupported {
					t.Errorf("an error of kind %s: %v", k, err)
				}
				t.Skip(err)
			}
			defer r.Close()
			q := r.Quantities()
			a, b := make([]uint64, len(q)), make([]uint64, len(q))
			for _, to := range [][]uint64{a, b} {
				if err := errors.Join(s.Stat.Read(), r.Read(to)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range q {
				if q[i].Form == instrument.Total && q[i].Wrap == 0 && b[i] < a[i] {
					t.Errorf("%s went from %d to %d", q[i].Name, a[i], b[i])
				}
			}
			if slices.Contains([]string{"cpu", "cpuidle", "softirqs", "softnet", "link"}, m.Name) {
				if n := testing.AllocsPerRun(10, func() { _ = r.Read(a) }); n != 0 {
					t.Errorf("%v allocations a reading", n)
				}
			}
		})
	}
}

func FuzzSoftnet(f *testing.F) {
	f.Add([]byte(softnetText))
	f.Add([]byte("1 0 0 0 0 0 0 0 0 0 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &softnetReader{cpus: []int{0, 5}}
		_ = r.parse(b, make([]uint64, len(r.Quantities())))
	})
}

func FuzzSoftirqs(f *testing.F) {
	f.Add([]byte(softirqsText), []byte(softirqsText))
	f.Fuzz(func(t *testing.T, first, later []byte) {
		r := &softirqReader{cpus: []int{0, 2}}
		if r.learn(first) == nil {
			_ = r.parse(later, make([]uint64, len(r.Quantities())))
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add([]byte(devText))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &linkReader{iface: "eth0"}
		_ = r.parse(b, make([]uint64, len(r.Quantities())))
	})
}

// TestEthtool: a veth pair counts its peer among its statistics.
func TestEthtool(t *testing.T) {
	tier.Root(t, "to make network namespaces")
	pair, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	err = pair.RX.Do(func() error {
		r, err := ethtool().Open(instrument.Place{Interface: pair.RX.Interface})
		if err != nil {
			return err
		}
		defer r.Close()
		v := read(t, r)
		if v["ethtool_peer_ifindex"][0] < 1 {
			t.Errorf("veth's statistics: %v", v)
		}
		unsupported(t, ethtool(), instrument.Place{Interface: "lo"}, "no statistics of its own")
		unsupported(t, qstats(), instrument.Place{Interface: pair.RX.Interface}, "netdev_stat_ops")
		unsupported(t, pagepool(), instrument.Place{Interface: pair.RX.Interface}, "made none")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkRead reads what a host of 128 CPUs shows, but for what only a kernel
// can.
func BenchmarkRead(b *testing.B) {
	root := b.TempDir()
	put := func(path, text string) {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	s := instrument.Place{Interface: "eth0", Scope: wire.ScopeHost}
	stat, irqs, net := "cpu 1 2 3 4 5 6 7 8\n", " ", ""
	for n := range 128 {
		s.CPUs = append(s.CPUs, n)
		cpu := fmt.Sprint(cpuN, n)
		for state, name := range []string{"POLL", "C1", "C1E", "C6"} {
			dir := fmt.Sprintf("%s/cpuidle/state%d/", cpu, state)
			put(dir+"name", name+"\n")
			put(dir+"time", "123456789012\n")
		}
		put(cpu+"/cpufreq/scaling_cur_freq", "3400000\n")
		stat += fmt.Sprintf("cpu%d 1234567 0 12345678 123456789 0 0 1234567 0 0 0\n", n)
		irqs += fmt.Sprintf(" CPU%d", n)
		net += fmt.Sprintf("%08x 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 %08x "+
			"00000000 00000000\n", n, n)
	}
	for _, kind := range []string{"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"} {
		irqs += "\n" + kind + ":" + strings.Repeat(" 1234567890", 128)
	}
	put("proc/stat", stat+"intr 1\nctxt 1\n")
	put("proc/softirqs", irqs+"\n")
	put("proc/thread-self/net/softnet_stat", net)
	put("proc/thread-self/net/dev", devText)
	var err error
	if s.Stat, err = procfile.OpenStat(root); err != nil {
		b.Fatal(err)
	}
	defer s.Stat.Close()
	var readers []instrument.Reader
	var to [][]uint64
	for _, m := range []instrument.Counter{cpu(), cpuidle(root), cpufreq(root), softirqs(root), softnet(root), link(root)} {
		r, err := m.Open(s)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		readers, to = append(readers, r), append(to, make([]uint64, len(r.Quantities())))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Stat.Read(); err != nil {
			b.Fatal(err)
		}
		for i, r := range readers {
			if err := r.Read(to[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
