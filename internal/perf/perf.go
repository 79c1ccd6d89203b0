// Package perf opens the kernel's performance events (perf_event_open(2)):
// counters that are read, and rings of records that are drained.
package perf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

// Event says what is counted: type and config of perf_event_attr.
type Event struct {
	Type    uint32
	Config  uint64
	Config1 uint64
	Config2 uint64
}

func (e Event) attr() unix.PerfEventAttr {
	return unix.PerfEventAttr{Type: e.Type, Size: unix.PERF_ATTR_SIZE_VER7, Config: e.Config, Ext1: e.Config1, Ext2: e.Config2,
		Bits: unix.PerfBitDisabled}
}

// Any, in place of a thread or a CPU, is any of them.
const Any = -1

// refusal is what the kernel answered, with the cure in its text.
type refusal struct {
	text  string
	errno unix.Errno
}

func (e *refusal) Error() string { return e.text }

// Unwrap gives the errno to errors.Is.
func (e *refusal) Unwrap() error { return e.errno }

func open(attr *unix.PerfEventAttr, tid, cpu int) (int, error) {
	fd, err := unix.PerfEventOpen(attr, tid, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, explain(err, paranoid())
	}
	return fd, nil
}

// paranoid is kernel.perf_event_paranoid, as text.
func paranoid() string {
	b, err := os.ReadFile("/proc/sys/kernel/perf_event_paranoid")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

func explain(err error, paranoid string) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	e, kind := &refusal{errno: errno}, fault.Unsupported
	switch errno {
	case unix.EACCES, unix.EPERM:
		e.text = fmt.Sprintf("this user may not use such performance events (%v, kernel.perf_event_paranoid is %s): run as root, or give the "+
			"program the right (setcap cap_perfmon+ep), or allow all users: sysctl kernel.perf_event_paranoid=-1; in a container the seccomp "+
			"profile must let perf_event_open through", errno, paranoid)
	case unix.ENOENT, unix.EOPNOTSUPP, unix.ENXIO:
		e.text = fmt.Sprintf("this machine has no such performance event (%v): a virtual machine has hardware events only where its hypervisor "+
			"passes the PMU on (QEMU/KVM: -cpu host,pmu=on)", errno)
	case unix.ENOSYS:
		e.text = "this kernel has no performance events (CONFIG_PERF_EVENTS)"
	case unix.EBUSY:
		kind = fault.Failed
		e.text = fmt.Sprintf("another program holds the performance counters alone (%v): end it", errno)
	case unix.EMFILE:
		kind = fault.Failed
		e.text = fmt.Sprintf("too many open files (%v): raise ulimit -n", errno)
	default:
		kind = fault.Failed
		e.text = fmt.Sprintf("perf_event_open: %v", errno)
	}
	return fault.Wrap(kind, e)
}

// Counter is an event that is counted from Open on.
type Counter struct {
	fd   int
	buf  [24]byte
	last [3]uint64
	sum  uint64
}

// Count begins to count an event for a thread and those it makes later, or for
// a CPU whoever runs there.
func Count(e Event, tid, cpu int) (*Counter, error) {
	a := e.attr()
	a.Read_format = unix.PERF_FORMAT_TOTAL_TIME_ENABLED | unix.PERF_FORMAT_TOTAL_TIME_RUNNING
	a.Bits = 0
	if tid != Any {
		a.Bits |= unix.PerfBitInherit
	}
	fd, err := open(&a, tid, cpu)
	if err != nil {
		return nil, err
	}
	return &Counter{fd: fd}, nil
}

// Read gives the count since Count. Where the hardware's counters are shared
// by turns it is what the time it ran for extrapolates to, and whole says
// that it ran all the time.
func (c *Counter) Read() (v uint64, whole bool, err error) {
	n, err := unix.Read(c.fd, c.buf[:])
	if err != nil {
		return 0, false, fmt.Errorf("read a performance counter: %w", err)
	}
	if n != len(c.buf) {
		// End of file: an error state, as when the CPU went away.
		return 0, false, fmt.Errorf("read a performance counter: %d bytes", n)
	}
	var now [3]uint64 // count, time enabled, time running
	for i := range now {
		now[i] = binary.NativeEndian.Uint64(c.buf[8*i:])
	}
	add, whole := extrapolate(c.last, now)
	c.last = now
	c.sum += add
	return c.sum, whole, nil
}

func extrapolate(before, now [3]uint64) (add uint64, whole bool) {
	count, enabled, running := now[0]-before[0], now[1]-before[1], now[2]-before[2]
	if running >= enabled {
		return count, true
	}
	if running == 0 {
		return 0, false
	}
	hi, lo := bits.Mul64(count, enabled)
	if hi >= running {
		return count, false // no counter is that fast
	}
	q, _ := bits.Div64(hi, lo, running)
	return q, false
}

// Close ends the count.
func (c *Counter) Close() error { return unix.Close(c.fd) }
