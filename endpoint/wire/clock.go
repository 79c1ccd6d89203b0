package wire

import (
	"time"

	"golang.org/x/sys/unix"
)

// Monotonic is CLOCK_MONOTONIC in ns, the clock of Start.At and Sample.At.
func Monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot fail on Linux
	}
	return ts.Nano()
}

// SleepUntil waits for a time of CLOCK_MONOTONIC on this thread.
func SleepUntil(at int64) {
	ts := unix.NsecToTimespec(at)
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
	}
}

// Readings of meters carry time.Time in this process and CLOCK_MONOTONIC between
// two.

// ToMonotonic is a time in ns of this process's CLOCK_MONOTONIC.
func ToMonotonic(t time.Time) int64 { return Monotonic() - int64(time.Since(t)) }

// FromMonotonic is the time of a CLOCK_MONOTONIC of this process.
func FromMonotonic(at int64) time.Time { return time.Now().Add(time.Duration(at - Monotonic())) }
