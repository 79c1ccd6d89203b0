package cpuclock

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
)

// The clock that was chosen is right about work in bursts long and short and
// about softirqs, and ticks are not, where they are sampled. Rounds in which
// strangers used the CPU are not judged.
func TestPlanted(t *testing.T) {
	const rounds = 60
	spell := 400 * time.Millisecond
	tolerance := 1.5 // percent of a CPU
	if os.Getenv("ZCBENCH_LAB") != "" {
		tolerance = 3 // an emulated CPU changes its pace
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
	type verdict struct{ truth, chosen, ticks float64 }
	verdicts := map[string]verdict{}
	var plan []load
	for _, busy := range []time.Duration{30, 100, 500, 5000} {
		for _, cycles := range []time.Duration{10, 4, 2} { // 10, 25 and 50 %
			plan = append(plan, burst{busy * time.Microsecond, (cycles - 1) * busy * time.Microsecond})
		}
	}
	plan = append(plan, softirqs{})
	for round, next := 0, 0; round < rounds && len(verdicts) < len(plan); round, next = round+1, next+1 {
		l := plan[next%len(plan)]
		for _, done := verdicts[l.String()]; done; _, done = verdicts[l.String()] {
			next++
			l = plan[next%len(plan)]
		}
		cpu := cpus[round%len(cpus)]
		before, forks := strangers(cpu), forked(t)
		b, err := newBench(cpu, cpus, spell, all, stat)
		if err != nil {
			t.Fatal(err)
		}
		if b.base > tooBusy {
			continue
		}
		r, err := b.plant(l)
		if err != nil {
			t.Fatal(err)
		}
		// Over the three spells; each in which one ran may be the one that is
		// judged.
		used := 100 * float64(strangers(cpu)-before) / float64(spell)
		if used >= 1 || forked(t)-forks > 3 {
			continue
		}
		// What the truth is nearest to.
		v := verdict{min(max(r.said[chosen], r.low), r.high), r.said[chosen], r.said[ticks]}
		verdicts[l.String()] = v
		t.Logf("%-12s truth %.1f to %.1f, %s %.1f, ticks %.1f; strangers %.2f", l, r.low, r.high, c.Method, v.chosen, v.ticks, used)
	}
	if len(verdicts) < len(plan)/2 {
		t.Skipf("only %d of %d loads met a quiet moment in %d rounds: other programs use these CPUs", len(verdicts), len(plan), rounds)
	}
	worst := 0.0
	for l, v := range verdicts {
		if d := math.Abs(v.chosen - v.truth); d > tolerance && d > c.Error {
			t.Errorf("%s: %s says %.1f%%, the truth is %.1f%%", l, c.Method, v.chosen, v.truth)
		}
		worst = max(worst, math.Abs(v.ticks-v.truth))
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
	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- onCPU(cpu, func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
			}
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
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	// The visitor went home.
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() != len(cpus) {
		t.Errorf("this thread may run on %d CPUs, %v", set.Count(), err)
	}
}

// strangers is the run time, ns, of all threads but this process' that were last
// seen on a CPU.
func strangers(cpu int) (ns int64) {
	own := strconv.Itoa(os.Getpid())
	dirs, _ := filepath.Glob("/proc/[0-9]*/task/*")
	for _, d := range dirs {
		if strings.Split(d, "/")[2] == own {
			continue
		}
		b, _ := os.ReadFile(d + "/stat")
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 37 || f[36] != strconv.Itoa(cpu) {
			continue
		}
		b, _ = os.ReadFile(d + "/schedstat")
		if f := strings.Fields(string(b)); len(f) > 0 {
			v, _ := strconv.ParseInt(f[0], 10, 64)
			ns += v
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
