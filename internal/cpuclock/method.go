package cpuclock

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"zcbench/internal/procfile"
)

// method is one way to know how long each CPU was busy.
type method interface {
	// read puts the busy time of each CPU so far, by number, into to, in ns from
	// any beginning; now is CLOCK_MONOTONIC and stat was read at that time.
	read(now int64, stat *procfile.Stat, to []int64) error
	close()
}

// The methods' names.
const (
	Ticks               = "ticks"
	Idle                = "idle"
	CPUIdle             = "cpuidle"
	Schedstat           = "schedstat"
	SchedstatInterrupts = "schedstat+interrupts"
	CPUAcct             = "cpuacct"
	CPUAcctInterrupts   = "cpuacct+interrupts"
)

// Tasks says that a method has the time of tasks alone: a visit sums up what the
// task that has the CPU used.
func Tasks(name string) bool { return name == Schedstat || name == CPUAcct }

// Idling says that a method takes for busy what is not idle, and so counts the
// kernel's way into idleness and out of it, which is no task's time and no
// interrupt's.
func Idling(name string) bool { return name == Idle || name == CPUIdle }

// base is the method that another adds interrupts to.
func base(name string) string {
	name, _, _ = strings.Cut(name, "+")
	return name
}

// source is whose accounting a method reads: those of one source do not confirm
// each other.
func source(name string) string {
	if Tasks(base(name)) {
		return "the scheduler"
	}
	return name
}

// interruptsAlone is what interrupts took while there was no task: no clock, but
// clocks are judged by it.
const interruptsAlone = "interrupts"

// candidate is a method that this host and this user have.
type candidate struct {
	name string
	method
	aid bool // no clock by itself
}

type list []candidate

// candidates opens all methods, those first that are preferred when they are
// equally right: what needs no visits and no rights, and ticks last, which are
// right by chance for a while.
func candidates(root string, cpus []int) list {
	l := list{{name: Idle, method: idle{}}}
	for _, name := range []string{CPUIdle, SchedstatInterrupts, CPUAcctInterrupts, Schedstat, CPUAcct} {
		if m, err := open(name, root, cpus); err == nil {
			l = append(l, candidate{name: name, method: m})
		}
	}
	l = append(l, candidate{name: Ticks, method: ticks{}})
	if m, err := openInterrupts(); err == nil {
		l = append(l, candidate{name: interruptsAlone, method: m, aid: true})
	}
	return l
}

// available gives the names of what candidates would open, without any interrupt
// being looked at.
func available(root string, cpus []int) (names []string) {
	may := mayInterrupts()
	names = []string{Idle}
	add := func(name, shown string) {
		if m, err := open(name, root, cpus); err == nil {
			m.close()
			names = append(names, shown)
		}
	}
	add(CPUIdle, CPUIdle)
	if may {
		add(Schedstat, SchedstatInterrupts)
		add(CPUAcct, CPUAcctInterrupts)
	}
	add(Schedstat, Schedstat)
	add(CPUAcct, CPUAcct)
	names = append(names, Ticks)
	if may {
		names = append(names, interruptsAlone)
	}
	return names
}

// find gives the place of the first that is there of some, -1: of none.
func (l list) find(names ...string) int {
	for _, name := range names {
		if i := slices.IndexFunc(l, func(c candidate) bool { return c.name == name }); i >= 0 {
			return i
		}
	}
	return -1
}

func (l list) close() {
	for _, c := range l {
		c.close()
	}
}

// open opens a method for some CPUs.
func open(name, root string, cpus []int) (method, error) {
	switch name {
	case Ticks:
		return ticks{}, nil
	case Idle:
		return idle{}, nil
	case CPUIdle:
		return openCPUIdle(root, cpus)
	case Schedstat:
		return openSchedstat(root)
	case CPUAcct:
		return openCPUAcct(root)
	case SchedstatInterrupts, CPUAcctInterrupts:
		tasks, err := open(base(name), root, cpus)
		if err != nil {
			return nil, err
		}
		in, err := openInterrupts()
		if err != nil {
			tasks.close()
			return nil, err
		}
		return withInterrupts{tasks, in}, nil
	}
	return nil, fmt.Errorf("no clock of CPU time is called %q", name)
}

const tick = 1e9 / procfile.Hz // ns

// ticks: the columns of /proc/stat but idle and iowait. Where the kernel looks
// at what a CPU does at each timer tick, it misses bursts between ticks. Time
// that a hypervisor took (steal) counts as busy.
type ticks struct{}

