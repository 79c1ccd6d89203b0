package wire

import (
	"errors"
	"fmt"
	"strings"
)

// Edges are the samples where the window opened and closed.
func (r *Result) Edges() (first, last Sample) {
	return r.Samples[0], r.Samples[len(r.Samples)-1]
}

// Bytes is the payload that had crossed.
func (s Sample) Bytes() uint64 { return s.ZeroCopied + s.Copied }

// Rate is the window's length in seconds and its payload in Gbit/s.
func (r *Result) Rate() (seconds, gbps float64) {
	a, b := r.Edges()
	seconds = float64(b.At-a.At) / 1e9
	if seconds <= 0 {
		return 0, 0
	}
	return seconds, float64(b.Bytes()-a.Bytes()) * 8 / 1e9 / seconds
}

// Bounds of what a peer may say of its clock.
const (
	maxMethod = 32
	maxCPUs   = 1 << 14
)

// Check refuses a peer's result that arithmetic cannot be done on.
func (r *Result) Check() error {
	if r == nil || len(r.Samples) < 2 {
		return errors.New("a result without samples")
	}
	for i := 1; i < len(r.Samples); i++ {
		a, b := r.Samples[i-1], r.Samples[i]
		if b.At <= a.At || b.ZeroCopied < a.ZeroCopied || b.Copied < a.Copied || b.Unknown < a.Unknown {
			return fmt.Errorf("sample %d of the result runs backwards", i)
		}
	}
	for _, t := range r.Traits {
		if !isText(t, maxWord) || len(r.Traits) > maxOptions {
			return fmt.Errorf("a result with %d traits of its engine, one of them %q", len(r.Traits), Clip(t))
		}
	}
	if len(r.Congestion) > maxControls || len(r.Options) > maxOptions {
		return fmt.Errorf("a result with a congestion control of %d characters and %d options", len(r.Congestion), len(r.Options))
	}
	if strings.Trim(r.CPUMethod+r.CPUSecond, "abcdefghijklmnopqrstuvwxyz+") != "" {
		return fmt.Errorf("a result with a clock of CPU time %q", Clip(r.CPUMethod+r.CPUSecond))
	}
	if len(r.CPUMethod) > maxMethod || len(r.CPUSecond) > maxMethod || !(r.CPUError >= 0) || r.CPUError > 100*maxCPUs || r.CPUScoped < 0 ||
		r.CPUScoped > maxCPUs {
		return fmt.Errorf("a result with a clock of CPU time of %d characters, %d CPUs and an error of %g%%", len(r.CPUMethod), r.CPUScoped,
			r.CPUError)
	}
	if len(r.Flows) > maxFlows {
		return fmt.Errorf("a result of %d flows", len(r.Flows))
	}
	for i, f := range r.Flows {
		if f.Stall < 0 || f.Stall > int64(MaxTime) || f.StallAt < -int64(MaxTime) || f.StallAt > int64(MaxTime) || f.RTT < 0 || f.MinRTT < 0 {
			return fmt.Errorf("flow %d of the result has times that no run has", i+1)
		}
	}
	if n := len(r.Series); n > 0 && n != len(r.Samples)-1 {
		return fmt.Errorf("a result of %d series for %d samples", n, len(r.Samples))
	}
	return nil
}
