package others

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/procfile"
	"zcbench/results/caveat"
)

// looked is an end on CPU 1 of two, with 10 s between the looks.
func looked(scope wire.Scope, before, after map[int]procfile.Task) *Watch {
	o := &Watch{p: &wire.Prepare{Role: endpoint.RX, Scope: scope, PeerSet: []int{0}}, set: []int{1}}
	now := wire.Monotonic()
	o.before, o.after = look{at: now - 10e9, processes: before}, look{at: now, processes: after}
	return o
}

func TestForeign(t *testing.T) {
	proc := func(start uint64, name string, parent int, used, children uint64, cpu int) procfile.Task {
		return procfile.Task{Start: start, Name: name, Parent: parent, Used: used, Children: children, CPU: cpu}
	}
	self := os.Getpid()
	const none = 1 << 22 // above every PID, so that there are no threads to look at
	now := startTicks(wire.Monotonic())
	for _, c := range []struct {
		name          string
		scope         wire.Scope
		kin           []wire.Process
		before, after map[int]procfile.Task
		sum           float64
		top           string
	}{
		{"nobody", wire.ScopeHost, nil, map[int]procfile.Task{}, map[int]procfile.Task{self: proc(1, "zcbench", 1, 900, 0, 1)}, 0, ""},
		{"a busy loop on ours", wire.ScopeCPUSet, nil, map[int]procfile.Task{none: proc(1, "loop", 1, 100, 0, 1)},
			map[int]procfile.Task{none: proc(1, "loop", 1, 1080, 0, 1)}, 98, "loop"},
		{"on the other end's", wire.ScopeCPUSet, nil, map[int]procfile.Task{none: proc(1, "loop", 1, 100, 0, 0)},
			map[int]procfile.Task{none: proc(1, "loop", 1, 1080, 0, 0)}, 0, ""},
		{"on the whole host's", wire.ScopeHost, nil, map[int]procfile.Task{none: proc(1, "loop", 1, 100, 0, 0)},
			map[int]procfile.Task{none: proc(1, "loop", 1, 1080, 0, 0)}, 98, "loop"},
		{"of the run", wire.ScopeHost, []wire.Process{{Start: 7, Name: "zcbench"}}, map[int]procfile.Task{none: proc(7, "zcbench", 1, 100, 0, 1)},
			map[int]procfile.Task{none: proc(7, "zcbench", 1, 900, 0, 1), none + 1: proc(now, "sh", none, 300, 0, 1)}, 0, ""},
		{"a kernel thread", wire.ScopeHost, nil, map[int]procfile.Task{none: {Start: 1, Name: "ksoftirqd/1", Kernel: true}},
			map[int]procfile.Task{none: {Start: 1, Name: "ksoftirqd/1", Kernel: true, Used: 500}}, 0, ""},
		// make -j: its children come and go, and what one that goes had used before
		// is not of the window.
		{"short-lived children", wire.ScopeHost, nil,
			map[int]procfile.Task{none: proc(1, "make", 1, 10, 1000, 0), none + 1: proc(2, "cc", none, 200, 0, 1)},
			map[int]procfile.Task{none: proc(1, "make", 1, 10, 1700, 0)}, 50, "make"},
		{"with children of their own", wire.ScopeHost, nil,
			map[int]procfile.Task{none: proc(1, "make", 1, 10, 0, 0), none + 1: proc(2, "sh", none, 1, 4, 1), none + 2: proc(3, "go", none+1, 5000,
				7000, 1)},
			map[int]procfile.Task{none: proc(1, "make", 1, 10, 12105, 0)}, 10, "make"},
		{"the same number again", wire.ScopeHost, nil, map[int]procfile.Task{none: proc(1, "old", 1, 5000, 0, 1)},
			map[int]procfile.Task{none: proc(now-500, "new", 1, 250, 0, 1)}, 25, "new"},
		{"not read before", wire.ScopeHost, nil, map[int]procfile.Task{}, map[int]procfile.Task{none: proc(1, "old", 1, 5000, 0, 1)}, 0, ""},
	} {
		o := looked(c.scope, c.before, c.after)
		o.p.Kin = c.kin
		f := o.foreign(200)
		sum, list := f.sum, f.list
		top := ""
		if len(list) > 0 {
			top = list[0].name
		}
		if sum < c.sum-0.1 || sum > c.sum+0.1 || top != c.top {
			t.Errorf("%s: %.1f%%, most by %q; want %.1f%%, %q", c.name, sum, top, c.sum, c.top)
		}
	}
}

