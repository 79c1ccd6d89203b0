package wire

import (
	"errors"
	"testing"
	"time"

	"zcbench/power"
)

// TestTraceAcrossClocks: what another host's agent said lands on this host's
// clock, with its distances.
func TestTraceAcrossClocks(t *testing.T) {
	now := time.Now()
	v := 5.0
	sent := power.Trace{Info: power.Info{Name: "x"}, Err: errors.New("why"), Lost: 2}
	for _, s := range []float64{-100, -90, -3, 0, 1.5} {
		sent.Readings = append(sent.Readings, power.Reading{At: now.Add(time.Duration(s * 1e9)), Watts: &v})
	}
	const offset = int64(77 * time.Hour)
	w := NewTrace(sent, Monotonic())
	for i := range w.Readings {
		w.Readings[i].At += offset // as an agent's clock that is so far ahead
	}
	got := w.Here(offset)
	if len(got.Readings) != 3 || got.Lost != 2 || got.Err.Error() != "why" {
		t.Fatalf("%d readings, %+v", len(got.Readings), got)
	}
	for i, s := range []float64{-3, 0, 1.5} {
		if d := got.Readings[i].At.Sub(now.Add(time.Duration(s * 1e9))).Abs(); d > 50*time.Millisecond {
			t.Errorf("reading %d is %s off", i, d)
		}
	}
	if d := got.Readings[2].At.Sub(got.Readings[1].At); d != 1500*time.Millisecond {
		t.Errorf("%s apart", d)
	}
}
