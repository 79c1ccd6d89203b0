package endpoint

import "golang.org/x/sys/unix"

// tcpTotals are the figures of TCP_INFO (linux/tcp.h) summed or averaged over
// connections. Cumulative ones are differenced over the window; states are
// taken at its end.
type tcpTotals struct {
	retrans, segsOut, segsIn, delivered float64 // cumulative
	rttUs, minRTTUs, cwnd, mss          float64 // state, mean over flows
	deliveryRate                        float64 // state, bytes/s, sum
}

func readTCP(fds []int) (tcpTotals, bool) {
	var t tcpTotals
	for _, fd := range fds {
		i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return tcpTotals{}, false
		}
		t.retrans += float64(i.Total_retrans)
		t.segsOut += float64(i.Segs_out)
		t.segsIn += float64(i.Segs_in)
		t.delivered += float64(i.Delivered)
		n := float64(len(fds))
		t.rttUs += float64(i.Rtt) / n
		t.minRTTUs += float64(i.Min_rtt) / n
		t.cwnd += float64(i.Snd_cwnd) / n
		mss := i.Snd_mss
		if i.Rcv_mss > mss {
			mss = i.Rcv_mss
		}
		t.mss += float64(mss) / n
		t.deliveryRate += float64(i.Delivery_rate)
	}
	return t, len(fds) > 0
}

// window gives the counters of the time between two readings.
func (t tcpTotals) window(first tcpTotals) map[string]float64 {
	return map[string]float64{
		"tcp_retransmits":             t.retrans - first.retrans,
		"tcp_segments_out":            t.segsOut - first.segsOut,
		"tcp_segments_in":             t.segsIn - first.segsIn,
		"tcp_rtt_us":                  t.rttUs,
		"tcp_min_rtt_us":              t.minRTTUs,
		"tcp_cwnd_segments":           t.cwnd,
		"tcp_mss_bytes":               t.mss,
		"tcp_delivery_rate_bytes_sec": t.deliveryRate,
	}
}
