package perf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
)

// Ring is the buffer that one or more events of one thread, or one CPU, write
// records to.
type Ring struct {
	fds  []int
	mem  []byte
	page int
	tail uint64
	buf  []byte // a record that goes around the end, in one piece
}

// maxRecord is the longest record: its size is 16 bits wide.
const maxRecord = 1 << 16

// Sampling is what an event writes at each of its samples.
type Sampling struct {
	Hz     uint64 // samples a second; 0: each time the event happens
	Fields uint64 // PERF_SAMPLE_*
	// NoIdle leaves out samples of the idle task, where the event can.
	NoIdle bool
}

// NewRing opens an event of a thread or CPU that writes to a new ring of 2^order
// pages. Nothing is written before Enable.
func NewRing(e Event, s Sampling, tid, cpu int, order uint) (*Ring, error) {
	r := &Ring{page: unix.Getpagesize(), buf: make([]byte, maxRecord)}
	fd, err := r.open(e, s, tid, cpu)
	if err != nil {
		return nil, err
	}
	r.mem, err = unix.Mmap(fd, 0, r.page*(1+1<<order), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		err = fmt.Errorf("map %d KiB for the records of a performance event: %w", r.page<<order/1024, err)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: raise ulimit -l or sysctl kernel.perf_event_mlock_kb, or run as root", err)
		}
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Ring) open(e Event, s Sampling, tid, cpu int) (int, error) {
	a := e.attr()
	a.Sample, a.Sample_type = 1, s.Fields
	a.Read_format = unix.PERF_FORMAT_ID
	if s.Hz != 0 {
		a.Sample = s.Hz
		a.Bits |= unix.PerfBitFreq
	}
	if s.NoIdle {
		a.Bits |= unix.PerfBitExcludeIdle
	}
	// One clock for all events of a ring; it is read by every CPU alike.
	a.Bits |= unix.PerfBitUseClockID
	a.Clockid = unix.CLOCK_MONOTONIC
	// Nobody waits for the ring: no wake-up before it would be full.
	a.Bits |= unix.PerfBitWatermark
	a.Wakeup = 1 << 30
	fd, err := open(&a, tid, cpu)
	if err == nil {
		r.fds = append(r.fds, fd)
	}
	return fd, err
}

// Add opens another event of the same thread or CPU that writes to the ring.
func (r *Ring) Add(e Event, s Sampling, tid, cpu int) error {
	fd, err := r.open(e, s, tid, cpu)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_OUTPUT, r.fds[0]); err != nil {
		return fmt.Errorf("lead a performance event to another's records: %w", err)
	}
	return nil
}

// IDs tell the ring's events apart, in the order they were opened
// (PERF_SAMPLE_IDENTIFIER).
func (r *Ring) IDs() ([]uint64, error) {
	var ids []uint64
	for _, fd := range r.fds {
		var b [16]byte
		if n, err := unix.Read(fd, b[:]); err != nil || n != len(b) {
			return nil, fmt.Errorf("read a performance event's number: %d bytes, %w", n, err)
		}
		ids = append(ids, binary.NativeEndian.Uint64(b[8:]))
	}
	return ids, nil
}

// Enable begins the writing of records, Disable ends it.
func (r *Ring) Enable() error  { return r.ioctl(unix.PERF_EVENT_IOC_ENABLE) }
func (r *Ring) Disable() error { return r.ioctl(unix.PERF_EVENT_IOC_DISABLE) }

func (r *Ring) ioctl(req uint) error {
	for _, fd := range r.fds {
		if err := unix.IoctlSetInt(fd, req, 0); err != nil {
			return fmt.Errorf("switch a performance event: %w", err)
		}
	}
	return nil
}

// Drain gives each new record to f: its type (PERF_RECORD_*) and what follows
// its header, which is valid until f returns.
func (r *Ring) Drain(f func(kind uint32, body []byte)) {
	data := r.mem[r.page:]
	head := abi.PerfDataHead(r.mem)
	r.tail = drain(data, r.tail, head, r.buf, f)
	abi.SetPerfDataTail(r.mem, r.tail)
}

// drain reads records from tail to head of a ring whose size is a power of 2.
// A ring that makes no sense is skipped as a whole.
func drain(data []byte, tail, head uint64, buf []byte, f func(kind uint32, body []byte)) uint64 {
	const header = 8
	mask := uint64(len(data) - 1)
	for head-tail >= header && head-tail <= uint64(len(data)) {
		at := tail & mask // records are multiples of 8 bytes: a header never goes around
		size := uint64(binary.NativeEndian.Uint16(data[at+6:]))
		if size < header || size > head-tail || size%8 != 0 {
			return head
		}
		b := data[at:min(at+size, uint64(len(data)))]
		if uint64(len(b)) < size {
			b = append(append(buf[:0], b...), data[:size-uint64(len(b))]...)
		}
		f(binary.NativeEndian.Uint32(b), b[header:])
		tail += size
	}
	if tail != head {
		return head
	}
	return tail
}

// Close ends the events and gives the buffer back.
func (r *Ring) Close() error {
	var errs []error
	if r.mem != nil {
		errs = append(errs, unix.Munmap(r.mem))
		r.mem = nil
	}
	for _, fd := range r.fds {
		errs = append(errs, unix.Close(fd))
	}
	r.fds = nil
	return errors.Join(errs...)
}
