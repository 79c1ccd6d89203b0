package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/netpair"
	"zcbench/results"
)

// linkEnv names the pair that local uses where it is not told: in the lab VM,
// the software NICs.
const linkEnv = "ZCBENCH_LINK"

// runLocal measures between two network namespaces of this machine, each end
// a process of its own.
func runLocal(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "local", "local [flags]")
	var flags runFlags
	flags.add(f)
	link := f.StringSlice("link", nil, "existing back-to-back pair A,B instead of a new veth pair: A sends, B receives (default $"+linkEnv+")")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return endpoint.Errorf(endpoint.Usage, "local takes no argument, got %q", f.Arg(0))
	}
	if err := flags.check(); err != nil {
		return err
	}
	if err := flags.giveMemory(endpoint.RX, endpoint.TX); err != nil {
		return err
	}
	if flags.raw {
		return endpoint.Errorf(endpoint.Usage, "local runs both ends itself; --raw belongs to rx and tx")
	}
	for _, name := range []string{"bind", "iface", "token-file"} {
		if f.Changed(name) {
			return endpoint.Errorf(endpoint.Usage, "--%s is for rx and tx; local knows both ends itself", name)
		}
	}
	if v := os.Getenv(linkEnv); v != "" && !f.Changed("link") {
		*link = strings.Split(v, ",")
	}
	if len(*link) == 1 && (*link)[0] == "veth" {
		*link = nil
	}
	if len(*link) != 0 && len(*link) != 2 {
		return endpoint.Errorf(endpoint.Usage, "--link wants two interfaces, --link A,B, or veth for a new pair")
	}
	if flags.rx == "" {
		flags.rx = "baseline"
	}
	if flags.tx == "" {
		flags.tx = "baseline"
	}
	if err := becomeRoot(ctx, c); err != nil {
		return err
	}
	recoverSettings(ctx, c)
	host, err := openHost(*link, flags.softirq)
	if err != nil {
		return err
	}
	defer host.close()
	out := newScreen(c, &flags)
	rec, err := host.run(ctx, c, &flags, 0, out.started, out.live)
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
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, c.stdout, c.stderr
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
		return endpoint.Errorf(endpoint.Unsupported, "this user may make neither network namespaces nor a user namespace (%w); run as root, or allow it: sysctl -w user.max_user_namespaces=10000 and, where they exist, kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0", err)
	}
	// A signal to this process alone must reach the child too. One from the
	// terminal reaches it twice, which is once.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })
	err = cmd.Wait()
	stop()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return errReported{&endpoint.Error{Kind: kindOfExit(exit.ExitCode()), Err: errDelegated}}
	}
	if err != nil {
		return fmt.Errorf("run in a user namespace: %w", err)
	}
	return errDelegated
}

func kindOfExit(code int) endpoint.Kind {
	switch code {
	case exitUsage:
		return endpoint.Usage
	case exitUnsupported:
		return endpoint.Unsupported
	case exitUnreachable:
		return endpoint.Unreachable
	case exitInterrupted:
		return endpoint.Interrupted
	}
	return endpoint.Failed
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

// localHost is this machine as two hosts.
type localHost struct {
	pair           *netpair.Pair
	transport      string
	txSoft, rxSoft []int
	steer          bool
}

func openHost(link []string, softirq string) (*localHost, error) {
	h := &localHost{transport: "veth"}
	var err error
	if h.txSoft, h.rxSoft, err = parseCPUs("--softirq-cpus", softirq); err != nil {
		return nil, err
	}
	if len(link) == 2 {
		if softirq != "" {
			return nil, endpoint.Errorf(endpoint.Usage, "--softirq-cpus steers the veth pair that local makes; for --link steer the interfaces' interrupts instead")
		}
		h.transport = "link"
		h.pair, err = netpair.Find(link[0], link[1])
		if err != nil {
			return nil, &endpoint.Error{Kind: endpoint.Usage, Err: err}
		}
		return h, nil
	}
	if h.pair, err = netpair.New(); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
			err = &endpoint.Error{Kind: endpoint.Unsupported, Err: err}
		}
		return nil, err
	}
	return h, nil
}

func (h *localHost) close() { _ = h.pair.Close() }

