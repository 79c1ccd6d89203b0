package counters

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"zcbench/endpoint/instrument"
	"zcbench/internal/procfile"
)

// softirqs is /proc/softirqs: how often each kind was served on the scope's
// CPUs.
func softirqs(root string) instrument.Counter {
	return instrument.Counter{
		Name: "softirqs", About: "softirqs served, by kind",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			return learned(root, "proc/softirqs", func(f *procfile.File) *softirqReader { return &softirqReader{File: f, cpus: s.CPUs} })
		},
	}
}

// learned opens a file whose first reading tells its reader what there is.
func learned[R interface {
	instrument.Reader
	learn([]byte) error
}](root, path string, reader func(*procfile.File) R) (instrument.Reader, error) {
	f, err := procfile.Open(root, path)
	if err != nil {
		return nil, err
	}
	r := reader(f)
	b, err := f.Read()
	if err == nil {
		err = r.learn(b)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

type softirqReader struct {
	*procfile.File
	cpus  []int
	order []int // CPU of each column of the file
	kinds []string
}

// learn reads what does not change: the CPUs of the columns and the kinds.
func (r *softirqReader) learn(b []byte) (err error) {
	if r.order, err = columnCPUs(&b); err != nil {
		return fmt.Errorf("/proc/softirqs: %w", err)
	}
	for len(b) > 0 {
		line := procfile.Line(&b)
		if kind, ok := strings.CutSuffix(string(procfile.Word(&line)), ":"); ok {
			r.kinds = append(r.kinds, kind)
		}
	}
	for _, n := range r.cpus {
		if !slices.Contains(r.order, n) {
			return fmt.Errorf("/proc/softirqs has no CPU %d", n)
		}
	}
	return nil
}

func (r *softirqReader) Quantities() []instrument.Quantity {
	var q []instrument.Quantity
	for _, kind := range r.kinds {
		for range r.cpus {
			q = append(q, instrument.Quantity{Name: "softirq_" + strings.ToLower(kind), Wrap: math.MaxUint32, Sparse: true,
				Quiet: !strings.HasPrefix(kind, "NET_")})
		}
	}
	return q
}

func (r *softirqReader) Read(to []uint64) error {
	b, err := r.File.Read()
	if err != nil {
		return err
	}
	return r.parse(b, to)
}

func (r *softirqReader) parse(b []byte, to []uint64) error {
	procfile.Line(&b)
	for k, kind := range r.kinds {
		line := procfile.Line(&b)
		if w := procfile.Word(&line); len(w) != len(kind)+1 || string(w[:len(kind)]) != kind {
			return fmt.Errorf("/proc/softirqs has %q where %s was", w, kind)
		}
		row := to[k*len(r.cpus):]
		for _, cpu := range r.order {
			v, rest, ok := procfile.Uint(line)
			if !ok {
				return fmt.Errorf("/proc/softirqs: %s has no number for CPU %d", kind, cpu)
			}
			line = rest
			if at, ok := slices.BinarySearch(r.cpus, cpu); ok {
				row[at] = v
			}
		}
	}
	return nil
}
