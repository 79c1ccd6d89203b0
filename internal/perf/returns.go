package perf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/fault"
)

// Returns sums what a function of the kernel returned to one thread, by a small
// program where it returns, which needs CAP_BPF and CAP_PERFMON.
type Returns struct {
	words *abi.BPFWords
	event int
}

// The words that the program adds to.
const (
	wordCalls = iota // returns, of whatever
	wordSum          // of the numbers above zero
	returnWords
)

// SumReturns begins to sum what a function that gives a long returns to the calling
// thread. As with CountCalls it may be Unsupported.
func SumReturns(function string) (_ *Returns, err error) {
	r := &Returns{event: -1}
	if r.words, err = abi.NewBPFWords(returnWords); err != nil {
		return nil, fmt.Errorf("sum what %s returns by a program: %w (it takes root, or CAP_BPF and CAP_PERFMON)", function, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("sum what %s returns: %w", function, err), r.Close())
		}
	}()
	code, err := sumReturns(r.words.FD)
	if err != nil {
		return nil, err
	}
	program, err := abi.BPFProgram(unix.BPF_PROG_TYPE_KPROBE, code)
	if err != nil {
		return nil, err
	}
	defer unix.Close(program) // the event keeps it
	if r.event, err = probe(function, true); err != nil {
		return nil, err
	}
	if err := unix.IoctlSetInt(r.event, unix.PERF_EVENT_IOC_SET_BPF, program); err != nil {
		return nil, fmt.Errorf("put a program on its returns (PERF_EVENT_IOC_SET_BPF): %w", err)
	}
	return r, nil
}

// Sum is of the numbers above zero.
func (r *Returns) Sum() uint64 { return r.words.Load(wordSum) }

// Calls is how many returns there were. The kernel can miss some, where more
// threads than it was prepared for are in the function at once.
func (r *Returns) Calls() uint64 { return r.words.Load(wordCalls) }

// Close ends it.
func (r *Returns) Close() error {
	var err error
	if r.event >= 0 {
		err = unix.Close(r.event)
	}
	return errors.Join(err, r.words.Close())
}

// returnValue is where in the program's context, a struct pt_regs, the number is
// that a function returned.
var returnValue = map[string]int16{"amd64": 80, "arm64": 0} // ax, regs[0]

// Helpers of the kernel, and registers.
const (
	helperLookup = 1   // bpf_map_lookup_elem
	helperTask   = 120 // bpf_get_ns_current_pid_tgid, Linux 5.7

	r0, r1, r2, r3, r4, r6, fp = 0, 1, 2, 3, 4, 6, 10
)

// sumReturns is the program. An event of one thread runs its program for every
// thread: so it asks which it is, in this process's namespace.
func sumReturns(array int) ([]abi.BPFInsn, error) {
	value, ok := returnValue[runtime.GOARCH]
	if !ok {
		return nil, fault.Errorf(fault.Unsupported, "where a function's return value is on %s is not known here", runtime.GOARCH)
	}
	info, err := os.Stat("/proc/self/ns/pid")
	if err != nil {
		return nil, err
	}
	ns := info.Sys().(*syscall.Stat_t)
	const jumpUnlessEqual, leave = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K, 0 // jumps by 0 go to the end, below
	number := func(op, reg uint8, v int32) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_ALU64 | op | unix.BPF_K, Regs: reg, Imm: v}
	}
	register := func(op, to, from uint8) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_ALU64 | op | unix.BPF_X, Regs: from<<4 | to}
	}
	load := func(size, to, from uint8, off int16) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_LDX | unix.BPF_MEM | size, Regs: from<<4 | to, Off: off}
	}
	store := func(to uint8, off int16, from uint8) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_STX | unix.BPF_MEM | unix.BPF_DW, Regs: from<<4 | to, Off: off}
	}
	long := func(reg uint8, v uint64) []abi.BPFInsn {
		return []abi.BPFInsn{{Code: unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW, Regs: reg, Imm: int32(uint32(v))}, {Imm: int32(uint32(v >> 32))}}
	}
	code := []abi.BPFInsn{load(unix.BPF_DW, r6, r1, value)}
	code = append(code, long(r1, ns.Dev)...)
	code = append(code, long(r2, ns.Ino)...)
	code = append(code,
		register(unix.BPF_MOV, r3, fp), number(unix.BPF_ADD, r3, -8), // struct bpf_pidns_info: the thread, the process
		number(unix.BPF_MOV, r4, 8),
		abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_CALL, Imm: helperTask},
		abi.BPFInsn{Code: jumpUnlessEqual, Regs: r0, Off: leave},
		load(unix.BPF_W, r1, fp, -8),
		abi.BPFInsn{Code: jumpUnlessEqual, Regs: r1, Imm: int32(unix.Gettid()), Off: leave},
		abi.BPFInsn{Code: unix.BPF_ST | unix.BPF_MEM | unix.BPF_W, Regs: fp, Off: -12},
		abi.BPFInsn{Code: unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW, Regs: unix.BPF_PSEUDO_MAP_FD<<4 | r1, Imm: int32(array)}, abi.BPFInsn{},
		register(unix.BPF_MOV, r2, fp), number(unix.BPF_ADD, r2, -12),
		abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_CALL, Imm: helperLookup},
		abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Regs: r0, Off: leave},
		// The sum first: who sees the call counted sees what it gave.
		abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_JSLE | unix.BPF_K, Regs: r6, Off: 3},
		load(unix.BPF_DW, r1, r0, 8*wordSum), register(unix.BPF_ADD, r1, r6), store(r0, 8*wordSum, r1),
		load(unix.BPF_DW, r1, r0, 8*wordCalls), number(unix.BPF_ADD, r1, 1), store(r0, 8*wordCalls, r1),
		number(unix.BPF_MOV, r0, 0), abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_EXIT},
	)
	for i := range code {
		if c := code[i].Code; (c == jumpUnlessEqual || c == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K) && code[i].Off == leave {
			code[i].Off = int16(len(code) - 2 - i - 1)
		}
	}
	return code, nil
}
