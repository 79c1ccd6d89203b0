package perf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

func TestBodies(t *testing.T) {
	const text = `ffffffffaa6458bd t io_zcrx_copy_chunk.cold
ffffffffaaedc0c0 t __pfx_io_zcrx_copy_chunk
ffffffffaaedc0d0 t io_zcrx_copy_chunk
ffffffffaaedc0e0 t io_zcrx_copy_chunks
ffffffffaaedc0f0 t other.isra.0
ffffffffaaedc100 t other.part.0 [module]
`
	for name, want := range map[string]string{"io_zcrx_copy_chunk": "[io_zcrx_copy_chunk]", "other": "[other.isra.0 other.part.0]",
		"absent": "[]"} {
		if got := fmt.Sprint(bodies(text, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestCountCalls counts what this thread does, and nothing of others.
func TestCountCalls(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := CountCalls("ksys_read")
	if err != nil && fault.Of(err) == fault.Unsupported {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := os.Open("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, _, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := f.ReadAt(make([]byte, 1), 0); err != nil { // pread: another function
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	after, whole, err := c.Read()
	// The second reading is itself a read, counted or not before it is done.
	if n := after - before; err != nil || !whole || n < 10 || n > 12 {
		t.Errorf("%d calls, %v, %v, want 10 and the reading", n, whole, err)
	}
	if _, err := CountCalls("no_such_function_of_the_kernel"); err == nil {
		t.Error("calls of a function that there is not are counted")
	}
}

// TestSumReturns sums what this thread's reads gave, and nothing of others.
func TestSumReturns(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := SumReturns("ksys_read")
	if err != nil && fault.Of(err) == fault.Unsupported || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := CountCalls("ksys_read")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	null, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	b := make([]byte, 1000)
	read := func() {
		if _, err := unix.Read(int(null.Fd()), b); err != nil { // of a thread, whoever else reads
			t.Error(err)
		}
	}
	sum, calls := r.Sum(), r.Calls()
	for range 10 {
		read()
	}
	_, _ = unix.Read(-1, b) // a failure is a return, and gives nothing
	done := make(chan bool)
	go func() { // on another thread
		runtime.LockOSThread()
		for range 5 {
			read()
		}
		close(done)
	}()
	<-done
	if sum, calls = r.Sum()-sum, r.Calls()-calls; sum != 10*1000 || calls != 11 {
		t.Errorf("%d bytes in %d calls, want 10000 in 11", sum, calls)
	}
	if _, err := SumReturns("no_such_function_of_the_kernel"); err == nil {
		t.Error("returns of a function that there is not are summed")
	}
}
