package endpoint

import (
	"errors"
	"fmt"

	"zcbench/internal/feature"
)

// Kind sorts errors by what the user can do about them; it crosses the
// control connection and becomes the exit code.
type Kind string

// The kinds. An error without a kind counts as Failed.
const (
	Usage       Kind = "usage"       // a value that can never work: exit 2
	Unsupported Kind = "unsupported" // this host, kernel or NIC lacks something: exit 3
	Denied      Kind = "denied"      // the other end refuses: limits, token, pinned engine
	Unreachable Kind = "unreachable" // no zcbench answers there: exit 4
	Failed      Kind = "failed"      // it should have worked: exit 1
	PeerGone    Kind = "peer-gone"   // the data connections broke, mostly because the other end failed: exit 1
	Interrupted Kind = "interrupted" // a signal ended it: exit 130
)

// Error is an error with its kind.
type Error struct {
	Kind Kind
	Err  error
}

// Error gives the text alone; the kind shows in the exit code.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of the kind; %w works as in fmt.Errorf. What ended for want
// of memory, descriptors or the like has Failed, whatever it was about: a run that
// is Unsupported is skipped and never tried again.
func Errorf(kind Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if kind == Unsupported && feature.Exhausted(err) {
		kind = Failed
	}
	return &Error{Kind: kind, Err: err}
}

// KindOf finds the kind of err, Failed when it has none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Failed
}
