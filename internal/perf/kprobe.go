package perf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"zcbench/internal/abi"
	"zcbench/internal/fault"
)

// CountCalls begins to count how often the calling thread enters a function of
// the kernel. A compiler may have made several of it, or none; then it is Unsupported.
func CountCalls(function string) (*Counter, error) {
	fd, err := probe(function, false)
	if err != nil {
		return nil, err
	}
	return &Counter{fd: fd}, nil
}

// probe opens an event of the calling thread's calls of a function, or of its
// returns from it.
func probe(function string, returns bool) (fd int, err error) {
	b, err := os.ReadFile("/sys/bus/event_source/devices/kprobe/type")
	if errors.Is(err, fs.ErrNotExist) {
		return -1, fault.Errorf(fault.Unsupported, "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
	}
	if err != nil {
		return -1, fmt.Errorf("type of kprobes: %w", err)
	}
	pmu, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		return -1, fmt.Errorf("type of kprobes: %q", b)
	}
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return -1, fmt.Errorf("symbols of the kernel: %w", err)
	}
	names := bodies(string(symbols), function)
	if len(names) != 1 {
		return -1, fault.Errorf(fault.Unsupported, "this kernel has %d functions %s", len(names), function)
	}
	fd, err = abi.OpenKprobe(uint32(pmu), names[0], returns)
	if err != nil {
		return -1, explain(err, paranoid())
	}
	return fd, nil
}

// bodies are the symbols that a function was compiled to: f, f.isra.0. Parts that
// were split off it (f.cold) and paddings are none.
func bodies(symbols, function string) (names []string) {
	for line := range strings.Lines(symbols) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[2], function) {
			continue
		}
		if rest := f[2][len(function):]; (rest == "" || rest[0] == '.') && !strings.Contains(rest, ".cold") {
			names = append(names, f[2])
		}
	}
	return names
}
