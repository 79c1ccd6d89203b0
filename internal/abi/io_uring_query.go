package abi

// linux/io_uring/query.h, the argument of IORING_REGISTER_QUERY. Linux 6.18.

// Query operations.
const (
	IO_URING_QUERY_OPCODES    = 0
	IO_URING_QUERY_ZCRX       = 1
	IO_URING_QUERY_ZCRX_EVENT = 3 // Linux 7.2
)

// IOUringQueryHdr is struct io_uring_query_hdr.
type IOUringQueryHdr struct {
	NextEntry uint64
	QueryData uint64 // address of the operation's structure
	QueryOp   uint32
	Size      uint32 // of that structure; the kernel answers what it filled
	Result    int32
	_         [3]uint32
}

// IOUringQueryOpcode is struct io_uring_query_opcode.
type IOUringQueryOpcode struct {
	NrRequestOpcodes  uint32
	NrRegisterOpcodes uint32
	FeatureFlags      uint64
	RingSetupFlags    uint64
	EnterFlags        uint64
	SQEFlags          uint64
	NrQueryOpcodes    uint32
	_                 uint32
}

// IOUringQueryZCRX is struct io_uring_query_zcrx.
type IOUringQueryZCRX struct {
	RegisterFlags  uint64
	AreaFlags      uint64
	NrCtrlOpcodes  uint32
	Features       uint32 // Linux 7.0
	RQHdrSize      uint32
	RQHdrAlignment uint32
	_              uint64
}

// IOUringQueryZCRXEvent is struct io_uring_query_zcrx_event.
type IOUringQueryZCRXEvent struct {
	EventFlags        uint32
	StatsSize         uint32
	StatsOffAlignment uint32
	_                 uint32
	_                 [4]uint64
}
