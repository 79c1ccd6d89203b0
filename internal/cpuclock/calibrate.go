package cpuclock

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"zcbench/internal/abi"
	"zcbench/internal/procfile"

	"golang.org/x/sys/unix"
)

// Calibration is which clock was right on this host.
type Calibration struct {
	Method string `json:"method"`
	// Error is how far it was off at worst, in percent of one CPU; where others
	// disturbed all trials, how far it may be off by them; 0: not known.
	Error float64 `json:"error"`
	// Second is another clock that was right too, "" where there is none.
	Second string `json:"second,omitempty"`
	// Errors are those of all that were tried.
	Errors map[string]float64 `json:"errors,omitempty"`
	// Noisy says that others kept the CPUs too busy to know more: Method was not
	// found wrong, and may be.
	Noisy bool `json:"noisy,omitempty"`
}

// loads are what the candidates are tried on: tasks that work in bursts shorter
// and longer than a timer tick, and interrupts without a task. They leave room, for
// any clock is right about a CPU that is never idle.
var loads = []load{burst{30 * time.Microsecond, 120 * time.Microsecond}, burst{100 * time.Microsecond, 200 * time.Microsecond},
	burst{2 * time.Millisecond, 6 * time.Millisecond}, softirqs{}}

// possible are the loads that can be planted here. Where the loopback interface is
// down, as in a bare network namespace, nothing can be sent for softirqs to handle;
// bursts tell right clocks from wrong ones too.
func possible() []load {
	from, to, err := loopback()
	if err != nil {
		return slices.DeleteFunc(slices.Clone(loads), func(l load) bool { return l == softirqs{} })
	}
	unix.Close(from)
	unix.Close(to)
	return loads
}

const (
	// spell is how long a load runs, once beside a watch and once alone.
	spell = 170 * time.Millisecond
	// tries are made while others disturb them, none after enough: the other end of
	// a run waits.
	tries  = 6
	enough = 5 * time.Second
	// right is the error of a clock that is good enough, and resolution what cannot be told from 0 in a spell; percent of one CPU.
	right      = 2.5
	resolution = 1.0
	// tooBusy is what others may take of a CPU, an emulator included, for a try
	// to make sense, and full what all together may: any clock is right about a CPU
	// that is never idle.
	tooBusy = 50.0
	full    = 90.0
)

// calibrate tries all clocks on one of cpus after the other until one is right.
func calibrate(cpus, allowed []int) (Calibration, error) {
	stat, err := procfile.OpenStat("/")
	if err != nil {
		return Calibration{}, err
	}
	defer stat.Close()
	list := candidates("/", cpus)
	defer list.close()
	defer hush()()
	var all []trial
	var c Calibration
	loads, began := possible(), time.Now()
	told := map[load]bool{} // all there is to know
	for i := range tries {
		if i > 0 && time.Since(began) > enough {
			break
		}
		b, err := newBench(cpus[i%len(cpus)], allowed, spell, list, stat)
		for _, l := range loads {
			var t trial
			if err == nil && !told[l] && b.room > 100-full && time.Since(began) < enough {
				if t, err = b.plant(l); err == nil && t.tells() {
					all = append(all, t)
					told[l] = t.exact
				}
			}
		}
		if err != nil {
			return c, fmt.Errorf("calibrate the clocks of CPU time: %w", err)
		}
		if c = judge(list, all, len(loads)); !c.Noisy {
			break
		}
	}
	return c, nil
}

// hush keeps the Go runtime from working beside a load, until what it gives is
// called.
func hush() (end func()) {
	debug.FreeOSMemory() // all at once, so that nothing is left to do
	percent, procs := debug.SetGCPercent(-1), runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(max(procs, 6))
	return func() {
		runtime.GOMAXPROCS(procs)
		debug.SetGCPercent(percent)
	}
}

