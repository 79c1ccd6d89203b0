package image

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Archive writes a cpio archive in the format that the kernel unpacks as its
// initramfs ("newc"). Parents of a file are made as needed.
type Archive struct {
	w    io.Writer
	n    int64
	ino  int
	seen map[string]bool
}

// NewArchive returns an empty archive on w.
func NewArchive(w io.Writer) *Archive {
	return &Archive{w: w, seen: map[string]bool{}}
}

// Dir adds a directory.
func (a *Archive) Dir(name string) error {
	name = clean(name)
	if name == "" || a.seen[name] {
		return nil
	}
	if err := a.Dir(path.Dir(name)); err != nil {
		return err
	}
	a.seen[name] = true
	return a.entry(name, 0o040755, 0, nil)
}

// Link adds a symbolic link.
func (a *Archive) Link(name, target string) error {
	return a.add(name, 0o120777, []byte(target))
}

// File adds a file.
func (a *Archive) File(name string, mode fs.FileMode, data []byte) error {
	return a.add(name, 0o100000|uint32(mode.Perm()), data)
}

// Tree adds what is at src, a file or a whole directory, as name.
func (a *Archive) Tree(src, name string) error {
	return filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, p)
		if err != nil {
			return err
		}
		to := path.Join(name, filepath.ToSlash(rel))
		switch d.Type() {
		case fs.ModeDir:
			return a.Dir(to)
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return a.Link(to, target)
		case 0:
			info, err := d.Info()
			if err != nil {
				return err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return a.File(to, info.Mode(), data)
		}
		return nil // no devices or sockets: devtmpfs has them
	})
}

// Close ends the archive.
func (a *Archive) Close() error {
	return a.entry("TRAILER!!!", 0, 0, nil)
}

func (a *Archive) add(name string, mode uint32, data []byte) error {
	name = clean(name)
	if a.seen[name] {
		return nil // the first one stays
	}
	if err := a.Dir(path.Dir(name)); err != nil {
		return err
	}
	a.seen[name] = true
	return a.entry(name, mode, len(data), data)
}

func (a *Archive) entry(name string, mode uint32, size int, data []byte) error {
	a.ino++
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.ino, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	if err := a.write([]byte(head)); err != nil {
		return err
	}
	return a.write(data)
}

// write writes p and pads to the next multiple of four.
func (a *Archive) write(p []byte) error {
	n, err := a.w.Write(p)
	a.n += int64(n)
	if err != nil {
		return err
	}
	pad := -a.n & 3
	n, err = a.w.Write(make([]byte, pad))
	a.n += int64(n)
	return err
}

func clean(name string) string {
	name = path.Clean("/" + name)[1:]
	return name
}
