package endpoint

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
	"zcbench/results"
)

// Process tells one process of a host from all others, in whatever PID
// namespace it is seen.
type Process struct {
	Start uint64 `json:"start"` // ticks after boot, proc_pid_stat(5)
	Name  string `json:"name"`
}

// ThisProcess is the process that this is; the zero value where /proc does not
// tell.
func ThisProcess() Process {
	p, _ := readProcess(os.Getpid())
	return p.Process
}

// others finds out what else took the CPU time that is counted for this end:
// programs that are not of the run, a hypervisor, a cgroup's quota; and softirq
// that worked for the run on CPUs that nobody counts. The processes of the host
// are read twice, just outside the window.
type others struct {
	p             *Prepare
	set           []int // CPUs that are counted, in order
	workers       []int // CPUs that the workers are pinned to
	cgroups       []cgroup
	before, after look
	first, last   []procfile.CPU // by number, at the edges of the window
}

// look is one reading of the processes of this host that are not ours.
type look struct {
	at        int64 // CLOCK_MONOTONIC, ns
	processes map[int]process
	own       int64 // CPU time of this process, ns
	throttles []throttle
}

// process is what proc_pid_stat(5) says.
type process struct {
	Process
	parent   int
	kernel   bool
	used     uint64 // CPU time of all its threads, ticks
	children uint64 // of children that it has waited for, ticks
	cpu      int    // that its first thread ran on last
}

// lookAhead is how long before the window the processes are read, and lookLimit
// how long that may take; a host of so many that it is not enough has the oldest
// left out.
const (
	lookAhead = 150 * time.Millisecond
	lookLimit = 100 * time.Millisecond
)

// Foreign time is told above these: what the programs of a quiet host use stays
// below the first, in percent of one CPU, and the runs of a cell differ by less
// than the second, as a share of the figure.
const (
	foreignLeast = 5.0
	foreignShare = 0.1
)

func newOthers(p *Prepare, set, workers []int) *others {
	return &others{p: p, set: set, workers: workers, cgroups: ownCgroups()}
}

func (o *others) close() {
	for _, g := range o.cgroups {
		_ = g.stat.Close() // nothing was written
	}
}

// counted says that the CPU figure holds all that the CPUs of the scope do.
func (o *others) counted() bool { return o.p.Scope != ScopeThread }

func (o *others) look() look {
	l := look{at: Monotonic(), throttles: readThrottles(o.cgroups)}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts) == nil {
		l.own = ts.Nano()
	}
	if o.counted() {
		l.processes = readProcesses()
	}
	return l
}

// opens and closes take what /proc/stat says at the edges of the window.
func (o *others) opens(s *procfile.Stat)  { o.first = append(o.first[:0], s.CPUs...) }
func (o *others) closes(s *procfile.Stat) { o.last = append(o.last[:0], s.CPUs...) }

// readProcesses reads those that it can within lookLimit, the latest ones first.
func readProcesses() map[int]process {
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
	all := make(map[int]process, len(pids))
	end := Monotonic() + int64(lookLimit)
	for _, pid := range slices.Backward(pids) {
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
		if Monotonic() > end {
			break
		}
	}
	return all
}

func readProcess(pid int) (process, bool) {
	return readStat(fmt.Sprintf("/proc/%d/stat", pid))
}

// readStat reads a file as of proc_pid_stat(5), of a process or a thread.
func readStat(path string) (p process, ok bool) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p, false // it has ended
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return p, false
	}
	return parseProcess(buf[:n])
}

func parseProcess(b []byte) (p process, ok bool) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // the name may hold both
	if open < 0 || shut < open {
		return p, false
	}
	p.Name = string(b[open+1 : shut])
	rest := b[shut+1:]
	procfile.Word(&rest) // the state, field 3
	p.cpu = -1
	for field := 4; field <= 39; field++ {
		word := procfile.Word(&rest)
		v, _, ok := procfile.Uint(word)
		switch field {
		case 4:
			p.parent = int(v)
		case 9:
			const kthread = 0x00200000 // PF_KTHREAD of linux/sched.h
			p.kernel = v&kthread != 0
		case 14, 15:
			p.used += v
		case 16, 17:
			p.children += v // cutime and cstime
		case 22:
			if !ok {
				return p, false
			}
			p.Start = v
		case 39:
			if ok {
				p.cpu = int(v)
			}
		}
	}
	return p, true
}

// usage is what one program used between the two looks.
type usage struct {
	pid  int
	name string
	cpu  float64 // percent of one CPU, of the CPUs that are counted
}

