package rounds

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRatios(t *testing.T) {
	var b strings.Builder
	c := &Contest{Syscall: "io_uring_enter"}
	c.ratios(&b, []Entrant{{Name: "ours"}, {Name: "theirs"}}, [][]Measured{
		{{10, 50, 100}, {12, 100, 100}, {8, 100, 300}},
		{{10, 100, 1000}, {6, 100, 2000}, {8, 100, 1000}},
	}, 6)
	const want = `
ours over the others, round by round: median (min to max of 3)
  theirs  throughput²/CPU 2.000 (1.000 to 4.000)  throughput 1.000 (1.000 to 2.000)  io_uring_enter/GB 0.100 (0.050 to 0.300)
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if m := median([]float64{1, 2, 4, 100}); m != 3 {
		t.Errorf("median of an even number: %v", m)
	}
}

// TestCounter: it sees every call made on the CPU, and none from before.
func TestCounter(t *testing.T) {
	runtime.LockOSThread()
	// Never unlocked: the thread is pinned, and ends with the test.
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !set.IsSet(cpu) {
		cpu++
	}
	set.Zero()
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	c, err := newCounter("getppid", cpu)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		t.Skipf("needs root and a kernel with CONFIG_FTRACE_SYSCALLS: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const calls = 1000
	before, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	for range calls {
		unix.Getppid()
	}
	after, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	if n := after - before; n < calls || n > 10*calls {
		t.Errorf("%d calls counted of %d", n, calls)
	}
}
