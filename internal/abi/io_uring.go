package abi

// linux/io_uring.h. A version in a comment is the kernel that added the line's
// name; without one it is older than Linux 6.1, the oldest the rings here
// work on.

// Operations, enum io_uring_op.
const (
	IORING_OP_NOP        = 0
	IORING_OP_SEND       = 26
	IORING_OP_RECV       = 27
	IORING_OP_SEND_ZC    = 47
	IORING_OP_SENDMSG_ZC = 48
	IORING_OP_RECV_ZC    = 58 // Linux 6.15
)

// sqe->flags.
const (
	IOSQE_FIXED_FILE    = 1 << 0
	IOSQE_IO_LINK       = 1 << 2
	IOSQE_BUFFER_SELECT = 1 << 5
)

// io_uring_setup(2) flags.
const (
	IORING_SETUP_CQSIZE        = 1 << 3
	IORING_SETUP_SUBMIT_ALL    = 1 << 7
	IORING_SETUP_CQE32         = 1 << 11
	IORING_SETUP_SINGLE_ISSUER = 1 << 12
	IORING_SETUP_DEFER_TASKRUN = 1 << 13 // Linux 6.1
	IORING_SETUP_NO_SQARRAY    = 1 << 16 // Linux 6.6
)

// io_uring_params->features.
const (
	IORING_FEAT_RECVSEND_BUNDLE = 1 << 14 // Linux 6.10
	IORING_FEAT_MIN_TIMEOUT     = 1 << 15 // Linux 6.12
	IORING_FEAT_NO_IOWAIT       = 1 << 17 // Linux 6.15
)

// io_uring_enter(2) flags.
const (
	IORING_ENTER_GETEVENTS       = 1 << 0
	IORING_ENTER_EXT_ARG         = 1 << 3
	IORING_ENTER_REGISTERED_RING = 1 << 4
	IORING_ENTER_NO_IOWAIT       = 1 << 7 // Linux 6.15
)

// sq_ring->flags.
const (
	IORING_SQ_CQ_OVERFLOW = 1 << 1
)

// mmap(2) offsets.
const (
	IORING_OFF_SQ_RING = 0
	IORING_OFF_SQES    = 0x10000000
)

// send and recv flags, in sqe->ioprio.
const (
	IORING_RECV_MULTISHOT       = 1 << 1
	IORING_RECVSEND_FIXED_BUF   = 1 << 2 // with IORING_OP_SENDMSG_ZC Linux 6.15
	IORING_SEND_ZC_REPORT_USAGE = 1 << 3 // Linux 6.2, and in stable 6.1
	IORING_RECVSEND_BUNDLE      = 1 << 4 // Linux 6.10
)

// IORING_NOTIF_USAGE_ZC_COPIED is a flag in cqe->res of a notification that
// IORING_SEND_ZC_REPORT_USAGE asked for. Linux 6.2.
const IORING_NOTIF_USAGE_ZC_COPIED = 1 << 31

// cqe->flags.
const (
	IORING_CQE_F_BUFFER     = 1 << 0
	IORING_CQE_F_MORE       = 1 << 1
	IORING_CQE_F_NOTIF      = 1 << 3
	IORING_CQE_BUFFER_SHIFT = 16
)

// io_uring_register(2) operations, enum io_uring_register_op.
const (
	IORING_REGISTER_BUFFERS    = 0
	IORING_REGISTER_FILES      = 2
	IORING_UNREGISTER_FILES    = 3
	IORING_REGISTER_PROBE      = 8
	IORING_REGISTER_RING_FDS   = 20
	IORING_UNREGISTER_RING_FDS = 21
	IORING_REGISTER_PBUF_RING  = 22
	IORING_REGISTER_NAPI       = 27 // Linux 6.9
	IORING_REGISTER_ZCRX_IFQ   = 32 // Linux 6.15
	IORING_REGISTER_QUERY      = 35 // Linux 6.18
	IORING_REGISTER_ZCRX_CTRL  = 36 // Linux 6.19
)

// IO_URING_OP_SUPPORTED is a flag of IOUringProbeOp.
const IO_URING_OP_SUPPORTED = 1 << 0

