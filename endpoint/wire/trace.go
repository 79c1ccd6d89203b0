package wire

import (
	"errors"
	"time"

	"zcbench/power"
)

// Trace is a power.Trace on an agent's CLOCK_MONOTONIC.
type Trace struct {
	Info     power.Info `json:"info"`
	Readings []reading  `json:"readings"`
	Lost     int        `json:"lost,omitempty"`
	Why      string     `json:"why,omitempty"`
}

type reading struct {
	At     int64    `json:"at"`
	Watts  *float64 `json:"w,omitempty"`
	Joules *float64 `json:"j,omitempty"`
}

// NewTrace cuts a trace to what is of interest from a time on. A slow meter's
// latest value of before is.
func NewTrace(t power.Trace, from int64) Trace {
	v := Trace{Info: t.Info, Lost: t.Lost, Readings: []reading{}}
	if t.Err != nil {
		v.Why = t.Err.Error()
	}
	// One moment for all, so that they keep their distances.
	now, zero := time.Now(), Monotonic()
	from -= int64(t.Info.Grace()) + int64(max(t.Info.Latency, 0))
	for i, r := range t.Readings {
		at := zero + int64(r.At.Sub(now))
		if at < from && i+1 < len(t.Readings) && zero+int64(t.Readings[i+1].At.Sub(now)) < from {
			continue
		}
		v.Readings = append(v.Readings, reading{at, r.Watts, r.Joules})
	}
	return v
}

// maxNames is more than any meter has for what it sees.
const maxNames = 32

// Here moves an agent's trace to this process's clock.
func (v *Trace) Here(offset int64) power.Trace {
	t := power.Trace{Info: v.Info, Lost: v.Lost}
	t.Info.Of = t.Info.Of[:min(len(t.Info.Of), maxNames)]
	if v.Why != "" {
		t.Err = errors.New(v.Why)
	}
	zero := FromMonotonic(0)
	for _, r := range v.Readings {
		t.Readings = append(t.Readings, power.Reading{At: zero.Add(time.Duration(r.At - offset)), Watts: r.Watts, Joules: r.Joules})
	}
	return t
}
