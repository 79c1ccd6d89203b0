package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
)

// besides starts an agent as a process of its own, so that the CPU time and the
// garbage of reading meters are not those of an end.
func besides(ctx context.Context, _ string) (*endpoint.Client, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program: %w", err)
	}
	return startAgent(ctx, "meters", exec.Command(self, "agent", "--stdio"))
}

// overSSH starts zcbench agent on another host through the system's ssh, so
// that its keys, jump hosts and settings hold.
func overSSH(ctx context.Context, host string) (*endpoint.Client, func(), error) {
	return startAgent(ctx, "meters on "+host, exec.Command("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=4", "--", host, "zcbench agent --stdio"))
}

// startAgent speaks to a command that is an agent, or a way to one.
func startAgent(ctx context.Context, name string, cmd *exec.Cmd) (*endpoint.Client, func(), error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a control link: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "driver"), os.NewFile(uintptr(fds[1]), "agent")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, fmt.Errorf("use the control link: %w", err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to handle
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, nil, endpoint.Errorf(endpoint.Unsupported, "start %s: %w", name, err)
	}
	a := &localAgent{cmd: cmd}
	theirs.Close()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(endWait, func() { conn.Close() }) })
	if a.client, err = endpoint.NewClient(name, conn, nil, version); err != nil {
		stop()
		conn.Close()
		a.end()
		return nil, nil, err
	}
	return a.client, func() { stop(); a.end() }, nil
}
