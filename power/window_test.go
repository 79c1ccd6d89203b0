package power

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A host for the tests: 80 W idle; from 1 s before the window of 10 s until
// 0.1 s after it, 200 W with a ripple that is even over the window.
const (
	idleWatts = 80.0
	loadWatts = 200.0
)

var (
	opened = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tested = Window{From: opened, To: opened.Add(10 * time.Second), Began: opened.Add(-time.Second),
		Ended: opened.Add(10100 * time.Millisecond)}
)

// draw is the power at a time, in seconds from the window's opening.
func draw(t float64) float64 {
	if t < -1 || t > 10.1 {
		return idleWatts
	}
	return loadWatts + 4*math.Sin(2*math.Pi*t/2.5)
}

// used is the energy from -60 s on.
func used(t float64) float64 {
	e := idleWatts * (min(t, -1) + 60)
	if t > -1 {
		end := min(t, 10.1)
		ripple := func(t float64) float64 { return -4 * 2.5 / (2 * math.Pi) * math.Cos(2*math.Pi*t/2.5) }
		e += loadWatts*(end+1) + ripple(end) - ripple(-1)
	}
	if t > 10.1 {
		e += idleWatts * (t - 10.1)
	}
	return e
}

func when(t float64) time.Time { return opened.Add(time.Duration(t * float64(time.Second))) }

func wattsAt(t, w float64) Reading  { return Reading{At: when(t), Watts: &w} }
func joulesAt(t, j float64) Reading { return Reading{At: when(t), Joules: &j} }

// every makes readings from 3 s before the window to 3 s after it.
func every(step float64, f func(t float64) Reading) []Reading {
	var all []Reading
	for t := -3.0; t <= 13; t += step {
		all = append(all, f(t))
	}
	return all
}

func sampledAt(t float64) Reading { return wattsAt(t, draw(t)) }
func countedAt(t float64) Reading { return joulesAt(t, used(t)) }