// TestForeignPlaced: a program's time is on the CPUs on which its threads had it
// between the looks, and never more than the CPUs had left.
func TestForeignPlaced(t *testing.T) {
	const pid = 1 << 22
	now := startTicks(wire.Monotonic())
	type tasks = map[int]procfile.Task
	proc := func(start, used, children uint64, threads, cpu int) procfile.Task {
		return procfile.Task{Start: start, Name: "python3", Parent: 1, Used: used, Children: children, Threads: threads, CPU: cpu}
	}
	thread := func(start, used uint64, cpu int) procfile.Task { return proc(start, used, 0, 2, cpu) }
	for _, c := range []struct {
		name                 string
		scope                wire.Scope
		was, is              procfile.Task
		before, after        tasks // its threads
		rest                 float64
		sum, unplaced        float64
		bounded              bool
		placedTop, unplacedT float64 // of the list's first
	}{
		// python3 on CPU 1, whose children it pinned elsewhere: 4.58 s of theirs.
		{"children elsewhere", wire.ScopeCPUSet, proc(1, 100, 0, 1, 1), proc(1, 110, 458, 1, 1), nil, nil, 60, 1, 45.8, false, 1, 45.8},
		{"children on the host", wire.ScopeHost, proc(1, 100, 0, 1, 1), proc(1, 110, 458, 1, 1), nil, nil, 60, 46.8, 0, false, 46.8, 0},
		{"more than was left", wire.ScopeCPUSet, proc(1, 100, 0, 1, 1), proc(1, 907, 0, 1, 1), nil, nil, 63.3, 63.3, 0, true, 63.3, 0},
		{"more than the host had left", wire.ScopeHost, proc(1, 100, 0, 1, 1), proc(1, 907, 0, 1, 1), nil, nil, 63.3, 63.3, 0, true, 63.3, 0},
		{"nothing was left", wire.ScopeCPUSet, proc(1, 100, 0, 1, 1), proc(1, 907, 50, 1, 1), nil, nil, -3, 0, 0, true, 0, 0},
		{"children beyond what was left", wire.ScopeCPUSet, proc(1, 0, 0, 1, 1), proc(1, 100, 900, 1, 1), nil, nil, 30, 10, 20, false, 10, 20},
		// What a thread did before the first look says nothing.
		{"old work on ours", wire.ScopeCPUSet, proc(1, 90000, 0, 2, 1), proc(1, 90600, 0, 2, 1), tasks{pid: thread(1, 90000, 1), pid +
			1: thread(1, 0, 0)}, tasks{pid: thread(1, 90000, 1), pid + 1: thread(1, 600, 0)}, 90, 0, 0, false, 0, 0},
		{"old work elsewhere", wire.ScopeCPUSet, proc(1, 90000, 0, 2, 0), proc(1, 90600, 0, 2, 0), tasks{pid: thread(1, 90000, 0), pid +
			1: thread(1, 0, 1)}, tasks{pid: thread(1, 90000, 0), pid + 1: thread(1, 600, 1)}, 90, 60, 0, false, 60, 0},
		{"a new thread", wire.ScopeCPUSet, proc(1, 1000, 0, 1, 0), proc(1, 1400, 0, 2, 0), nil, tasks{pid: thread(1, 1100, 0), pid +
			1: thread(now-400, 300, 1)}, 90, 30, 0, false, 30, 0},
		{"a thread that ended", wire.ScopeCPUSet, proc(1, 1000, 0, 2, 1), proc(1, 1400, 0, 1, 1), tasks{pid: thread(1, 500, 1), pid +
			1: thread(1, 500, 0)}, tasks{pid: thread(1, 600, 1)}, 90, 10, 30, false, 10, 30},
		{"threads too many to be read", wire.ScopeCPUSet, proc(1, 1000, 0, 900, 1), proc(1, 1400, 0, 900, 1), nil, nil, 90, 0, 40, false, 0, 40},
		{"an old thread not read before", wire.ScopeCPUSet, proc(1, 9000, 0, 2, 1), proc(1, 9400, 0, 2, 1), nil, tasks{pid: thread(1, 9000, 1),
			pid + 1: thread(1, 400, 1)}, 90, 0, 40, false, 0, 40},
		{"a new process", wire.ScopeCPUSet, procfile.Task{}, proc(now-500, 400, 0, 2, 0), nil, tasks{pid: thread(now-500, 100, 0), pid +
			1: thread(now-400, 300, 1)}, 90, 30, 0, false, 30, 0},
		{"half of it moved", wire.ScopeCPUSet, proc(1, 0, 0, 1, 0), proc(1, 400, 0, 1, 1), nil, nil, 90, 20, 0, false, 20, 0},
	} {
		before := map[int]procfile.Task{}
		if c.was.Start > 0 {
			before[pid] = c.was
		}
		o := looked(c.scope, before, map[int]procfile.Task{pid: c.is})
		o.before.tasks, o.after.tasks = map[int]tasks{pid: c.before}, map[int]tasks{pid: c.after}
		f := o.foreign(c.rest)
		var top usage
		if len(f.list) > 0 {
			top = f.list[0]
		}
		for _, v := range [][2]float64{{f.sum, c.sum}, {f.unplaced, c.unplaced}, {top.cpu, c.placedTop}, {top.unplaced, c.unplacedT}} {
			if v[0] < v[1]-0.1 || v[0] > v[1]+0.1 {
				t.Errorf("%s: %+v, want %.1f%% and %.1f%% unplaced", c.name, f, c.sum, c.unplaced)
			}
		}
		if f.bounded != c.bounded {
			t.Errorf("%s: bounded %t", c.name, f.bounded)
		}
	}
}

