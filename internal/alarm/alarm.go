// Package alarm lets a thread sleep until a time or an event, whichever comes first.
package alarm

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm lets a locked thread sleep precisely, and wakes it when the streams end
// or the run is aborted: each wake-up less is time that the workers have.
type Alarm struct {
	fds  []unix.PollFd
	quit chan struct{}
	over chan struct{} // closed when nobody rings any more
}

// New makes one that rings when ctx ends or done is closed; nil never is.
func New(ctx context.Context, done <-chan struct{}) (*Alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd to sleep on: %w", err)
	}
	a := &Alarm{fds: []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, quit: make(chan struct{}), over: make(chan struct{})}
	go func() {
		defer close(a.over)
		select {
		case <-done:
		case <-ctx.Done():
		case <-a.quit:
			return
		}
		_, _ = unix.Write(fd, []byte{1, 1, 1, 1, 1, 1, 1, 0}) // any number but 0; it cannot be full
	}()
	return a, nil
}

// Ready is what a poll of the caller's own waits for too, to be woken as Wait is.
func (a *Alarm) Ready() unix.PollFd { return a.fds[0] }

// Wait sleeps for ns, or less when it rings or a signal comes.
func (a *Alarm) Wait(ns int64) {
	ts := unix.NsecToTimespec(min(ns, int64(time.Hour)))
	_, _ = unix.Ppoll(a.fds, &ts, nil) // whatever ended it, the caller looks at the clock
}

// Close has nobody ring any more.
func (a *Alarm) Close() {
	close(a.quit)
	<-a.over
	unix.Close(int(a.fds[0].Fd))
}
