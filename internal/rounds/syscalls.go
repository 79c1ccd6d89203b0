package rounds

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// counter counts one system call on one CPU, whoever makes it.
type counter struct{ fd int }

// tracefs is where the kernel says which number a tracepoint has.
const tracefs = "/sys/kernel/tracing"

func newCounter(syscall string, cpu int) (counter, error) {
	path := tracefs + "/events/syscalls/sys_enter_" + syscall + "/id"
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := unix.Mount("tracefs", tracefs, "tracefs", 0, ""); err != nil && err != unix.EBUSY {
			return counter{}, fmt.Errorf("mount tracefs: %w", err)
		}
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return counter{}, fmt.Errorf("tracepoint of %s: %w", syscall, err)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return counter{}, fmt.Errorf("%s: %w", path, err)
	}
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Size: unix.PERF_ATTR_SIZE_VER0, Config: id}, -1, cpu,
		-1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return counter{}, fmt.Errorf("count %s on CPU %d: perf_event_open: %w", syscall, cpu, err)
	}
	return counter{fd}, nil
}

func (c counter) read() (uint64, error) {
	var b [8]byte
	if _, err := unix.Read(c.fd, b[:]); err != nil {
		return 0, fmt.Errorf("read a counter of system calls: %w", err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}

func (c counter) close() { unix.Close(c.fd) }