// TestLookThreads: the looks see where threads of this machine are, those that
// used most first.
func TestLookThreads(t *testing.T) {
	l := look{at: wire.Monotonic(), processes: map[int]procfile.Task{
		10: {Used: 100, Threads: 2}, 11: {Used: 900, Threads: 2}, 12: {Used: 50, Threads: 1}, 13: {Used: 5, Threads: 2,
			Kernel: true}, 14: {Threads: 2},
	}}
	if got := l.busiest(nil); !slices.Equal(got, []int{11, 10}) {
		t.Errorf("first look: %v", got)
	}
	first := look{processes: map[int]procfile.Task{10: {Used: 10, Threads: 2}, 11: {Used: 890, Threads: 2}, 12: {Used: 10, Threads: 3}}}
	if got := l.busiest(&first); !slices.Equal(got, []int{10, 12, 11}) {
		t.Errorf("second look: %v", got)
	}
	self := os.Getpid()
	if tasks := readTasks([]int{self}, wire.Monotonic()+int64(lookLimit)); tasks[self][self].Parent != os.Getppid() || len(tasks[self]) < 2 {
		t.Errorf("threads of this process: %v", tasks)
	}
	if tasks := readTasks([]int{self}, wire.Monotonic()-1); len(tasks) > 0 {
		t.Errorf("threads were read beyond the limit: %v", tasks)
	}
}