func TestOver(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lose := func(all []Reading, share float64) []Reading {
		var kept []Reading
		for _, v := range all {
			if r.Float64() >= share {
				kept = append(kept, v)
			}
		}
		return kept
	}
	coarse := func(j float64) float64 { return math.Floor(j/3600) * 3600 }
	for _, c := range []struct {
		name   string
		trace  Trace
		energy bool
		warns  []string // substrings, one of each warning, in order
		right  bool     // within 1%, whatever it warns of
		err    string
	}{
		{name: "sampled each 0.1 s", trace: Trace{Readings: every(0.1, sampledAt)}, right: true},
		{name: "sampled each second", trace: Trace{Readings: every(1, sampledAt)}, right: true},
		{name: "sampled each second, off the edges", trace: Trace{Readings: every(0.97, sampledAt)}, right: true},
		{name: "counter each 0.1 s", trace: Trace{Readings: every(0.1, countedAt)}, right: true, energy: true},
		{name: "counter each second, off the edges", trace: Trace{Readings: every(0.97, countedAt)}, right: true, energy: true},
		{name: "counter that is read faster than it changes", right: true, energy: true,
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return joulesAt(t, used(math.Floor(t))) })}},
		{name: "counter and watts: the counter", right: true, energy: true,
			trace: Trace{Readings: every(0.5, func(t float64) Reading {
				v, wrong := countedAt(t), 999.0
				v.Watts = &wrong
				return v
			})}},
		{name: "a counter of whole watt-hours and watts: the watts", right: true,
			trace: Trace{Readings: every(0.5, func(t float64) Reading {
				v, e := sampledAt(t), coarse(used(t))
				v.Joules = &e
				return v
			})}},
		{name: "a counter of whole watt-hours", err: "not change often enough", energy: true,
			trace: Trace{Readings: every(0.5, func(t float64) Reading { return joulesAt(t, coarse(used(t)+3000)) })}},
		{name: "a counter of tenths of watt-hours", err: "steps of 360 J, which makes", energy: true,
			trace: Trace{Readings: every(0.5, func(t float64) Reading { return joulesAt(t, math.Floor(used(t)/360)*360) })}},
		{name: "every third value is none", right: true, warns: []string{"54 of 161 reads failed"},
			trace: Trace{Readings: slices.DeleteFunc(every(0.1, sampledAt),
				func(r Reading) bool { return int(math.Round(r.At.Sub(opened).Seconds()*10))%3 == 0 }), Lost: 54, Err: errNoValue}},
		{name: "most of the window has none", err: "no reading from 2.1 to 8.1 s",
			trace: Trace{Readings: append(every(0.1, sampledAt)[:52], every(0.1, sampledAt)[111:]...)}},
		{name: "steps of 50 W, and says so", right: true, warns: []string{"steps of 50 W, by so much may 200 W be off"},
			trace: Trace{Info: Info{Resolution: 50, Pushed: true},
				Readings: every(0.5, func(t float64) Reading { return wattsAt(t, math.Round(draw(t)/50)*50) })}},
		{name: "steps of 1 W", right: true, trace: Trace{Info: Info{Resolution: 1},
			Readings: every(0.5, func(t float64) Reading { return wattsAt(t, math.Round(draw(t))) })}},
		{name: "reading it takes a CPU", right: true, warns: []string{"takes 7.0% of a CPU"},
			trace: Trace{Info: Info{Cost: 0.07}, Readings: every(0.5, sampledAt)}},
		{name: "watts that repeat until the meter has new ones", right: true,
			trace: Trace{Readings: every(0.25, func(t float64) Reading { return wattsAt(t, draw(math.Floor(t))) })}},

		{name: "counter that wraps", right: true, energy: true,
			trace: Trace{Info: Info{Range: 700}, Readings: every(0.1, func(t float64) Reading { return joulesAt(t, math.Mod(used(t), 700)) })}},
		{name: "counter that may wrap unseen", energy: true, warns: []string{"more than once", "there is no reading from"},
			trace: Trace{Info: Info{Range: 700}, Readings: append(every(0.1,
				func(t float64) Reading { return joulesAt(t, math.Mod(used(t), 700)) })[:50],
				every(0.1, func(t float64) Reading { return joulesAt(t, math.Mod(used(t), 700)) })[90:]...)}},
		{name: "counter that starts anew", warns: []string{"fell from"}, err: "first reading",
			trace: Trace{Readings: every(0.1, func(t float64) Reading {
				if t > 5 {
					return joulesAt(t, used(t)-used(5))
				}
				return countedAt(t)
			})}},
		{name: "counter with one zero", right: true, energy: true, warns: []string{"1 of 161 readings cannot be (such as 0)"},
			trace: Trace{Info: Info{Range: 262143.328850}, Readings: every(0.1, func(t float64) Reading {
				if math.Abs(t-4) < 0.01 {
					return joulesAt(t, 0)
				}
				return countedAt(t)
			})}},

		{name: "sentinels", right: true, warns: []string{"cannot be (such as "},
			trace: Trace{Readings: every(0.1, func(t float64) Reading {
				bad := []float64{math.MaxUint32, math.MaxUint32 * 1e3, math.MaxUint16, math.MaxUint16 / 10.0, math.NaN(), -1, math.Inf(1),
					math.MaxUint32 / 1e3}
				if i := int(math.Round(t * 10)); i%5 == 0 && i >= 0 {
					return wattsAt(t, bad[i/5%len(bad)])
				}
				return sampledAt(t)
			})}},
		{name: "nothing but sentinels", warns: []string{"161 of 161 readings cannot be"}, err: "gave no reading",
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return wattsAt(t, math.MaxUint32) })}},
		{name: "10% lost", right: true, trace: Trace{Readings: lose(every(0.1, sampledAt), 0.1)}},
		{name: "10% lost, each second", right: true, warns: []string{"2 of 18 reads failed, the latest with: timeout"},
			trace: Trace{Readings: lose(every(1, sampledAt), 0.1), Lost: 2, Err: errors.New("timeout")}},
		{name: "10% of a counter lost", right: true, energy: true, trace: Trace{Readings: lose(every(0.1, countedAt), 0.1)}},
		{name: "a gap of 4 s", right: true, warns: []string{"no reading from 2.1 to 6.1 s"},
			trace: Trace{Readings: append(every(0.1, sampledAt)[:52], every(0.1, sampledAt)[91:]...)}},
		{name: "a counter does not mind a gap", right: true, energy: true, warns: []string{"no reading from 2.1 to 6.1 s"},
			trace: Trace{Readings: append(every(0.1, countedAt)[:52], every(0.1, countedAt)[91:]...)}},

		{name: "3 s late, and known", right: true,
			trace: Trace{Info: Info{Latency: 3 * time.Second}, Readings: every(0.5, func(t float64) Reading { return wattsAt(t, draw(t-3)) })}},
		{name: "3 s late, and not known", warns: []string{"the meter is about 3.0 s late"},
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return wattsAt(t, draw(t-3)) })}},
		{name: "counter 3 s late, and not known", energy: true, warns: []string{"about 3.0 s late"},
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return joulesAt(t, used(t-3)) })}},
		{name: "3 s late, each second", warns: []string{"rise from 80 to 199.6"},
			trace: Trace{Readings: every(1, func(t float64) Reading { return wattsAt(t, draw(t-3)) })}},
		{name: "clock 2 s behind", warns: []string{"to 80 at 8.1 s", "about 2.0 s behind"},
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return wattsAt(t-2, draw(t)) })}},
		{name: "clock 2 s ahead", warns: []string{"rise from 80", "clock ahead"},
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return wattsAt(t+2, draw(t)) })}},
		{name: "clock 2 s ahead, and corrected", right: true,
			trace: Trace{Info: Info{Latency: 2 * time.Second}, Readings: every(0.1, func(t float64) Reading { return wattsAt(t+2, draw(t)) })}},
		{name: "clock an hour behind", err: "older than the window",
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return wattsAt(t-3600, draw(t)) })}},
		{name: "clock an hour ahead", err: "clock is ahead",
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return wattsAt(t+3600, draw(t)) })}},

		{name: "changes every 30 s, and says so", warns: []string{"measure for longer"},
			trace: Trace{Info: Info{Interval: 30 * time.Second}, Readings: every(1, func(t float64) Reading { return wattsAt(t, idleWatts) })}},
		{name: "changes every 30 s, and does not say so", warns: []string{"each of 17 readings is 80 W"},
			trace: Trace{Readings: every(1, func(t float64) Reading { return wattsAt(t, idleWatts) })}},
		{name: "comes every 4 s", warns: []string{"gave 3 values"},
			trace: Trace{Info: Info{Pushed: true}, Readings: every(4, sampledAt)}},
		{name: "shows nothing", warns: []string{"each of 161", "0 W: it does not see"},
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return wattsAt(t, 0) })}},

		{name: "dies", err: "nothing new after 4.0 s of the 10.0 s window (broken pipe)",
			trace: Trace{Readings: every(0.1, sampledAt)[:71], Lost: 9, Err: errors.New("broken pipe")}, warns: []string{"9 of 80 reads"}},
		{name: "dies before", err: "older than the window", trace: Trace{Readings: every(0.1, sampledAt)[:10]}},
		{name: "comes too late", err: "first reading is of 6.0 s", trace: Trace{Readings: every(0.1, sampledAt)[90:]}},
		{name: "counter that stops", err: "nothing new after 4.0 s", energy: true,
			trace: Trace{Readings: every(0.1, func(t float64) Reading { return joulesAt(t, used(min(t, 4))) })}},
		{name: "says nothing", err: "gave no reading (connection refused)", trace: Trace{Lost: 3, Err: errors.New("connection refused")},
			warns: []string{"3 of 3 reads"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, warnings, err := c.trace.Over(tested)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one with %q (%v W)", err, c.err, got.Watts)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			off := got.Watts/((used(10)-used(0))/10) - 1
			if c.right && math.Abs(off) > 0.01 {
				t.Errorf("%.2f W, which is %.2f%% off", got.Watts, off*100)
			}
			if c.err == "" && !c.right && len(warnings) == 0 {
				t.Error("neither right nor warned of")
			}
			text := strings.Join(warnings, "\n")
			for _, w := range c.warns {
				if !strings.Contains(text, w) {
					t.Errorf("no warning has %q", w)
				}
			}
			if len(c.warns) == 0 && len(warnings) > 0 || t.Failed() {
				t.Errorf("%.2f W (%+.2f%%), warnings: %s", got.Watts, off*100, text)
			}
			if c.err == "" && got.Energy != c.energy {
				t.Errorf("energy counter %v", got.Energy)
			}
			if c.err == "" && math.Abs(got.Joules-got.Watts*10) > 1e-6 {
				t.Errorf("%v J in 10 s is not %v W", got.Joules, got.Watts)
			}
		})
	}
}

