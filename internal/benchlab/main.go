// Command benchlab compares devmem receivers over the lab's pair of software
// NICs, run by run in turn, with one sender and by one yardstick for all: what
// arrives at the NIC, and the busy time of the receiver's CPU, softirq
// included. It runs in the lab's VM.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
	"zcbench/results"
)

// receiver is one of those compared; the first is what others are compared
// with.
type receiver struct {
	name   string
	args   []string
	record bool // it prints one
}

// measured is one run.
type measured struct {
	gbps, cpu float64
	// setsockopt calls for each GiB, where they are counted.
	calls float64
}

func (m measured) roi() float64 { return m.gbps * m.gbps / m.cpu }

const port = "5302"

type bench struct {
	pair    *netpair.Pair
	seconds int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchlab:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{}
	rounds := pflag.Int("rounds", 5, "runs of each receiver")
	pflag.IntVar(&b.seconds, "time", 5, "measured seconds of a run")
	ncdevmem := pflag.String("ncdevmem", "", "path of the kernel's own ncdevmem, to compare with it too")
	pflag.Parse()
	var err error
	if b.pair, err = netpair.Find("zc0", "zc1"); err != nil {
		return err
	}
	defer b.pair.Close()
	addr := b.pair.RX.Addr4.String()
	zcbench := func(opts ...string) []string {
		return append([]string{"zcbench", "rx", "--raw", "--rx", "devmem", "--iface", "zc1", "-B", addr, "-p", port, "-i", "0", "-J"}, opts...)
	}
	receivers := []receiver{
		{"zcbench", zcbench(), true},
		{"token-batch=1", zcbench("--rx-opt", "token-batch=1"), true},
	}
	if *ncdevmem != "" {
		receivers = append(receivers, receiver{"ncdevmem", []string{*ncdevmem, "-l", "-f", "zc1", "-s", addr, "-p", port, "-q", "1", "-t", "7"}, false})
	}
	fmt.Printf("one flow, devmem sender on CPU 0, receiver on CPU 1, %d s a run\n\n%5s", b.seconds, "round")
	for _, r := range receivers {
		fmt.Printf(" | %-13s Gbit/s  CPU %%    ROI  setsockopt/GiB", r.name)
	}
	fmt.Println()
	all := map[string][]measured{}
	for round := range *rounds {
		// Who goes first changes.
		first := round % len(receivers)
		for _, r := range append(slices.Clone(receivers[first:]), receivers[:first]...) {
			m, err := b.once(r)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			all[r.name] = append(all[r.name], m)
		}
		fmt.Printf("%5d", round+1)
		for _, r := range receivers {
			m := all[r.name][round]
			calls := "-"
			if r.record {
				calls = fmt.Sprintf("%.0f", m.calls)
			}
			fmt.Printf(" | %13s %6.2f %6.1f %6.4f  %14s", "", m.gbps, m.cpu, m.roi(), calls)
		}
		fmt.Println()
	}
	fmt.Println("\nthroughput²/CPU of zcbench over that of the other, round by round:")
	for _, r := range receivers[1:] {
		var ratios []float64
		for i, m := range all[r.name] {
			ratios = append(ratios, all[receivers[0].name][i].roi()/m.roi())
		}
		slices.Sort(ratios)
		fmt.Printf("  %-13s median %.2f  (min %.2f, max %.2f, n %d)\n", r.name, ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1], len(ratios))
	}
	return nil
}

// once runs a receiver until its sender ends.
func (b *bench) once(r receiver) (m measured, err error) {
	server := exec.Command(r.args[0], r.args[1:]...)
	var out, complaints bytes.Buffer
	if r.record {
		server.Stdout, server.Stderr = &out, &complaints
	}
	if err := b.launch(&b.pair.RX, 1, server); err != nil {
		return m, err
	}
	defer func() {
		_ = server.Process.Kill() // it is over, or this failed
		_ = server.Wait()
	}()
	if err := b.listening(); err != nil {
		return m, fmt.Errorf("%w\n%s", err, &complaints)
	}
	client := exec.Command("zcbench", "tx", b.pair.RX.Addr4.String(), "--raw", "--tx", "devmem", "--iface", "zc0", "-p", port, "-i", "0", "-t", strconv.Itoa(b.seconds+2), "-J")
	var sent bytes.Buffer
	client.Stdout, client.Stderr = &sent, &sent
	if err := b.launch(&b.pair.TX, 0, client); err != nil {
		return m, err
	}
	time.Sleep(time.Second)
	first, err := b.read()
	if err != nil {
		return m, err
	}
	time.Sleep(time.Duration(b.seconds) * time.Second)
	last, err := b.read()
	if err != nil {
		return m, err
	}
	if err := client.Wait(); err != nil {
		return m, fmt.Errorf("sender: %w\n%s", err, &sent)
	}
	if err := ended(server); err != nil {
		return m, fmt.Errorf("%w\n%s", err, &complaints)
	}
	took := last.at.Sub(first.at).Seconds()
	m = measured{gbps: (last.bytes - first.bytes) * 8 / 1e9 / took, cpu: (last.busy - first.busy) / took * 100}
	if r.record {
		var rec results.Record
		if err := json.Unmarshal(out.Bytes(), &rec); err != nil {
			return m, fmt.Errorf("record: %w\n%s", err, &out)
		}
		if rec.RX.CopiedBytes > 0 {
			return m, fmt.Errorf("%d bytes were copied", rec.RX.CopiedBytes)
		}
		m.calls = float64(rec.RX.Syscalls["setsockopt"]) / (float64(rec.RX.Bytes) / (1 << 30))
	}
	return m, nil
}

// ended waits a moment for a receiver whose sender is gone. How it ends is its
// own affair: ncdevmem has its own view of success.
func ended(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
		return nil
	case <-time.After(5 * time.Second):
		return errors.New("the receiver does not end")
	}
}

func (b *bench) launch(at *netpair.End, cpu int, cmd *exec.Cmd) error {
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
func (b *bench) listening() error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		found := false
		if err := b.pair.RX.Do(func() error {
			for _, path := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
				s, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				// Address and port, and state 0A: TCP_LISTEN.
				for line := range strings.Lines(string(s)) {
					f := strings.Fields(line)
					found = found || len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) && f[3] == "0A"
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
	bytes float64 // that the receiving NIC has taken
	busy  float64 // seconds, of CPU 1
}

func (b *bench) read() (r reading, err error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return r, err
	}
	s, err := fs.Stat()
	if err != nil {
		return r, err
	}
	c := s.CPU[1]
	r.busy = c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	r.at = time.Now()
	err = b.pair.RX.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		_, line, found := strings.Cut(string(text), b.pair.RX.Interface+":")
		f := strings.Fields(line)
		if !found || len(f) == 0 {
			return fmt.Errorf("no counters of %s", b.pair.RX.Interface)
		}
		r.bytes, err = strconv.ParseFloat(f[0], 64)
		return err
	})
	return r, err
}