// TestForeignWords: the warning says how much of a sum is known, and that no more
// than the CPUs were busy.
func TestForeignWords(t *testing.T) {
	loop := func(used, children uint64) map[int]procfile.Task {
		return map[int]procfile.Task{1 << 22: {Start: 1, Name: "loop", Used: used, Children: children, CPU: 1}}
	}
	for _, c := range []struct {
		name   string
		set    []int
		busy   float64 // seconds of 10
		own    float64
		after  map[int]procfile.Task
		system uint64 // ticks of CPU 1
		words  []string
		sum    float64
	}{
		{"known", []int{1}, 7.22, 0.5, loop(300, 0), 0, []string{"rx: about 30.0% of a CPU", "on CPU 1 whose 72.2% are", "keep them off CPU 1"},
			30},
		{"too much", []int{1}, 7.22, 0.5, loop(907, 0), 0, []string{"rx: at most 67.2% of a CPU", "(pid 4194304, 67.2%)"}, 67.2},
		{"beside the threads", []int{0, 1}, 7.76, 0.89, loop(808, 0), 0, []string{"rx: at most 68.7% of a CPU", "on CPUs 0-1 whose 77.6% are",
			"keep them off CPUs 0-1"}, 68.7},
		{"children", []int{1}, 7.22, 0.5, loop(200, 400), 0, []string{"rx: about 20.0% of a CPU", "up to 40.0% more, on CPUs that are not known"},
			20},
		{"children that were elsewhere", []int{1}, 4.3, 4.27, loop(0, 458), 430, nil, 0},
		{"children that may have been here", []int{1}, 7, 1, loop(0, 458), 600, []string{"rx: at most 45.8% of a CPU",
			"children or threads of loop (pid 4194304)"}, 0},
		{"children beside softirq", []int{1}, 7, 1, loop(0, 458), 110, nil, 0},
	} {
		o := looked(wire.ScopeCPUSet, loop(0, 0), c.after)
		o.set = c.set
		o.first, o.last = make([]procfile.CPU, 2), []procfile.CPU{{}, {System: c.system}}
		res := &wire.Result{Samples: []wire.Sample{{}, {At: 10e9, Busy: c.busy}}, Counters: map[string]float64{"rusage_user_seconds": c.own / 2,
			"rusage_system_seconds": c.own / 2}}
		o.Report(res)
		if got := res.Counters["foreign_cpu_percent"]; got < c.sum-0.1 || got > c.sum+0.1 {
			t.Errorf("%s: %.1f%% foreign, want %.1f%%", c.name, got, c.sum)
		}
		all := strings.Join(res.Warnings, "\n")
		if len(c.words) == 0 && seesAll() && all != "" {
			t.Errorf("%s: %s", c.name, all)
		}
		for _, w := range c.words {
			if !strings.Contains(all, w) {
				t.Errorf("%s: %q lacks %q", c.name, all, w)
			}
		}
	}
}

func TestOthersReport(t *testing.T) {
	loop := func(used uint64) map[int]procfile.Task {
		return map[int]procfile.Task{1 << 22: {Start: 1, Name: "loop", Used: used, CPU: 1}}
	}
	window := func(busy float64) *wire.Result {
		return &wire.Result{Samples: []wire.Sample{{}, {At: 10e9, Busy: busy}}, Counters: map[string]float64{}}
	}
	for _, c := range []struct {
		name   string
		busy   float64 // seconds of 10
		before map[int]procfile.Task
		after  map[int]procfile.Task
		cpus   [2]procfile.CPU // what CPU 0, the other end's or nobody's, and 1 did
		peer   []int
		codes  []caveat.Code
	}{
		{"quiet", 3, loop(0), loop(30), [2]procfile.CPU{{SoftIRQ: 500}, {SoftIRQ: 100, System: 200}}, []int{0}, nil},
		{"a busy loop", 10, loop(0), loop(981), [2]procfile.CPU{}, []int{0}, []caveat.Code{caveat.CPUForeign}},
		{"little beside much", 10, loop(0), loop(90), [2]procfile.CPU{}, []int{0}, nil},
		{"a hypervisor", 5, loop(0), loop(0), [2]procfile.CPU{{}, {Steal: 120}}, []int{0}, []caveat.Code{caveat.CPUSteal}},
		// 89 ticks in 10 s of another end's CPU, and the same in nobody's.
		{"softirq of the other end", 2, loop(0), loop(0), [2]procfile.CPU{{SoftIRQ: 89}, {}}, []int{0}, nil},
		{"softirq in nobody's", 2, loop(0), loop(0), [2]procfile.CPU{{SoftIRQ: 89}, {}}, nil, []caveat.Code{caveat.SoftirqElsewhere}},
	} {
		o := looked(wire.ScopeCPUSet, c.before, c.after)
		o.p.PeerSet = c.peer
		o.first, o.last = make([]procfile.CPU, 2), c.cpus[:]
		res := window(c.busy)
		o.Report(res)
		var codes []caveat.Code
		for _, w := range res.Warnings {
			codes = append(codes, caveat.CodeOf(w))
		}
		if !slices.Equal(codes, c.codes) {
			t.Errorf("%s: %q, want %v", c.name, res.Warnings, c.codes)
		}
		if c.name == "a busy loop" && !strings.Contains(res.Warnings[0], "loop (pid 4194304, 98.1%)") {
			t.Error(res.Warnings[0])
		}
	}
}

