package counters

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/instrument"
)

// tcp is TCP_INFO (linux/tcp.h) of the data connections: totals over all of
// them, states as their mean.
func tcp() instrument.Counter {
	return instrument.Counter{
		Name: "tcp", About: "TCP_INFO of the data connections: round trips, window, retransmits, what limits the sender",
		Open: func(s instrument.Place) (instrument.Reader, error) { return &tcpReader{flows: s.Flows}, nil },
	}
}

type tcpReader struct {
	flows func() []int
	// Of one connection these are 32 bits wide; of all, 64.
	before [len(tcpNarrow)][]uint32
	total  [len(tcpNarrow)]uint64
}

var tcpNarrow = [...]struct {
	name  string
	quiet bool
	value func(*unix.TCPInfo) uint32
}{
	{"tcp_retransmits", false, func(i *unix.TCPInfo) uint32 { return i.Total_retrans }},
	{"tcp_out_of_order", false, func(i *unix.TCPInfo) uint32 { return i.Rcv_ooopack }}, // 5.4
	{"tcp_segments_out", true, func(i *unix.TCPInfo) uint32 { return i.Segs_out }},
	{"tcp_segments_in", true, func(i *unix.TCPInfo) uint32 { return i.Segs_in }},
}

var tcpWide = [...]struct {
	name  string
	value func(*unix.TCPInfo) uint64
}{
	{"tcp_busy_us", func(i *unix.TCPInfo) uint64 { return i.Busy_time }},
	{"tcp_rwnd_limited_us", func(i *unix.TCPInfo) uint64 { return i.Rwnd_limited }},
	{"tcp_sndbuf_limited_us", func(i *unix.TCPInfo) uint64 { return i.Sndbuf_limited }},
}

var tcpStates = [...]struct {
	name  string
	quiet bool
	value func(*unix.TCPInfo) uint64
}{
	{"tcp_rtt_us", false, func(i *unix.TCPInfo) uint64 { return uint64(i.Rtt) }},
	{"tcp_min_rtt_us", true, func(i *unix.TCPInfo) uint64 { return uint64(i.Min_rtt) }},
	{"tcp_cwnd_segments", false, func(i *unix.TCPInfo) uint64 { return uint64(i.Snd_cwnd) }},
	{"tcp_mss_bytes", true, func(i *unix.TCPInfo) uint64 { return uint64(max(i.Snd_mss, i.Rcv_mss)) }},
	{"tcp_delivery_rate_bytes_sec", true, func(i *unix.TCPInfo) uint64 { return i.Delivery_rate }},
}

// Means keep three decimals on their way through whole numbers.
const thousand = 1000

func (r *tcpReader) Quantities() []instrument.Quantity {
	var q []instrument.Quantity
	for _, v := range tcpNarrow {
		q = append(q, instrument.Quantity{Name: v.name, Quiet: v.quiet})
	}
	for _, v := range tcpWide {
		q = append(q, instrument.Quantity{Name: v.name, Quiet: true})
	}
	for _, v := range tcpStates {
		q = append(q, instrument.Quantity{Name: v.name, Form: instrument.Gauge, Scale: 1.0 / thousand, Quiet: v.quiet})
	}
	return q
}

func (r *tcpReader) Read(to []uint64) error {
	clear(to)
	flows := r.flows()
	wide, states := to[len(tcpNarrow):], to[len(tcpNarrow)+len(tcpWide):]
	for f, fd := range flows {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return fmt.Errorf("TCP_INFO of flow %d: %w", f+1, err)
		}
		for i := range tcpNarrow {
			if len(r.before[i]) <= f {
				r.before[i] = append(r.before[i], 0)
			}
			v := tcpNarrow[i].value(info)
			r.total[i] += uint64(v - r.before[i][f])
			r.before[i][f] = v
		}
		for i := range tcpWide {
			wide[i] += tcpWide[i].value(info)
		}
		for i := range tcpStates {
			v := tcpStates[i].value(info)
			if v > math.MaxUint64/thousand {
				v = 0 // no connection has that; an unset delivery rate may
			}
			states[i] += v * thousand
		}
	}
	copy(to, r.total[:])
	if n := uint64(len(flows)); n > 0 {
		for i := range tcpStates[:len(tcpStates)-1] {
			states[i] /= n
		}
	}
	return nil
}

func (r *tcpReader) Close() error { return nil }
