package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/image"
	"zcbench/lab/internal/vm"
	"zcbench/lab/internal/wire"
)

// boot runs a job on the machine.
func (m machine) boot(ctx context.Context, o options, job wire.Job, s vm.Streams) (vm.Result, error) {
	job.ModuleArgs, job.Driver = o.args, m.nic.driver
	if m.nic.name != "" {
		job.Env = append(job.Env, "ZCBENCH_LAB_NIC="+m.nic.name)
	}
	cfg := m.cfg
	initrd, err := initrd(m.img.Initramfs, image.Overlay{Init: m.init, Module: m.img.Module, Job: job, Add: o.add})
	if err != nil {
		return vm.Result{}, err
	}
	defer initrd.Close()
	cfg.Initrd = initrd
	if o.timeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	return vm.Run(ctx, cfg, len(job.Steps), s)
}

// initrd puts the cached initramfs and what is new in this run into memory
// that QEMU can read as a file; nothing is left behind however we end.
func initrd(base string, over image.Overlay) (f *os.File, err error) {
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd for the initramfs: %w", err)
	}
	f = os.NewFile(uintptr(fd), "initrd")
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	b, err := os.Open(base)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if _, err := io.Copy(f, b); err != nil {
		return nil, err
	}
	if err := over.Write(f); err != nil {
		return nil, err
	}
	return f, nil
}

// tryBoot runs nothing, to see whether an accelerator works.
func (m machine) tryBoot(ctx context.Context, a vm.Accel) error {
	m.cfg.Accel = a
	job := wire.Job{Steps: []wire.Step{{Argv: []string{"true"}}}}
	_, err := m.boot(ctx, options{}, job, vm.Streams{Stdout: io.Discard, Stderr: io.Discard})
	return err
}

// runCommand runs a command in the VM, or a shell, and returns its status.
func (o options) runCommand(ctx context.Context, argv []string) (int, error) {
	m, err := o.prepare(ctx)
	if err != nil {
		return 0, err
	}
	if m.accel.Accel == vm.TCG {
		fmt.Fprintf(os.Stderr, "lab: %s\n", m.accel)
	}
	s := vm.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	job := wire.Job{Steps: []wire.Step{{Argv: argv}}, Env: o.env}
	switch len(argv) {
	case 0:
		job.Steps[0].Argv = []string{"bash"}
		restore, err := o.terminal(&job, &s)
		if err != nil {
			return 0, err
		}
		defer restore()
	case 1: // as system(3) takes it
		job.Steps[0].Argv = []string{"sh", "-c", argv[0]}
	}
	if s.Signal == nil {
		ch, stop := signals()
		defer stop()
		s.Signal = ch
	}
	res, err := m.boot(ctx, o, job, s)
	if o.dmesg {
		printLines(os.Stderr, "kernel log", res.Log)
	}
	printLines(os.Stderr, "the guest's kernel complained", res.Trouble)
	if err != nil {
		return statusFailed, err
	}
	if res.Status[0] == 0 && len(res.Trouble) > 0 {
		return statusFailed, errors.New("the command succeeded, the kernel did not")
	}
	return res.Status[0], nil
}

// terminal gives the job a terminal that is this one, when this is one.
func (o options) terminal(job *wire.Job, s *vm.Streams) (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}, nil // not a terminal: a shell reading a script
	}
	ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return nil, fmt.Errorf("size of the terminal: %w", err)
	}
	job.TTY, job.Rows, job.Cols = true, ws.Row, ws.Col
	job.Env = append(job.Env, "TERM="+os.Getenv("TERM"), `PS1=\[\e[1m\]lab\[\e[0m\]:\w# `)

	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("raw terminal: %w", err)
	}
	fmt.Fprint(os.Stderr, "lab: zc0 is in namespace zctx, zc1 in zcrx: ip netns exec zcrx …; leave with exit or Ctrl-D\r\n")

	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	resize := make(chan [2]uint16, 1)
	go func() {
		for range winch {
			if ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
				resize <- [2]uint16{ws.Row, ws.Col}
			}
		}
	}()
	s.Resize = resize
	s.Signal = make(chan os.Signal) // keys reach the guest as bytes
	return func() {
		signal.Stop(winch)
		close(winch)
		unix.IoctlSetTermios(fd, unix.TCSETS, old)
	}, nil
}
