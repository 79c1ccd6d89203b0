package ringcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// readFile gives the words of a small kernel file, with single spaces.
func readFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(string(b)), " "), nil
}

// addFile adds a kernel file as a setting, when it can be read and has a value.
func addFile(to Settings, name, path string) {
	if v, err := readFile(path); err == nil && v != "" {
		to[name] = v
	}
}

// writeFile writes a kernel file with one write, as the kernel wants it. Whoever
// calls it says what that was.
func writeFile(path, value string) (err error) {
	defer func() {
		if at, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: the kernel does not take %q (zcbench tune show has what it is)", at.Err, value)
		}
	}()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// errNoWriter: the kernel shows a file and has no way to write it.
var errNoWriter = errors.New("this kernel shows it, and lets nobody change it")

// refuseFile says why this thread would be refused to write a kernel file, as far as
// its mode and its mount tell; of one that does not exist nothing is said.
func refuseFile(path string) error {
	i, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if i.Mode().Perm()&0o222 == 0 { // which root may open all the same where it is no sysctl
		return errNoWriter
	}
	switch err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); {
	case errors.Is(err, unix.EROFS):
		return errors.New("its file system is mounted read-only here, as in a container: set it on the host itself")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("this process may not write %s: %w", path, err)
	}
	return nil
}

// exist says whether there is a file.
func exist(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// glob lists the paths that match; patterns here are constants, and only a bad
// one is an error.
func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern)
	return paths
}

// missing says that a family has no setting of this name here.
func missing(name string) error { return fmt.Errorf("%s does not exist here", name) }
