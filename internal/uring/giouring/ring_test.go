//go:build giouring

package giouring

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/feature"
	"zcbench/internal/uring"
)

func newRing(t *testing.T, c uring.Config) *Ring {
	t.Helper()
	runtime.LockOSThread() // a ring belongs to one thread
	t.Cleanup(runtime.UnlockOSThread)
	r, err := New(c)
	if err != nil {
		if v := uring.Explain(err); v.Answer == feature.No {
			t.Skipf("%s (%s)", v.Reason, v.Fix)
		}
		t.Fatal(err)
	}
	return r
}

func (r *Ring) nops(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		s := r.SQE()
		s.lib().PrepareNop()
		s.UserData = uint64(i)
	}
	if e := r.Enter(uint32(n)); e != 0 {
		t.Fatal(e)
	}
	if got := r.Ready(); got != uint32(n) {
		t.Fatalf("%d completions, want %d", got, n)
	}
	for i := range n {
		if c := r.CQE(uint32(i)); c.UserData != uint64(i) || c.Res != 0 {
			t.Fatalf("completion %d: %+v", i, *c)
		}
	}
	r.Seen(uint32(n))
}

// TestRegisteredRingsGo: a thread has room for 16, so that rings which stayed
// registered after Close would show.
func TestRegisteredRingsGo(t *testing.T) {
	for range 40 {
		r := newRing(t, uring.Config{Entries: 4})
		r.nops(t, 3)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoRingsOnOneThread: the indices that they registered at are not mixed up.
func TestTwoRingsOnOneThread(t *testing.T) {
	a := newRing(t, uring.Config{Entries: 4})
	b := newRing(t, uring.Config{Entries: 8, CQEntries: 64})
	a.nops(t, 4)
	b.nops(t, 32) // as many as half of CQEntries
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b.nops(t, 8)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSQEIsCleared: also of what the library's preparations leave.
func TestSQEIsCleared(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 1})
	defer r.Close()
	for range 3 {
		s := r.SQE()
		if *s != (SQE{}) {
			t.Fatalf("the request is not clear: %+v", *s)
		}
		s.lib().PrepareNop()
		s.Addr, s.Addr3 = 8, 9
		if e := r.Enter(1); e != 0 {
			t.Fatal(e)
		}
		r.Seen(r.Ready())
	}
}

// TestTimeoutIsNoError: neither when requests were submitted by the same call.
func TestTimeoutIsNoError(t *testing.T) {
	for _, minWait := range []time.Duration{0, time.Millisecond} {
		r := newRing(t, uring.Config{Entries: 1, Timeout: 20 * time.Millisecond, MinWait: minWait})
		r.SQE().lib().PrepareNop()
		for want := range uint32(2) {
			if e := r.Enter(2 - want); e != 0 {
				t.Errorf("MinWait %v: %v", minWait, e)
			}
			if n := r.Ready(); n != 1-want {
				t.Errorf("MinWait %v: %d completions, want %d", minWait, n, 1-want)
			}
			r.Seen(r.Ready())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRefusalsShow: the library loses those of files.
func TestRefusalsShow(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 1})
	defer r.Close()
	if err := r.RegisterFiles([]int32{1 << 20}); err == nil {
		t.Error("registered a descriptor that is not open")
	}
	if _, err := r.BufRing(8192, unix.Getpagesize()); err == nil {
		t.Error("took more buffers than the library can address")
	}
}
