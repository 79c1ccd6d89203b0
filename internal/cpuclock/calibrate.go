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
	// Error is how far it was off at worst, in percent of one CPU.
	Error float64 `json:"error"`
	// Second is another clock that was right too, "" where there is none.
	Second string `json:"second,omitempty"`
	// Errors are those of all that were tried.
	Errors map[string]float64 `json:"errors,omitempty"`
	// Noisy says that others kept the CPUs too busy to tell the clocks apart:
	// Method is a guess, and nothing is known of its error.
	Noisy bool `json:"noisy,omitempty"`
}

// loads are what the candidates are tried on: tasks that work in bursts shorter
// and longer than a timer tick, and interrupts without a task.
var loads = []load{burst{30 * time.Microsecond, 120 * time.Microsecond}, burst{100 * time.Microsecond, 100 * time.Microsecond}, burst{2 * time.Millisecond, 2 * time.Millisecond}, softirqs{}}

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
	// tries are made while others disturb them.
	tries = 3
	// right is the error of a clock that is good enough, and resolution what cannot be told from 0 in a spell; percent of one CPU.
	right      = 2.5
	resolution = 1.0
	// tooBusy is what others may take of a CPU, an emulator included, for a try
	// to make sense.
	tooBusy = 50.0
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
	for i := range tries {
		b, err := newBench(cpus[i%len(cpus)], allowed, spell, list, stat)
		for _, l := range possible() {
			var t trial
			if err == nil && b.base <= tooBusy {
				if t, err = b.plant(l); err == nil && !t.starved {
					all = append(all, t)
				}
			}
		}
		if err != nil {
			return c, fmt.Errorf("calibrate the clocks of CPU time: %w", err)
		}
		if c = judge(list, all); !c.Noisy {
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
// that said too much nothing is known, unless it did not once.
func judge(list list, trials []trial) Calibration {
	c := Calibration{Errors: map[string]float64{}}
	best, fewest := math.Inf(1), math.Inf(1)
	under, over := map[string]float64{}, map[string]float64{}
	for i, m := range list {
		if m.aid {
			continue
		}
		least := map[string]float64{}
		for _, t := range trials {
			under[m.name] = max(under[m.name], t.low-t.said[i])
			if v, ok := least[t.load]; !ok || t.said[i]-t.high < v {
				least[t.load] = t.said[i] - t.high
			}
		}
		for _, v := range least {
			over[m.name] = max(over[m.name], v)
		}
		c.Errors[m.name] = math.Round(max(under[m.name], over[m.name], resolution)*10) / 10
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
	if len(trials) == 0 || best > right && fewest <= right {
		// Noise. It does not matter where one source alone never said too little,
		// or where all that did not said the same.
		var left []string
		var where []int
		for i, m := range list {
			if !m.aid && under[m.name] <= right {
				left, where = append(left, m.name), append(where, i)
			}
		}
		c.Noisy = len(trials) == 0
		for i := range left {
			for _, t := range trials {
				if source(left[i]) != source(left[0]) && math.Abs(t.said[where[i]]-t.said[where[0]]) > right {
					c.Noisy = true
				}
			}
		}
		c.Method = left[0]
		if c.Noisy && slices.Contains(left, SchedstatInterrupts) {
			c.Method = SchedstatInterrupts // was right on all kernels so far, while it is not everywhere
		}
		c.Error = math.Round(max(under[c.Method], resolution)*10) / 10
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

// trial is how busy a load kept its CPU, in percent, and what each candidate said
// of it.
type trial struct {
	load string
	own  float64 // by the clock of the load's thread
	// The truth lies between these. Low is what the load's thread and
	// interrupts without a task took, high what a watch had to do without: for
	// it, changing from and to the load took longer than idleness does.
	low, high float64
	said      []float64
	starved   bool // the clocks could not be asked often enough: nothing follows
}

// bench is where loads are planted and by what they are judged.
type bench struct {
	cpu   int
	aside int // the CPU that reads the clocks meanwhile, another one where there is one
	spell time.Duration
	list  list
	stat  *procfile.Stat
	// base is what the CPU does not give to the only one who asks, in percent:
	// others, or an emulator, take it.
	base float64
}

func newBench(cpu int, allowed []int, spell time.Duration, list list, stat *procfile.Stat) (*bench, error) {
	b := &bench{cpu: cpu, aside: allowed[0], spell: spell, list: list, stat: stat}
	if b.aside == cpu {
		b.aside = allowed[len(allowed)-1]
	}
	var err error
	b.base, err = b.watched(nil)
	return b, err
}

// plant runs a load twice: beside a watch, and alone.
func (b *bench) plant(l load) (trial, error) {
	beyond, err := b.watched(l)
	var t trial
	if err == nil {
		t, err = b.timed(l)
	}
	if err != nil {
		return t, fmt.Errorf("%s on CPU %d: %w", l, b.cpu, err)
	}
	beyond = max(0, beyond-b.base*(1-t.own/100))
	interrupts, known := 0.0, false
	for i, m := range b.list {
		if m.aid {
			interrupts, known = max(0, t.said[i]), true
		}
	}
	if _, ok := l.(softirqs); ok && !known {
		interrupts = beyond / 2
	}
	tasks := t.own
	for i, m := range b.list {
		if m.name == Schedstat {
			tasks = max(tasks, t.said[i]) // strangers among them
		}
	}
	t.low, t.high = min(100, tasks+interrupts), t.own+max(beyond, interrupts)
	t.high = max(t.low, min(100, t.high))
	return t, nil
}

// watched runs a load beside a watch and gives what the watch did without beyond
// the load's own time, in percent of the CPU.
func (b *bench) watched(l load) (beyond float64, err error) {
	until := monotonic() + int64(b.spell)
	taken := make(chan time.Duration, 1)
	go func() {
		if onCPU(b.cpu, func() error {
			taken <- watch(until)
			return nil
		}) != nil {
			taken <- 0
		}
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
	return float64(<-taken-own) / float64(b.spell) * 100, err
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
	to := make([]int64, b.cpu+1)
	last, longest := began, int64(0) // time without a reading
	err = onCPU(b.aside, func() error {
		for next := began; next < until-int64(time.Millisecond); {
			abi.SleepUntil(next)
			before := monotonic()
			last, longest = before, max(longest, before-last)
			if err := b.stat.Read(); err != nil {
				return err
			}
			for i := range b.list {
				clear(to)
				at := monotonic()
				if err := b.list[i].read(at, b.stat, to); err != nil {
					return err
				}
				lines[i].add(float64(at-began), float64(to[b.cpu]))
			}
			// A reading takes longer where there are many CPUs.
			next = before + max(int64(time.Millisecond), 4*(monotonic()-before))
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

func (l *line) add(x, y float64) {
	if l.n == 0 {
		l.first = y
	}
	y -= l.first
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
