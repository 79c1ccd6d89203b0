package site

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/driver"
	"zcbench/experiment"
	"zcbench/internal/fault"
	"zcbench/internal/netpair"
	"zcbench/internal/procfile"
	"zcbench/internal/remote"
	"zcbench/results"
)

// Local is this machine as two hosts.
type Local struct {
	pair      *netpair.Pair
	transport string
	of        *Program
}

// LinkEnv names the pair that is taken where nothing is said: in the lab VM, the
// software NICs.
const LinkEnv = "ZCBENCH_LINK"

// OpenLocal takes an existing pair of interfaces, or makes one for "veth" and
// where nothing is said.
func (p *Program) OpenLocal(link []string) (*Local, error) {
	h := &Local{transport: "veth", of: p}
	if v := os.Getenv(LinkEnv); v != "" && len(link) == 0 {
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
func (h *Local) Close() error { return h.pair.Close() }

// Outline is what placing a run needs to know of both ends.
func (h *Local) Outline() results.Pair[experiment.Survey] {
	end := func(e *netpair.End) experiment.Survey {
		s := experiment.Survey{CPUs: agent.AllowedCPUs(), BootID: agent.BootID(), Shared: driver.OneHost, Interface: e.Interface,
			Transport: h.transport}
		s.Cores = procfile.Cores(s.CPUs)
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
func (h *Local) Survey(context.Context) (results.Pair[experiment.Survey], error) {
	at := h.Outline()
	for _, e := range []struct {
		end    *netpair.End
		role   endpoint.Role
		survey *experiment.Survey
	}{{&h.pair.RX, endpoint.RX, &at.RX}, {&h.pair.TX, endpoint.TX, &at.TX}} {
		if err := e.end.Do(func() error { return h.of.survey(e.role, e.survey) }); err != nil {
			return at, fmt.Errorf("look at %s: %w", e.end.Interface, err)
		}
	}
	return at, nil
}

// Open starts a fresh process for each end, so that no run inherits another's
// memory or CPU time.
func (h *Local) Open(ctx context.Context, t experiment.Trial) (experiment.Ends, error) {
	readers, err := h.of.OpenMeters(ctx, t.Meters, nil)
	if err != nil {
		return experiment.Ends{}, err
	}
	rx, err := h.agent("receiver", &h.pair.RX, t.RX.ScopeSet)
	if err != nil {
		readers.End()
		return experiment.Ends{}, err
	}
	tx, err := h.agent("sender", &h.pair.TX, t.TX.ScopeSet)
	if err != nil {
		rx.end()
		readers.End()
		return experiment.Ends{}, err
	}
	return experiment.Ends{RX: rx.client, TX: tx.client, LiveRX: true, LiveTX: true, Power: readers.Wanted, Close: func() {
		readers.End()
		tx.end()
		rx.end()
		if !rx.cmd.ProcessState.Success() || !tx.cmd.ProcessState.Success() {
			// While the namespaces are there.
			h.of.Recover(context.WithoutCancel(ctx))
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

func (h *Local) agent(name string, at *netpair.End, cpus []int) (*localAgent, error) {
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
	a.cmd.Stdin, a.cmd.Stdout, a.cmd.Stderr = theirs, theirs, h.of.Stderr
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
	if a.client, err = driver.NewClient(name, agentLink{conn, a}, nil, h.of.Version); err != nil {
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
