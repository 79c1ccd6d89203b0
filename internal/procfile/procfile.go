// Package procfile reads files of /proc and /sys over and over, as a sampler
// does: each is opened once, and reading and parsing it again allocates
// nothing.
package procfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is one open file, used from one goroutine.
type File struct {
	f    *os.File
	fd   int // f's own Fd would ask the kernel each time
	path string
	buf  []byte
}

// Open opens path, which has no leading slash, below root.
func Open(root, path string) (*File, error) {
	f, err := os.Open(filepath.Join(root, path))
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, fmt.Errorf("/%s: %w", path, err)
	}
	return &File{f: f, fd: int(f.Fd()), path: path, buf: make([]byte, 512)}, nil
}

// Close closes the file; a nil File has none.
func (f *File) Close() error {
	if f == nil {
		return nil
	}
	return f.f.Close()
}

// Read gives what the file holds now, valid until the next Read. It allocates
// only when the file has outgrown the space of the one before.
func (f *File) Read() ([]byte, error) {
	for n := 0; ; {
		k, err := unix.Pread(f.fd, f.buf[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read /%s: %w", f.path, err)
		}
		if k == 0 {
			return f.buf[:n], nil
		}
		if n += k; n == len(f.buf) {
			f.buf = append(f.buf, make([]byte, len(f.buf))...)
		}
	}
}

// Int reads a file that holds one number, as those of sysfs do: the kernel gives
// it in one piece, so the end of the file is not looked for.
func (f *File) Int() (int64, error) {
	n, err := unix.Pread(f.fd, f.buf, 0)
	for err == unix.EINTR {
		n, err = unix.Pread(f.fd, f.buf, 0)
	}
	if err != nil {
		return 0, fmt.Errorf("read /%s: %w", f.path, err)
	}
	b := f.buf[:n]
	line := Line(&b)
	negative := len(line) > 0 && line[0] == '-'
	if negative {
		line = line[1:]
	}
	v, rest, ok := Uint(line)
	if !ok || len(rest) != 0 || len(b) != 0 || v > 1<<63-1 {
		return 0, fmt.Errorf("/%s holds no number", f.path)
	}
	if negative {
		return -int64(v), nil
	}
	return int64(v), nil
}

// Line cuts the first line off b and gives it without its end.
func Line(b *[]byte) []byte {
	for i, c := range *b {
		if c == '\n' {
			line := (*b)[:i]
			*b = (*b)[i+1:]
			return line
		}
	}
	line := *b
	*b = nil
	return line
}

// Word cuts the first word off b, after blanks.
func Word(b *[]byte) []byte {
	s := *b
	for len(s) > 0 && blank(s[0]) {
		s = s[1:]
	}
	n := 0
	for n < len(s) && !blank(s[n]) {
		n++
	}
	*b = s[n:]
	return s[:n]
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// Uint reads a decimal number after blanks; ok is false when there is none or
// it is above 64 bits.
func Uint(b []byte) (v uint64, rest []byte, ok bool) { return number(b, 10) }

// Hex reads a hexadecimal number in the same way.
func Hex(b []byte) (v uint64, rest []byte, ok bool) { return number(b, 16) }

func number(b []byte, base uint64) (v uint64, rest []byte, ok bool) {
	rest = b
	w := Word(&rest)
	if len(w) == 0 {
		return 0, rest, false
	}
	for _, c := range w {
		var d uint64
		switch {
		case c >= '0' && c <= '9':
			d = uint64(c - '0')
		case base == 16 && c >= 'a' && c <= 'f':
			d = uint64(c-'a') + 10
		default:
			return 0, rest, false
		}
		if v > (1<<64-1-d)/base {
			return 0, rest, false
		}
		v = v*base + d
	}
	return v, rest, true
}
