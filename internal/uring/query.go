package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/feature"
)

// query asks the kernel for one of its IO_URING_QUERY_ structures. It needs no
// ring. EINVAL means that it answers no queries (before Linux 6.18),
// EOPNOTSUPP that it does not know this one.
func query[T any](op uint32, out *T) unix.Errno {
	b, err := abi.Map(int(unsafe.Sizeof(queryArgs[T]{})), false)
	if err != nil {
		return unix.ENOMEM
	}
	defer abi.Unmap(b)
	q := (*queryArgs[T])(unsafe.Pointer(unsafe.SliceData(b)))
	q.hdr = abi.IOUringQueryHdr{QueryData: address(&q.data), QueryOp: op, Size: uint32(unsafe.Sizeof(q.data))}
	if _, e := register(-1, abi.IORING_REGISTER_QUERY, unsafe.Pointer(&q.hdr), 0); e != 0 {
		return e
	}
	if q.hdr.Result < 0 {
		return unix.Errno(-q.hdr.Result)
	}
	*out = q.data
	return 0
}

type queryArgs[T any] struct {
	hdr  abi.IOUringQueryHdr
	data T
}

// ZeroCopyRXSupport is what the kernel says of its zero-copy receive.
type ZeroCopyRXSupport struct {
	NoQueue bool // it works without a NIC
	Flush   bool // the refill queue can be emptied by a call
	Share   bool // several rings can receive from one queue
	Stats   bool // copied bytes are counted
	Events  bool // it tells when the NIC found no buffer
	Copies  bool // it tells when it copied what another queue received
	Grow    bool // memory can be added to an area in use
	BufLen  bool // the NIC's buffers can be longer than a page
}

// QueryZeroCopyRX asks; a kernel that cannot be asked supports none.
func QueryZeroCopyRX() ZeroCopyRXSupport {
	var z abi.IOUringQueryZCRX
	if query(abi.IO_URING_QUERY_ZCRX, &z) != 0 {
		return ZeroCopyRXSupport{}
	}
	s := ZeroCopyRXSupport{
		NoQueue: z.RegisterFlags&abi.ZCRX_REG_NODEV != 0,
		Flush:   z.NrCtrlOpcodes > abi.ZCRX_CTRL_FLUSH_RQ,
		Share:   z.RegisterFlags&abi.ZCRX_REG_IMPORT != 0 && z.NrCtrlOpcodes > abi.ZCRX_CTRL_EXPORT,
		Grow:    z.NrCtrlOpcodes > abi.ZCRX_CTRL_ADD_AREA,
		BufLen:  z.Features&abi.ZCRX_FEATURE_RX_PAGE_SIZE != 0,
	}
	var ev abi.IOUringQueryZCRXEvent
	if query(abi.IO_URING_QUERY_ZCRX_EVENT, &ev) == 0 {
		s.Stats = ev.StatsSize >= uint32(unsafe.Sizeof(abi.ZCRXStats{}))
		s.Events = ev.EventFlags&(1<<abi.ZCRX_EVENT_ALLOC_FAIL) != 0 && z.NrCtrlOpcodes > abi.ZCRX_CTRL_ARM_EVENT
		s.Copies = s.Events && ev.EventFlags&(1<<abi.ZCRX_EVENT_COPY) != 0
	}
	return s
}

// Probe says whether a ring as the engines use it can be made here, and
// whether the kernel knows operation op, called name, which Linux since added.
func Probe(op uint8, name, since string) feature.Verdict {
	runtime.LockOSThread() // the ring is this thread's
	defer runtime.UnlockOSThread()
	r, err := New(Config{Entries: 1})
	if err != nil {
		return Explain(err)
	}
	defer r.Close()
	var p abi.IOUringProbe
	if _, e := r.register(abi.IORING_REGISTER_PROBE, unsafe.Pointer(&p), uint32(len(p.Ops))); e != 0 {
		return feature.Undecided(fmt.Sprintf("io_uring does not say which operations it knows (IORING_REGISTER_PROBE): %v", e), "")
	}
	if p.Ops[op].Flags&abi.IO_URING_OP_SUPPORTED == 0 {
		return feature.Impossible("the kernel has no "+name, "Linux "+since+" or later, built with it")
	}
	return feature.Possible()
}

// ProbeSendZC says whether SendZC works here.
func ProbeSendZC() feature.Verdict {
	if v := Probe(abi.IORING_OP_SEND_ZC, "IORING_OP_SEND_ZC", "6.0"); v.Answer != feature.Yes {
		return v
	}
	return accepted("IORING_OP_SEND_ZC does not tell what it copied (IORING_SEND_ZC_REPORT_USAGE)", "6.2",
		func(s *SQE, m *Message) { s.SendZC(0, m.mem[:1]) })
}

