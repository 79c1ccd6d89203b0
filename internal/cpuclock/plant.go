package cpuclock

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// A load is work of a known kind on this thread's CPU until a time of
// CLOCK_MONOTONIC.
type load interface {
	String() string
	run(until int64) error
}

// burst is a task that is busy for so long and then asleep.
type burst struct{ busy, sleep time.Duration }

func (b burst) String() string { return fmt.Sprintf("%v/%v", b.busy, b.sleep) }

func (b burst) run(until int64) error {
	for monotonic() < until {
		for start := time.Now(); time.Since(start) < b.busy; {
		}
		// From the burst's end on, so that a late one does not bring the next
		// at once.
		abi.SleepUntil(monotonic() + int64(b.sleep))
	}
	return nil
}

// softirqs is the work of interrupts while there is no task: a TCP sender on the
// loopback whose packets leave one by one, by a timer. The sending and the
// receiving of each is done where the timer fires. It takes no right.
type softirqs struct{}

func (softirqs) String() string { return "softirq" }

func (softirqs) run(until int64) (err error) {
	from, to, err := loopback()
	if err != nil {
		return err
	}
	defer unix.Close(from)
	defer unix.Close(to)
	message, sink := make([]byte, 200), make([]byte, 1<<20)
	start := time.Now()
	const trial = 32
	for range trial {
		if err := unix.Sendto(from, message, unix.MSG_EOR, nil); err != nil {
			return err
		}
	}
	// A packet each four times as long as one takes: a quarter of the CPU,
	// however fast it is.
	rate := uint64(len(message)) * 1e9 / uint64(4*time.Since(start)/trial)
	if err := unix.SetsockoptUint64(from, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, rate); err != nil {
		return err
	}
	for monotonic() < until {
		for {
			if err := unix.Sendto(from, message, unix.MSG_EOR|unix.MSG_DONTWAIT, nil); err == unix.EAGAIN {
				break
			} else if err != nil {
				return err
			}
		}
		for {
			if _, _, err := unix.Recvfrom(to, sink, unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
		abi.SleepUntil(monotonic() + int64(5*time.Millisecond))
	}
	return nil
}

// loopback is a TCP connection within this process.
func loopback() (from, to int, err error) {
	const kind = unix.SOCK_STREAM | unix.SOCK_CLOEXEC
	l, err := unix.Socket(unix.AF_INET, kind, 0)
	if err != nil {
		return -1, -1, err
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, -1, err
	}
	if err := unix.Listen(l, 1); err != nil {
		return -1, -1, err
	}
	at, err := unix.Getsockname(l)
	if err != nil {
		return -1, -1, err
	}
	if from, err = unix.Socket(unix.AF_INET, kind, 0); err != nil {
		return -1, -1, err
	}
	if err = unix.SetsockoptInt(from, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20); err == nil { // as much as a user may
		err = unix.SetsockoptInt(from, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.Connect(from, at)
	}
	if err == nil {
		to, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		unix.Close(from)
		return -1, -1, err
	}
	return from, to, nil
}

// watch takes, at the lowest priority, whatever this thread's CPU has to spare
// from one time until another, and gives how long it had nothing: tasks, interrupts and a
// hypervisor ran. That is a clock that no accounting of the kernel is part of;
// but while it runs the CPU is never idle.
func watch(from, until int64) (taken time.Duration) {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0) // anybody may
	least := time.Hour
	start := time.Now()
	taken = time.Duration(min(monotonic(), until) - from) // before it came to run
	last := time.Duration(0)
	for range 500 {
		now := time.Since(start)
		least, last = min(least, max(now-last, 1)), now
	}
	for end := time.Duration(until-monotonic()) + last; last < end; {
		now := time.Since(start)
		if d := now - last; d > 8*least {
			taken += d - least
		}
		last = now
	}
	return taken
}

// onCPU runs f on a thread of its own that is bound to a CPU, and that ends
// with it.
func onCPU(cpu int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		var set unix.CPUSet
		set.Set(cpu)
		err := unix.SchedSetaffinity(0, &set)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func threadTime() time.Duration { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }
func monotonic() int64          { return int64(clock(unix.CLOCK_MONOTONIC)) }

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0 // cannot fail on Linux
	}
	return time.Duration(ts.Nano())
}
