package abi

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// include/uapi/linux/bpf.h: small programs on tracepoints and probes, and the arrays
// in which they leave their sums. bpf(2) takes a union; each command has its part
// of it here.

// BPFInsn is struct bpf_insn. Regs holds the destination in its low half.
type BPFInsn struct {
	Code uint8
	Regs uint8
	Off  int16
	Imm  int32
}

// BPFArray is an array of one value for each CPU
// (BPF_MAP_TYPE_PERCPU_ARRAY, Linux 4.6).
type BPFArray struct {
	FD    int
	value []uint64 // of every possible CPU in order
	key   *uint32
	look  *bpfLookup
}

type bpfLookup struct {
	fd    uint32
	_     uint32
	key   uint64
	value uint64
	flags uint64
}

// NewBPFArray makes an array of values of so many words, zeroed; possible is
// how many CPUs the kernel may ever have.
func NewBPFArray(words, possible int) (*BPFArray, error) {
	create := struct{ mapType, keySize, valueSize, maxEntries uint32 }{unix.BPF_MAP_TYPE_PERCPU_ARRAY, 4, uint32(8 * words), 1}
	fd, err := bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&create), unsafe.Sizeof(create))
	if err != nil {
		return nil, err
	}
	a := &BPFArray{FD: fd, value: make([]uint64, words*possible), key: new(uint32)}
	a.look = &bpfLookup{fd: uint32(fd), key: uint64(uintptr(unsafe.Pointer(a.key))),
		value: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(a.value))))}
	return a, nil
}

// Read gives the words of CPU 0, then those of CPU 1, and so on, valid until
// the next Read. It allocates nothing.
func (a *BPFArray) Read() ([]uint64, error) {
	_, err := bpf(unix.BPF_MAP_LOOKUP_ELEM, unsafe.Pointer(a.look), unsafe.Sizeof(*a.look))
	return a.value, err
}

// Close gives it back; programs that use it keep it alive.
func (a *BPFArray) Close() error { return unix.Close(a.FD) }

// BPFWords is an array of one value of 64-bit words, which is read as memory
// (BPF_MAP_TYPE_ARRAY with BPF_F_MMAPABLE, Linux 5.5).
type BPFWords struct {
	FD  int
	mem []byte
}

// NewBPFWords makes so many words, zeroed.
func NewBPFWords(words int) (*BPFWords, error) {
	create := struct{ mapType, keySize, valueSize, maxEntries, mapFlags uint32 }{unix.BPF_MAP_TYPE_ARRAY, 4, uint32(8 * words), 1,
		unix.BPF_F_MMAPABLE}
	fd, err := bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&create), unsafe.Sizeof(create))
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, 8*words, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("map an array of programs: %w", err)
	}
	return &BPFWords{FD: fd, mem: mem}, nil
}

// Load is word i as it is now.
func (w *BPFWords) Load(i int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&w.mem[8*i])))
}

// Close gives it back; programs that use it keep it alive.
func (w *BPFWords) Close() error { return errors.Join(unix.Munmap(w.mem), unix.Close(w.FD)) }

// BPFProgram loads a program of a type, BPF_PROG_TYPE_RAW_TRACEPOINT or
// BPF_PROG_TYPE_KPROBE.
func BPFProgram(kind uint32, program []BPFInsn) (fd int, err error) {
	license := []byte("Apache-2.0\x00")
	var pin runtime.Pinner // an address as a number does not move with a stack
	defer pin.Unpin()
	pin.Pin(unsafe.SliceData(program))
	pin.Pin(unsafe.SliceData(license))
	load := struct {
		progType, insnCnt uint32
		insns, license    uint64
		logLevel, logSize uint32
		logBuf            uint64
		kernVersion       uint32
		progFlags         uint32
	}{
		progType: kind, insnCnt: uint32(len(program)),
		insns: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(program)))), license: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(license)))),
	}
	fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&load), unsafe.Sizeof(load))
	if err != nil {
		return -1, fmt.Errorf("load a program: %w", err)
	}
	return fd, nil
}

// BPFMisses is how often the kernel left a loaded program out because it would
// have interrupted itself (struct bpf_prog_info's recursion_misses, Linux 5.12).
func BPFMisses(program int) (uint64, error) {
	type progInfo struct {
		_               [208]byte // up to run_cnt
		recursionMisses uint64
	}
	info := &progInfo{}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(info)
	get := struct {
		fd, infoLen uint32
		info        uint64
	}{uint32(program), uint32(unsafe.Sizeof(*info)), uint64(uintptr(unsafe.Pointer(info)))}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&get), unsafe.Sizeof(get))
	return info.recursionMisses, err
}

// BPFRawTracepoint puts a loaded program on a tracepoint until the descriptor
// that it gives is closed (BPF_RAW_TRACEPOINT_OPEN, Linux 4.17); the program's own
// may be closed before.
func BPFRawTracepoint(name string, program int) (fd int, err error) {
	text, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(text)
	open := struct {
		name   uint64
		progFD uint32
		_      uint32
	}{name: uint64(uintptr(unsafe.Pointer(text))), progFD: uint32(program)}
	fd, err = bpf(unix.BPF_RAW_TRACEPOINT_OPEN, unsafe.Pointer(&open), unsafe.Sizeof(open))
	if err != nil {
		return -1, fmt.Errorf("tracepoint %s: %w", name, err)
	}
	return fd, nil
}

func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for tries := 0; ; tries++ {
		fd, _, e := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		if e == unix.EAGAIN && tries < 10 {
			continue // a signal came while the program was checked; the runtime sends some
		}
		if e != 0 {
			return -1, e
		}
		return int(fd), nil
	}
}
