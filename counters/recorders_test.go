package counters

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/agent"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/perf"
	"zcbench/results"
)

// recorder opens a recorder here, or skips the test for what is missing.
func recorder(t *testing.T, r instrument.Recorder, s instrument.Place) instrument.Recording {
	t.Helper()
	rec, err := r.Open(s)
	if fault.Of(err) == fault.Unsupported {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
	})
	return rec
}

func report(t *testing.T, r instrument.Recording) (*wire.Result, string) {
	t.Helper()
	var res wire.Result
	notes, warnings, err := r.Report(&res)
	if err != nil {
		t.Fatal(err)
	}
	return &res, strings.Join(append(notes, warnings...), "\n")
}

// spin uses CPU time on this thread, in the kernel and in this function.
//
//go:noinline
func spin(ns int64) (n int) {
	var first, now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &first)
	for now = first; now.Nano() < first.Nano()+ns; n++ {
		for i := range 200 {
			n += i & 1
		}
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
	}
	return n
}

// A thread that spins shows up as what it is, and samples as often as it ran.
func TestProfile(t *testing.T) {
	cpu := agent.AllowedCPUs()[0]
	p := recorder(t, Profiler(), instrument.Place{Scope: wire.ScopeThread, CPUs: []int{cpu}})
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: it is pinned
		var set unix.CPUSet
		set.Set(cpu)
		err := unix.SchedSetaffinity(0, &set)
		if err == nil {
			err = p.Begin()
		}
		for range 5 {
			spin(100e6)
			p.Poll()
		}
		if err == nil {
			err = p.End()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	res, warnings := report(t, p)
	got := res.Profile
	// Half a second of CPU time, and what else this process did there.
	if want := profileHz / 2.0; float64(got.Samples) < want*0.7 || float64(got.Samples) > want*1.5 || got.Lost != 0 || got.Hz != profileHz {
		t.Errorf("%d samples of about %v, %d lost", got.Samples, want, got.Lost)
	}
	mine, percent := 0.0, 0.0
	for _, s := range got.Symbols {
		percent += s.Percent
		if s.Module == filepath.Base(os.Args[0]) {
			mine += s.Percent
		}
	}
	if percent < 50 || percent > 100.1 || mine < 20 {
		t.Errorf("symbols cover %v %%, this program %v %%: %+v", percent, mine, got.Symbols)
	}
	sum, spun := uint64(0), uint64(0)
	for _, s := range got.Stacks {
		i := strings.LastIndexByte(s, ' ')
		n, err := strconv.ParseUint(s[i+1:], 10, 64)
		if err != nil || n == 0 {
			t.Fatalf("stack %q", s)
		}
		sum += n
		if strings.Contains(s, ";zcbench/counters.spin") {
			spun += n
		}
	}
	if sum != got.Samples || spun*10 < sum*8 {
		t.Errorf("stacks have %d of %d samples, %d in spin:\n%s", sum, got.Samples, spun, strings.Join(got.Stacks, "\n"))
	}
	if !strings.Contains(warnings, "figures include its cost") || (got.Event == "cpu-clock") != strings.Contains(warnings, "no PMU") {
		t.Errorf("event %s, warnings %s", got.Event, warnings)
	}
}

// sample is a record of a sample with a call chain.
func sample(pid uint32, chain ...uint64) []byte {
	b := binary.NativeEndian.AppendUint32(nil, pid)
	b = binary.NativeEndian.AppendUint32(b, pid)
	b = binary.NativeEndian.AppendUint64(b, uint64(len(chain)))
	for _, ip := range chain {
		b = binary.NativeEndian.AppendUint64(b, ip)
	}
	return b
}

func bare(own uint32) *profiler {
	p := &profiler{own: own, event: "cycles", stack: make([]uint64, 0, maxFrames+1)}
	p.table.init()
	return p
}

func TestProfileRecords(t *testing.T) {
	p := bare(7)
	here := uint64(uintptr(pc()))
	for range 3 {
		p.record(unix.PERF_RECORD_SAMPLE, sample(7, contextKernel, 1<<63|1, contextUser, here, here))
	}
	p.record(unix.PERF_RECORD_SAMPLE, sample(8, contextUser, 1, 2, 3)) // another's, two ways that look the same to us
	p.record(unix.PERF_RECORD_SAMPLE, sample(8, contextUser, 4))
	p.record(unix.PERF_RECORD_SAMPLE, sample(0, contextKernel, 1<<63|2))
	p.record(unix.PERF_RECORD_LOST, make([]byte, 8)) // too short
	p.record(unix.PERF_RECORD_LOST, binary.NativeEndian.AppendUint64(make([]byte, 8), 5))
	if p.all != 6 || p.lost != 5 {
		t.Errorf("%d samples, %d lost", p.all, p.lost)
	}
	stacks := map[string]uint64{}
	p.table.each(func(s []uint64, n uint64) { stacks[fmt.Sprint(s)] += n })
	want := map[string]uint64{fmt.Sprint([]uint64{7, 1<<63 | 1, here, here}): 3, "[8]": 2, fmt.Sprint([]uint64{0, 1<<63 | 2}): 1}
	if fmt.Sprint(stacks) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", stacks, want)
	}
	n := namer{own: 7, program: "test", procs: map[uint32]string{8: "other"}}
	leaf, folded := n.name([]uint64{7, 1<<63 | 1, here})
	if leaf != (results.Symbol{Name: "(unknown)", Module: perf.Kernel}) || folded != "test;zcbench/counters.pc;(unknown)" {
		t.Errorf("%+v, %s", leaf, folded)
	}
	if leaf, folded = n.name([]uint64{8}); leaf.Module != "other" || folded != "other;(its own code)" {
		t.Errorf("%+v, %s", leaf, folded)
	}
	p.alone = true
	p.record(unix.PERF_RECORD_SAMPLE, sample(8, contextUser, 4))
	if p.all != 6 {
		t.Error("another process's sample was kept")
	}
	body := sample(7, contextKernel, 1<<63|1)
	if n := testing.AllocsPerRun(100, func() { p.record(unix.PERF_RECORD_SAMPLE, body) }); n != 0 {
		t.Errorf("%v allocations a sample", n)
	}
}

