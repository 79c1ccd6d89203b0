package cpuclock

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
)

// The clock that was chosen is right about work in bursts long and short and
// about softirqs, and ticks are not, where they are sampled. Rounds in which
// strangers used the CPU are not judged.
func TestPlanted(t *testing.T) {
	spell := 400 * time.Millisecond
	// In percent of a CPU.
	tolerance, few := 1.5, 1.0
	if os.Getenv("ZCBENCH_LAB") != "" {
		tolerance, few = 3, 20 // an emulated CPU is slow, for kernel threads too, and changes its pace
	}
	stat, err := procfile.OpenStat("/")
	if err != nil {
		t.Fatal(err)
	}
	defer stat.Close()
	cpus := allowed(t)
	c, err := For(t.Context(), t.TempDir(), cpus, cpus)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	all := candidates("/", cpus)
	defer all.close()
	chosen, ticks := -1, -1
	for i, m := range all {
		switch m.name {
		case c.Method:
			chosen = i
		case Ticks:
			ticks = i
		}
	}
	type verdict struct{ truth, chosen, ticksTruth, ticks float64 }
	verdicts := map[string]verdict{}
	var plan []load
	for _, busy := range []time.Duration{30, 100, 500, 5000} {
		for _, cycles := range []time.Duration{10, 4, 2} { // 10, 25 and 50 %
			plan = append(plan, burst{busy * time.Microsecond, (cycles - 1) * busy * time.Microsecond})
		}
	}
	plan = append(plan, softirqs{})
	quiet := time.Now().Add(time.Minute)
	round := 0
	for ; time.Now().Before(quiet) && len(verdicts) < len(plan); round++ {
		l := plan[round%len(plan)]
		if _, done := verdicts[l.String()]; done {
			continue
		}
		cpu := cpus[round%len(cpus)]
		b, err := newBench(cpu, cpus, spell, all, stat)
		if err != nil {
			t.Fatal(err)
		}
		if b.base > tooBusy {
			continue
		}
		before, forks := strangers(), forked(t)
		end := hush()
		r, err := b.plant(l)
		end()
		if err != nil {
			t.Fatal(err)
		}
		// Over two spells: all of it may have been in the one that is judged.
		share := 100 * float64(used(before, strangers(), cpu)) / float64(spell)
		if share > few || forked(t)-forks > 3 {
			continue
		}
		r.high = min(100, r.high+share)
		// What of the truth is nearest.
		verdicts[l.String()] = verdict{min(max(r.said[chosen], r.low), r.high), r.said[chosen], min(max(r.said[ticks], r.low), r.high), r.said[ticks]}
		text := ""
		for i, m := range all {
			text += fmt.Sprintf("  %s %.1f", m.name, r.said[i])
		}
		t.Logf("%-12s own %5.1f, truth %5.1f to %5.1f:%s", l, r.own, r.low, r.high, text)
	}
	if len(verdicts) < len(plan)/2 {
		why := fmt.Sprintf("only %d of %d loads met a quiet moment in %d rounds: other programs use these CPUs", len(verdicts), len(plan), round)
		if os.Getenv("ZCBENCH_LAB") == "" {
			t.Skip(why)
		}
		t.Log(why) // no test may skip there
		return
	}
	worst := 0.0
	for l, v := range verdicts {
		if d := math.Abs(v.chosen - v.truth); d > tolerance && d > c.Error {
			t.Errorf("%s: %s says %.1f%%, the truth is %.1f%%", l, c.Method, v.chosen, v.truth)
		}
		worst = max(worst, math.Abs(v.ticks-v.ticksTruth))
	}
	t.Logf("ticks were off by up to %.1f%% of a CPU", worst)
	if c.Method != Ticks && worst < tolerance {
		t.Errorf("ticks are as good as %s here", c.Method)
	}
}

// A thread that never waits is in the figures of every sample.
func TestNeverWaits(t *testing.T) {
	cpus := allowed(t)
	stat, err := procfile.OpenStat("/")
	if err != nil {
		t.Fatal(err)
	}
	defer stat.Close()
	m, err := open(Schedstat, "/", cpus)
	if err != nil {
		t.Skip(err)
	}
	m.close()
	cpu := cpus[len(cpus)-1]
	k, err := Open(Calibration{Method: Schedstat}, []int{cpu})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- onCPU(cpu, func() error {
			for !stop.Load() {
			}
			return nil
		})
	}()
	time.Sleep(50 * time.Millisecond)
	for range 5 {
		if err := k.Read(stat); err != nil {
			t.Fatal(err)
		}
		from, busy := monotonic(), k.Busy()
		time.Sleep(100 * time.Millisecond)
		if err := k.Read(stat); err != nil {
			t.Fatal(err)
		}
		if share := (k.Busy() - busy) / (float64(monotonic()-from) / 1e9); share < 0.9 || share > 1.1 {
			t.Errorf("a CPU that is always busy: %.3f", share)
		}
	}
	stop.Store(true)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	// The visitor went home.
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() != len(cpus) {
		t.Errorf("this thread may run on %d CPUs, %v", set.Count(), err)
	}
}

// thread is one that is not this process' own: the CPU it was last seen on, and
// its run time, ns.
type thread struct {
	cpu int
	ran int64
}

func strangers() map[string]thread {
	own := strconv.Itoa(os.Getpid())
	all := map[string]thread{}
	dirs, _ := filepath.Glob("/proc/[0-9]*/task/*")
	for _, d := range dirs {
		if strings.Split(d, "/")[2] == own {
			continue
		}
		b, _ := os.ReadFile(d + "/stat")
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 37 {
			continue
		}
		var th thread
		th.cpu, _ = strconv.Atoi(f[36])
		b, _ = os.ReadFile(d + "/schedstat")
		if f := strings.Fields(string(b)); len(f) > 0 {
			th.ran, _ = strconv.ParseInt(f[0], 10, 64)
		}
		all[d] = th
	}
	return all
}

// used is how long strangers ran meanwhile that were seen on a CPU, ns.
func used(before, after map[string]thread, cpu int) (ns int64) {
	for name, th := range after {
		if was := before[name]; th.cpu == cpu || was.cpu == cpu {
			ns += th.ran - was.ran
		}
	}
	return ns
}

// forked is how many processes there were ever.
func forked(t *testing.T) int {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "processes "); ok {
			v, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatal("/proc/stat has no number of processes")
	return 0
}