// foreign lists the programs that are not of the run and used the CPUs that are
// counted, those that used most first, and their sum.
func (o *others) foreign() (sum float64, list []usage) {
	seconds := float64(o.after.at-o.before.at) / 1e9
	if seconds <= 0 || o.before.processes == nil || o.after.processes == nil {
		return 0, nil
	}
	gone := o.gone()
	for pid, p := range o.after.processes {
		if p.kernel || o.kin(pid) {
			continue
		}
		ticks := o.grown(pid, p, gone)
		if ticks == 0 {
			continue
		}
		percent := float64(ticks) / procfile.Hz / seconds * 100
		// What used less than this is not worth a look at its threads.
		const little = 0.5
		if percent >= little {
			percent *= o.share(pid, p)
		}
		if percent > 0 {
			sum += percent
			list = append(list, usage{pid, p.Name, percent})
		}
	}
	slices.SortFunc(list, func(a, b usage) int { return cmp.Or(cmp.Compare(b.cpu, a.cpu), cmp.Compare(a.pid, b.pid)) })
	return sum, list
}

// grown is the CPU time that a process used between the looks, with that of
// children it has waited for: those that began and ended in between are seen in
// their parent alone.
func (o *others) grown(pid int, p process, gone map[int]uint64) uint64 {
	was, known := o.before.processes[pid]
	if !known || was.Process.Start != p.Start {
		const slack = 2 // ticks: the two clocks are read one after the other
		if p.Start+slack < startTicks(o.before.at) {
			return 0 // it was there before and was not read then
		}
		return p.used + p.children
	}
	used := p.used - min(p.used, was.used)
	children := p.children - min(p.children, was.children)
	return used + children - min(children, gone[pid])
}

// gone is what processes that have ended had used when they were seen, by the
// next one above each that is still there: who waits for a process is charged
// with all that it ever used.
func (o *others) gone() map[int]uint64 {
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
		heir := p.parent
		for range deep {
			above, known := o.before.processes[heir]
			if !known || alive(heir) {
				break
			}
			heir = above.parent
		}
		sum[heir] += p.used + p.children
	}
	return sum
}

// startTicks is a time of CLOCK_MONOTONIC in ticks after boot.
func startTicks(at int64) uint64 {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return 0
	}
	return uint64(max(0, boot.Nano()-(Monotonic()-at))) / (1e9 / procfile.Hz)
}

// kin says that a process belongs to the run: this one, its driver, the other
// end, and what they have started.
func (o *others) kin(pid int) bool {
	const deep = 16 // generations
	for range deep {
		p, ok := o.after.processes[pid]
		if !ok {
			return false
		}
		if pid == os.Getpid() || slices.Contains(o.p.Kin, p.Process) {
			return true
		}
		pid = p.parent
	}
	return false
}

// share is how much of a process's time was on the CPUs that are counted, as far
// as its affinity and the CPUs that its threads ran on last can tell.
func (o *others) share(pid int, p process) float64 {
	if o.p.Scope == ScopeHost {
		return 1
	}
	inside := func(cpu int) float64 {
		if slices.Contains(o.set, cpu) {
			return 1
		}
		return 0
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil || len(threads) <= 1 {
		if was, ok := o.before.processes[pid]; ok {
			return (inside(was.cpu) + inside(p.cpu)) / 2
		}
		return inside(p.cpu)
	}
	all, in := 0.0, 0.0
	const most = 256 // threads
	for _, t := range threads[:min(len(threads), most)] {
		if s, ok := readStat(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name())); ok {
			all += float64(s.used)
			in += float64(s.used) * inside(s.cpu)
		}
	}
	if all == 0 {
		return inside(p.cpu)
	}
	return in / all
}

// seesAll says that this process can see every other of the host.
func seesAll() bool {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO of linux/proc_ns.h
	ns, err := os.Readlink("/proc/self/ns/pid")
	_, first := readProcess(1) // hidepid= hides those of others, proc(5)
	return err == nil && ns == initial && first
}

