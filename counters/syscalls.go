package counters

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/perf"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Tracer times each system call of the threads that carry the payload, by the
// tracepoints raw_syscalls:sys_enter and sys_exit. That costs each call a
// fraction of a microsecond, which the run's figures then include.
func Tracer() instrument.Recorder {
	return instrument.Recorder{Name: "syscalls", Open: openTracer}
}

// tracerOrder makes a ring of 256 pages for each thread: of 80 bytes a call,
// over 200,000 calls a second when it is drained each 50 ms.
const tracerOrder = 8

type tracer struct {
	threads []*traced
	costs   [maxSyscall + 1]cost // the last is for all others
	id, ret perf.Field
	lost    uint64
}

// maxSyscall is above the numbers of every native system call.
const maxSyscall = 1 << 10

// cost is of one system call; times are in ns.
type cost struct{ calls, errors, total, min, max uint64 }

// traced is one thread.
type traced struct {
	ring        *perf.Ring
	enter, exit uint64 // numbers of the events
	since       uint64 // when it entered; 0: it is not known to be in a call
	each        func(uint32, []byte)
}

func openTracer(s instrument.Place) (instrument.Recording, error) {
	enter, _, err := perf.Tracepoint("raw_syscalls/sys_enter")
	if err != nil {
		return nil, err
	}
	exit, fields, err := perf.Tracepoint("raw_syscalls/sys_exit")
	if err != nil {
		return nil, err
	}
	t := &tracer{id: fields["id"], ret: fields["ret"]}
	if t.id.Size != 8 || t.ret.Size != 8 {
		return nil, fault.Errorf(fault.Unsupported, "raw_syscalls:sys_exit has other fields in this kernel than id and ret of 8 bytes")
	}
	for i := range t.costs {
		t.costs[i].min = math.MaxUint64
	}
	for _, tid := range s.Threads {
		if err := t.add(tid, enter, exit); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	return t, nil
}

func (t *tracer) add(tid int, enter, exit perf.Event) error {
	const both = unix.PERF_SAMPLE_IDENTIFIER | unix.PERF_SAMPLE_TIME
	r, err := perf.NewRing(exit, perf.Sampling{Fields: both | unix.PERF_SAMPLE_RAW}, tid, perf.Any, tracerOrder)
	if err != nil {
		return err
	}
	if err := r.Add(enter, perf.Sampling{Fields: both}, tid, perf.Any); err != nil {
		return errors.Join(err, r.Close())
	}
	ids, err := r.IDs()
	if err != nil {
		return errors.Join(err, r.Close())
	}
	th := &traced{ring: r, exit: ids[0], enter: ids[1]}
	th.each = func(kind uint32, body []byte) { t.record(th, kind, body) }
	t.threads = append(t.threads, th)
	return nil
}

// record takes a record: event, time, and for exits the tracepoint's own.
func (t *tracer) record(th *traced, kind uint32, body []byte) {
	if kind == unix.PERF_RECORD_LOST && len(body) >= 16 {
		t.lost += binary.NativeEndian.Uint64(body[8:])
		th.since = 0 // what comes next may belong to another call
		return
	}
	const head, raw = 16, 20
	if kind != unix.PERF_RECORD_SAMPLE || len(body) < head {
		return
	}
	at := binary.NativeEndian.Uint64(body[8:])
	switch binary.NativeEndian.Uint64(body) {
	case th.enter:
		th.since = at
	case th.exit:
		since := th.since
		th.since = 0
		if len(body) < raw+max(t.id.Offset, t.ret.Offset)+8 || since == 0 || at < since {
			return // it was entered before the window opened
		}
		id := binary.NativeEndian.Uint64(body[raw+t.id.Offset:])
		ret := int64(binary.NativeEndian.Uint64(body[raw+t.ret.Offset:]))
		t.costs[min(id, maxSyscall)].add(at-since, ret)
	}
}

func (c *cost) add(ns uint64, ret int64) {
	const lowestErrno = -4095 // MAX_ERRNO of linux/err.h
	c.calls++
	if ret < 0 && ret >= lowestErrno {
		c.errors++
	}
	c.total += ns
	c.min, c.max = min(c.min, ns), max(c.max, ns)
}

func (t *tracer) Begin() error {
	for _, th := range t.threads {
		if err := th.ring.Enable(); err != nil {
			return fmt.Errorf("syscalls: %w", err)
		}
	}
	return nil
}

func (t *tracer) Poll() {
	for _, th := range t.threads {
		th.ring.Drain(th.each)
	}
}

func (t *tracer) End() error {
	for _, th := range t.threads {
		if err := th.ring.Disable(); err != nil {
			return fmt.Errorf("syscalls: %w", err)
		}
	}
	t.Poll()
	return nil
}

func (t *tracer) Close() error {
	var errs []error
	for _, th := range t.threads {
		errs = append(errs, th.ring.Close())
	}
	t.threads = nil
	return errors.Join(errs...)
}

func (t *tracer) Report(res *wire.Result) (notes, warnings []string, err error) {
	res.SyscallCosts = []results.SyscallCost{}
	for id, c := range t.costs {
		if c.calls == 0 {
			continue
		}
		name := "(others)"
		if id < maxSyscall {
			name = syscallName(id)
		}
		res.SyscallCosts = append(res.SyscallCosts, results.SyscallCost{
			Name: name, Calls: c.calls, Errors: c.errors, Total: float64(c.total) / 1e6,
			Min: float64(c.min) / 1e3, Mean: math.Round(float64(c.total)/float64(c.calls)) / 1e3, Max: float64(c.max) / 1e3,
		})
	}
	slices.SortFunc(res.SyscallCosts, func(a, b results.SyscallCost) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Name, b.Name))
	})
	notes = append(notes, caveat.Warn(caveat.RecordingCost, "system calls were traced: figures include its cost; times include what a call "+
		"waited"))
	if t.lost > 0 {
		warnings = append(warnings, caveat.Warn(caveat.RecordingGaps, "%s of system calls lost, so there were more: the trace could not keep up",
			printable.Count(t.lost, "record")))
	}
	return notes, warnings, nil
}

