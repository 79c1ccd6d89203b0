package agent

import (
	"errors"
	"runtime"
	"strings"

	"zcbench/internal/fault"
)

// errMistake is a panic, which is a mistake in zcbench. It ends the run that it
// happened in, and never the agent, whose other peers have no part in it.
var errMistake = errors.New("a mistake in zcbench")

// contain gives a panic of f as an error.
func contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = mistake(v)
		}
	}()
	return f()
}

// mistake is the error of a panic that was just recovered, with the place where
// it began.
func mistake(v any) error {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	panicked := false
	for {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if panicked && !inRuntime {
			return fault.Errorf(fault.Failed, "%w: %v (%s, line %d)", errMistake, v, f.Function, f.Line)
		}
		panicked = panicked || inRuntime
		if !more {
			return fault.Errorf(fault.Failed, "%w: %v", errMistake, v)
		}
	}
}
