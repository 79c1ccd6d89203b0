// Package counters reads what the kernel and the hardware count beside the
// payload, one source to a file, as the meters and recorders of a run.
package counters

import (
	"errors"
	"io/fs"
	"strings"

	"zcbench/endpoint"
	"zcbench/internal/procfile"
)

// All lists the meters. root is "/", but for tests.
func All(root string) []endpoint.Meter {
	return []endpoint.Meter{
		cpu(),
		cpuidle(root),
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

// files are open files, closed together.
type files []*procfile.File

func (all files) Close() error {
	var errs []error
	for _, f := range all {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
