package cpuclock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/procfile"
)

// interrupts is the time that each CPU spent in interrupts while it had nothing
// else to do: softirqs, and handlers of devices. No task's run time has it.
// Programs on the kernel's tracepoints sum it up, which needs CAP_BPF and
// CAP_PERFMON.
type interrupts struct {
	sums           *abi.BPFArray
	programs, taps []int
}

// The words of a CPU.
const (
	wordDepth = iota // of interrupts within each other
	wordSince        // when the outermost began, ns
	wordEnd          // when it ended, ns
	wordTotal        // ns
	words
)

// bridge is the longest time between two interrupts, ns, that counts as theirs: it
// takes a microsecond from a handler to the softirq that it raised, which no
// tracepoint stands around, and at ten thousand packets a second that is a percent
// of the CPU. To fall idle and be woken takes longer.
const bridge = 3000

// mayInterrupts says whether openInterrupts would do. It puts no program on a
// tracepoint, which changes the kernel's text and stops all CPUs for a moment.
func mayInterrupts() bool {
	n, err := possibleCPUs()
	if err != nil {
		return false
	}
	sums, err := abi.NewBPFArray(words, n)
	if err != nil {
		return false
	}
	defer sums.Close()
	begin, err := abi.BPFProgram(unix.BPF_PROG_TYPE_RAW_TRACEPOINT, program(sums.FD, false))
	if err != nil {
		return false
	}
	unix.Close(begin)
	return true
}

// openInterrupts begins to sum.
func openInterrupts() (_ *interrupts, err error) {
	t := &interrupts{}
	defer func() {
		if err != nil {
			t.close()
			err = fmt.Errorf("sum the time of interrupts by a program on the kernel's tracepoints: %w", err)
			if errors.Is(err, fs.ErrPermission) {
				err = fmt.Errorf("%w (it takes root, or CAP_BPF and CAP_PERFMON)", err)
			}
		}
	}()
	n, err := possibleCPUs()
	if err != nil {
		return nil, err
	}
	if t.sums, err = abi.NewBPFArray(words, n); err != nil {
		return nil, err
	}
	for _, name := range Tracepoints() {
		// The kernel leaves out a program that interrupts itself, and one beginning or
		// end that is left out makes every sum after it wrong. So each tracepoint has
		// a program of its own: none of these events comes while the same is handled.
		p, err := abi.BPFProgram(unix.BPF_PROG_TYPE_RAW_TRACEPOINT, program(t.sums.FD, strings.HasSuffix(name, "_exit")))
		if err != nil {
			return nil, err
		}
		tap, err := abi.BPFRawTracepoint(name, p)
		if err != nil {
			unix.Close(p)
			everywhere := strings.HasPrefix(name, "softirq_") || strings.HasPrefix(name, "irq_handler_")
			if !everywhere && errors.Is(err, unix.ENOENT) {
				continue
			}
			return nil, err
		}
		t.programs, t.taps = append(t.programs, p), append(t.taps, tap)
	}
	return t, nil
}

// Tracepoints are those that the time of interrupts is taken at, of which only
// those of softirqs and of devices' handlers are there on every machine. Ends come
// before beginnings: an interrupt whose end is not seen would count for ever.
func Tracepoints() []string {
	return []string{
		"softirq_exit", "irq_handler_exit", "local_timer_exit", "call_function_single_exit", "reschedule_exit",
		"softirq_entry", "irq_handler_entry", "local_timer_entry", "call_function_single_entry", "reschedule_entry",
	}
}

// read gives each CPU's time, ns.
func (t *interrupts) read(_ int64, _ *procfile.Stat, to []int64) error {
	clear(to)
	return t.add(to)
}

// add adds each CPU's time to to, ns.
func (t *interrupts) add(to []int64) error {
	v, err := t.sums.Read()
	if err != nil {
		return fmt.Errorf("read the time of interrupts: %w", err)
	}
	for n := range min(len(to), len(v)/words) {
		to[n] += int64(v[n*words+wordTotal])
	}
	return nil
}

func (t *interrupts) close() {
	for i := range t.taps {
		unix.Close(t.taps[i])
		unix.Close(t.programs[i])
	}
	if t.sums != nil {
		t.sums.Close()
	}
}