// syscallName gives the name of one that a program such as this makes.
func syscallName(id int) string {
	if name := syscallNames[id]; name != "" {
		return name
	}
	return fmt.Sprintf("syscall_%d", id)
}

var syscallNames = map[int]string{
	unix.SYS_READ: "read", unix.SYS_WRITE: "write", unix.SYS_READV: "readv", unix.SYS_WRITEV: "writev",
	unix.SYS_PREAD64: "pread64", unix.SYS_PWRITE64: "pwrite64", unix.SYS_OPENAT: "openat", unix.SYS_CLOSE: "close",
	unix.SYS_FSTAT: "fstat", unix.SYS_LSEEK: "lseek", unix.SYS_FCNTL: "fcntl", unix.SYS_IOCTL: "ioctl", unix.SYS_GETDENTS64: "getdents64",
	unix.SYS_SENDTO: "sendto", unix.SYS_RECVFROM: "recvfrom", unix.SYS_SENDMSG: "sendmsg", unix.SYS_RECVMSG: "recvmsg",
	unix.SYS_SENDMMSG: "sendmmsg", unix.SYS_RECVMMSG: "recvmmsg", unix.SYS_SENDFILE: "sendfile", unix.SYS_SPLICE: "splice",
	unix.SYS_VMSPLICE: "vmsplice", unix.SYS_TEE: "tee", unix.SYS_SETSOCKOPT: "setsockopt", unix.SYS_GETSOCKOPT: "getsockopt",
	unix.SYS_SHUTDOWN: "shutdown", unix.SYS_SOCKET: "socket", unix.SYS_CONNECT: "connect", unix.SYS_ACCEPT4: "accept4",
	unix.SYS_PPOLL: "ppoll", unix.SYS_PSELECT6: "pselect6", unix.SYS_EPOLL_PWAIT: "epoll_pwait", unix.SYS_EPOLL_PWAIT2: "epoll_pwait2",
	unix.SYS_EPOLL_CTL: "epoll_ctl", unix.SYS_IO_URING_SETUP: "io_uring_setup", unix.SYS_IO_URING_ENTER: "io_uring_enter",
	unix.SYS_IO_URING_REGISTER: "io_uring_register", unix.SYS_MMAP: "mmap", unix.SYS_MUNMAP: "munmap", unix.SYS_MADVISE: "madvise",
	unix.SYS_MPROTECT: "mprotect", unix.SYS_MREMAP: "mremap", unix.SYS_BRK: "brk", unix.SYS_FUTEX: "futex",
	unix.SYS_NANOSLEEP: "nanosleep", unix.SYS_CLOCK_NANOSLEEP: "clock_nanosleep", unix.SYS_CLOCK_GETTIME: "clock_gettime",
	unix.SYS_SCHED_YIELD: "sched_yield", unix.SYS_SCHED_SETAFFINITY: "sched_setaffinity", unix.SYS_SCHED_GETAFFINITY: "sched_getaffinity",
	unix.SYS_SCHED_SETATTR: "sched_setattr", unix.SYS_GETRUSAGE: "getrusage", unix.SYS_GETPID: "getpid", unix.SYS_GETTID: "gettid",
	unix.SYS_TGKILL: "tgkill", unix.SYS_RT_SIGPROCMASK: "rt_sigprocmask", unix.SYS_RT_SIGRETURN: "rt_sigreturn",
	unix.SYS_RT_SIGACTION: "rt_sigaction", unix.SYS_SIGALTSTACK: "sigaltstack", unix.SYS_CLONE: "clone", unix.SYS_CLONE3: "clone3",
	unix.SYS_EXIT: "exit", unix.SYS_RESTART_SYSCALL: "restart_syscall", unix.SYS_MEMBARRIER: "membarrier",
	unix.SYS_PERF_EVENT_OPEN: "perf_event_open", unix.SYS_TIMER_SETTIME: "timer_settime",
}