// TestForeignUnseen: time that no process accounts for, kernel threads and packets of
// others are told, each beside a run that has as much of its own; and little
// matters where the run itself used little.
func TestForeignUnseen(t *testing.T) {
	const pid, kin = 1 << 22, 1<<22 + 1
	type processes = map[int]procfile.Task
	proc := func(name string, used uint64) processes {
		return processes{pid: {Start: 1, Name: name, Used: used, CPU: 1, Kernel: name != "loop"}}
	}
	sec := func(v float64) *float64 { return &v }
	packets := func(n uint32) arrivals { return arrivals{10e9 + 1, []uint32{0, n}} }
	for _, c := range []struct {
		name          string
		busy, own     float64  // seconds of 10
		tasks         *float64 // likewise, if the kernel tells
		before, after processes
		still, came   uint32  // packets
		link          float64 // likewise
		softirq       uint64  // ticks
		words         []string
	}{
		{"quiet", 7, 4, sec(4.2), nil, nil, 3000, 900e3, 900e3, 250, nil},
		{"programs that came and went", 7, 2, sec(6.5), nil, nil, 0, 0, 0, 0, []string{"about 45.0% of a CPU in this end's 70.0%",
			"began and ended meanwhile on CPU 1"}},
		{"of the run", 7, 2, sec(6.5), processes{kin: {Start: 7, Name: "zcbench", CPU: 1}}, processes{kin: {Start: 7, Name: "zcbench", CPU: 1,
			Used: 450}}, 0, 0, 0, 0, nil},
		{"beside one that is seen", 7, 2, sec(6.5), proc("loop", 0), proc("loop", 440), 0, 0, 0, 0,
			[]string{"about 44.0% of a CPU went to programs", "most to loop"}},
		{"a kernel that does not tell", 7, 2, nil, nil, nil, 0, 0, 0, 0, nil},
		{"little of little", 0.6, 0.2, sec(0.6), proc("loop", 0), proc("loop", 40), 0, 0, 0, 0, []string{"about 4.0% of a CPU went to programs",
			"whose 6.0% are"}},
		{"little that came and went", 0.6, 0.2, sec(0.6), nil, nil, 0, 0, 0, 0, []string{"about 4.0% of a CPU in this end's 6.0%"}},
		{"what a quiet host has", 0.35, 0.2, sec(0.3), proc("loop", 0), proc("loop", 8), 0, 0, 0, 0, nil},
		{"little of much", 6, 5, sec(5.4), proc("loop", 0), proc("loop", 40), 0, 0, 0, 0, nil},
		{"a kernel thread", 7, 3, sec(5), proc("kworker/1:2+events", 0), proc("kworker/1:2+events", 200), 0, 0, 0, 0,
			[]string{"about 20.0% of a CPU in this end's 70.0% went to kernel threads", "most to kworker/1:2+events (20.0%)"}},
		{"a kernel thread that handles packets", 7, 3, sec(5), proc("ksoftirqd/1", 0), proc("ksoftirqd/1", 200), 0, 0, 0, 0, nil},
		{"packets of others before the run", 7, 3, sec(3), nil, nil, 250e3, 1000e3, 750e3, 200,
			[]string{"about 10.0% of a CPU in this end's 70.0% went to packets that are not of the run: 25000 a second came to CPU 1 before"}},
		{"packets of others on a slow link", 4, 0.2, sec(0.2), nil, nil, 0, 500e3, 20e3, 300,
			[]string{"about 31.9% of a CPU in this end's 40.0% went to packets", "beyond those of the run's interface"}},
		{"packets that pass a bridge", 4, 0.2, sec(0.2), nil, nil, 0, 60e3, 20e3, 300, nil},
		{"packets, and nobody counted those of the interface", 4, 0.2, sec(0.2), nil, nil, 0, 500e3, -1, 300, nil},
		{"packets that took no time", 7, 6.8, sec(6.9), nil, nil, 250e3, 1000e3, 750e3, 10, nil},
	} {
		o := looked(wire.ScopeCPUSet, c.before, c.after)
		if c.before == nil {
			o.before.processes, o.after.processes = processes{}, processes{}
		}
		o.p.Kin = []wire.Process{{Start: 7, Name: "zcbench"}}
		o.first, o.last = make([]procfile.CPU, 2), []procfile.CPU{{}, {SoftIRQ: c.softirq}}
		if c.tasks != nil {
			o.tasks.first, o.tasks.last = sec(0), c.tasks
		}
		zero := arrivals{1, []uint32{0, 0}}
		o.still, o.came = [2]arrivals{zero, packets(c.still)}, [2]arrivals{zero, packets(c.came)}
		res := &wire.Result{Samples: []wire.Sample{{}, {At: 10e9, Busy: c.busy}}, Counters: map[string]float64{"rusage_user_seconds": c.own}}
		if c.link >= 0 {
			res.Counters["link_rx_packets"], res.Counters["link_tx_packets"] = c.link, 0
		}
		o.Report(res)
		all := strings.Join(res.Warnings, "\n")
		if len(c.words) == 0 && all != "" && seesAll() || len(c.words) > 0 && len(res.Warnings) != 1 {
			t.Errorf("%s: %q", c.name, res.Warnings)
		}
		for _, w := range c.words {
			if !strings.Contains(all, w) || caveat.CodeOf(res.Warnings[0]) != caveat.CPUForeign {
				t.Errorf("%s: %q lacks %q", c.name, all, w)
			}
		}
	}
}

