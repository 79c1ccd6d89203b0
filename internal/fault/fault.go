// Package fault sorts errors by what the user can do about them, from the package where
// something failed up to the exit code and the record.
package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// Kind is what sort of failure an error is. It crosses the control connection by this
// text.
type Kind string

// The kinds. An error without a kind counts as Failed.
const (
	Usage       Kind = "usage"       // a value that can never work
	Unsupported Kind = "unsupported" // this host, kernel or NIC lacks something, which the text names
	Denied      Kind = "denied"      // the other end refuses: limits, token, pinned engine
	Unreachable Kind = "unreachable" // nothing that was asked for answers there
	Failed      Kind = "failed"      // it should have worked
	PeerGone    Kind = "peer-gone"   // the data connections broke, mostly because the other end failed
	Interrupted Kind = "interrupted" // a signal ended it
)

// exits are the exit codes; the other kinds have that of Failed.
var exits = map[Kind]int{Failed: 1, Usage: 2, Unsupported: 3, Unreachable: 4, Interrupted: 130}

// Exit is the exit code of a process that ends with an error of the kind.
func (k Kind) Exit() int {
	if code, ok := exits[k]; ok {
		return code
	}
	return exits[Failed]
}

// OfExit is the kind of the error that a process of ours ended with.
func OfExit(code int) Kind {
	for k, c := range exits {
		if c == code {
			return k
		}
	}
	return Failed
}

// Named is the kind of a name from elsewhere, Failed of one that is none.
func Named(name Kind) Kind {
	switch name {
	case Usage, Unsupported, Denied, Unreachable, PeerGone, Interrupted:
		return name
	}
	return Failed
}

// Error is an error with its kind, which does not show in its text.
type Error struct {
	kind Kind
	err  error
}

// Error gives the text alone; the kind shows in the exit code.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.err }

// Errorf makes an error of the kind; %w works as in fmt.Errorf. See Wrap.
func Errorf(kind Kind, format string, args ...any) error {
	return Wrap(kind, fmt.Errorf(format, args...))
}

// Wrap gives err the kind, in place of one that it has. Failed stays what it is, as a
// run that is Unsupported is skipped and never tried again; and so does what ended for
// want of memory, descriptors or the like, which is no matter of what was asked for either.
func Wrap(kind Kind, err error) error {
	is, known := find(err)
	switch kind {
	case Unsupported:
		if known && is == Failed || Exhausted(err) {
			kind = Failed
		}
	case Usage:
		if Exhausted(err) {
			kind = Failed
		}
	}
	return &Error{kind, err}
}

// Of is the kind of err, Failed where nothing gave it one. Of several errors (errors.Join)
// it is that of the first that has one; where that is Unsupported, and another one has
// failed beside it, it is what the other one is.
func Of(err error) Kind {
	if k, known := find(err); known {
		return k
	}
	return Failed
}

// Known says that something gave err a kind.
func Known(err error) bool {
	_, known := find(err)
	return known
}

func find(err error) (k Kind, known bool) {
	switch e := err.(type) {
	case *Error:
		return e.kind, true
	case interface{ Unwrap() error }:
		return find(e.Unwrap())
	case interface{ Unwrap() []error }:
		plain := false
		for _, part := range e.Unwrap() {
			is, has := find(part)
			switch {
			case !has:
				plain = true
			case !known || k == Unsupported:
				k, known = is, true
			}
		}
		if k == Unsupported && plain {
			return Failed, true
		}
	}
	return k, known
}

// exhausted are answers of a kernel that has, or that lets this process have, no
// more of something now.
var exhausted = []syscall.Errno{
	syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOBUFS, syscall.EINTR, syscall.EIO,
}

// Exhausted says that an error is of this moment, and tells nothing of what the
// host can do: what it ended has failed, and another time may not.
func Exhausted(err error) bool {
	return slices.ContainsFunc(exhausted, func(e syscall.Errno) bool { return errors.Is(err, e) }) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
