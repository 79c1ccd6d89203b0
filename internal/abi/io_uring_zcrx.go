package abi

// linux/io_uring/zcrx.h; until Linux 7.0 these lines were in linux/io_uring.h.
// A version in a comment is the kernel that added the line's name; without
// one it is Linux 6.15.

// Offsets into an area carry the area's id in their high bits.
const (
	IORING_ZCRX_AREA_SHIFT = 48
	IORING_ZCRX_AREA_MASK  = 1<<64 - 1<<IORING_ZCRX_AREA_SHIFT
)

// enum io_uring_zcrx_area_flags.
const (
	IORING_ZCRX_AREA_DMABUF = 1 // Linux 6.16
)

// enum zcrx_reg_flags.
const (
	ZCRX_REG_IMPORT = 1 // Linux 6.19
	ZCRX_REG_NODEV  = 2 // Linux 7.1
)

// enum zcrx_features.
const (
	ZCRX_FEATURE_RX_PAGE_SIZE = 1 << 0 // Linux 7.0
)

// enum zcrx_event_type.
const (
	ZCRX_EVENT_ALLOC_FAIL = 0 // Linux 7.2
	ZCRX_EVENT_COPY       = 1 // Linux 7.2
)

// ZCRX_EVENT_DESC_FLAG_STATS says that StatsOffset of ZCRXEventDesc is set.
// Linux 7.2.
const ZCRX_EVENT_DESC_FLAG_STATS = 1 << 0

// enum zcrx_ctrl_op.
const (
	ZCRX_CTRL_FLUSH_RQ  = 0 // Linux 6.19
	ZCRX_CTRL_EXPORT    = 1 // Linux 6.19
	ZCRX_CTRL_ARM_EVENT = 2 // Linux 7.2
	ZCRX_CTRL_ADD_AREA  = 3 // Linux 7.3
)

// IOUringZCRXRQE is struct io_uring_zcrx_rqe.
type IOUringZCRXRQE struct {
	Off uint64
	Len uint32
	_   uint32
}

// IOUringZCRXCQE is struct io_uring_zcrx_cqe, the second half of a 32-byte
// completion.
type IOUringZCRXCQE struct {
	Off uint64
	_   uint64
}

// IOUringZCRXOffsets is struct io_uring_zcrx_offsets: where the parts of the
// refill ring are in its region.
type IOUringZCRXOffsets struct {
	Head, Tail, RQEs, _ uint32
	_                   [2]uint64
}

// IOUringZCRXAreaReg is struct io_uring_zcrx_area_reg.
type IOUringZCRXAreaReg struct {
	Addr        uint64
	Len         uint64
	RQAreaToken uint64
	Flags       uint32
	DMABufFD    uint32 // Linux 6.16
	_           [2]uint64
}

// IOUringZCRXIfqReg is struct io_uring_zcrx_ifq_reg.
type IOUringZCRXIfqReg struct {
	IfIdx     uint32
	IfRXQ     uint32
	RQEntries uint32
	Flags     uint32
	AreaPtr   uint64
	RegionPtr uint64
	Offsets   IOUringZCRXOffsets
	ZCRXID    uint32
	RXBufLen  uint32 // Linux 7.0
	EventDesc uint64 // Linux 7.2
	_         [2]uint64
}

// ZCRXEventDesc is struct zcrx_event_desc. Linux 7.2.
type ZCRXEventDesc struct {
	UserData    uint64
	TypeMask    uint32
	Flags       uint32
	StatsOffset uint64
	_           [9]uint64
}

// ZCRXStats is struct zcrx_stats. Linux 7.2.
type ZCRXStats struct {
	CopyCount uint64
	CopyBytes uint64
}

// ZCRXCtrl is struct zcrx_ctrl. Linux 6.19.
type ZCRXCtrl struct {
	ZCRXID uint32
	Op     uint32
	_      [2]uint64
	// Arg is the first word of the union: zcrx_fd, which ZCRX_CTRL_EXPORT
	// answers, or event_type. ZCRX_CTRL_FLUSH_RQ takes zeros only.
	Arg uint32
	_   [11]uint32
}

// ZCRXCtrlAddArea is struct zcrx_ctrl with the member zc_area of its union,
// struct zcrx_ctrl_add_area. Linux 7.3.
type ZCRXCtrlAddArea struct {
	ZCRXID  uint32
	Op      uint32
	_       [2]uint64
	AreaPtr uint64
	_       [5]uint64
}
