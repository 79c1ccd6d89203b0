// Package others finds out what else had the CPUs and the network that an end's figures
// are of: programs that are not of the run, a hypervisor, a quota, packets of others.
package others

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/cpulist"
	"zcbench/internal/printable"
	"zcbench/internal/procfile"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Watch finds out what else took the CPU time that is counted for one end of a run:
// programs that are not of the run, a hypervisor, a cgroup's quota; and softirq
// that worked for the run on CPUs that nobody counts. The processes of the host
// are read twice, just outside the window: Before and After.
type Watch struct {
	p             *wire.Prepare
	set           []int // CPUs that are counted, in order
	workers       []int // CPUs that the workers are pinned to
	cgroups       []group
	namespace     string // of PIDs, this process's
	before, after look
	first, last   []procfile.CPU // by number, at the edges of the window
	tasks         tasks
	came          [2]arrivals // at the edges of the window
	still         [2]arrivals // before anything of the run was sent
}

// look is one reading of the processes of this host that are not ours.
type look struct {
	at        int64 // CLOCK_MONOTONIC, ns
	processes map[int]procfile.Task
	tasks     map[int]map[int]procfile.Task // of processes with several threads, by PID and TID
	throttles []throttle
}

// Ahead is how long before the window the processes are to be read, and lookLimit
// how long that may take, with their threads; a host of so many that it is not
// enough has the oldest left out.
const (
	Ahead     = 150 * time.Millisecond
	lookLimit = 100 * time.Millisecond
)

// Foreign time is told above foreignLeast, which what the programs of a quiet host
// use stays below, in percent of one CPU, and above foreignShare of the figure, by
// less than which the runs of a cell differ. Less matters too where the figure is
// small: foreignSmall at least, if it is foreignMuch of it.
const (
	foreignLeast = 5.0
	foreignShare = 0.1
	foreignSmall = 1.0
	foreignMuch  = 0.25
)

// Matters says that foreign time in a figure is worth a word. What is counted in
// ticks is not known well enough to tell of little.
func Matters(percent, figure float64, exact bool) bool {
	if percent <= foreignShare*figure {
		return false
	}
	return percent > foreignLeast || exact && percent > foreignSmall && percent > foreignMuch*figure
}

// Open watches for a run: its end counts the CPUs of set, and has its workers pinned to
// some. It is used from one goroutine, but for Listen.
func Open(p *wire.Prepare, set, workers []int) *Watch {
	o := &Watch{p: p, set: set, workers: workers, cgroups: ownCgroups(), namespace: wire.PIDNamespace()}
	if o.counted() {
		o.tasks = openTasks(set)
	}
	return o
}

// Close ends it.
func (o *Watch) Close() {
	for _, g := range o.cgroups {
		_ = g.stat.Close() // nothing was written
	}
	o.tasks.close()
}

// counted says that the CPU figure holds all that the CPUs of the scope do.
func (o *Watch) counted() bool { return o.p.Scope != wire.ScopeThread }

// Before reads the processes before the window.
func (o *Watch) Before() { o.before = o.look(nil) }

// After reads them once it has closed.
func (o *Watch) After() { o.after = o.look(&o.before) }

// look reads the processes; the second look, given the first, reads the threads of
// those that have used time since.
func (o *Watch) look(first *look) look {
	l := look{at: wire.Monotonic(), throttles: readThrottles(o.cgroups)}
	if !o.counted() {
		return l
	}
	end := l.at + int64(lookLimit)
	l.processes = readProcesses(end)
	if o.p.Scope != wire.ScopeHost {
		l.tasks = readTasks(l.busiest(first), end)
	}
	return l
}

// busiest are the processes whose threads are worth a look, the most important
// first: those that used most since the first look, or, in that, most of their life.
func (l *look) busiest(first *look) []int {
	weight := map[int]float64{}
	now := startTicks(l.at)
	for pid, p := range l.processes {
		var was procfile.Task
		if first != nil {
			was = first.processes[pid]
		}
		if p.Kernel || max(p.Threads, was.Threads) <= 1 || pid == os.Getpid() {
			continue
		}
		used := float64(p.Used) - float64(was.Used)
		if first == nil {
			used /= float64(max(now, p.Start) - p.Start + 1)
		}
		if used != 0 {
			weight[pid] = used
		}
	}
	return slices.SortedFunc(maps.Keys(weight), func(a, b int) int { return cmp.Compare(weight[b], weight[a]) })
}

