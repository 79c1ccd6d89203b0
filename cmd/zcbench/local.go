package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/internal/netpair"
	"zcbench/internal/remote"
	"zcbench/results"
)

// linkEnv names the pair that local uses where it is not told: in the lab VM,
// the software NICs.
const linkEnv = "ZCBENCH_LINK"

// runLocal measures between two network namespaces of this machine, each end
// a process of its own.
func runLocal(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "local", "local [flags]")
	flags := newRunFlags(f, inLocal)
	link := f.StringSlice("link", nil, "existing back-to-back pair A,B instead of a new veth pair: A sends, B receives (default $"+linkEnv+")")
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
		if field.InLocal == ask.Refused && f.Changed(field.Name) {
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
	host, err := openHost(*link, c.stderr)
	if err != nil {
		return err
	}
	defer host.Close()
	flags.announce(c)
	out := newScreen(c, flags)
	rec, err := host.run(ctx, flags.Run, 0, out.started, out.live)
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
		return fault.Errorf(fault.Unsupported, "this user may make neither network namespaces nor a user namespace (%w); run as root, or allow it: sysctl -w user.max_user_namespaces=10000 and, where they exist, kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0", err)
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

// localHost is this machine as two hosts.
type localHost struct {
	pair      *netpair.Pair
	transport string
	stderr    io.Writer // of the agents
}

// openHost takes an existing pair of interfaces, or makes one for "veth" and
// where nothing is said.
func openHost(link []string, stderr io.Writer) (*localHost, error) {
	h := &localHost{transport: "veth", stderr: stderr}
	if v := os.Getenv(linkEnv); v != "" && len(link) == 0 {
		link = strings.Split(v, ",")
	}
	var err error
	if len(link) == 2 {
		h.transport = "link"
		h.pair, err = netpair.Find(link[0], link[1])
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err)
		}
		return h, nil
	}
	if h.pair, err = netpair.New(); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
			err = fault.Wrap(fault.Unsupported, err)
		}
		return nil, err
	}
	return h, nil
}

// Close lets go of the pair.
func (h *localHost) Close() error { return h.pair.Close() }

// outline is what placing a run needs to know of both ends.
func (h *localHost) outline() results.Pair[experiment.Survey] {
	end := func(e *netpair.End) experiment.Survey {
		s := experiment.Survey{CPUs: agent.AllowedCPUs(), BootID: agent.BootID(), Shared: driver.OneHost, Interface: e.Interface, Transport: h.transport}
		s.Cores = agent.Cores(s.CPUs)
		if e.Addr4.IsValid() {
			s.Addr4 = e.Addr4.String()
		}
		if e.Addr6.IsValid() {
			s.Addr6 = e.Addr6.String()
		}
		return s
	}
	return results.Pair[experiment.Survey]{RX: end(&h.pair.RX), TX: end(&h.pair.TX)}
}

// Survey is the outline, and what both ends can do.
func (h *localHost) Survey(context.Context) (results.Pair[experiment.Survey], error) {
	at := h.outline()
	for _, e := range []struct {
		end    *netpair.End
		role   endpoint.Role
		survey *experiment.Survey
	}{{&h.pair.RX, endpoint.RX, &at.RX}, {&h.pair.TX, endpoint.TX, &at.TX}} {
		if err := e.end.Do(func() error { return survey(e.role, e.survey) }); err != nil {
			return at, fmt.Errorf("look at %s: %w", e.end.Interface, err)
		}
	}
	return at, nil
}

// run measures once.
func (h *localHost) run(ctx context.Context, r *ask.Run, repeat int, started func(map[string]any),
	live func(endpoint.Role, wire.Sample)) (results.Record, error) {
	t, err := r.Trial(h.outline())
	var ends experiment.Ends
	if err == nil {
		if ends, err = h.Open(ctx, t); err == nil {
			defer ends.Close()
			started(t.Settings)
		}
	}
	return driver.Drive(ctx, driver.Trial{
		RX: ends.RX, TX: ends.TX, RXWant: t.RX, TXWant: t.TX,
		Repeat: repeat, Settings: t.Settings, Command: commandLine(), Refused: err,
		Live: live, LiveRX: ends.LiveRX, LiveTX: ends.LiveTX,
		Power: ends.Power, Baseline: t.Baseline,
	})
}

// Open starts a fresh process for each end, so that no run inherits another's
// memory or CPU time.
func (h *localHost) Open(ctx context.Context, t experiment.Trial) (experiment.Ends, error) {
	readers, err := openMeters(ctx, t.Meters, nil)
	if err != nil {
		return experiment.Ends{}, err
	}
	rx, err := h.agent("receiver", &h.pair.RX, t.RX.ScopeSet)
	if err != nil {
		readers.end()
		return experiment.Ends{}, err
	}
	tx, err := h.agent("sender", &h.pair.TX, t.TX.ScopeSet)
	if err != nil {
		rx.end()
		readers.end()
		return experiment.Ends{}, err
	}
	return experiment.Ends{RX: rx.client, TX: tx.client, LiveRX: true, LiveTX: true, Power: readers.wanted, Close: func() {
		readers.end()
		tx.end()
		rx.end()
		if !rx.cmd.ProcessState.Success() || !tx.cmd.ProcessState.Success() {
			// While the namespaces are there.
			recoverTo(context.WithoutCancel(ctx), h.stderr)
		}
	}}, nil
}

// localAgent is a child process that is one end.
type localAgent struct {
	client *driver.Client
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended
}

// agentLink is the control link to one.
type agentLink struct {
	net.Conn
	agent *localAgent
}

// Fate says how the agent ended; its link closes a moment before.
func (l agentLink) Fate() string {
	select {
	case <-l.agent.ended:
		return "it " + remote.Fate(l.agent.cmd.ProcessState)
	case <-time.After(time.Second):
		return ""
	}
}

func (h *localHost) agent(name string, at *netpair.End, cpus []int) (*localAgent, error) {
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
	a := &localAgent{cmd: exec.Command(self, "agent", "--stdio"), ended: make(chan struct{})}
	a.cmd.Stdin, a.cmd.Stdout, a.cmd.Stderr = theirs, theirs, h.stderr
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
				return fault.Errorf(fault.Usage, "run the %s on CPUs %v: %w", name, cpus, err)
			}
		}
		return a.cmd.Start()
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	theirs.Close()
	go func() {
		_ = a.cmd.Wait() // Fate and end look at how it ended
		close(a.ended)
	}()
	if a.client, err = driver.NewClient(name, agentLink{conn, a}, nil, version); err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// endWait is for an agent that has NIC settings to put back; others end at
// once. One that is killed leaves its journal, which is worked off after both.
const endWait = 5 * time.Second

// end lets the agent clean up and, if it does not, kills it: at once if it said
// nothing for long.
func (a *localAgent) end() {
	limit := time.Duration(0) // it has done nothing yet, or does not any more
	if a.client != nil {
		if !a.client.Silent() {
			limit = endWait
		}
		a.client.Close()
	}
	select {
	case <-a.ended:
	case <-time.After(limit):
		_ = a.cmd.Process.Kill()
		<-a.ended
	}
}