// TestCoarseCounter: whatever a counter counts in, and whenever it is read, the
// figure is within its bound of the truth, or there is none.
func TestCoarseCounter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	said := map[float64]int{} // figures, by the counter's step
	for _, quantum := range []float64{0.001, 1, 36, 360, 3600} {
		for _, length := range []float64{2, 10, 60, 600} {
			for range 50 {
				pace, phase, offset := 0.1+r.Float64(), r.Float64(), r.Float64()*quantum
				energy := func(t float64) float64 {
					return loadWatts*(t+20) - 4*2.5/(2*math.Pi)*math.Cos(2*math.Pi*t/2.5)
				}
				var trace Trace
				for at := -5 - phase; at < length+5; at += pace {
					trace.Readings = append(trace.Readings, joulesAt(at, math.Floor((energy(at)+offset)/quantum)*quantum))
				}
				w := Window{From: opened, To: when(length)}
				got, _, err := trace.Over(w)
				if err != nil {
					if quantum/(loadWatts*length) < 0.002 && pace/length < 0.02 {
						t.Errorf("steps of %g J, %g s, read each %.2f s: %v", quantum, length, pace, err)
					}
					continue
				}
				said[quantum]++
				truth := (energy(length) - energy(0)) / length
				if off := math.Abs(got.Watts - truth); off > got.Bound+0.001*truth || got.Bound > coarse*got.Watts {
					t.Errorf("steps of %g J, %g s, read each %.2f s: %.2f W, %.2f off, said to be within %.2f", quantum, length, pace, got.Watts, off,
						got.Bound)
				}
			}
		}
	}
	for quantum, n := range map[float64]int{0.001: 150, 1: 150, 36: 100, 360: 50, 3600: 20} {
		if said[quantum] < n {
			t.Errorf("steps of %g J: only %d figures of 200", quantum, said[quantum])
		}
	}
}