// readTasks reads the threads of processes until a time of CLOCK_MONOTONIC.
func readTasks(pids []int, end int64) map[int]map[int]procfile.Task {
	all := make(map[int]map[int]procfile.Task, len(pids))
	for _, pid := range pids {
		if wire.Monotonic() > end {
			break
		}
		path := fmt.Sprintf("/proc/%d/task", pid)
		dir, err := os.Open(path)
		if err != nil {
			continue // it has ended
		}
		names, _ := dir.Readdirnames(-1) // what is missing counts as not seen
		_ = dir.Close()                  // nothing was written
		tasks := make(map[int]procfile.Task, len(names))
		for _, name := range names {
			tid, err := strconv.Atoi(name)
			if p, ok := procfile.ReadTaskAt(path + "/" + name + "/stat"); ok && err == nil {
				tasks[tid] = p
			}
			if wire.Monotonic() > end {
				break
			}
		}
		all[pid] = tasks
	}
	return all
}

// Opens and Closes take what the CPUs did at the edges of the window.
func (o *Watch) Opens(s *procfile.Stat) {
	o.first = append(o.first[:0], s.CPUs...)
	o.tasks.opens()
	o.came[0] = readArrivals()
}

// Closes: see Opens.
func (o *Watch) Closes(s *procfile.Stat) {
	o.last = append(o.last[:0], s.CPUs...)
	o.tasks.closes()
	o.came[1] = readArrivals()
}

// readProcesses reads those that it can until a time of CLOCK_MONOTONIC, the
// latest ones first.
func readProcesses(end int64) map[int]procfile.Task {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	all := make(map[int]procfile.Task, len(pids))
	for _, pid := range slices.Backward(pids) {
		if p, ok := procfile.ReadTask(pid); ok {
			all[pid] = p
		}
		if wire.Monotonic() > end {
			break
		}
	}
	return all
}

// usage is what one program used of the CPUs that are counted, at the rate it had
// between the two looks, in percent of one CPU.
type usage struct {
	pid      int
	name     string
	cpu      float64
	unplaced float64 // of children and threads that nobody saw, on whatever CPUs
}

// foreign is what the programs that are not of the run used.
type foreign struct {
	sum, unplaced float64
	list          []usage // those that used most first
	bounded       bool    // the sum was more than there was room for
	kin           float64 // what the run's other processes used
	network       float64 // and kernel threads that handle packets
	kernel        usages  // other kernel threads
}

// usages is what several programs used of the CPUs that are counted.
type usages struct {
	sum  float64
	most usage
}

func (u *usages) add(v usage) {
	u.sum += v.cpu
	if v.cpu > u.most.cpu {
		u.most = v
	}
}

// forNetwork says that a kernel thread of a name handles interrupts and packets,
// the run's among them.
func forNetwork(name string) bool {
	for _, prefix := range []string{"ksoftirqd/", "napi/", "irq/"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// foreign holds the programs that are not of the run to the time that they can
// have had: rest, in percent of one CPU.
func (o *Watch) foreign(rest float64) (f foreign) {
	seconds := float64(o.after.at-o.before.at) / 1e9
	if seconds <= 0 || o.before.processes == nil || o.after.processes == nil {
		return f
	}
	gone := o.gone()
	for pid, p := range o.after.processes {
		if pid == os.Getpid() {
			continue
		}
		used, children := o.grown(pid, p, gone)
		placed, unplaced := o.place(pid, p, float64(used))
		if o.p.Scope == wire.ScopeHost {
			placed += float64(children) // wherever they ran
		} else {
			unplaced += float64(children)
		}
		if placed == 0 && unplaced == 0 {
			continue
		}
		scale := 100 / (procfile.Hz * seconds)
		switch v := (usage{pid, p.Name, placed * scale, unplaced * scale}); {
		case p.Kernel && forNetwork(p.Name):
			f.network += v.cpu
			continue
		case p.Kernel:
			f.kernel.add(v)
			continue
		case o.kin(pid):
			f.kin += v.cpu
			continue
		}
		f.list = append(f.list, usage{pid, p.Name, placed * scale, unplaced * scale})
		f.sum += placed * scale
		f.unplaced += unplaced * scale
	}
	// Time is counted and shared out by ticks in places, and the looks see more
	// than the window.
	rest = max(0, rest)
	if f.bounded = f.sum > rest; f.bounded {
		for i := range f.list {
			f.list[i].cpu *= rest / f.sum
		}
		f.sum = rest
	}
	if room := rest - f.sum; f.unplaced > room {
		for i := range f.list {
			f.list[i].unplaced *= room / f.unplaced
		}
		f.unplaced = room
	}
	slices.SortFunc(f.list, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.cpu, a.cpu), cmp.Compare(b.unplaced, a.unplaced), cmp.Compare(a.pid, b.pid))
	})
	return f
}

