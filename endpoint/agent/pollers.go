package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/agent/others"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/procfile"
	"zcbench/results/caveat"
)

// pollers are the kernel threads that the NAPI instances of this end's interface
// run in where they are threaded (networking/napi.rst). They do for the run what
// softirq does elsewhere, and a busy-polling one does it all of the time: what they
// use on CPUs that no end counts is added to this end's figure.
type pollers struct {
	cpuClock
	set, peer []int // CPUs that this end and the other one count
	threads   []*poller
	hidden    int // that run, and cannot be seen from here
}

type poller struct {
	name            string
	pid             int
	read            bool
	was             int64 // ns of CPU time
	elsewhere, peer float64
	unsure          float64 // of these and of what is counted already, seconds
}

// openPollers finds the threads of an interface and reads them with a clock.
func openPollers(clock cpuClock, p *wire.Prepare, set []int) (*pollers, error) {
	c := &pollers{cpuClock: clock, peer: p.PeerSet}
	if p.Scope == wire.ScopeCPUSet {
		c.set = set
	}
	if p.Interface == "" || p.Scope == wire.ScopeHost {
		return c, nil // there are none, or every CPU is counted
	}
	pids, err := pollerPIDs(p.Interface)
	if err != nil {
		return nil, fmt.Errorf("%s: look for the NAPI threads of %s: %w", p.Role, p.Interface, err)
	}
	for _, pid := range pids {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || !strings.HasPrefix(string(name), "napi/") {
			c.hidden++ // the kernel tells its number in the first PID namespace
			continue
		}
		c.threads = append(c.threads, &poller{name: strings.TrimSpace(string(name)), pid: pid})
	}
	return c, nil
}

// pollerPIDs are the numbers of an interface's NAPI threads in the first PID
// namespace. Kernels before 6.8 do not tell; they name the threads after the
// interface.
func pollerPIDs(iface string) (pids []int, err error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, nil // whoever needs it says so
	}
	var napis []netdev.NAPI
	dev, err := netdev.Dial()
	if err == nil {
		defer dev.Close()
		napis, err = dev.NAPIs(i.Index)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return pollersByName("/proc", iface)
	case err != nil:
		return nil, err
	}
	for _, n := range napis {
		if n.PID != 0 {
			pids = append(pids, int(n.PID))
		}
	}
	return pids, nil
}

func pollersByName(proc, iface string) (pids []int, err error) {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "comm"))
	for _, path := range files {
		var pid int
		name, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(name), "napi/"+iface+"-") {
			continue
		}
		if _, err := fmt.Sscan(filepath.Base(filepath.Dir(path)), &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// read adds to the clock's reading what the threads had where no end counts.
func (c *pollers) read() (cpuTime, error) {
	t, err := c.cpuClock.read()
	if err != nil {
		return t, err
	}
	for _, p := range c.threads {
		ns, ok := runTime(p.pid)
		now, ok2 := procfile.ReadTask(p.pid)
		if ok && ok2 { // else it ended: what it had stays
			if p.read {
				c.place(p, float64(ns-p.was)/1e9, affinity(p.pid), now.CPU)
			}
			p.read, p.was = true, ns
		}
		t.busy += p.elsewhere
		if t.second != nil {
			*t.second += p.elsewhere
		}
	}
	return t, nil
}

// runTime is how long a thread has run, exact where the kernel tells it
// (scheduler/sched-stats.rst).
func runTime(pid int) (ns int64, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		p, ok := procfile.ReadTask(pid)
		return int64(p.Used) * (1e9 / procfile.Hz), ok
	}
	v, _, ok := procfile.Uint(b)
	return int64(v), ok
}

// affinity is where a thread may run, nil: not known.
func affinity(pid int) []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(pid, &set) != nil {
		return nil
	}
	return cpusOf(&set)
}

// place finds out where a thread used some seconds: where it may run at all, or
// where it was last, which is less certain.
func (c *pollers) place(p *poller, used float64, may []int, cpu int) {
	const counted, peers, nobodys = 0, 1, 2
	whose := func(n int) int {
		switch {
		case slices.Contains(c.set, n):
			return counted
		case slices.Contains(c.peer, n):
			return peers
		}
		return nobodys
	}
	at := whose(cpu)
	sure := len(may) > 0
	for _, n := range may {
		sure = sure && whose(n) == at
	}
	if !sure {
		p.unsure += used
	}
	switch at {
	case peers:
		p.peer += used
	case nobodys:
		p.elsewhere += used
	}
}

// sums are what the threads had on CPUs that no end counts and on those that the
// other end counts, and of how much that is not certain, in seconds so far.
func (c *pollers) sums() (elsewhere, peer, unsure float64) {
	for _, p := range c.threads {
		elsewhere, peer, unsure = elsewhere+p.elsewhere, peer+p.peer, unsure+p.unsure
	}
	return elsewhere, peer, unsure
}

// report adds what is known of the threads to the result of a window, whose opening
// was their first reading.
func (c *pollers) report(role endpoint.Role, res *wire.Result) {
	a, b := res.Edges()
	seconds := float64(b.At-a.At) / 1e9
	if len(c.threads) == 0 && c.hidden == 0 || seconds <= 0 {
		return
	}
	elsewhere, peer, unsure := c.sums()
	res.Counters["napi_threads"] = float64(len(c.threads) + c.hidden)
	res.Counters["napi_elsewhere_seconds"] = elsewhere
	res.CPUError += 100 * min(unsure, seconds*float64(len(c.threads))) / seconds
	figure := *summary.Percent(a, b, a.Busy, b.Busy)
	most := slices.MaxFunc(append(c.threads, &poller{}), func(a, b *poller) int { return cmp.Compare(a.peer+a.unsure, b.peer+b.unsure) })
	switch other := 100 * max(peer, unsure) / seconds; {
	case c.hidden > 0:
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.NAPIThread, "%s: %d NAPI threads handle packets and cannot be seen from inside "+
			"this PID namespace: what they used outside the CPUs that are counted is missing in cpu_percent", role, c.hidden))
	case others.Matters(other, figure, true):
		res.Warnings = append(res.Warnings, caveat.Warn(caveat.NAPIThread, "%s: NAPI threads of this end spent %.1f%% of a CPU where the other "+
			"end counts it, or wandered between counted CPUs and others (most %s, pid %d): keep each on CPUs of its own end (taskset -p)",
			role, other, most.name, most.pid))
	}
}
