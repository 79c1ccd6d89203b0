package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// output is stdout. It remembers the first failure, which ends the command with
// exit code 1 whoever wrote, so that no result is lost in silence.
type output struct {
	w      io.Writer
	closed func() // is called once nobody reads any more

	mu  sync.Mutex
	err error
}

// errPipe is a stdout whose reader has gone, as that of head(1) has: nobody wants
// to hear more, nor why.
var errPipe = errors.New("nobody reads the output")

func newOutput(w io.Writer, closed func()) *output { return &output{w: w, closed: closed} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	switch {
	case err == nil:
	case errors.Is(err, syscall.EPIPE):
		o.err = errPipe
		o.closed()
	default:
		if e, ok := errors.AsType[*os.PathError](err); ok {
			err = e.Err
		}
		o.err = fmt.Errorf("write the output: %w", err)
	}
	return n, o.err
}

// end is how a command ends whose own outcome is err.
func (o *output) end(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err == nil:
		return err
	case errors.Is(o.err, errPipe):
		return errPipe
	case err == nil || errors.Is(err, o.err):
		return o.err
	}
	return errors.Join(err, o.err)
}

// beneath is what a child process can be given as its own.
func beneath(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.w
	}
	return w
}

// dieOfPipe ends the process as the kernel does with writers to a pipe that
// nobody reads, for shells to see.
func dieOfPipe() {
	signal.Reset(syscall.SIGPIPE)
	_, _ = os.Stdout.WriteString("\n")  // Go dies of that signal here alone
	os.Exit(128 + int(syscall.SIGPIPE)) // where it is ignored
}