// run measures once, with a fresh process for each end, so that no run
// inherits another's memory or CPU time.
func (h *localHost) run(ctx context.Context, c *cli, flags *runFlags, repeat int, started func(map[string]any), live func(endpoint.Role, endpoint.Sample)) (results.Record, error) {
	rx, tx := flags.prepare(endpoint.RX), flags.prepare(endpoint.TX)
	failed := func(err error) (results.Record, error) {
		return endpoint.Drive(ctx, endpoint.Trial{RXWant: rx, TXWant: tx, Repeat: repeat, Settings: flags.settings(&rx, &tx, h.transport), Command: commandLine(), Refused: err})
	}
	txAsk, rxAsk, err := parseCPUs("--affinity", flags.affinity)
	if err != nil {
		return failed(err)
	}
	allowed := endpoint.AllowedCPUs()
	together(&rx, &tx, cpus{allowed, rxAsk, h.rxSoft}, cpus{allowed, txAsk, h.txSoft})
	if err := h.address(flags, &rx, &tx); err != nil {
		return failed(err)
	}
	if !h.steer && len(h.txSoft)+len(h.rxSoft) > 0 {
		for _, e := range []struct {
			end  *netpair.End
			cpus []int
		}{{&h.pair.TX, h.txSoft}, {&h.pair.RX, h.rxSoft}} {
			if len(e.cpus) > 0 {
				if err := e.end.SetRPS(e.cpus); err != nil {
					return failed(&endpoint.Error{Kind: endpoint.Unsupported, Err: err})
				}
			}
		}
		h.steer = true
	}
	rxa, err := h.agent(c, "receiver", &h.pair.RX, rx.ScopeSet)
	if err != nil {
		return failed(err)
	}
	defer rxa.end()
	txa, err := h.agent(c, "sender", &h.pair.TX, tx.ScopeSet)
	if err != nil {
		return failed(err)
	}
	defer txa.end()
	settings := flags.settings(&rx, &tx, h.transport)
	started(settings)
	return endpoint.Drive(ctx, endpoint.Trial{
		RX: rxa.client, TX: txa.client, RXWant: rx, TXWant: tx,
		Repeat: repeat, Settings: settings, Command: commandLine(),
		Live: live, LiveRX: true, LiveTX: true,
	})
}

func (h *localHost) address(flags *runFlags, rx, tx *endpoint.Prepare) error {
	to := h.pair.RX.Addr4
	if flags.v6 || !to.IsValid() && !flags.v4 {
		to = h.pair.RX.Addr6
	}
	if !to.IsValid() {
		return endpoint.Errorf(endpoint.Unsupported, "%s has no IPv%d address", h.pair.RX.Interface, flags.family())
	}
	tx.Host, rx.Bind = to.String(), to.String()
	rx.DataPort, tx.DataPort = flags.port+1, flags.port+1
	tx.Interface, rx.Interface = h.pair.TX.Interface, h.pair.RX.Interface
	return nil
}

// localAgent is a child process that is one end.
type localAgent struct {
	client *endpoint.Client
	cmd    *exec.Cmd
}

func (h *localHost) agent(c *cli, name string, at *netpair.End, cpus []int) (*localAgent, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a control link: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "driver"), os.NewFile(uintptr(fds[1]), "agent")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("use the control link: %w", err)
	}
	a := &localAgent{cmd: exec.Command(self, "agent", "--stdio")}
	a.cmd.Stdin, a.cmd.Stdout, a.cmd.Stderr = theirs, theirs, c.stderr
	// Its own group: Ctrl-C is ours to handle.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = at.Do(func() error {
		if len(cpus) > 0 {
			// The whole process, so that its runtime's threads stay off the
			// other end's CPUs.
			var set unix.CPUSet
			for _, n := range cpus {
				set.Set(n)
			}
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				return endpoint.Errorf(endpoint.Usage, "run the %s on CPUs %v: %w", name, cpus, err)
			}
		}
		return a.cmd.Start()
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	theirs.Close()
	if a.client, err = endpoint.NewClient(name, conn, nil, version); err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// endWait is for an agent that has NIC settings to put back; others end at
// once. One that is killed leaves its journal, which the next run works off.
const endWait = 5 * time.Second

// end lets the agent clean up and, if it does not, kills it.
func (a *localAgent) end() {
	if a.client != nil {
		a.client.Close()
	}
	done := make(chan struct{})
	go func() { _ = a.cmd.Wait(); close(done) }() // its errors came over the link
	select {
	case <-done:
	case <-time.After(endWait):
		_ = a.cmd.Process.Kill()
		<-done
	}
}