// grown is the CPU time in ticks that a process used between the looks, and that
// of children it has waited for: those that began and ended in between are seen in
// their parent alone.
func (o *Watch) grown(pid int, p procfile.Task, gone map[int]uint64) (used, children uint64) {
	was, known := o.before.processes[pid]
	if !known || was.Start != p.Start {
		if !o.began(p) {
			return 0, 0 // it was there before and was not read then
		}
		return p.Used, p.Children
	}
	used = p.Used - min(p.Used, was.Used)
	children = p.Children - min(p.Children, was.Children)
	return used, children - min(children, gone[pid])
}

// began says that a process or thread began between the looks.
func (o *Watch) began(p procfile.Task) bool {
	const slack = 2 // ticks: the two clocks are read one after the other
	return p.Start+slack >= startTicks(o.before.at)
}

// place says what of the ticks that a process used between the looks was on the
// CPUs that are counted, as far as the CPUs that its threads ran on at the looks
// can tell, and what threads used that were not seen at both.
func (o *Watch) place(pid int, p procfile.Task, used float64) (in, unplaced float64) {
	if o.p.Scope == wire.ScopeHost {
		return used, 0
	}
	// inside is how much of a thread's time was on ours.
	inside := func(was, is procfile.Task) (share float64) {
		for _, t := range []procfile.Task{was, is} {
			if slices.Contains(o.set, t.CPU) {
				share += 0.5
			}
		}
		return share
	}
	was, known := o.before.processes[pid]
	if known = known && was.Start == p.Start; !known {
		was = procfile.Task{CPU: p.CPU}
	}
	if p.Threads <= 1 && was.Threads <= 1 {
		return used * inside(was, p), 0
	}
	all := 0.0
	for tid, t := range o.after.tasks[pid] {
		before, seen := o.before.tasks[pid][tid]
		switch {
		case seen && before.Start == t.Start:
		case o.began(t) || known && was.Used == 0:
			before = procfile.Task{CPU: t.CPU}
		case known && tid == pid && was.Threads <= 1:
			before = was
		default:
			continue
		}
		grown := float64(t.Used - min(t.Used, before.Used))
		all += grown
		in += grown * inside(before, t)
	}
	if all > used { // they are read one after the other
		return in * used / all, 0
	}
	return in, used - all
}

// gone is what processes that have ended had used when they were seen, by the
// next one above each that is still there: who waits for a process is charged
// with all that it ever used.
func (o *Watch) gone() map[int]uint64 {
	alive := func(pid int) bool {
		now, ok := o.after.processes[pid]
		return ok && now.Start == o.before.processes[pid].Start
	}
	sum := map[int]uint64{}
	for pid, p := range o.before.processes {
		if alive(pid) {
			continue
		}
		const deep = 16 // generations
		heir := p.Parent
		for range deep {
			above, known := o.before.processes[heir]
			if !known || alive(heir) {
				break
			}
			heir = above.Parent
		}
		sum[heir] += p.Used + p.Children
	}
	return sum
}