func TestSentinel(t *testing.T) {
	for _, v := range []float64{4294967295, 4294967295000, 4294967.295, 4294.967295, 429496729.5, 2147483647, 65535, 6553.5, 32767, math.NaN(),
		math.Inf(1), -1, -0.1, 18446744073709551615} {
		if !sentinel(v) {
			t.Errorf("%v is a reading", v)
		}
	}
	for _, v := range []float64{0, 0.5, 213.7, 327.67, 655.35, 65.535, 1023, 4096, 65534, 99999} {
		if sentinel(v) {
			t.Errorf("%v is none", v)
		}
	}
}

// TestOverDetail: what else the figure says.
func TestOverDetail(t *testing.T) {
	trace := Trace{Info: Info{Name: "x:y", Scope: Wall},
		Readings: every(0.5, func(t float64) Reading { return wattsAt(t, math.Round(draw(t)*10)/10) })}
	got, _, err := trace.Over(tested)
	if err != nil {
		t.Fatal(err)
	}
	if got.Meter != "x:y" || got.Scope != "wall" || got.Samples != 21 || math.Abs(got.Interval-0.5) > 1e-9 {
		t.Errorf("%+v", got)
	}
	if math.Abs(got.Resolution-0.1) > 1e-9 && got.Resolution < 0.1 {
		t.Errorf("resolution %v", got.Resolution)
	}
	if *got.Min < 196 || *got.Min > 197 || *got.Max > 204 || *got.Max < 203 {
		t.Errorf("from %v to %v W", *got.Min, *got.Max)
	}
}

// FuzzOver: whatever a meter says, arithmetic gives numbers or an error.
func FuzzOver(f *testing.F) {
	f.Add([]byte("\x10\x20\x30\x40\x50\x60\x70\x80\x90"), 700.0, true, int64(0))
	f.Add([]byte("\x00\xff\x00\xff\x00\x00\x00\xff\xff\x01"), 0.0, false, int64(1e9))
	f.Fuzz(func(t *testing.T, data []byte, top float64, counts bool, interval int64) {
		odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, math.MaxUint32, 1e300, math.MaxFloat64}
		trace := Trace{Info: Info{Range: top, Interval: time.Duration(interval), Pushed: len(data)%2 == 0}}
		for i := 0; i+1 < len(data); i += 2 {
			v := float64(data[i+1])
			if data[i+1] < byte(len(odd)) {
				v = odd[data[i+1]]
			}
			at := float64(data[i])/16 - 2
			if counts {
				trace.Readings = append(trace.Readings, joulesAt(at, v))
			} else {
				trace.Readings = append(trace.Readings, wattsAt(at, v))
			}
		}
		got, _, err := trace.Over(tested)
		if err == nil && (math.IsNaN(got.Watts) || math.IsInf(got.Watts, 0) || got.Watts < 0) {
			t.Errorf("%v W of %v", got.Watts, data)
		}
	})
}