// ProbeMessage says whether SendMsgZC works here.
func ProbeMessage() feature.Verdict {
	if v := Probe(abi.IORING_OP_SENDMSG_ZC, "IORING_OP_SENDMSG_ZC", "6.1"); v.Answer != feature.Yes {
		return v
	}
	return accepted("IORING_OP_SENDMSG_ZC takes no registered buffer", "6.15",
		func(s *SQE, m *Message) { s.SendMsgZC(0, m) })
}

// accepted tries a request on a file that there is not: a kernel that can do it
// looks for the file, EBADF, one that does not know its flags refuses it before
// that, EINVAL, for the reason given.
func accepted(reason, since string, prepare func(*SQE, *Message)) feature.Verdict {
	runtime.LockOSThread() // the ring is this thread's
	defer runtime.UnlockOSThread()
	r, err := New(Config{Entries: 1})
	if err != nil {
		return Explain(err)
	}
	defer r.Close()
	m, err := NewMessage(1)
	if err != nil {
		return feature.Undecided(err.Error(), "")
	}
	defer m.Close()
	if err := r.RegisterBuffer(m.mem); err != nil { // old kernels look for it first
		return feature.Undecided(err.Error(), "")
	}
	m.Set(0, m.mem[:1])
	prepare(r.SQE(), m)
	if e := r.Enter(1); e != 0 {
		return feature.Undecided(fmt.Sprintf("io_uring_enter: %v", e), "")
	}
	if r.Ready() == 0 {
		return feature.Undecided("a request on no file does not complete", "")
	}
	switch e := unix.Errno(-r.CQE(0).Res); e {
	case unix.EBADF:
		return feature.Possible()
	case unix.EINVAL:
		return feature.Impossible(reason, "Linux "+since+" or later")
	default:
		return feature.Undecided(fmt.Sprintf("a request on no file: %v", e), "")
	}
}

// disabledFile is the sysctl that closes io_uring, Linux 6.6.
const disabledFile = "/proc/sys/kernel/io_uring_disabled"

// Explain turns the error of New into why there is no io_uring here.
func Explain(err error) feature.Verdict {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return feature.Impossible("the kernel is built without io_uring, or a seccomp filter hides it",
			"a kernel with CONFIG_IO_URING, outside a container that filters system calls")
	case errors.Is(err, unix.EPERM):
		b, readErr := os.ReadFile(disabledFile)
		return explainDenied(strings.TrimSpace(string(b)), readErr)
	case errors.Is(err, unix.EINVAL):
		return feature.Impossible("the kernel's io_uring lacks IORING_SETUP_DEFER_TASKRUN", "Linux 6.1 or later")
	case errors.Is(err, unix.ENOMEM):
		return feature.Undecided(explainMemlock(err).Error(), "ulimit -l unlimited")
	}
	return feature.Undecided(err.Error(), "")
}

func explainDenied(sysctl string, err error) feature.Verdict {
	switch {
	case err == nil && sysctl == "2":
		return feature.Impossible("io_uring is disabled for everybody (kernel.io_uring_disabled = 2)", "sysctl kernel.io_uring_disabled=0")
	case err == nil && sysctl == "1":
		return feature.Impossible("io_uring is disabled for unprivileged processes (kernel.io_uring_disabled = 1)",
			"run as root, or sysctl kernel.io_uring_disabled=0")
	}
	return feature.Impossible("io_uring is forbidden to this process, probably by a container's seccomp filter",
		"allow io_uring_setup, io_uring_enter and io_uring_register in the filter")
}

// TryZeroCopyRX registers a small area without a NIC and lets go of it again.
// The error is the kernel's: EPERM without CAP_NET_ADMIN, EINVAL before
// Linux 7.1.
func TryZeroCopyRX() error {
	area, err := abi.Map(16*unix.Getpagesize(), false)
	if err != nil {
		return err
	}
	defer abi.Unmap(area)
	return try(ZeroCopyConfig{Queue: NoQueue, Area: area, Refill: 16})
}

// TryInterface offers the kernel an area that is no memory for zero-copy receive
// from an interface's queue, and gives its refusal. Of an interface without hardware
// that could take part, as lo and veth, it does not look at the area: EOPNOTSUPP.
func TryInterface(iface int) error {
	return try(ZeroCopyConfig{Interface: iface, Refill: 16})
}

func try(c ZeroCopyConfig) error {
	runtime.LockOSThread() // the ring is this thread's
	defer runtime.UnlockOSThread()
	r, err := New(Config{Entries: 1, CQE32: true})
	if err != nil {
		return err
	}
	z, err := r.ZeroCopyRX(c)
	if z != nil {
		defer z.Close()
	}
	return errors.Join(err, r.Close())
}
