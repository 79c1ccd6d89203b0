package results

// Socket is what the data connections of one end had, read back from the
// kernel; of several connections the least. Buffers are in bytes of memory:
// the kernel doubles what a program sets, for what it needs itself
// (socket(7)).
type Socket struct {
	RcvBuf int `json:"rcvbuf"` // SO_RCVBUF when the window closed
	SndBuf int `json:"sndbuf"` // SO_SNDBUF then
	// The same before any payload: what differs since was autotuning, or the
	// engine.
	FirstRcvBuf int `json:"rcvbuf_connected"`
	FirstSndBuf int `json:"sndbuf_connected"`

	MSS     int  `json:"mss"`     // TCP_MAXSEG: most payload bytes of a segment sent
	RcvMSS  int  `json:"rcv_mss"` // TCP_INFO: the kernel's guess at those received
	NoDelay bool `json:"nodelay"`
	// Pacing is the sum over the connections of what TCP would pace them at,
	// bytes per second. A congestion control that does not pace itself has it
	// far above what goes.
	Pacing    uint64 `json:"pacing_bytes_sec"`
	MaxPacing uint64 `json:"max_pacing_bytes_sec,omitempty"` // sum of SO_MAX_PACING_RATE; absent: no limit
}