// report adds what was found to the result of the window.
func (o *others) report(res *Result) {
	a, b := res.edges()
	seconds := float64(b.At-a.At) / 1e9
	if seconds <= 0 {
		return
	}
	warn := func(code results.Code, format string, args ...any) {
		res.Warnings = append(res.Warnings, results.Warn(code, "%s: %s", o.p.Role, fmt.Sprintf(format, args...)))
	}
	o.throttled(warn, seconds)
	if busy := o.siblings(seconds, coresOfAll(len(o.last))); len(busy) > 0 {
		warn(results.SMTSibling, "CPUs %s were busy in the window and share a core with CPUs %s, where workers run: each slows the other down, and neither runs as it would alone; give --affinity CPUs of different cores (lscpu -e), or turn SMT off", cpuList(busy), cpuList(o.workers))
	}
	if !o.counted() {
		return
	}
	figure := *percent(a, b, a.Busy, b.Busy)
	told := func(percent float64) bool { return percent > foreignLeast && percent > foreignShare*figure }

	if kind := masked("/proc/stat"); kind != "" {
		warn(results.ProcMasked, "/proc/stat is not the kernel's: %s is mounted over it and may leave out softirq and what others use, so cpu_percent may be too low; run this end outside the container, or unmount it (umount /proc/stat)", kind)
	}
	sum, list := o.foreign()
	sum = min(sum, 100*float64(len(o.set)))
	res.Counters["foreign_cpu_percent"] = round(sum)
	switch hidden := o.hidden(seconds); {
	case told(sum):
		most := list[0]
		warn(results.CPUForeign, "%.1f%% of a CPU went to programs that are not of the run, on the CPUs whose %.1f%% are this end's figure; most to %s (pid %d, %.1f%%): end them, or keep them off CPUs %s", sum, figure, printable(most.name), most.pid, most.cpu, cpuList(o.set))
	case !seesAll() && hidden > 2*foreignLeast && hidden > 2*foreignShare*figure:
		// Sampled by ticks, so it has to be more to be told.
		warn(results.CPUForeign, "about %.1f%% of a CPU in this end's %.1f%% was neither its own threads' nor softirq, and whose it was cannot be seen from inside this PID namespace (or /proc hides other users' processes): look from the host", hidden, figure)
	}
	if steal := o.ticks(o.set, func(c *procfile.CPU) uint64 { return c.Steal }) / seconds; told(steal) {
		warn(results.CPUSteal, "the hypervisor kept %.1f%% of a CPU for others on CPUs %s, and cpu_percent holds it: give this machine CPUs of its own", steal, cpuList(o.set))
	}
	outside := o.outside()
	if elsewhere := o.ticks(outside, func(c *procfile.CPU) uint64 { return c.IRQ + c.SoftIRQ }) / seconds; told(elsewhere) {
		warn(results.SoftirqElsewhere, "CPUs %s, which no end counts, spent at least %.1f%% of a CPU in interrupts and softirq; what of it was for this run is missing in cpu_percent: take them into --affinity, or steer the interface's interrupts and receive packet steering to CPUs that are counted", cpuList(outside), elsewhere)
	}
}

// hidden is the time of the scope's tasks by ticks that is neither this process's
// nor that of a program that can be seen, in percent of one CPU.
func (o *others) hidden(seconds float64) float64 {
	tasks := o.ticks(o.set, func(c *procfile.CPU) uint64 { return c.User + c.Nice + c.System }) / seconds
	own := float64(o.after.own-o.before.own) / float64(max(1, o.after.at-o.before.at)) * 100
	return tasks - own
}

// outside are the CPUs that neither end counts.
func (o *others) outside() []int {
	var cpus []int
	if o.p.Scope == ScopeHost {
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
func (o *others) ticks(cpus []int, of func(*procfile.CPU) uint64) float64 {
	sum := 0.0
	for _, n := range cpus {
		if n < len(o.first) && n < len(o.last) {
			was, is := of(&o.first[n]), of(&o.last[n])
			sum += float64(is - min(is, was))
		}
	}
	return sum / procfile.Hz * 100
}

// printable keeps a program's name, which it chose itself, on its line.
func printable(name string) string { return strings.Trim(strconv.Quote(name), `"`) }

// cpuList writes sorted CPUs as the kernel does: "0-3,8".
func cpuList(cpus []int) string {
	var parts []string
	for i := 0; i < len(cpus); {
		k := i
		for k+1 < len(cpus) && cpus[k+1] == cpus[k]+1 {
			k++
		}
		if part := strconv.Itoa(cpus[i]); k > i {
			parts = append(parts, part+"-"+strconv.Itoa(cpus[k]))
		} else {
			parts = append(parts, part)
		}
		i = k + 1
	}
	return strings.Join(parts, ",")
}

// kinOf are the processes of a run, for both of its ends.
func kinOf(clients ...*Client) []Process {
	all := map[Process]bool{ThisProcess(): true}
	for _, c := range clients {
		if c != nil {
			all[c.Welcome.Process] = true
		}
	}
	delete(all, Process{})
	return slices.Collect(maps.Keys(all))
}
