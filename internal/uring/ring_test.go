package uring

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/feature"
)

func newRing(t testing.TB, c Config) *Ring {
	t.Helper()
	runtime.LockOSThread() // a ring belongs to one thread
	r, err := New(c)
	if err != nil {
		if v := Explain(err); v.Answer == feature.No {
			t.Skipf("%s (%s)", v.Reason, v.Fix)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer runtime.UnlockOSThread()
		if r.maps == nil {
			return
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func enter(t testing.TB, r *Ring, want uint32) {
	t.Helper()
	if e := r.Enter(want); e != 0 {
		t.Fatalf("enter: %v", e)
	}
}

// pair is two connected stream sockets.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestNopsGoRoundTheRing(t *testing.T) {
	for _, cqe32 := range []bool{false, true} {
		r := newRing(t, Config{Entries: 4, CQEntries: 8, CQE32: cqe32})
		next := uint64(1)
		for range 50 {
			for i := range uint64(3) {
				s := r.SQE()
				s.Nop()
				s.UserData = next + i
			}
			enter(t, r, 3)
			if n := r.Ready(); n != 3 {
				t.Fatalf("CQE32 %v: %d completions, want 3", cqe32, n)
			}
			for i := range uint32(3) {
				if c := r.CQE(i); c.UserData != next || c.Res != 0 || c.More() {
					t.Fatalf("CQE32 %v: completion %+v, want user data %d", cqe32, *c, next)
				}
				next++
			}
			r.Seen(3)
		}
	}
}

// TestSQEIsCleared: what an earlier request left in the slot must not reach
// the next one in it.
func TestSQEIsCleared(t *testing.T) {
	r := newRing(t, Config{Entries: 1})
	for range 3 {
		s := r.SQE()
		if *s != (SQE{}) {
			t.Fatalf("the request is not clear: %+v", *s)
		}
		s.Nop()
		s.UserData, s.Addr, s.Addr3 = 7, 8, 9
		s.Link()
		enter(t, r, 1)
		r.Seen(r.Ready())
	}
}

func TestTooManyRequestsPanic(t *testing.T) {
	r := newRing(t, Config{Entries: 2})
	r.SQE().Nop()
	r.SQE().Nop()
	defer func() {
		if recover() == nil {
			t.Error("a third request in a queue of two")
		}
	}()
	r.SQE()
}

// TestOverflowIsKept: completions beyond the queue come in later, and Overflowed
// says so meanwhile.
func TestOverflowIsKept(t *testing.T) {
	r := newRing(t, Config{Entries: 8, CQEntries: 8})
	for batch := range uint64(3) {
		for i := range uint64(8) {
			s := r.SQE()
			s.Nop()
			s.UserData = 8*batch + i
		}
		enter(t, r, 1)
	}
	if !r.Overflowed() {
		t.Error("24 completions in a queue of 8 do not overflow")
	}
	for want := uint64(0); want < 24; {
		enter(t, r, 1)
		n := r.Ready()
		if n == 0 {
			t.Fatalf("stuck after %d completions", want)
		}
		for i := range n {
			if got := r.CQE(i).UserData; got != want {
				t.Fatalf("completion %d, want %d", got, want)
			}
			want++
		}
		r.Seen(n)
	}
	if r.Overflowed() || r.Lost() != 0 {
		t.Errorf("after all were read: overflowed %v, lost %d", r.Overflowed(), r.Lost())
	}
}

func TestTimeoutIsNoError(t *testing.T) {
	r := newRing(t, Config{Entries: 1, Timeout: 20 * time.Millisecond})
	start := time.Now()
	enter(t, r, 1)
	if d := time.Since(start); d < 15*time.Millisecond || d > 5*time.Second {
		t.Errorf("waited %v, want 20 ms", d)
	}
	if n := r.Ready(); n != 0 {
		t.Errorf("%d completions of nothing", n)
	}
}

// TestMinWait: with one of two completions there, Enter returns after MinWait
// rather than at once or after Timeout.
func TestMinWait(t *testing.T) {
	r := newRing(t, Config{Entries: 1, MinWait: 20 * time.Millisecond, Timeout: 10 * time.Second})
	if !r.CanBatch() {
		t.Skip("no IORING_FEAT_MIN_TIMEOUT: needs Linux 6.12")
	}
	r.SQE().Nop()
	start := time.Now()
	enter(t, r, 2)
	if d := time.Since(start); d < 15*time.Millisecond || d > 5*time.Second {
		t.Errorf("waited %v, want 20 ms", d)
	}
	if n := r.Ready(); n != 1 {
		t.Errorf("%d completions, want 1", n)
	}
}

// TestSignalsAreNoErrors: the runtime preempts with signals and the collector
// runs while a ring waits; the deadline still holds.
func TestSignalsAreNoErrors(t *testing.T) {
	r := newRing(t, Config{Entries: 1, Timeout: 50 * time.Millisecond})
	var stop atomic.Bool
	tid := unix.Gettid()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
			runtime.GC()
			time.Sleep(5 * time.Millisecond)
		}
	}()
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
		enter(t, r, 1)
		if n := r.Ready(); n != 0 {
			t.Errorf("%d completions of nothing", n)
		}
	}
	stop.Store(true)
	<-done
	r.SQE().Nop()
	enter(t, r, 1)
	if n := r.Ready(); n != 1 {
		t.Errorf("%d completions after the signals, want 1", n)
	}
}

