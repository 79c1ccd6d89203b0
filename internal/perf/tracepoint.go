package perf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

// Field is where a tracepoint's record has a value.
type Field struct{ Offset, Size int }

// Tracepoint looks a tracepoint up, "raw_syscalls/sys_enter", and the places of
// its fields. Where tracefs is not mounted it mounts one that nobody else sees
// and that is gone when this returns.
func Tracepoint(name string) (Event, map[string]Field, error) {
	var e Event
	dir, err := tracefs()
	if err != nil {
		return e, nil, err
	}
	defer dir.Close()
	id, err := readAt(dir, "events/"+name+"/id")
	if err != nil {
		return e, nil, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(id), 10, 32)
	if err != nil {
		return e, nil, fmt.Errorf("tracepoint %s: number %q", name, id)
	}
	format, err := readAt(dir, "events/"+name+"/format")
	if err != nil {
		return e, nil, err
	}
	fields, err := parseFormat(format)
	if err != nil {
		return e, nil, fmt.Errorf("tracepoint %s: %w", name, err)
	}
	return Event{Type: unix.PERF_TYPE_TRACEPOINT, Config: n}, fields, nil
}

func tracefs() (*os.File, error) {
	for _, path := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		d, err := os.Open(path)
		if err != nil {
			continue
		}
		var st unix.Statfs_t
		if unix.Fstatfs(int(d.Fd()), &st) == nil && st.Type == unix.TRACEFS_MAGIC {
			return d, nil
		}
		d.Close()
	}
	fd, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, tracefsError(err)
	}
	defer unix.Close(fd)
	if err := unix.FsconfigCreate(fd); err != nil {
		return nil, tracefsError(err)
	}
	mnt, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, tracefsError(err)
	}
	return os.NewFile(uintptr(mnt), "tracefs"), nil
}

func tracefsError(err error) error {
	e := &refusal{text: fmt.Sprintf("tracefs, which names the kernel's tracepoints, cannot be used (%v)", err)}
	errors.As(err, &e.errno)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.text += ": run as root, or have root mount it for all (mount -t tracefs -o mode=755 tracefs /sys/kernel/tracing)"
	case errors.Is(err, unix.ENODEV):
		e.text = "this kernel has no tracefs (CONFIG_EVENT_TRACING)"
	}
	return fault.Wrap(fault.Unsupported, e)
}

func readAt(dir *os.File, path string) (string, error) {
	fd, err := unix.Openat(int(dir.Fd()), path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fault.Errorf(fault.Unsupported, "this kernel has no tracefs %s (CONFIG_FTRACE_SYSCALLS)", path)
		}
		if errors.Is(err, fs.ErrPermission) {
			return "", tracefsError(err)
		}
		return "", fmt.Errorf("tracefs %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

// parseFormat reads lines such as
// "	field:long id;	offset:8;	size:8;	signed:1;".
func parseFormat(text string) (map[string]Field, error) {
	fields := map[string]Field{}
	for line := range strings.Lines(text) {
		decl, ok := strings.CutPrefix(strings.TrimSpace(line), "field:")
		if !ok {
			continue
		}
		parts := strings.Split(decl, ";")
		name := parts[0][strings.LastIndexAny(parts[0], " *")+1:]
		name, _, _ = strings.Cut(name, "[")
		f := Field{-1, -1}
		for _, p := range parts[1:] {
			key, value, _ := strings.Cut(strings.TrimSpace(p), ":")
			n, err := strconv.ParseUint(value, 10, 16)
			switch {
			case key == "offset" && err == nil:
				f.Offset = int(n)
			case key == "size" && err == nil:
				f.Size = int(n)
			}
		}
		if name == "" || f.Offset < 0 || f.Size < 0 {
			return nil, fmt.Errorf("format: %q", strings.TrimSpace(line))
		}
		fields[name] = f
	}
	return fields, nil
}
