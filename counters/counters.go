// Package counters reads what the kernel and the hardware count beside the
// payload, one source to a file, as the counters and recorders of a run.
package counters

import (
	"errors"
	"io/fs"
	"strings"

	"zcbench/endpoint/instrument"
	"zcbench/internal/procfile"
)

// All lists the counters. root is "/", but for tests.
func All(root string) []instrument.Counter {
	return []instrument.Counter{
		cpu(),
		cpuidle(root),
		cpufreq(root),
		thermal(root),
		softirqs(root),
		interrupts(root),
		softnet(root),
		tcp(),
		link(root),
		qstats(),
		pagepool(),
		ethtool(),
		pmu(),
		membw(root),
	}
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// readOnce gives what a file holds, without the blanks around it.
func readOnce(root, path string) (string, error) {
	f, err := procfile.Open(root, path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := f.Read()
	return strings.TrimSpace(string(b)), err
}

// valueReader reads files that hold one number each.
type valueReader struct {
	files
	q []instrument.Quantity
}

func (r *valueReader) add(f *procfile.File, q instrument.Quantity) {
	r.files, r.q = append(r.files, f), append(r.q, q)
}

// Quantities are those of the files, in order.
func (r *valueReader) Quantities() []instrument.Quantity { return r.q }

// Read reads them all.
func (r *valueReader) Read(to []uint64) error {
	for i, f := range r.files {
		v, err := f.Int()
		if err != nil {
			return err
		}
		to[i] = uint64(v)
	}
	return nil
}

// files are open files, closed together.
type files []*procfile.File

func (all files) Close() error {
	var errs []error
	for _, f := range all {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
