package counters

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/perf"
	"zcbench/results"
	"zcbench/results/caveat"
)

// Profiler samples what the scope's CPUs are at in the window: functions of the
// kernel, of its modules and of this program, with their callers. Other
// programs are known by their names only. Where only threads can be told apart,
// it keeps what interrupted this process.
func Profiler() instrument.Recorder {
	return instrument.Recorder{Name: "profile", Open: openProfile}
}

const (
	// profileHz is odd so that it does not keep step with the timer tick.
	profileHz = 499
	// profileOrder makes a ring of 64 pages: 250 ms of the deepest stacks.
	profileOrder = 6
)

type profiler struct {
	event string
	rings []*perf.Ring
	own   uint32 // this process
	alone bool   // its samples only
	table stackTable
	each  func(uint32, []byte) // p.record, bound once
	stack []uint64
	all   uint64 // samples
	lost  uint64
	slow  bool // the kernel throttled it
}

func openProfile(s instrument.Place) (instrument.Recording, error) {
	p := &profiler{own: uint32(os.Getpid()), alone: s.Scope == wire.ScopeThread, stack: make([]uint64, 0, maxFrames+1)}
	p.each = p.record
	p.table.init()
	var err error
	for _, e := range []struct {
		name   string
		event  perf.Event
		noIdle bool
	}{
		{"cycles", perf.Event{Type: unix.PERF_TYPE_HARDWARE, Config: unix.PERF_COUNT_HW_CPU_CYCLES}, false},
		// A timer instead of a counter: it goes off in idle time too, and does
		// not see what the kernel does with interrupts off, but afterwards.
		{"cpu-clock", perf.Event{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK}, true},
	} {
		p.event = e.name
		if err = p.open(e.event, e.noIdle, s.CPUs); err == nil {
			return p, nil
		}
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			break
		}
	}
	return nil, err
}

func (p *profiler) open(e perf.Event, noIdle bool, cpus []int) error {
	for _, cpu := range cpus {
		r, err := perf.NewRing(e, perf.Sampling{Hz: profileHz, Fields: unix.PERF_SAMPLE_TID | unix.PERF_SAMPLE_CALLCHAIN, NoIdle: noIdle},
			perf.Any, cpu, profileOrder)
		if err != nil {
			return errors.Join(err, p.Close())
		}
		p.rings = append(p.rings, r)
	}
	return nil
}

func (p *profiler) Begin() error { return p.every((*perf.Ring).Enable) }

func (p *profiler) End() error {
	err := p.every((*perf.Ring).Disable)
	p.Poll()
	return err
}

func (p *profiler) every(f func(*perf.Ring) error) error {
	for _, r := range p.rings {
		if err := f(r); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
	}
	return nil
}

func (p *profiler) Poll() {
	for _, r := range p.rings {
		r.Drain(p.each)
	}
}

func (p *profiler) Close() error {
	var errs []error
	for _, r := range p.rings {
		errs = append(errs, r.Close())
	}
	p.rings = nil
	return errors.Join(errs...)
}

// maxFrames is above any kernel.perf_event_max_stack and its contexts.
const maxFrames = 1 << 10

// record takes a record of a ring: of a sample, its process, thread, and call
// chain from the innermost frame out, with contexts between.
func (p *profiler) record(kind uint32, body []byte) {
	switch kind {
	case unix.PERF_RECORD_LOST:
		if len(body) >= 16 {
			p.lost += binary.NativeEndian.Uint64(body[8:])
		}
		return
	case unix.PERF_RECORD_THROTTLE:
		p.slow = true
		return
	case unix.PERF_RECORD_SAMPLE:
	default:
		return
	}
	const head = 16
	if len(body) < head {
		return
	}
	pid := binary.NativeEndian.Uint32(body)
	n := binary.NativeEndian.Uint64(body[8:])
	if p.alone && pid != p.own {
		return
	}
	p.all++
	// The table's key: the process, then frames, each kernel frame being above
	// and each of this program's below the middle of the address space. Others'
	// frames mean nothing to us.
	p.stack = append(p.stack[:0], uint64(pid))
	context := uint64(0)
	for b := body[head:]; n > 0 && len(b) >= 8 && len(p.stack) <= maxFrames; n-- {
		ip := binary.NativeEndian.Uint64(b)
		b = b[8:]
		switch {
		case ip >= contextMax:
			context = ip
		case context == contextKernel, context == contextUser && pid == p.own:
			p.stack = append(p.stack, ip)
		}
	}
	if !p.table.add(p.stack) {
		p.all--
		p.lost++
	}
}

// Contexts of a call chain (enum perf_callchain_context) are the highest
// addresses there are.
const (
	contextKernel = 1<<64 + unix.PERF_CONTEXT_KERNEL
	contextUser   = 1<<64 + unix.PERF_CONTEXT_USER
	contextMax    = 1<<64 + unix.PERF_CONTEXT_MAX
)

// stackTable counts distinct stacks in memory that is there before the window.
type stackTable struct {
	slots []stackSlot
	arena []uint64
	seed  maphash.Seed
	buf   []byte
}

type stackSlot struct {
	count    uint64
	at, size uint32 // in the arena
}

const (
	stackSlots = 1 << 15
	stackArena = 1 << 20 // words
)

func (t *stackTable) init() {
	t.slots, t.arena, t.seed = make([]stackSlot, stackSlots), make([]uint64, 0, stackArena), maphash.MakeSeed()
	t.buf = make([]byte, 8*(maxFrames+1))
}