func (ticks) read(_ int64, stat *procfile.Stat, to []int64) error {
	for n := range min(len(to), len(stat.CPUs)) {
		to[n] = int64(stat.CPUs[n].Busy()) * tick
	}
	return nil
}

func (ticks) close() {}

// idle: what /proc/stat does not give as idle or iowait, which kernels with
// NO_HZ measure. Time that a hypervisor took from a busy CPU is busy.
type idle struct{}

func (idle) read(now int64, stat *procfile.Stat, to []int64) error {
	for n := range min(len(to), len(stat.CPUs)) {
		to[n] = now - int64(stat.CPUs[n].Idle+stat.CPUs[n].Iowait)*tick
	}
	return nil
}

func (idle) close() {}

// schedstat: how long tasks ran on each CPU, with the interrupts and what a
// hypervisor took on top of them. The kernel adds a task's time when it leaves
// the CPU: a visit makes it.
type schedstat struct {
	file *procfile.File
}

func openSchedstat(root string) (*schedstat, error) {
	f, err := procfile.Open(root, "proc/schedstat")
	if err != nil {
		return nil, err
	}
	s := &schedstat{f}
	if err := s.read(0, nil, nil); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *schedstat) read(_ int64, _ *procfile.Stat, to []int64) error {
	b, err := s.file.Read()
	if err != nil {
		return err
	}
	return parseSchedstat(b, to)
}

// parseSchedstat reads versions 15 to 17, whose lines for CPUs are alike: the
// number that matters is the seventh.
func parseSchedstat(b []byte, to []int64) error {
	line := procfile.Line(&b)
	if word := procfile.Word(&line); string(word) != "version" {
		return fmt.Errorf("/proc/schedstat begins with %q", word)
	}
	version, _, ok := procfile.Uint(line)
	if !ok || version < 15 || version > 17 {
		return fmt.Errorf("/proc/schedstat has version %q; zcbench knows 15 to 17", line)
	}
	for len(b) > 0 {
		line := procfile.Line(&b)
		name := procfile.Word(&line)
		if len(name) < 4 || string(name[:3]) != "cpu" {
			continue
		}
		n, _, ok := procfile.Uint(name[3:])
		var v uint64
		for i := 0; i < 7 && ok; i++ {
			v, line, ok = procfile.Uint(line)
		}
		if !ok {
			return fmt.Errorf("/proc/schedstat: no run time of %q", name)
		}
		if n < uint64(len(to)) {
			to[n] = int64(v)
		}
	}
	return nil
}

func (s *schedstat) close() { s.file.Close() }

// withInterrupts adds to the run time of tasks what ran while there was none.
type withInterrupts struct {
	tasks method
	*interrupts
}

func (w withInterrupts) read(now int64, stat *procfile.Stat, to []int64) error {
	if err := w.tasks.read(now, stat, to); err != nil {
		return err
	}
	return w.interrupts.add(to)
}

func (w withInterrupts) close() {
	w.tasks.close()
	w.interrupts.close()
}

// cpuidle: what the driver of the idle states did not measure as spent in one.
// A spell of idleness is added when it ends: a visit
// ends it.
type cpuidle struct {
	files [][]*procfile.File // by CPU
}

func openCPUIdle(root string, cpus []int) (_ *cpuidle, err error) {
	c := &cpuidle{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	for _, n := range cpus {
		for len(c.files) <= n {
			c.files = append(c.files, nil)
		}
		for state := 0; ; state++ {
			f, err := procfile.Open(root, filepath.Join("sys/devices/system/cpu", fmt.Sprintf("cpu%d/cpuidle/state%d/time", n, state)))
			if errors.Is(err, fs.ErrNotExist) && state > 0 {
				break
			}
			if err != nil {
				return nil, err
			}
			c.files[n] = append(c.files[n], f)
		}
	}
	return c, nil
}

func (c *cpuidle) read(now int64, _ *procfile.Stat, to []int64) error {
	for n := range min(len(to), len(c.files)) {
		if c.files[n] == nil {
			continue
		}
		v := now
		for _, f := range c.files[n] {
			us, err := f.Int()
			if err != nil {
				return err
			}
			v -= us * 1000
		}
		to[n] = v
	}
	return nil
}

func (c *cpuidle) close() {
	for _, states := range c.files {
		for _, f := range states {
			f.Close()
		}
	}
}