// startTicks is a time of CLOCK_MONOTONIC in ticks after boot.
func startTicks(at int64) uint64 {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return 0
	}
	return uint64(max(0, boot.Nano()-(wire.Monotonic()-at))) / (1e9 / procfile.Hz)
}

// kin says that a process belongs to the run: this one, its driver, the other
// end, and what they have started.
func (o *Watch) kin(pid int) bool {
	const deep = 16 // generations
	for range deep {
		p, ok := o.after.processes[pid]
		if !ok {
			return false
		}
		if pid == os.Getpid() || slices.ContainsFunc(o.p.Kin, func(k wire.Process) bool { return k.Is(p, pid, o.namespace) }) {
			return true
		}
		pid = p.Parent
	}
	return false
}

// seesAll says that this process can see every other of the host.
func seesAll() bool {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO of linux/proc_ns.h
	_, first := procfile.ReadTask(1)   // hidepid= hides those of others, proc(5)
	return wire.PIDNamespace() == initial && first
}

// Report adds what was found to the result of the window.
func (o *Watch) Report(res *wire.Result) {
	a, b := res.Edges()
	seconds := float64(b.At-a.At) / 1e9
	if seconds <= 0 {
		return
	}
	warn := func(code caveat.Code, format string, args ...any) {
		res.Warnings = append(res.Warnings, caveat.Warn(code, "%s: %s", o.p.Role, fmt.Sprintf(format, args...)))
	}
	o.throttled(warn, seconds)
	if busy := o.siblings(seconds, coresOfAll(len(o.last))); len(busy) > 0 {
		warn(caveat.SMTSibling, "cores are shared by %s, which did much in the window, and %s, where workers run: each slows the other down, "+
			"and neither runs as it would alone; give --affinity CPUs of different cores (lscpu -e), or turn SMT off", named(busy), named(o.workers))
	}
	if !o.counted() {
		return
	}
	figure := *summary.Percent(a, b, a.Busy, b.Busy)
	told := func(percent float64) bool { return Matters(percent, figure, false) }

	if kind := procfile.Masked("/proc/stat"); kind != "" {
		warn(caveat.ProcMasked, "/proc/stat is not the kernel's: %s is mounted over it and may leave out softirq and what others use, so "+
			"cpu_percent may be too low; run this end outside the container, or unmount it (umount /proc/stat)", kind)
	}
	figure -= res.Counters["napi_elsewhere_seconds"] / seconds * 100 // what follows is of the CPUs that are counted
	own := (res.Counters["rusage_user_seconds"] + res.Counters["rusage_system_seconds"]) / seconds * 100
	f := o.foreign(figure - own)
	// Tasks that are no process's: their time is exact where the kernel tells it.
	gone, exact := o.tasks.percent(seconds)
	gone = max(0, min(gone, figure)-own-f.kin-f.network-f.kernel.sum-f.sum)
	res.Counters["foreign_cpu_percent"] = results.Round(f.sum + gone)
	hidden := o.hidden(own, seconds)
	// Sampled by ticks, so it has to be more to be told.
	hides := hidden > 2*foreignLeast && hidden > 2*foreignShare*figure
	if exact {
		hides = Matters(gone, figure, true)
	} else {
		gone = min(hidden, max(0, figure-own))
	}
	o.programs(warn, f, figure, gone, exact, hides)
	if k := f.kernel; Matters(k.sum, figure, true) {
		warn(caveat.CPUForeign, "about %.1f%% of a CPU in this end's %.1f%% went to kernel threads that handle no packets, most to %s "+
			"(%.1f%%): work that others gave the kernel, such as writing files back or encrypting; end what causes it, or keep it off %s", k.sum,
			figure, printable.Line(k.most.name), k.most.cpu, named(o.set))
	}
	o.traffic(warn, res, seconds, figure)
	if steal := o.ticks(o.set, func(c *procfile.CPU) uint64 { return c.Steal }) / seconds; told(steal) {
		warn(caveat.CPUSteal, "the hypervisor kept %.1f%% of a CPU for others on %s, and cpu_percent holds it: give this machine CPUs of its own",
			steal, named(o.set))
	}
	outside := o.outside()
	if elsewhere := o.ticks(outside, func(c *procfile.CPU) uint64 { return c.IRQ + c.SoftIRQ }) / seconds; told(elsewhere) {
		warn(caveat.SoftirqElsewhere, "%s, which no end counts, spent at least %.1f%% of a CPU in interrupts and softirq; what of it was for "+
			"this run is missing in cpu_percent: take them into --affinity, or steer the interface's interrupts and receive packet steering to "+
			"CPUs that are counted", named(outside), elsewhere)
	}
}