// add counts a stack; false means that there is no room for another one.
func (t *stackTable) add(stack []uint64) bool {
	b := t.buf[:0]
	for _, ip := range stack {
		b = binary.NativeEndian.AppendUint64(b, ip)
	}
	h := maphash.Bytes(t.seed, b)
	for i := range uint64(stackSlots) {
		s := &t.slots[(h+i)%stackSlots]
		if s.count == 0 {
			if len(t.arena)+len(stack) > stackArena || i > stackSlots/2 {
				return false
			}
			s.at, s.size, s.count = uint32(len(t.arena)), uint32(len(stack)), 1
			t.arena = append(t.arena, stack...)
			return true
		}
		if slices.Equal(t.arena[s.at:s.at+s.size], stack) {
			s.count++
			return true
		}
	}
	return false
}

func (t *stackTable) each(f func(stack []uint64, count uint64)) {
	for _, s := range t.slots {
		if s.count > 0 {
			f(t.arena[s.at:s.at+s.size], s.count)
		}
	}
}

// Sizes of what goes into a record.
const (
	mostSymbols = 40
	mostStacks  = 400
	leastStack  = 1000 // one of so many samples
)

func (p *profiler) Report(res *wire.Result) (notes, warnings []string, err error) {
	kernel, err := perf.KernelSymbols()
	if err != nil {
		warnings = append(warnings, caveat.Warn(caveat.RecordingGaps, "the profile lacks the kernel's names: %v", err))
	}
	out := &results.Profile{Event: p.event, Samples: p.all, Lost: p.lost, Hz: profileHz}
	n := namer{kernel: kernel, own: p.own, program: filepath.Base(os.Args[0]), procs: map[uint32]string{}}
	symbols, stacks := map[results.Symbol]uint64{}, map[string]uint64{}
	p.table.each(func(stack []uint64, count uint64) {
		leaf, folded := n.name(stack)
		symbols[leaf] += count
		stacks[folded] += count
	})
	out.Symbols, out.Stacks = top(symbols, p.all), fold(stacks, p.all/leastStack)
	res.Profile = out
	text := fmt.Sprintf("a profile was taken, %d samples a second on each CPU: figures include its cost", profileHz)
	if p.event == "cpu-clock" {
		text += "; by a timer, because there is no PMU here: what runs with interrupts off shows where they are turned on again"
	}
	notes = append(notes, caveat.Warn(caveat.RecordingCost, "%s", text))
	if p.slow {
		warnings = append(warnings, caveat.Warn(caveat.RecordingGaps, "the kernel throttled the profile: it has gaps (sysctl "+
			"kernel.perf_cpu_time_max_percent)"))
	}
	return notes, warnings, nil
}

// namer turns addresses into names.
type namer struct {
	kernel  *perf.Symbols
	own     uint32
	program string
	procs   map[uint32]string
}

// name gives the innermost function of a stack and the whole, folded.
func (n *namer) name(stack []uint64) (leaf results.Symbol, folded string) {
	pid := uint32(stack[0])
	process := n.process(pid)
	leaf = results.Symbol{Name: "(its own code)", Module: process}
	frames := []string{process}
	for i, ip := range slices.Backward(stack[1:]) {
		if i > 0 {
			ip-- // a return address is the call's next instruction
		}
		s := n.symbol(ip)
		frames = append(frames, strings.ReplaceAll(s.Name, ";", ":"))
		if i == 0 {
			leaf = s
		}
	}
	if len(stack) == 1 {
		frames = append(frames, leaf.Name)
	}
	return leaf, strings.Join(frames, ";")
}

func (n *namer) symbol(ip uint64) results.Symbol {
	if ip >= 1<<63 {
		if name, module, ok := n.kernel.Lookup(ip); ok {
			return results.Symbol{Name: name, Module: module}
		}
		return results.Symbol{Name: "(unknown)", Module: perf.Kernel}
	}
	if f := runtime.FuncForPC(uintptr(ip)); f != nil {
		return results.Symbol{Name: f.Name(), Module: n.program}
	}
	return results.Symbol{Name: "(unknown)", Module: n.program} // the vDSO
}

// process gives the name of a program, whatever has become of it.
func (n *namer) process(pid uint32) string {
	if pid == n.own {
		return n.program
	}
	if pid == 0 {
		return "(idle)"
	}
	name, ok := n.procs[pid]
	if !ok {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/comm")
		if name = strings.TrimSpace(string(b)); err != nil || name == "" {
			name = "(ended programs)"
		}
		name = strings.ReplaceAll(name, ";", ":")
		n.procs[pid] = name
	}
	return name
}

// top lists the functions with most samples.
func top(symbols map[results.Symbol]uint64, all uint64) []results.Symbol {
	order := slices.SortedFunc(maps.Keys(symbols), func(a, b results.Symbol) int {
		return cmp.Or(cmp.Compare(symbols[b], symbols[a]), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Module, b.Module))
	})
	list := []results.Symbol{}
	for _, s := range order[:min(len(order), mostSymbols)] {
		s.Percent = math.Round(float64(symbols[s])/float64(all)*1e5) / 1e3
		list = append(list, s)
	}
	return list
}

// fold writes stacks as flame graph tools read them, those with most samples
// first, and what is left as one.
func fold(stacks map[string]uint64, least uint64) []string {
	order := slices.SortedFunc(maps.Keys(stacks), func(a, b string) int {
		return cmp.Or(cmp.Compare(stacks[b], stacks[a]), cmp.Compare(a, b))
	})
	var list []string
	rest := uint64(0)
	for i, s := range order {
		if i < mostStacks && stacks[s] >= least {
			list = append(list, s+" "+strconv.FormatUint(stacks[s], 10))
		} else {
			rest += stacks[s]
		}
	}
	if rest > 0 {
		list = append(list, "(rare stacks) "+strconv.FormatUint(rest, 10))
	}
	return list
}
