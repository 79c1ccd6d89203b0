package ringcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/answers"
)

// readFile gives the words of a small kernel file, with single spaces.
func readFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(string(b)), " "), nil
}

// classFile is the path of a file that sysfs has of the interface.
func (h *host) classFile(names ...string) string {
	return filepath.Join(append([]string{"/sys/class/net", h.iface}, names...)...)
}

// real is where a path of the interface's files is: /sys is the one that shows the
// interface's network namespace.
func (h *host) real(path string) string {
	if rest, ok := strings.CutPrefix(path, "/sys/"); ok && h.sys != "" {
		return h.sys + "/" + rest
	}
	return h.root + path
}

// readFile is readFile of one of the interface's files, and so are the others.
func (h *host) readFile(path string) (string, error) {
	reply, err := h.from.Ask("file", path, func() (reply answers.Reply, err error) {
		reply.Text, err = readFile(h.real(path))
		return reply, bare(err)
	})
	return reply.Text, err
}

func (h *host) addFile(to Settings, name, path string) {
	if v, err := h.readFile(path); err == nil && v != "" {
		to[name] = v
	}
}

func (h *host) readLink(path string) (string, error) {
	reply, err := h.from.Ask("link of", path, func() (reply answers.Reply, err error) {
		reply.Text, err = os.Readlink(h.real(path))
		return reply, bare(err)
	})
	return reply.Text, err
}

// glob gives paths whose base alone is that of the file that is there.
func (h *host) glob(pattern string) []string {
	reply, err := h.from.Ask("list", pattern, func() (reply answers.Reply, err error) {
		for _, path := range glob(h.real(pattern)) {
			reply.Text += filepath.Dir(pattern) + "/" + filepath.Base(path) + "\n"
		}
		return reply, nil
	})
	if err != nil {
		return nil // a capture that lacks it says so
	}
	return lines(reply.Text)
}

// folders gives the names of the folders in one.
func (h *host) folders(path string) []string {
	reply, err := h.from.Ask("folders", path, func() (reply answers.Reply, err error) {
		list, err := os.ReadDir(h.real(path))
		for _, e := range list {
			if e.IsDir() {
				reply.Text += e.Name() + "\n"
			}
		}
		return reply, bare(err)
	})
	if err != nil {
		return nil // it is gone, or a capture lacks it and says so
	}
	return lines(reply.Text)
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == '\n' })
}

// bare is an error without the path, which a capture has by another name.
func bare(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
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
var errNoWriter = unsupported("this kernel shows it, and lets nobody change it")

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
		return unsupported("its file system is mounted read-only here, as in a container: set it on the host itself")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return unsupported("this process may not write %s: %w", path, err)
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