// IORING_MEM_REGION_TYPE_USER says that UserAddr of IOUringRegionDesc is
// memory of ours. Linux 6.13.
const IORING_MEM_REGION_TYPE_USER = 1

// IOUringSQE is struct io_uring_sqe.
type IOUringSQE struct {
	Opcode      uint8
	Flags       uint8
	IOPrio      uint16
	FD          int32
	Off         uint64
	Addr        uint64
	Len         uint32
	OpFlags     uint32 // msg_flags, cancel_flags, …
	UserData    uint64
	BufIndex    uint16 // buf_index, buf_group
	Personality uint16
	FileIndex   uint32 // file_index, zcrx_ifq_idx, addr_len
	Addr3       uint64
	_           uint64
}

// IOUringCQE is struct io_uring_cqe.
type IOUringCQE struct {
	UserData uint64
	Res      int32
	Flags    uint32
}

// IOSQRingOffsets is struct io_sqring_offsets.
type IOSQRingOffsets struct {
	Head, Tail, RingMask, RingEntries, Flags, Dropped, Array, _ uint32
	UserAddr                                                    uint64
}

// IOCQRingOffsets is struct io_cqring_offsets.
type IOCQRingOffsets struct {
	Head, Tail, RingMask, RingEntries, Overflow, CQEs, Flags, _ uint32
	UserAddr                                                    uint64
}

// IOUringParams is struct io_uring_params.
type IOUringParams struct {
	SQEntries    uint32
	CQEntries    uint32
	Flags        uint32
	SQThreadCPU  uint32
	SQThreadIdle uint32
	Features     uint32
	WQFD         uint32
	_            [3]uint32
	SQOff        IOSQRingOffsets
	CQOff        IOCQRingOffsets
}

// KernelTimespec is struct __kernel_timespec of linux/time_types.h.
type KernelTimespec struct {
	Sec  int64
	Nsec int64
}

// IOUringGeteventsArg is struct io_uring_getevents_arg.
type IOUringGeteventsArg struct {
	Sigmask     uint64
	SigmaskSize uint32
	MinWaitUsec uint32 // Linux 6.12
	Timespec    uint64 // address of a KernelTimespec
}

// IOUringRsrcUpdate is struct io_uring_rsrc_update.
type IOUringRsrcUpdate struct {
	Offset uint32
	_      uint32
	Data   uint64
}

// IOUringNAPI is struct io_uring_napi. As zeros but for BusyPollTo it makes the
// ring poll the queues that its sockets receive from
// (IO_URING_NAPI_TRACKING_DYNAMIC). Linux 6.9.
type IOUringNAPI struct {
	BusyPollTo     uint32 // microseconds
	PreferBusyPoll uint8
	Opcode         uint8 // Linux 6.13
	_              [2]uint8
	OpParam        uint32 // Linux 6.13
	_              uint32
}

// IOUringProbe is struct io_uring_probe with room for every opcode.
type IOUringProbe struct {
	LastOp uint8
	OpsLen uint8
	_      uint16
	_      [3]uint32
	Ops    [256]IOUringProbeOp
}

// IOUringProbeOp is struct io_uring_probe_op.
type IOUringProbeOp struct {
	Op    uint8
	_     uint8
	Flags uint16
	_     uint32
}

// IOUringBuf is struct io_uring_buf, an entry of a provided-buffer ring. In
// entry 0 the field after BID is the ring's tail.
type IOUringBuf struct {
	Addr uint64
	Len  uint32
	BID  uint16
	Tail uint16
}

// IOUringBufReg is struct io_uring_buf_reg.
type IOUringBufReg struct {
	RingAddr    uint64
	RingEntries uint32
	BGID        uint16
	Flags       uint16
	_           [3]uint64
}

// IOUringRegionDesc is struct io_uring_region_desc. Linux 6.13.
type IOUringRegionDesc struct {
	UserAddr   uint64
	Size       uint64
	Flags      uint32
	ID         uint32
	MmapOffset uint64
	_          [4]uint64
}