// judge chooses a clock by all trials. Whoever runs beside a trial only adds to
// what a right clock says. So a clock that ever said too little is wrong; of one
// that said too much nothing is known, unless it did not once, or the trials have
// the others' time in them. Of so many loads none may be missing: each tells other
// clocks apart.
func judge(list list, trials []trial, loads int) Calibration {
	c := Calibration{Errors: map[string]float64{}}
	best, fewest := math.Inf(1), math.Inf(1)
	under, over, bound := map[string]float64{}, map[string]float64{}, map[string]float64{}
	exact, tried := len(trials) > 0, map[string]bool{}
	for _, t := range trials {
		exact = exact && t.exact
		tried[t.load] = true
	}
	for i, m := range list {
		if m.aid {
			continue
		}
		least, nearest := map[string]float64{}, map[string]float64{}
		for _, t := range trials {
			under[m.name] = max(under[m.name], t.low-t.said[i])
			keepLeast(least, t.load, t.said[i]-t.high)
			keepLeast(nearest, t.load, max(t.said[i]-t.low, t.high+t.others-t.said[i]))
		}
		for load, v := range least {
			over[m.name], bound[m.name] = max(over[m.name], v), max(bound[m.name], nearest[load])
		}
		c.Errors[m.name] = rounded(max(under[m.name], over[m.name], resolution))
		best, fewest = min(best, c.Errors[m.name]), min(fewest, max(under[m.name], resolution))
	}
	// Ticks too are only added to by others, and so may seem right by chance. They
	// are out while anything else never said too little.
	byChance := false
	for name, u := range under {
		byChance = byChance || name != Ticks && u <= right
	}
	if byChance {
		best = math.Inf(1)
		for name, e := range c.Errors {
			if name != Ticks {
				best = min(best, e)
			}
		}
	}
	if len(tried) < loads || !exact && best > right && fewest <= right {
		c.Noisy = true
		c.Method = guess(list, under)
		if len(tried) == loads {
			c.Error = rounded(max(under[c.Method], bound[c.Method], resolution))
		}
		return c
	}
	// In the order of the list: a later one must be clearly better.
	for _, m := range list {
		if e, ok := c.Errors[m.name]; ok && e <= best+resolution {
			c.Method, c.Error = m.name, e
			break
		}
	}
	for _, m := range list {
		if e, ok := c.Errors[m.name]; ok && e <= right && source(m.name) != source(c.Method) && m.name != Ticks {
			c.Second = m.name
			break
		}
	}
	return c
}

// guess is one of those that never said too little. What tasks had is known to
// miss interrupts at most, which a run says of it; how much the others miss where
// they are wrong, nobody knows.
func guess(list list, under map[string]float64) string {
	for _, name := range []string{SchedstatInterrupts, CPUAcctInterrupts, Schedstat, CPUAcct} {
		if list.find(name) >= 0 && under[name] <= right {
			return name
		}
	}
	for _, m := range list {
		if !m.aid && under[m.name] <= right {
			return m.name
		}
	}
	return list[0].name
}

func keepLeast(m map[string]float64, key string, v float64) {
	if was, ok := m[key]; !ok || v < was {
		m[key] = v
	}
}

func rounded(percent float64) float64 { return math.Round(percent*10) / 10 }

// trial is how busy a load kept its CPU, in percent, and what each candidate said
// of it.
type trial struct {
	load string
	own  float64 // by the clock of the load's thread
	// The truth lies between these. Low is what tasks and interrupts without one
	// took, high what a watch had to do without: for it, changing from and to the
	// load took longer than idleness does.
	low, high float64
	exact     bool    // all who ran are in low; else only the load, and other tasks where they are known
	others    float64 // what else may be in the truth then
	said      []float64
	starved   bool // the clocks could not be asked often enough: nothing follows
}

// tells says that a trial can tell clocks apart.
func (t *trial) tells() bool { return !t.starved && t.low <= full && t.others <= tooBusy }

// bench is where loads are planted and by what they are judged.
type bench struct {
	cpu   int
	aside int // the CPU that reads the clocks meanwhile, another one where there is one
	spell time.Duration
	list  list
	stat  *procfile.Stat
	// tasks and interrupts are the places of the methods that know what all tasks
	// took, and interrupts without one; -1: none does.
	tasks, interrupts int
	// base is what the CPU does not give to the only one who asks, in percent:
	// an emulator takes it, or others of whom nothing is known. Room is what it gives
	// to who asks last.
	base, room float64
}

func newBench(cpu int, allowed []int, spell time.Duration, list list, stat *procfile.Stat) (*bench, error) {
	b := &bench{cpu: cpu, aside: allowed[0], spell: spell, list: list, stat: stat}
	if b.aside == cpu {
		b.aside = allowed[len(allowed)-1]
	}
	b.tasks, b.interrupts = list.find(Schedstat, CPUAcct), list.find(interruptsAlone)
	taken, err := b.watched(nil)
	b.base, b.room = taken.beyond, 100-taken.all
	return b, err
}

// plant runs a load twice: beside a watch, and alone.
func (b *bench) plant(l load) (t trial, err error) {
	taken, err := b.watched(l)
	if err == nil {
		t, err = b.timed(l)
	}
	if err != nil {
		return t, fmt.Errorf("%s on CPU %d: %w", l, b.cpu, err)
	}
	left := b.base * (1 - t.own/100)
	beyond := max(0, taken.beyond-left)
	tasks, interrupts := t.own, 0.0
	if b.tasks >= 0 {
		tasks = max(tasks, t.said[b.tasks]) // strangers among them
	}
	if b.interrupts >= 0 {
		interrupts = max(0, t.said[b.interrupts])
	} else if _, ok := l.(softirqs); ok {
		interrupts = beyond / 2
	}
	if t.exact = b.tasks >= 0 && b.interrupts >= 0; !t.exact {
		t.others = left
	}
	t.low, t.high = min(100, tasks+interrupts), tasks+max(beyond, interrupts)
	t.high = max(t.low, min(100, t.high))
	return t, nil
}

