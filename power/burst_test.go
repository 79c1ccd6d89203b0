package power

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"zcbench/internal/testutil/tier"
)

// TestSpread: values that come several at once get times of their own, also of a
// first and a last burst that were cut off; values that come one by one keep
// theirs, as unevenly as they may.
func TestSpread(t *testing.T) {
	value := func(at float64) float64 { return 100 + 10*at }
	burst := func(from, to, every, step float64) (all []point) {
		n := int(math.Round(to / step))
		for i := int(math.Round(from / step)); i <= n; i++ {
			at := float64(i) * step
			all = append(all, point{math.Ceil(at/every-1e-9)*every + 1e-5*float64(i%100), value(at)})
		}
		return all
	}
	for _, c := range []struct {
		name     string
		points   []point
		size     int
		from, to float64
	}{
		{"ten each second", burst(0.1, 10, 1, 0.1), 10, 0.1, 10},
		{"the first was cut off", burst(0.7, 10, 1, 0.1), 10, 0.7, 10},
		{"the last was cut off", burst(0.1, 9.3, 1, 0.1), 10, 0.1, 9.3},
		{"six hundred each minute", burst(0.1, 180, 60, 0.1), 600, 0.1, 180},
		{"two each half second", burst(0.25, 10, 0.5, 0.25), 2, 0.25, 10},
	} {
		got, b := spread(c.points)
		if b.size != c.size || len(got) != len(c.points) {
			t.Errorf("%s: %+v", c.name, b)
			continue
		}
		for _, p := range got {
			if math.Abs(value(p.t)-p.v) > 0.2 {
				t.Errorf("%s: the value of %.3f s stands at %.3f", c.name, (p.v-100)/10, p.t)
				break
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	regular, random, lost, fast := []point{}, []point{}, []point{}, []point{}
	for i, at := 0, 0.0; i < 500; i++ {
		regular = append(regular, point{float64(i) + 0.3*r.Float64(), 1})
		at += r.ExpFloat64()
		random = append(random, point{at, 1})
		if i%50 < 25 {
			lost = append(lost, point{float64(i), 1}) // half of them, in one piece
		}
		fast = append(fast, point{0.02*float64(i/2) + 1e-5*float64(i%2), 1})
	}
	for name, points := range map[string][]point{"regular": regular, "random": random, "with gaps": lost, "as fast as may be": fast,
		"few": fast[:3], "none": nil} {
		if got, b := spread(points); b.every != 0 || len(got) != len(points) {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

// TestExecBursts: a command whose output is buffered is told of, and has a figure
// though nothing came at the window's edges; one that prints each value at once is
// not.
func TestExecBursts(t *testing.T) {
	tier.Long(t)
	for _, c := range []struct {
		command string
		bursts  bool
	}{
		{"while sleep 0.6; do for i in 1 2 3 4 5 6; do echo 300; done | cat; done", true},
		{"while sleep 0.1; do echo 300; done", false},
	} {
		m, err := openExec(c.command)
		if err != nil {
			t.Fatal(err)
		}
		r := Record(m)
		defer r.Close()
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond) // a burst before the window
		from := time.Now()
		to := from.Add(3 * time.Second)
		trace := r.Trace(t.Context(), to)
		p, warnings, err := trace.Over(Window{From: from, To: to})
		said := strings.Join(warnings, "\n")
		if err != nil || math.Abs(p.Watts-300) > 1e-6 {
			t.Errorf("%s: %g W, %v: %s", c.command, p.Watts, err, said)
		}
		if told := strings.Contains(said, "come about 6 at once") && strings.Contains(said, "[power-late]"); told != c.bursts {
			t.Errorf("%s: %s", c.command, said)
		}
		if strings.Contains(said, "[power-gap]") || strings.Contains(said, "[power-slow]") {
			t.Errorf("%s: %s", c.command, said)
		}
	}
}