//go:noinline
func pc() uintptr {
	p, _, _, _ := runtime.Caller(0)
	return p
}

// A table that is full loses samples and says so.
func TestProfileFull(t *testing.T) {
	p := bare(7)
	chain := make([]uint64, 100)
	chain[0] = contextKernel
	for i := range uint64(2 * stackArena / 100) {
		chain[1] = 1<<63 | i
		p.record(unix.PERF_RECORD_SAMPLE, sample(7, chain...))
	}
	if p.lost == 0 || p.all+p.lost != 2*stackArena/100 {
		t.Errorf("%d kept, %d lost", p.all, p.lost)
	}
	var sum uint64
	p.table.each(func(_ []uint64, n uint64) { sum += n })
	if sum != p.all {
		t.Errorf("%d in the table, %d counted", sum, p.all)
	}
}

func TestFold(t *testing.T) {
	stacks := map[string]uint64{"a;b": 50, "a;c": 50, "rare": 1, "too": 2}
	if got, want := fold(stacks, 3), []string{"a;b 50", "a;c 50", "(rare stacks) 3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for i := range 1000 {
		stacks[fmt.Sprint("s", i)] = 10
	}
	got := fold(stacks, 0)
	if len(got) != mostStacks+1 || got[mostStacks] != fmt.Sprintf("(rare stacks) %d", 3+10*(1000-mostStacks+2)) {
		t.Errorf("%d stacks, the last %q", len(got), got[len(got)-1])
	}
}

func FuzzProfileRecord(f *testing.F) {
	f.Add(uint32(unix.PERF_RECORD_SAMPLE), sample(7, contextKernel, 1<<63|1, contextUser, 5))
	f.Fuzz(func(t *testing.T, kind uint32, body []byte) {
		p := bare(7)
		p.record(kind, body)
		n := namer{own: 7, program: "test", procs: map[uint32]string{}}
		p.table.each(func(s []uint64, count uint64) {
			if _, folded := n.name(s); count != 1 || strings.Count(folded, ";") < 1 {
				t.Errorf("%q: %d", folded, count)
			}
		})
	})
}

// TestTracer counts calls whose number and failures are known.
func TestTracer(t *testing.T) {
	tid, work, done := make(chan int), make(chan bool), make(chan bool)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		for range work {
			for range 100 {
				_, _, _ = unix.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
			}
			for range 7 {
				_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, ^uintptr(0), 0, 0)
			}
			ts := unix.NsecToTimespec(5e6)
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
			done <- true
		}
	}()
	defer close(work)
	tr := recorder(t, Tracer(), instrument.Place{Threads: []int{<-tid}})
	work <- true // before the window
	<-done
	if err := tr.Begin(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		work <- true
		<-done
		tr.Poll()
	}
	if err := tr.End(); err != nil {
		t.Fatal(err)
	}
	work <- true // after it
	<-done
	tr.Poll()
	res, warnings := report(t, tr)
	costs := map[string]results.SyscallCost{}
	for _, c := range res.SyscallCosts {
		costs[c.Name] = c
		if c.Min > c.Mean || c.Mean > c.Max || c.Min <= 0 || c.Total < c.Max/1e3 {
			t.Errorf("%+v", c)
		}
	}
	for name, want := range map[string][2]uint64{"getpid": {300, 0}, "close": {21, 21}, "clock_nanosleep": {3, 0}} {
		if c := costs[name]; c.Calls != want[0] || c.Errors != want[1] {
			t.Errorf("%s: %d calls, %d errors, want %v", name, c.Calls, c.Errors, want)
		}
	}
	if c := costs["clock_nanosleep"]; c.Min < 5000 || c.Total < 15 {
		t.Errorf("three sleeps of 5 ms: %+v", c)
	}
	if !strings.Contains(warnings, "figures include its cost") || strings.Contains(warnings, "lost") {
		t.Errorf("warnings %s", warnings)
	}
}

