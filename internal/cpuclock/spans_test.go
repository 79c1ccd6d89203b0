package cpuclock

import (
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/procfile"
)

// spans is the time that each CPU spent in spans that a tracepoint ends, summed by
// a program there and by CLOCK_MONOTONIC: no accounting of the kernel is in it. A
// span that has not ended is not in the sum.
type spans struct {
	sums *abi.BPFArray
	tap  int
}

// truth is what a CPU did by tracepoints: interrupts while there was no task, tasks
// and idle states. It is for tests alone: to change so hot a place of the kernel's
// text as that of sched_switch kills an emulated kernel once in a while.
type truth struct {
	*interrupts
	tasks, idle *spans
}

func openTruth() (_ *truth, err error) {
	t := &truth{}
	if t.interrupts, err = openInterrupts(); err != nil {
		return nil, err
	}
	if t.tasks, err = openTasks(); err == nil {
		if t.idle, err = openIdleStates(); err != nil {
			t.tasks.close()
		}
	}
	if err != nil {
		t.interrupts.close()
		return nil, err
	}
	return t, nil
}

func (t *truth) close() {
	t.interrupts.close()
	t.tasks.close()
	t.idle.close()
}

// The least and the most that CPUs were busy, as methods: who leaves an idle state
// for a task, or enters one, works, and the kernel's clocks may count that or not.
type (
	atLeast struct{ *truth }
	atMost  struct{ *truth }
)

func (t atLeast) read(now int64, stat *procfile.Stat, to []int64) error {
	if err := t.tasks.read(now, stat, to); err != nil {
		return err
	}
	return t.interrupts.add(to)
}

func (t atMost) read(now int64, stat *procfile.Stat, to []int64) error {
	if err := t.idle.read(now, stat, to); err != nil {
		return err
	}
	for n := range to {
		to[n] = now - to[n]
	}
	return t.interrupts.add(to)
}

func (atLeast) close() {}
func (atMost) close()  {}

// openTasks sums what tasks had of each CPU, whoever they are, with the interrupts
// on top of them.
func openTasks() (*spans, error) {
	return openSpans("sched_switch", []abi.BPFInsn{
		{Code: unix.BPF_JMP | unix.BPF_CALL, Imm: helperTask}, // who leaves the CPU: 0 for the idle task
		{Code: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X, Regs: r0<<4 | r7},
	})
}

// openIdleStates sums how long each CPU was in an idle state.
func openIdleStates() (*spans, error) {
	return openSpans("cpu_idle", []abi.BPFInsn{
		{Code: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_DW, Regs: r1<<4 | r7}, // the state that begins, 32 bits; -1: none
		{Code: unix.BPF_ALU64 | unix.BPF_LSH | unix.BPF_K, Regs: r7, Imm: 32},
		{Code: unix.BPF_ALU64 | unix.BPF_ARSH | unix.BPF_K, Regs: r7, Imm: 63},
	})
}

// openSpans puts a program on a tracepoint, which begins with instructions that
// leave in r7 whether the span that ends there counts.
func openSpans(tracepoint string, counts []abi.BPFInsn) (_ *spans, err error) {
	n, err := possibleCPUs()
	if err != nil {
		return nil, err
	}
	s := &spans{}
	if s.sums, err = abi.NewBPFArray(2, n); err != nil {
		return nil, err
	}
	const since, total, stack = 0, 8, -4
	program, err := abi.BPFProgram(unix.BPF_PROG_TYPE_RAW_TRACEPOINT, append(counts, []abi.BPFInsn{
		{Code: unix.BPF_ST | unix.BPF_MEM | unix.BPF_W, Regs: fp, Off: stack},
		{Code: unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW, Regs: unix.BPF_PSEUDO_MAP_FD<<4 | r1, Imm: int32(s.sums.FD)}, {},
		{Code: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X, Regs: fp<<4 | r2},
		{Code: unix.BPF_ALU64 | unix.BPF_ADD | unix.BPF_K, Regs: r2, Imm: stack},
		{Code: unix.BPF_JMP | unix.BPF_CALL, Imm: helperLookup},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Regs: r0, Off: 10},
		{Code: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X, Regs: r0<<4 | r6},
		{Code: unix.BPF_JMP | unix.BPF_CALL, Imm: helperTime},
		{Code: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_DW, Regs: r6<<4 | r1, Off: since},
		{Code: unix.BPF_STX | unix.BPF_MEM | unix.BPF_DW, Regs: r0<<4 | r6, Off: since},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Regs: r7, Off: 5},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Regs: r1, Off: 4}, // it began before anybody looked
		{Code: unix.BPF_ALU64 | unix.BPF_SUB | unix.BPF_X, Regs: r1<<4 | r0},
		{Code: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_DW, Regs: r6<<4 | r1, Off: total},
		{Code: unix.BPF_ALU64 | unix.BPF_ADD | unix.BPF_X, Regs: r1<<4 | r0},
		{Code: unix.BPF_STX | unix.BPF_MEM | unix.BPF_DW, Regs: r0<<4 | r6, Off: total},
		{Code: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K, Regs: r0},
		{Code: unix.BPF_JMP | unix.BPF_EXIT},
	}...))
	if err == nil {
		s.tap, err = abi.BPFRawTracepoint(tracepoint, program)
		unix.Close(program)
	}
	if err != nil {
		s.sums.Close()
		return nil, fmt.Errorf("sum time at the tracepoint %s: %w", tracepoint, err)
	}
	return s, nil
}

// read gives each CPU's sum so far, ns.
func (s *spans) read(_ int64, _ *procfile.Stat, to []int64) error {
	v, err := s.sums.Read()
	if err != nil {
		return fmt.Errorf("read sums of time: %w", err)
	}
	for n := range min(len(to), len(v)/2) {
		to[n] = int64(v[2*n+1])
	}
	return nil
}

func (s *spans) close() {
	unix.Close(s.tap)
	s.sums.Close()
}
