package endpoint

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// alarm lets a locked thread sleep precisely, and wakes it when the streams end
// or the run is aborted: each wake-up less is time that the workers have.
type alarm struct {
	fds  []unix.PollFd
	quit chan struct{}
	over chan struct{} // closed when nobody rings any more
}

func newAlarm(ctx context.Context, done <-chan struct{}) (*alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd to sleep on: %w", err)
	}
	a := &alarm{fds: []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, quit: make(chan struct{}), over: make(chan struct{})}
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

// ready is what a poll of the caller's own waits for too, to be woken as wait is.
func (a *alarm) ready() unix.PollFd { return a.fds[0] }

// wait sleeps for ns, or less when it rings or a signal comes.
func (a *alarm) wait(ns int64) {
	ts := unix.NsecToTimespec(min(ns, int64(time.Hour)))
	_, _ = unix.Ppoll(a.fds, &ts, nil) // whatever ended it, the caller looks at the clock
}

func (a *alarm) close() {
	close(a.quit)
	<-a.over
	unix.Close(int(a.fds[0].Fd))
}
