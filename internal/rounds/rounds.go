// Package rounds compares programs run by run in turn over one pair of
// interfaces, with the sender on CPU 0 and the receiver on CPU 1, by one
// yardstick for all: the payload that the receiving end's TCP takes, and the
// busy time of one of the CPUs, softirq included.
package rounds

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
)

// CPUs of the two ends.
const (
	SenderCPU   = 0
	ReceiverCPU = 1
)

// Contest is what the runs have in common.
type Contest struct {
	Pair    *netpair.Pair
	Port    uint16 // that receivers listen on
	Seconds int    // measured, of each run
	CPU     int    // whose busy time counts
	// Syscall is the name of a system call to count on that CPU in a second
	// after the measured ones: counting makes every call dearer. "" is none.
	Syscall string
	// Settle, where there is one, is called after each run.
	Settle func() error
}

// SenderSeconds is how long a sender must send: a second goes before what is
// measured, and some follows.
func (c *Contest) SenderSeconds() int {
	if c.Syscall != "" {
		return c.Seconds + 3
	}
	return c.Seconds + 2
}

// Entrant is one of those compared: a receiver and a sender.
type Entrant struct {
	Name             string
	Receiver, Sender []string
	// Endless receivers do not end with their sender, and are killed.
	Endless bool
	// Check, where there is one, is given what the receiver printed.
	Check func(out []byte) error
}

// Measured is one run.
type Measured struct {
	Gbps  float64
	CPU   float64 // percent
	Calls float64 // for each GB, 10⁹ bytes
}

// ROI is throughput²/CPU.
func (m Measured) ROI() float64 { return m.Gbps * m.Gbps / m.CPU }

// Compare runs all entrants n times, changing who goes first, and prints each
// run and the ratios of the first entrant to the others.
func (c *Contest) Compare(w io.Writer, n int, entrants []Entrant) error {
	width := 0
	for _, e := range entrants {
		width = max(width, len(e.Name))
	}
	calls := c.Syscall
	if calls != "" {
		calls += "/GB"
	}
	fmt.Fprintf(w, "%5s  %-*s  %8s  %6s  %8s  %s\n", "round", width, "", "Gbit/s", "CPU %", "ROI", calls)
	all := make([][]Measured, len(entrants))
	for round := range n {
		for k := range entrants {
			k = (k + round) % len(entrants)
			m, err := c.run(entrants[k])
			if err != nil {
				return fmt.Errorf("%s: %w", entrants[k].Name, err)
			}
			all[k] = append(all[k], m)
		}
		for k, e := range entrants {
			m := all[k][round]
			fmt.Fprintf(w, "%5d  %-*s  %8.3f  %6.1f  %8.4f", round+1, width, e.Name, m.Gbps, m.CPU, m.ROI())
			if c.Syscall != "" {
				fmt.Fprintf(w, "  %.0f", m.Calls)
			}
			fmt.Fprintln(w)
		}
	}
	c.ratios(w, entrants, all, width)
	return nil
}

func (c *Contest) ratios(w io.Writer, entrants []Entrant, all [][]Measured, width int) {
	fmt.Fprintf(w, "\n%s over the others, round by round: median (min to max of %d)\n", entrants[0].Name, len(all[0]))
	figures := []struct {
		name string
		of   func(Measured) float64
	}{
		{"throughput²/CPU", Measured.ROI},
		{"throughput", func(m Measured) float64 { return m.Gbps }},
		{c.Syscall + "/GB", func(m Measured) float64 { return m.Calls }},
	}
	if c.Syscall == "" {
		figures = figures[:2]
	}
	for k, e := range entrants[1:] {
		fmt.Fprintf(w, "  %-*s", width, e.Name)
		for _, f := range figures {
			var ratios []float64
			for i, m := range all[k+1] {
				ratios = append(ratios, f.of(all[0][i])/f.of(m))
			}
			slices.Sort(ratios)
			fmt.Fprintf(w, "  %s %.3f (%.3f to %.3f)", f.name, median(ratios), ratios[0], ratios[len(ratios)-1])
		}
		fmt.Fprintln(w)
	}
}

