package image

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// seal records what is in dir, in dir.sum beside it, so that verify can tell
// later whether it still is.
func seal(dir string) error {
	sum, err := sums(dir)
	if err != nil {
		return err
	}
	tmp := dir + ".sum.tmp"
	if err := os.WriteFile(tmp, sum, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, dir+".sum")
}

// verify reports whether dir is just as seal saw it. A folder that was never
// sealed was never finished.
func verify(dir string) (bool, error) {
	want, err := os.ReadFile(dir + ".sum")
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	got, err := sums(dir)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return bytes.Equal(got, want), nil
}

// sums lists the files and links of dir with their hashes and targets.
func sums(dir string) ([]byte, error) {
	var b bytes.Buffer
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, dir)
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "-> %s %s\n", target, rel)
		case d.Type().IsRegular():
			h, err := hashFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%x %s\n", h, rel)
		}
		return nil
	})
	return b.Bytes(), err
}

func hashFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