func TestCgroups(t *testing.T) {
	const v1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
		"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	const v2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
	for _, c := range []struct {
		mine, mounts string
		want         []group
	}{
		{"0::/user.slice/bench\n", v2, []group{{dir: "/sys/fs/cgroup/user.slice/bench", quota: "cpu.max"}, {dir: "/sys/fs/cgroup/user.slice",
			quota: "cpu.max"}, {dir: "/sys/fs/cgroup", quota: "cpu.max"}}},
		{"0::/\n", v2, []group{{dir: "/sys/fs/cgroup", quota: "cpu.max"}}},
		{"5:cpu,cpuacct:/q\n4:memory:/m\n0::/\n", v1, []group{{dir: "/sys/fs/cgroup/cpu,cpuacct/q", quota: "cpu.cfs_quota_us"},
			{dir: "/sys/fs/cgroup/cpu,cpuacct", quota: "cpu.cfs_quota_us"}, {dir: "/sys/fs/cgroup/unified", quota: "cpu.max"}}},
		// A container that shows its own part of the tree.
		{"0::/docker/abc\n", strings.Replace(v2, " / /sys", " /docker/abc /sys", 1), []group{{dir: "/sys/fs/cgroup", quota: "cpu.max"}}},
		{"0::/../other\n", v2, []group{{dir: "/sys/fs/cgroup", quota: "cpu.max"}}},
		{"0::/x\n", "", nil},
	} {
		if got := cgroupsOf(c.mine, c.mounts); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %v, want %v", c.mine, got, c.want)
		}
	}
	for text, want := range map[string]throttle{
		"usage_usec 5\nnr_periods 40\nnr_throttled 37\nthrottled_usec 2500000\n": {37, 2.5e9},
		"nr_periods 40\nnr_throttled 37\nthrottled_time 2500000000\n":            {37, 2.5e9},
		"": {},
	} {
		if got := parseThrottle([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
