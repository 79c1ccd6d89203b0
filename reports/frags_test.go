package reports

import (
	"testing"

	"zcbench/results"
)

func TestPieces(t *testing.T) {
	if s := pieces(&results.End{}); s != "" {
		t.Errorf("a receiver without a dma-buf: %q", s)
	}
	got := pieces(&results.End{Counters: map[string]float64{
		"tokens": 8000, "token_ranges": 20, "recvmsg_frags_min": 2, "recvmsg_frags_max": 1499,
		"recvmsg_frags_below_512": 2, "recvmsg_frags_512_to_1024": 4, "recvmsg_frags_above_1024": 4,
	}})
	want := "mean 800.0, min 2, max 1499; below 512: 20 %, 512 to 1024: 40 %, above: 40 %; recycled in 20 ranges"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
