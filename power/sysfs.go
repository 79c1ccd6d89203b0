package power

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// sysfile is a file of sysfs with one number. It stays open: it is read many
// times, in a process that does not collect its garbage while it measures.
type sysfile struct {
	path string
	file *os.File
	buf  [32]byte
}

func (f *sysfile) read() (v uint64, err error) {
	if f.file == nil {
		if f.file, err = os.Open(f.path); err != nil {
			return 0, err
		}
	}
	n, err := f.file.ReadAt(f.buf[:], 0) // the kernel makes the text anew
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	v, err = strconv.ParseUint(strings.TrimSpace(string(f.buf[:n])), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.path, err)
	}
	return v, nil
}

func (f *sysfile) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// readLine reads a file of sysfs.
func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

func readUint(path string) (uint64, error) {
	f := sysfile{path: path}
	v, err := f.read()
	return v, errors.Join(err, f.close())
}