// Helpers of the kernel that the programs call, and registers.
const (
	helperLookup = 1  // bpf_map_lookup_elem
	helperTime   = 5  // bpf_ktime_get_ns, CLOCK_MONOTONIC
	helperTask   = 14 // bpf_get_current_pid_tgid: 0 for the idle task

	r0, r1, r2, r6, r7, fp = 0, 1, 2, 6, 7, 10
)

// program is what runs where an interrupt begins or ends. One that interrupts
// another, at whatever instruction, leaves the words as they were.
func program(array int, end bool) []abi.BPFInsn {
	const stack, jumpUnlessZero, jumpIfZero = -4, unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	load := func(reg, word uint8) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_DW, Regs: r6<<4 | reg, Off: 8 * int16(word)}
	}
	store := func(word, reg uint8) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_STX | unix.BPF_MEM | unix.BPF_DW, Regs: reg<<4 | r6, Off: 8 * int16(word)}
	}
	call := func(helper int32) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_CALL, Imm: helper}
	}
	number := func(op, reg uint8, v int32) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_ALU64 | op | unix.BPF_K, Regs: reg, Imm: v}
	}
	register := func(op, to, from uint8) abi.BPFInsn {
		return abi.BPFInsn{Code: unix.BPF_ALU64 | op | unix.BPF_X, Regs: from<<4 | to}
	}
	leave := int16(0) // jumps to it are patched below
	code := []abi.BPFInsn{
		call(helperTask),
		{Code: jumpUnlessZero, Regs: r0, Off: leave}, // a task was interrupted: its time
		{Code: unix.BPF_ST | unix.BPF_MEM | unix.BPF_W, Regs: fp, Off: stack},
		{Code: unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW, Regs: unix.BPF_PSEUDO_MAP_FD<<4 | r1, Imm: int32(array)}, {},
		register(unix.BPF_MOV, r2, fp),
		number(unix.BPF_ADD, r2, stack),
		call(helperLookup),
		{Code: jumpIfZero, Regs: r0, Off: leave},
		register(unix.BPF_MOV, r6, r0),
		load(r7, wordDepth),
	}
	if end {
		code = append(code,
			abi.BPFInsn{Code: jumpIfZero, Regs: r7, Off: leave}, // it began before anybody looked
			abi.BPFInsn{Code: jumpUnlessZero, Regs: r7, Imm: 1, Off: 7},
			call(helperTime),
			store(wordEnd, r0),
			load(r1, wordSince),
			register(unix.BPF_SUB, r0, r1),
			load(r1, wordTotal),
			register(unix.BPF_ADD, r0, r1),
			store(wordTotal, r0),
			number(unix.BPF_SUB, r7, 1),
			store(wordDepth, r7),
		)
	} else {
		code = append(code,
			number(unix.BPF_ADD, r7, 1),
			store(wordDepth, r7),
			abi.BPFInsn{Code: jumpUnlessZero, Regs: r7, Imm: 1, Off: leave},
			call(helperTime),
			store(wordSince, r0),
			load(r1, wordEnd),
			register(unix.BPF_SUB, r0, r1),
			abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, Regs: r0, Imm: bridge, Off: 3},
			load(r1, wordTotal),
			register(unix.BPF_ADD, r1, r0),
			store(wordTotal, r1),
		)
	}
	code = append(code, number(unix.BPF_MOV, r0, 0), abi.BPFInsn{Code: unix.BPF_JMP | unix.BPF_EXIT})
	for i := range code {
		if c := code[i].Code; (c == jumpUnlessZero || c == jumpIfZero) && code[i].Off == leave {
			code[i].Off = int16(len(code) - 2 - i - 1)
		}
	}
	return code
}

// possibleCPUs is how many CPUs the kernel has room for, which a per-CPU array
// has values of.
func possibleCPUs() (int, error) {
	const path = "/sys/devices/system/cpu/possible"
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(b)) // 0-3 or 0,2-5
	n, err := strconv.Atoi(text[strings.LastIndexAny(text, "-,")+1:])
	if err != nil || n < 0 || n >= 1<<14 {
		return 0, fmt.Errorf("%s holds %q", path, text)
	}
	return n + 1, nil
}
