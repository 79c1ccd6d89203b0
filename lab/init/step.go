package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/wire"
)

// input is what the host sends while steps run.
type input struct {
	mu    sync.Mutex
	stdin io.WriteCloser // of the step that runs now
	tty   *os.File
	pgrp  int
	ended bool
	early [][]byte // came before the step was there to read it
}

func readInput(r io.Reader) *input {
	in := &input{}
	go func() {
		for {
			kind, p, err := wire.Read(r)
			if err != nil {
				return
			}
			in.handle(kind, p)
		}
	}()
	return in
}

func (in *input) handle(kind wire.Kind, p []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch kind {
	case wire.Stdin:
		if in.stdin == nil {
			in.early = append(in.early, p)
			return
		}
		in.feed(p)
	case wire.Resize:
		if in.tty != nil && len(p) == 4 {
			ws := unix.Winsize{Row: binary.LittleEndian.Uint16(p), Col: binary.LittleEndian.Uint16(p[2:])}
			unix.IoctlSetWinsize(int(in.tty.Fd()), unix.TIOCSWINSZ, &ws)
		}
	case wire.Signal:
		if in.pgrp > 0 && len(p) == 1 {
			syscall.Kill(-in.pgrp, syscall.Signal(p[0]))
		}
	}
}

// feed gives p to the step, which may have closed its end; empty is the end.
func (in *input) feed(p []byte) {
	if len(p) > 0 {
		in.stdin.Write(p)
	} else if in.tty == nil {
		in.stdin.Close()
		in.ended = true
	}
}

// attach directs input to a step that has started.
func (in *input) attach(stdin io.WriteCloser, tty *os.File, pgrp int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stdin, in.tty, in.pgrp = stdin, tty, pgrp
	if in.ended {
		stdin.Close()
	}
	for _, p := range in.early {
		in.feed(p)
	}
	in.early = nil
}

func (in *input) detach() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tty, in.pgrp = nil, 0
}

// runStep runs one command and returns its exit status as a shell would.
func runStep(step wire.Step, job wire.Job, w *wire.Writer, in *input, all *family) (int, error) {
	path, err := exec.LookPath(step.Argv[0])
	if err != nil {
		return 0, err
	}
	cmd := exec.Cmd{
		Path: path,
		Args: step.Argv,
		Dir:  step.Dir,
		Env:  append([]string{"PATH=/usr/sbin:/usr/bin", "HOME=/root", "ZCBENCH_LAB=1", "ZCBENCH_LINK=zc0,zc1"}, job.Env...),
	}
	if cmd.Dir == "" {
		cmd.Dir = "/" // where make lab puts the folder of experiments
	}
	if job.TTY {
		return runOnTerminal(&cmd, job, w, in, all)
	}
	cmd.Stdout, cmd.Stderr = w.Stream(wire.Stdout), w.Stream(wire.Stderr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := all.start(&cmd); err != nil {
		return 0, err
	}
	defer all.over(&cmd)
	in.attach(stdin, nil, cmd.Process.Pid)
	defer in.detach()
	return wait(&cmd)
}

func runOnTerminal(cmd *exec.Cmd, job wire.Job, w *wire.Writer, in *input, all *family) (int, error) {
	master, slave, err := openTerminal(job.Rows, job.Cols)
	if err != nil {
		return 0, err
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = all.start(cmd)
	slave.Close()
	if err != nil {
		return 0, err
	}
	defer all.over(cmd)
	in.attach(master, master, cmd.Process.Pid)
	defer in.detach()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(w.Stream(wire.Stdout), master) // EIO when the last user is gone
	}()
	status, err := wait(cmd)
	<-done
	return status, err
}

func openTerminal(rows, cols uint16) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("number of the terminal: %w", err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(n)), os.O_RDWR, 0)
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	ws := unix.Winsize{Row: rows, Col: cols}
	return master, slave, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &ws)
}

func wait(cmd *exec.Cmd) (int, error) {
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		ws := exit.Sys().(syscall.WaitStatus)
		if ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return ws.ExitStatus(), nil
	}
	return 0, err
}