func TestTracerRecords(t *testing.T) {
	tr := &tracer{id: perf.Field{Offset: 8, Size: 8}, ret: perf.Field{Offset: 16, Size: 8}}
	th := &traced{enter: 1, exit: 2}
	enter := func(at uint64) []byte {
		return binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 1), at)
	}
	exit := func(at, id uint64, ret int64) []byte {
		b := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 2), at)
		b = append(b, 28, 0, 0, 0) // length of what follows
		b = append(b, make([]byte, 8)...)
		b = binary.NativeEndian.AppendUint64(b, id)
		return append(binary.NativeEndian.AppendUint64(b, uint64(ret)), 0, 0, 0, 0)
	}
	put := func(body []byte) { tr.record(th, unix.PERF_RECORD_SAMPLE, body) }
	tr.costs[45].min = 1 << 60
	put(exit(50, 45, 0)) // its beginning was before the window
	for _, b := range [][]byte{enter(100), exit(250, 45, 1<<31), enter(300), exit(350, 45, -11), enter(400), exit(401, 45, -5000)} {
		put(b)
	}
	put(enter(500))
	tr.record(th, unix.PERF_RECORD_LOST, binary.NativeEndian.AppendUint64(make([]byte, 8), 3))
	put(exit(900, 45, 0)) // of which call, nobody knows
	if got, want := tr.costs[45], (cost{calls: 3, errors: 1, total: 201, min: 1, max: 150}); got != want || tr.lost != 3 {
		t.Errorf("%+v, lost %d", got, tr.lost)
	}
	put(enter(1000))
	put(exit(1001, 1<<63, 0))
	if tr.costs[maxSyscall].calls != 1 {
		t.Error("a call without a number is not among the others")
	}
	if n := testing.AllocsPerRun(100, func() { put(enter(1)); put(exit(2, 45, 0)) }); n > 20 {
		t.Errorf("%v allocations", n) // of this test's own records
	}
}

func FuzzTracer(f *testing.F) {
	f.Add(uint32(unix.PERF_RECORD_SAMPLE), binary.NativeEndian.AppendUint64(make([]byte, 60), 1))
	f.Fuzz(func(t *testing.T, kind uint32, body []byte) {
		tr := &tracer{id: perf.Field{Offset: 8, Size: 8}, ret: perf.Field{Offset: 16, Size: 8}}
		tr.record(&traced{since: 1, enter: 1}, kind, body)
	})
}

// Names are the kernel's own for the numbers of this machine.
func TestSyscallNames(t *testing.T) {
	for id, name := range syscallNames {
		if id <= 0 && name != "read" && runtime.GOARCH == "amd64" || id >= maxSyscall || name == "" {
			t.Errorf("%d: %q", id, name)
		}
	}
	if got := syscallName(999); got != "syscall_999" {
		t.Error(got)
	}
}

// TestMemBW: a controller whose events are the kernel's own, so that something
// counts.
func TestMemBW(t *testing.T) {
	const unit = "sys/bus/event_source/devices/uncore_imc_0/"
	clock := fmt.Sprintf("event=%#x\n", unix.PERF_COUNT_SW_CPU_CLOCK)
	root := tree(t, map[string]string{
		unit + "type": fmt.Sprintln(unix.PERF_TYPE_SOFTWARE), unit + "cpumask": "0\n", unit + "format/event": "config:0-63\n",
		unit + "events/cas_count_read": clock, unit + "events/cas_count_read.scale": "6.103515625e-5\n", unit +
			"events/cas_count_read.unit": "MiB\n",
		unit + "events/cas_count_write": clock, // its unit is not known
	})
	r, err := membw(root).Open(site(0))
	if fault.Of(err) == fault.Unsupported && strings.Contains(err.Error(), "may not") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spin(5e6) // a machine whose host takes its CPU away counts less
	v := read(t, r)
	if v["host_memory_read_bytes"][0] < 64*1e6 || len(v) != 1 {
		t.Errorf("64 bytes for each of over 1e6 ns: %v", v)
	}
	// AMD's have no names in sysfs. The event there is, in the masks' place.
	const amd = "sys/bus/event_source/devices/amd_umc_0/"
	root = tree(t, map[string]string{amd + "type": fmt.Sprintln(unix.PERF_TYPE_SOFTWARE), amd + "cpumask": "0\n",
		amd + "format/event": "config1:0-7\n", amd + "format/rdwrmask": "config:0-1\n"})
	if r, err = membw(root).Open(site(0)); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spin(1e6)
	v = read(t, r) // 1 is the task clock, and 2 page faults
	if _, ok := v["host_memory_write_bytes"]; !ok || v["host_memory_read_bytes"][0] < 64 || len(v) != 2 {
		t.Errorf("AMD: %v", v)
	}
	unsupported(t, membw(tree(t, map[string]string{unit + "type": "1\n"})), site(0), "uncore_imc")
}

func BenchmarkProfileRecord(b *testing.B) {
	p := bare(7)
	body := sample(7, contextKernel, 1<<63|1, 1<<63|2, 1<<63|3, 1<<63|4, contextUser, 5, 6, 7)
	for b.Loop() {
		p.record(unix.PERF_RECORD_SAMPLE, body)
	}
}