func TestSendAndReceive(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	a, b := pair(t)
	if err := r.RegisterFiles([]int32{int32(a), int32(b)}); err != nil {
		t.Fatal(err)
	}
	out, err := abi.Map(4096, false)
	if err != nil {
		t.Fatal(err)
	}
	defer abi.Unmap(out)
	for i := range out {
		out[i] = byte(i * 7)
	}
	in, err := r.BufRing(4, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s := r.SQE()
	s.Recv(1, 0, r.CanBundle())
	s.UserData = 1
	enter(t, r, 0)
	var sent, got int
	for round := 0; got < 100*len(out); round++ {
		if sent == got {
			s := r.SQE()
			s.Send(0, out[:1+round*37%len(out)])
			s.UserData = 2
		}
		enter(t, r, 1)
		n, returned := r.Ready(), 0
		rearm := false
		for i := range n {
			c := r.CQE(i)
			switch {
			case c.UserData == 2 && c.Res > 0:
				sent += int(c.Res)
				continue
			case c.Res > 0:
				id, ok := c.Buffer()
				if !ok {
					t.Fatalf("data without a buffer: %+v", *c)
				}
				head, tail := in.Bytes(id, int(c.Res))
				got += len(head) + len(tail)
				returned += in.Count(int(c.Res))
			case unix.Errno(-c.Res) != unix.ENOBUFS:
				t.Fatalf("completion %+v: %v", *c, unix.Errno(-c.Res))
			}
			rearm = rearm || !c.More()
		}
		r.Seen(n)
		in.Return(returned)
		if rearm {
			s := r.SQE()
			s.Recv(1, 0, r.CanBundle())
			s.UserData = 1
		}
	}
}

// TestCloseInFlight closes rings with a receive armed and nothing coming: it
// must not wait, and no descriptor may stay.
func TestCloseInFlight(t *testing.T) {
	newRing(t, Config{Entries: 1}) // or skip
	before := openFiles(t)
	for range 50 {
		a, _ := pair(t)
		r, err := New(Config{Entries: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.RegisterFiles([]int32{int32(a)}); err != nil {
			t.Fatal(err)
		}
		in, err := r.BufRing(2, 4096)
		if err != nil {
			t.Fatal(err)
		}
		r.SQE().Recv(0, 0, false)
		enter(t, r, 0)
		start := time.Now()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > time.Second {
			t.Fatalf("close took %v", d)
		}
	}
	if after := openFiles(t); after != before+100 { // the socket pairs
		t.Errorf("%d descriptors before, %d after 50 pairs and rings", before, after)
	}
}

// TestCloseReleasesFiles: the far end sees the end of the stream once the ring
// that held the socket is gone.
func TestCloseReleasesFiles(t *testing.T) {
	r := newRing(t, Config{Entries: 1})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	if err := r.RegisterFiles([]int32{int32(fds[0])}); err != nil {
		t.Fatal(err)
	}
	in, err := r.BufRing(2, 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r.SQE().Recv(0, 0, false)
	enter(t, r, 0)
	unix.Close(fds[0])
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptTimeval(fds[1], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	n, err := unix.Read(fds[1], make([]byte, 1))
	for err == unix.EINTR {
		n, err = unix.Read(fds[1], make([]byte, 1))
	}
	if n != 0 || err != nil {
		t.Errorf("read %d, %v; want the end of the stream", n, err)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	r := newRing(t, Config{Entries: 4, Timeout: time.Second})
	if n := testing.AllocsPerRun(100, func() {
		s := r.SQE()
		s.Nop()
		s.UserData = 3
		if r.Enter(1) != 0 {
			t.Error("enter failed")
		}
		for i := range r.Ready() {
			_ = r.CQE(i).Res
		}
		r.Seen(r.Ready())
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

func BenchmarkNop(b *testing.B) {
	runtime.LockOSThread()
	r := newRing(b, Config{Entries: 1, Timeout: time.Second})
	b.ReportAllocs()
	for b.Loop() {
		r.SQE().Nop()
		r.Enter(1)
		r.Seen(r.Ready())
	}
}
