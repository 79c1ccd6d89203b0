package main

import (
	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/cpuclock"
)

// settleTracepoints puts two programs that do nothing on each tracepoint that
// zcbench uses, for as long as the machine runs. The first two on a tracepoint
// change the kernel's text, which an emulated CPU that runs it just then may not
// survive ("Oops: int3"); those that come later do not (tracepoint_add_func of
// kernel/tracepoint.c). So that happens once, before anything else does. A kernel
// that has no such programs has no need of this.
func settleTracepoints() {
	const r0 = 0
	nothing := []abi.BPFInsn{{Code: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K, Regs: r0}, {Code: unix.BPF_JMP | unix.BPF_EXIT}}
	program, err := abi.BPFProgram(unix.BPF_PROG_TYPE_RAW_TRACEPOINT, nothing)
	if err != nil {
		return
	}
	for _, name := range cpuclock.Tracepoints() {
		for range 2 {
			_, _ = abi.BPFRawTracepoint(name, program) // not all are there on every machine
		}
	}
}
