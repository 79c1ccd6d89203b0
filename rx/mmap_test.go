package rx_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/tier"
	"zcbench/rx"
	"zcbench/tx"
)

// The last bytes of a stream come through whatever their number: less than
// SO_RCVLOWAT, than a page, than the receive buffer, or nothing.
func TestMMapEndsOfStreams(t *testing.T) {
	tier.Long(t)
	needs(t, rx.MMap())
	random := rand.New(rand.NewPCG(1, 2))
	for _, rcvbuf := range []int{0, 16 << 10, 64 << 10} {
		for _, size := range []int{0, 1, 4095, 4096, 4097, 100_000, 3<<20 + 5} {
			for _, copybuf := range []string{"0", "64K"} {
				for _, writes := range []int{1, 7} { // pieces the sender writes, with pauses
					name := fmt.Sprintf("rcvbuf %d, size %d, copybuf %s, %d writes", rcvbuf, size, copybuf, writes)
					t.Run(name, func(t *testing.T) {
						rfd, sfd := pair(t)
						if rcvbuf > 0 {
							if err := unix.SetsockoptInt(rfd, unix.SOL_SOCKET, unix.SO_RCVBUF, rcvbuf); err != nil {
								t.Fatal(err)
							}
						}
						want := make([]byte, size)
						for i := range want {
							want[i] = byte(random.Uint32())
						}
						var got []byte
						f := start(t, optioned{rx.MMap(), map[string]string{"copybuf": copybuf}}, endpoint.Params{Length: 1000}, rfd,
							func(p []byte) { got = append(got, p...) })
						for p := want; len(p) > 0; {
							n := min(size/writes+1, len(p))
							if _, err := unix.Write(sfd, p[:n]); err != nil {
								t.Fatal(err)
							}
							if p = p[n:]; len(p) > 0 {
								time.Sleep(2 * time.Millisecond)
							}
						}
						unix.Shutdown(sfd, unix.SHUT_WR)
						if err := f.wait(t, 10*time.Second); err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(got, want) || f.bytes() != uint64(size) {
							t.Errorf("%d bytes received, %d counted, of %d; equal: %v", len(got), f.bytes(), size, bytes.Equal(got, want))
						}
						// Waiting must not be polling.
						if n := f.counters.Syscalls[2].Load(); n > uint64(100+size/1000) {
							t.Errorf("%d polls", n)
						}
					})
				}
			}
		}
	}
}

// A trickle that never fills SO_RCVLOWAT does not make the receiver spin.
func TestMMapIdles(t *testing.T) {
	needs(t, rx.MMap())
	rfd, sfd := pair(t)
	f := start(t, rx.MMap(), endpoint.Params{Length: 1000}, rfd, nil)
	for range 20 {
		unix.Write(sfd, make([]byte, 100))
		time.Sleep(5 * time.Millisecond)
	}
	unix.Shutdown(sfd, unix.SHUT_WR)
	if err := f.wait(t, 5*time.Second); err != nil {
		t.Error(err)
	}
	var calls uint64
	for i := range f.counters.Syscalls {
		calls += f.counters.Syscalls[i].Load()
	}
	if calls > 100 || f.bytes() != 2000 {
		t.Errorf("%d system calls for %d bytes", calls, f.bytes())
	}
}

// A call stops at the end of each segment; what was waited for is taken by
// more calls, not by more waiting.
func TestMMapWaitsOncePerChunk(t *testing.T) {
	needs(t, rx.MMap(), tx.MsgZC())
	out := testutil.Transfer(t, tx.MsgZC(), optioned{rx.MMap(), map[string]string{"copybuf": "0", "chunk": "1M"}},
		endpoint.Params{Flows: 1, Length: 128 << 10}, 300*time.Millisecond)
	c := out.RX[0]
	calls, polls := c.Syscalls[0].Load(), c.Syscalls[2].Load()
	if polls > calls/2+20 {
		t.Errorf("%d polls for %d calls and %d bytes", polls, calls, testutil.Bytes(c))
	}
}