// taken is what a watch did without, in percent of the CPU: all, and beyond what
// tasks took, as far as they are known.
type taken struct{ all, beyond float64 }

// watched runs a load beside a watch.
func (b *bench) watched(l load) (t taken, err error) {
	before, err := b.allTasks()
	if err != nil {
		return t, err
	}
	from := monotonic()
	until := from + int64(b.spell)
	type answer struct{ taken, own time.Duration }
	watched := make(chan answer, 1)
	go func() {
		var a answer
		_ = onCPU(b.cpu, func() error { // where it may not run, it saw nothing
			a.taken = watch(from, until)
			a.own = threadTime()
			return nil
		})
		watched <- a
	}()
	var own time.Duration
	if l != nil {
		err = onCPU(b.cpu, func() error {
			own = threadTime()
			err := l.run(until)
			own = threadTime() - own
			return err
		})
	}
	a := <-watched
	after, other := before, err
	if after, err = b.allTasks(); err == nil {
		err = other
	}
	strangers := max(0, after-before-a.own-own)
	share := func(d time.Duration) float64 { return float64(d) / float64(b.spell) * 100 }
	return taken{share(a.taken), share(a.taken - own - strangers)}, err
}

// allTasks is what all tasks have used of the CPU, 0 where that is not known.
func (b *bench) allTasks() (time.Duration, error) {
	if b.tasks < 0 {
		return 0, nil
	}
	to := make([]int64, b.cpu+1)
	err := b.list[b.tasks].read(0, nil, to)
	return time.Duration(to[b.cpu]), err
}

// timed runs a load alone, and meanwhile asks the candidates over and over, from
// another CPU where there is one: how fast their figures grow is known better
// than the ticks that some count in.
func (b *bench) timed(l load) (t trial, err error) {
	t = trial{load: l.String(), said: make([]float64, len(b.list))}
	began := monotonic() + int64(5*time.Millisecond)
	until := began + int64(b.spell)
	ended := make(chan error, 1)
	var own time.Duration
	var span int64
	go func() {
		ended <- onCPU(b.cpu, func() error {
			abi.SleepUntil(began)
			from := monotonic()
			own = threadTime()
			err := l.run(until)
			own, span = threadTime()-own, monotonic()-from
			return err
		})
	}()
	lines := make([]line, len(b.list))
	points := make([]point, len(b.list))
	to := make([]int64, b.cpu+1)
	last, longest := began, int64(0) // time without a reading
	least := int64(b.spell)
	err = onCPU(b.aside, func() error {
		for next := began; next < until-int64(time.Millisecond); {
			abi.SleepUntil(next)
			before := monotonic()
			if err := b.stat.Read(); err != nil {
				return err
			}
			for i := range b.list {
				clear(to)
				at := monotonic()
				if err := b.list[i].read(at, b.stat, to); err != nil {
					return err
				}
				points[i] = point{float64(at - began), float64(to[b.cpu])}
			}
			took := monotonic() - before
			// A reading takes longer where there are many CPUs.
			next = before + max(int64(time.Millisecond), 4*took)
			if least = min(least, took); took > 4*least+int64(300*time.Microsecond) {
				continue // interrupted, and so some are later than others
			}
			last, longest = before, max(longest, before-last)
			for i := range lines {
				lines[i].add(points[i])
			}
		}
		return nil
	})
	if err = errors.Join(err, <-ended); err != nil {
		return t, err
	}
	t.starved = max(longest, until-last) > int64(b.spell)/5
	t.own = float64(own) / float64(span) * 100
	for i := range lines {
		t.said[i] = lines[i].slope() * 100
	}
	return t, nil
}

// line fits a straight line through points.
type line struct{ n, x, y, xx, xy, first float64 }

type point struct{ x, y float64 }

func (l *line) add(p point) {
	if l.n == 0 {
		l.first = p.y
	}
	x, y := p.x, p.y-l.first
	l.n++
	l.x += x
	l.y += y
	l.xx += x * x
	l.xy += x * y
}

func (l *line) slope() float64 {
	d := l.n*l.xx - l.x*l.x
	if d == 0 {
		return 0
	}
	return (l.n*l.xy - l.x*l.y) / d
}