// median is that of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// run runs an entrant once.
func (c *Contest) run(e Entrant) (m Measured, err error) {
	server := exec.Command(e.Receiver[0], e.Receiver[1:]...)
	var out, complaints bytes.Buffer
	server.Stderr = &complaints
	if e.Check != nil { // others may print the payload
		server.Stdout = &out
	}
	if err := launch(&c.Pair.RX, ReceiverCPU, server); err != nil {
		return m, err
	}
	ended := make(chan struct{})
	go func() {
		_ = server.Wait() // how it ends is its own affair: ncdevmem has its own view of success
		close(ended)
	}()
	defer func() {
		_ = server.Process.Kill() // it is over, or this failed
		<-ended
		if c.Settle != nil {
			err = errors.Join(err, c.Settle())
		}
	}()
	if err := c.listening(); err != nil {
		return m, fmt.Errorf("%w\n%s", err, &complaints)
	}
	client := exec.Command(e.Sender[0], e.Sender[1:]...)
	var sent bytes.Buffer
	client.Stdout, client.Stderr = &sent, &sent
	if err := launch(&c.Pair.TX, SenderCPU, client); err != nil {
		return m, err
	}
	m, err = c.measure()
	if err != nil {
		_ = client.Process.Kill()
	}
	if e := client.Wait(); e != nil {
		return m, errors.Join(err, fmt.Errorf("sender: %w\n%s", e, &sent))
	}
	if err != nil || e.Endless {
		return m, err
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		return m, errors.New("the receiver does not end")
	}
	if e.Check != nil {
		if err := e.Check(out.Bytes()); err != nil {
			return m, fmt.Errorf("%w\n%s", err, &complaints)
		}
	}
	return m, nil
}

func (c *Contest) measure() (m Measured, err error) {
	time.Sleep(time.Second)
	first, err := c.read()
	if err != nil {
		return m, err
	}
	time.Sleep(time.Duration(c.Seconds) * time.Second)
	last, err := c.read()
	if err != nil {
		return m, err
	}
	took := last.at.Sub(first.at).Seconds()
	m = Measured{Gbps: float64(last.bytes-first.bytes) * 8 / 1e9 / took, CPU: (last.busy - first.busy) / took * 100}
	if last.bytes <= first.bytes {
		return m, errors.New("nothing arrives")
	}
	if c.Syscall == "" {
		return m, nil
	}
	counter, err := newCounter(c.Syscall, c.CPU)
	if err != nil {
		return m, err
	}
	defer counter.close()
	if first, err = c.read(); err != nil {
		return m, err
	}
	before, err := counter.read()
	if err != nil {
		return m, err
	}
	time.Sleep(time.Second)
	after, err := counter.read()
	if err != nil {
		return m, err
	}
	if last, err = c.read(); err != nil {
		return m, err
	}
	m.Calls = float64(after-before) / (float64(last.bytes-first.bytes) / 1e9)
	return m, nil
}

func launch(at *netpair.End, cpu int, cmd *exec.Cmd) error {
	return at.Do(func() error {
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return err
		}
		return cmd.Start()
	})
}

// listening waits for a listener on the port.
func (c *Contest) listening() error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		found := false
		if err := c.Pair.RX.Do(func() error {
			for _, path := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
				s, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				// Address and port, and state 0A: TCP_LISTEN.
				for line := range strings.Lines(string(s)) {
					f := strings.Fields(line)
					found = found || len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", c.Port)) && f[3] == "0A"
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if found {
			return nil
		}
	}
	return errors.New("the receiver does not listen")
}

// reading is what the yardstick shows at a moment.
type reading struct {
	at    time.Time
	bytes uint64  // of payload that the receiving end's TCP has taken in order
	busy  float64 // seconds, of the CPU
}

func (c *Contest) read() (r reading, err error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return r, err
	}
	s, err := fs.Stat()
	if err != nil {
		return r, err
	}
	t := s.CPU[int64(c.CPU)]
	r.busy = t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal
	r.at = time.Now()
	err = c.Pair.RX.Do(func() error {
		r.bytes, err = c.received()
		return err
	})
	return r, err
}

// received asks the kernel about the connection: an interface also counts what
// is sent twice, and headers.
func (c *Contest) received() (uint64, error) {
	var bytes uint64
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} { // the latter also for IPv4 on such a listener
		sockets, err := netlink.SocketDiagTCPInfo(family)
		if err != nil {
			return 0, fmt.Errorf("ask the kernel for its TCP sockets: %w", err)
		}
		for _, s := range sockets {
			if s.TCPInfo != nil && s.InetDiagMsg.State == netlink.TCP_ESTABLISHED && s.InetDiagMsg.ID.SourcePort == c.Port {
				bytes += s.TCPInfo.Bytes_received
			}
		}
	}
	return bytes, nil
}
