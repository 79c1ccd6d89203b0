package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeTo lets write make the file at path, or write to stdout where there is
// none. A file is there whole or not at all: it is made beside and takes its name
// at the end. A signal ends it at once, whatever write is at.
func writeTo(ctx context.Context, c *cli, path string, write func(io.Writer) error) error {
	if path == "" {
		return interruptible(ctx, func() error { return buffered(c.stdout, write) })
	}
	f, done, err := beside(path)
	if err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	err = interruptible(ctx, func() error { return buffered(f, write) })
	if end := done(err == nil); end != nil && err == nil {
		err = fmt.Errorf("write %s: %w", path, end)
	}
	return err
}

// interruptible does work that leaves nothing behind, and does not wait for it once ctx
// is over: the process is about to end.
func interruptible(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func buffered(to io.Writer, write func(io.Writer) error) error {
	w := bufio.NewWriter(to)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// beside makes a file that takes the name path, or goes, when done is called. What
// is there and no regular file, such as a pipe, is written to itself.
func beside(path string) (_ *os.File, done func(keep bool) error, err error) {
	mode := os.FileMode(0o666)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if st, err := os.Stat(path); err == nil {
		if !st.Mode().IsRegular() {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return nil, nil, err
			}
			return f, func(bool) error { return f.Close() }, nil
		}
		mode = st.Mode().Perm()
	}
	f, err := os.OpenFile(fmt.Sprintf("%s.%d.part", path, os.Getpid()), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return nil, nil, err
	}
	return f, func(keep bool) error {
		err := f.Close()
		if keep && err == nil {
			err = os.Rename(f.Name(), path)
		}
		if !keep || err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}, nil
}
