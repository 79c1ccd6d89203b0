package counters

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"zcbench/endpoint/instrument"
	"zcbench/internal/procfile"
)

// interrupts is how often each interrupt was served on the scope's CPUs in the
// window, by /proc/interrupts. The kernel prints a number for each of the
// host's CPUs and interrupts, which takes milliseconds on a large host: it is
// read at the window's edges only, and only when it is asked for.
func interrupts(root string) instrument.Counter {
	return instrument.Counter{
		Name: "interrupts", About: "interrupts served, by number and name, at the window's edges", Edges: true, Costly: true,
		Open: func(s instrument.Place) (instrument.Reader, error) {
			return learned(root, "proc/interrupts", func(f *procfile.File) *interruptReader { return &interruptReader{File: f, cpus: s.CPUs} })
		},
	}
}

type interruptReader struct {
	*procfile.File
	cpus   []int
	order  []int // CPU of each column
	labels []string
	q      []instrument.Quantity
	// The kernel's numbers are 32 bits wide; of a label over CPUs, 64.
	before [][]uint32
	total  []uint64
}

// learn fixes what is read to what there is now.
func (r *interruptReader) learn(b []byte) (err error) {
	if r.order, err = columnCPUs(&b); err != nil {
		return fmt.Errorf("/proc/interrupts: %w", err)
	}
	for len(b) > 0 {
		line := procfile.Line(&b)
		label, ok := strings.CutSuffix(string(procfile.Word(&line)), ":")
		if !ok || label == "" {
			continue
		}
		counted := 0
		for range r.order {
			_, rest, ok := procfile.Uint(line)
			if !ok {
				break
			}
			line = rest
			counted++
		}
		if counted < len(r.order) {
			continue // ERR and MIS: one number for all CPUs
		}
		// "PCI-MSIX-0000:00:01.0   0-edge      virtio0-config": the last words
		// are those that asked for it. Labels of letters have a description.
		name := "irq_" + label
		if label[0] >= '0' && label[0] <= '9' {
			if words := strings.Fields(string(line)); len(words) > 2 {
				name += "_" + words[len(words)-1]
			}
		}
		r.labels = append(r.labels, label)
		r.q = append(r.q, instrument.Quantity{Name: name, Sparse: true})
		r.before = append(r.before, make([]uint32, len(r.order)))
	}
	r.total = make([]uint64, len(r.labels))
	return nil
}

// columnCPUs reads the line of "CPU0 CPU1 …" above a table.
func columnCPUs(b *[]byte) (order []int, err error) {
	head := procfile.Line(b)
	for {
		w := procfile.Word(&head)
		if len(w) == 0 {
			return order, nil
		}
		n, _, ok := procfile.Uint(w[min(len("CPU"), len(w)):])
		if !ok || n > math.MaxInt32 {
			return nil, fmt.Errorf("%q is no CPU", w)
		}
		order = append(order, int(n))
	}
}

func (r *interruptReader) Quantities() []instrument.Quantity { return r.q }

func (r *interruptReader) Read(to []uint64) error {
	b, err := r.File.Read()
	if err != nil {
		return err
	}
	r.parse(b)
	copy(to, r.total)
	return nil
}

// parse adds up what is new. Interrupts come and go while devices do: lines
// that were not there at first are passed over.
func (r *interruptReader) parse(b []byte) {
	procfile.Line(&b)
	at := 0
	for len(b) > 0 {
		line := procfile.Line(&b)
		w := procfile.Word(&line)
		i := at
		for i < len(r.labels) && (len(w) != len(r.labels[i])+1 || string(w[:len(w)-1]) != r.labels[i]) {
			i++
		}
		if i == len(r.labels) {
			continue
		}
		at = i + 1
		for c, cpu := range r.order {
			v, rest, ok := procfile.Uint(line)
			if !ok {
				break
			}
			line = rest
			if _, mine := slices.BinarySearch(r.cpus, cpu); mine {
				r.total[i] += uint64(uint32(v) - r.before[i][c])
				r.before[i][c] = uint32(v)
			}
		}
	}
}
