package cpuclock

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
	"zcbench/internal/testutil/tier"
)

// What a calibration under others' load says of its clock's error covers what the
// clock is off by in windows under such load. ZCBENCH_ROUNDS windows are tried;
// without it a few.
func TestBound(t *testing.T) {
	tier.Long(t)
	const window, each = time.Second, 10
	rounds := 5
	if text := os.Getenv("ZCBENCH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	stat, err := procfile.OpenStat("/")
	if err != nil {
		t.Fatal(err)
	}
	defer stat.Close()
	cpus := allowed(t)
	truth, err := openTruth()
	if err != nil {
		t.Skip(err)
	}
	defer truth.close()
	plan := []load{
		burst{30 * time.Microsecond, 270 * time.Microsecond}, burst{30 * time.Microsecond, 30 * time.Microsecond}, burst{100 * time.Microsecond,
			300 * time.Microsecond},
		burst{500 * time.Microsecond, 1500 * time.Microsecond}, burst{5 * time.Millisecond, 15 * time.Millisecond}, softirqs{},
	}
	covered, missed, unknown := 0, 0, 0
	for round := 0; round < rounds; {
		cpu := cpus[round/each%len(cpus)]
		busy := time.Duration(100+rand.IntN(6000)) * time.Microsecond
		share := 0.3 + 0.3*rand.Float64()
		stranger := burst{busy, time.Duration(float64(busy) * (1 - share) / share)}
		stop := stranger.beside(cpu)
		c, err := calibrate([]int{cpu}, cpus)
		if err != nil {
			stop()
			t.Fatal(err)
		}
		t.Logf("beside %v (%.0f%%): %+v", stranger, 100*share, c)
		k, err := Open(c, []int{cpu})
		if err != nil {
			stop()
			t.Fatal(err)
		}
		k.visits = make([]unix.CPUSet, 1) // the truth too is summed when a task leaves the CPU
		k.visits[0].Set(cpu)
		for range min(each, rounds-round) {
			round++
			l := plan[rand.IntN(len(plan))]
			first := look(t, k, truth, stat)
			err := onCPU(cpu, func() error { return l.run(first.to + int64(window)) })
			last := look(t, k, truth, stat)
			if err != nil {
				t.Fatal(err)
			}
			// A window is as long as from reading to reading, which take their time.
			scale := 100 / float64(last.from-first.from)
			said := float64(last.said-first.said) * scale
			low, high := float64(last.before.least-first.after.least)*scale, float64(last.after.most-first.before.most)*scale
			off := away(said, min(100, low), max(low, min(100, high)))
			bound := c.Error + float64(last.to-last.from+first.to-first.from)*scale
			switch c.Method {
			case Idle, Ticks:
				bound += 2 * tick * scale
			case Schedstat, CPUAcct:
				bound = max(bound, 100-said) // it may all be softirq
			}
			text := fmt.Sprintf("%-12s truth %5.1f to %5.1f, %s %.1f: off by %.1f, stated %.1f", l, low, high, c.Method, said, off, bound)
			switch {
			case c.Noisy:
				unknown++
				text += ", a guess"
			case math.Abs(off) <= bound:
				covered++
			default:
				missed++
				text += " MISSED"
			}
			t.Log(text)
		}
		k.Close()
		stop()
	}
	t.Logf("the stated error covered %d of %d windows; %d more had none", covered, covered+missed, unknown)
	if missed > max(1, rounds/20) {
		t.Errorf("it covered too few")
	}
}

// busy is the truth: the least and the most that a CPU was busy so far, ns.
type busy struct{ least, most int64 }

// looked is one reading of a clock, with the truth before and after it.
type looked struct {
	from, to      int64 // CLOCK_MONOTONIC
	said          int64 // ns
	before, after busy
}

func look(t *testing.T, k *Clock, truth *truth, stat *procfile.Stat) (l looked) {
	t.Helper()
	cpu := k.cpus[0]
	to := make([]int64, cpu+1)
	ask := func() (b busy) {
		if err := (atLeast{truth}).read(0, nil, to); err != nil {
			t.Fatal(err)
		}
		b.least = to[cpu]
		if err := (atMost{truth}).read(monotonic(), nil, to); err != nil {
			t.Fatal(err)
		}
		b.most = to[cpu]
		return b
	}
	k.visit()
	l.before = ask()
	l.from = monotonic()
	if err := k.Read(stat); err != nil {
		t.Fatal(err)
	}
	l.to = monotonic()
	l.said = k.list[0].busy[k.cpus[0]]
	l.after = ask()
	return l
}

// beside runs a burst on a CPU until it is stopped.
func (b burst) beside(cpu int) (stop func()) {
	ended := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = onCPU(cpu, func() error {
			for {
				select {
				case <-ended:
					return nil
				default:
				}
				_ = b.run(monotonic() + int64(20*time.Millisecond))
			}
		})
	}()
	return func() {
		close(ended)
		<-done
	}
}
