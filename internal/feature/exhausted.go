package feature

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// exhausted are answers of a kernel that has, or that lets this process have, no
// more of something now.
var exhausted = []unix.Errno{unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EAGAIN, unix.ENOBUFS, unix.EINTR, unix.EIO}

// Exhausted says that an error is of this moment, and tells nothing of what the
// host can do: what it ended has failed, and another time may not.
func Exhausted(err error) bool {
	return slices.ContainsFunc(exhausted, func(e unix.Errno) bool { return errors.Is(err, e) }) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// Refused is the answer that an error amounts to which only a host gives that
// cannot do it, unless it is one of the moment.
func Refused(err error, fix string) Verdict {
	if Exhausted(err) {
		return Undecided(err.Error(), "")
	}
	return Impossible(err.Error(), fix)
}