// programs tells of those that are not of the run. gone is the CPU time, in percent of
// one CPU, of tasks that no process accounts for: exact where the kernel tells it, and
// hides where it is enough to be told.
func (o *Watch) programs(warn func(caveat.Code, string, ...any), f foreign, figure, gone float64, exact, hides bool) {
	switch {
	case Matters(f.sum, figure, true):
		most, bound, more := f.list[0], "about", ""
		if f.bounded {
			bound = "at most"
		} else if Matters(f.unplaced, figure, true) {
			more = fmt.Sprintf("; what ended meanwhile, or was not read in time, used up to %.1f%% more, on CPUs that are not known", f.unplaced)
		}
		warn(caveat.CPUForeign, "%s %.1f%% of a CPU went to programs that are not of the run, on %s whose %.1f%% are this end's figure; most "+
			"to %s (pid %d, %.1f%%)%s: end them, or keep them off %s", bound, f.sum, named(o.set), figure, printable.Line(most.name), most.pid,
			most.cpu, more, named(o.set))
	case Matters(f.sum+f.unplaced, figure, false) && hides:
		most := slices.MaxFunc(f.list, func(a, b usage) int { return cmp.Compare(a.unplaced, b.unplaced) })
		warn(caveat.CPUForeign, "at most %.1f%% of a CPU went to programs that are not of the run, on %s whose %.1f%% are this end's figure; "+
			"most to children or threads of %s (pid %d) that ended meanwhile or were not read in time, on CPUs that are not known: end it, or "+
			"keep it off %s", f.sum+f.unplaced, named(o.set), figure, printable.Line(most.name), most.pid, named(o.set))
	case !seesAll() && hides:
		warn(caveat.CPUForeign, "about %.1f%% of a CPU in this end's %.1f%% was neither its own threads' nor softirq, and whose it was cannot "+
			"be seen from inside this PID namespace (or /proc hides other users' processes): look from the host", gone, figure)
	case exact && hides:
		warn(caveat.CPUForeign, "about %.1f%% of a CPU in this end's %.1f%% went to tasks that are not of the run and that nothing tells of "+
			"any more: programs that began and ended meanwhile on %s, one after the other (execsnoop, or perf trace -s, shows who starts them); "+
			"end what starts them, or keep it off %s", gone, figure, named(o.set), named(o.set))
	}
}

// hidden is the time of the scope's tasks by ticks that is neither this process's
// nor that of a program that can be seen, in percent of one CPU.
func (o *Watch) hidden(own, seconds float64) float64 {
	return o.ticks(o.set, func(c *procfile.CPU) uint64 { return c.User + c.Nice + c.System })/seconds - own
}

// outside are the CPUs that neither end counts.
func (o *Watch) outside() []int {
	var cpus []int
	if o.p.Scope == wire.ScopeHost {
		return nil
	}
	for n := range min(len(o.first), len(o.last)) {
		if !slices.Contains(o.set, n) && !slices.Contains(o.p.PeerSet, n) {
			cpus = append(cpus, n)
		}
	}
	return cpus
}

// ticks sums a state's growth over CPUs, in hundredths of a second.
func (o *Watch) ticks(cpus []int, of func(*procfile.CPU) uint64) float64 {
	sum := 0.0
	for _, n := range cpus {
		if n < len(o.first) && n < len(o.last) {
			was, is := of(&o.first[n]), of(&o.last[n])
			sum += float64(is - min(is, was))
		}
	}
	return sum / procfile.Hz * 100
}

// named is a list of CPUs with their word before it.
func named(cpus []int) string {
	if len(cpus) == 1 {
		return "CPU " + cpulist.Format(cpus)
	}
	return "CPUs " + cpulist.Format(cpus)
}
