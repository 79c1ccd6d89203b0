package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/driver"
	"zcbench/experiment"
	"zcbench/experiment/ask"
	"zcbench/experiment/site"
	"zcbench/internal/fault"
	"zcbench/results"
)

// runLocal measures between two network namespaces of this machine, each end
// a process of its own.
func runLocal(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "local", "local [flags]")
	flags := newRunFlags(f, inLocal)
	link := f.StringSlice("link", nil, "existing back-to-back pair A,B instead of a new veth pair: "+
		"A sends, B receives (default $"+site.LinkEnv+")")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "local takes no argument, got %q", f.Arg(0))
	}
	if flags.Raw {
		return fault.Errorf(fault.Usage, "local runs both ends itself; --raw belongs to rx and tx")
	}
	for _, field := range ask.Fields() {
		if field.InLocal == ask.Refused && f.Changed(field.Name) && f.Lookup(field.Name).Value.String() != "false" {
			return fault.Errorf(fault.Usage, "--%s is for rx and tx; local knows both ends itself", field.Name)
		}
	}
	if len(*link) != 0 && len(*link) != 2 && !slices.Equal(*link, []string{"veth"}) {
		return fault.Errorf(fault.Usage, "--link wants two interfaces, --link A,B, or veth for a new pair")
	}
	if err := cmp.Or(known().Complete(flags.Run), flags.tryCongestion()); err != nil {
		return err
	}
	if err := becomeRoot(ctx, c); err != nil {
		return err
	}
	recoverSettings(ctx, c)
	host, err := thisProgram(c).OpenLocal(*link)
	if err != nil {
		return err
	}
	defer host.Close()
	flags.announce(c)
	out := newScreen(c, flags)
	rec, err := measure(ctx, host, flags.Run, out)
	return out.finish(rec, err)
}

// errDelegated says that a child with the rights has done the work.
var errDelegated = errors.New("delegated")

// delegated marks, in the environment, a child in a user namespace.
const delegated = "ZCBENCH_USER_NAMESPACE"

// becomeRoot runs this command again as root of a new user namespace when this
// user may not make network namespaces. It returns nil when there is no need.
func becomeRoot(ctx context.Context, c *cli) error {
	if canMakeNamespaces() {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, beneath(c.stdout), c.stderr
	cmd.Env = append(os.Environ(), delegated+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig counts from this thread
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		// What clone(2) and the maps of users say where namespaces are not to be had.
		if !slices.ContainsFunc([]error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS},
			func(e error) bool { return errors.Is(err, e) }) {
			return fmt.Errorf("run in a user namespace: %w", err)
		}
		return fault.Errorf(fault.Unsupported, "this user may make neither network namespaces nor a user namespace (%w); run as root, or allow "+
			"it: sysctl -w user.max_user_namespaces=10000 and, where they exist, kernel.unprivileged_userns_clone=1 and "+
			"kernel.apparmor_restrict_unprivileged_userns=0", err)
	}
	// A signal to this process alone must reach the child too. One from the
	// terminal reaches it twice, which is once.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })
	err = cmd.Wait()
	stop()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return errReported{fault.Wrap(fault.OfExit(exit.ExitCode()), errDelegated)}
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGPIPE {
		return errPipe
	}
	if err != nil {
		return fmt.Errorf("run in a user namespace: %w", err)
	}
	return errDelegated
}

// canMakeNamespaces asks for the right, not for the name: containers have a
// root without it.
func canMakeNamespaces() bool {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread and its namespace end here
		done <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	return <-done == nil
}

// measure runs once.
func measure(ctx context.Context, h *site.Local, r *ask.Run, out *screen) (results.Record, error) {
	t, err := r.Trial(h.Outline())
	var ends experiment.Ends
	if err == nil {
		if ends, err = h.Open(ctx, t); err == nil {
			defer ends.Close()
			out.started(t.Settings)
		}
	}
	return driver.Drive(ctx, driver.Run{
		RX: ends.RX, TX: ends.TX, RXWant: t.RX, TXWant: t.TX,
		Settings: t.Settings, Command: commandLine(), Refused: err,
		Live: out.live, LiveRX: ends.LiveRX, LiveTX: ends.LiveTX,
		Power: ends.Power, Baseline: t.Baseline,
	})
}
