package crossed

import (
	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/printable"
	"zcbench/results/caveat"
)

// waits follow whether a receiver's engine takes what has arrived. That it does
// not, because its thread is stopped or has no CPU, is not seen in what crosses:
// the kernel goes on filling the window.
type waits struct {
	fds  []unix.PollFd
	list []wait
}

// wait is that of one connection. Times are ns after the window opened.
type wait struct {
	taken   uint64 // up to where the engine had taken
	since   int64  // when it was last seen to take, or to have nothing to take
	longest int64  // that it took nothing in the window, ns, at least
	at      int64  // when that began
}

func newWaits(fds []int) waits {
	w := waits{fds: make([]unix.PollFd, len(fds)), list: make([]wait, len(fds))}
	for i, fd := range fds {
		w.fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	return w
}

// begin opens the window.
func (w *waits) begin(now int64) {
	for i := range w.list {
		w.list[i].since, w.list[i].longest, w.list[i].at = now, 0, now
	}
}

// look is called when the flows have just been looked at. What an engine waits
// for, as it may for many bytes at once (SO_RCVLOWAT), poll waits for too.
func (w *waits) look(flows []flow) {
	if _, err := unix.Poll(w.fds, 0); err != nil {
		return // a signal: the next look tells
	}
	for i := range w.list {
		queued := 0
		if w.fds[i].Revents&unix.POLLIN != 0 {
			queued, _ = unix.IoctlGetInt(int(w.fds[i].Fd), unix.SIOCINQ) // none of a connection that is gone
		}
		w.list[i].note(flows[i].last-min(flows[i].last, uint64(queued)), queued > 0, flows[i].seen)
	}
}

// note sees up to where the engine has taken, and whether there is more to take.
func (w *wait) note(taken uint64, more bool, now int64) {
	if taken > w.taken || !more {
		w.taken, w.since = max(w.taken, taken), now
		return
	}
	if now-w.since > w.longest {
		w.longest, w.at = now-w.since, w.since
	}
}

// warning says of which flows payload waited for long, nothing where of none.
func (w *waits) warning() (warning string) {
	var all []still
	for _, v := range w.list {
		all = append(all, still{v.longest, v.at})
	}
	which, n := longStill(all)
	if n == 0 {
		return ""
	}
	return caveat.Warn(caveat.PayloadWaited, "%s: payload of %d of %s had arrived, and for about half a second or more the engine took none "+
		"of it: %s; its thread was stopped or had no CPU: give this end CPUs of its own (-A)", endpoint.RX, n, printable.Count(len(w.list),
		"flow"), which)
}
