// Command benchpeers compares zcbench with iperf3 and netperf on one veth
// pair, run by run in turn, by one yardstick for all: the payload each tool
// reports and the busy time of the whole host while it runs.
package main

import (
	"context"
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
)

// tool is a sender and a receiver of one program.
type tool struct {
	name   string
	server func(b *bench) []string
	client func(b *bench) []string
	// gbps reads the sender's output.
	gbps func(out []byte) (float64, error)
}

type bench struct {
	pair    *netpair.Pair
	zcbench string
	seconds int
	length  int
	window  int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchpeers:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{}
	rounds := pflag.Int("rounds", 7, "runs of each tool")
	pflag.IntVar(&b.seconds, "time", 4, "seconds of a run")
	pflag.IntVar(&b.length, "length", 128<<10, "bytes per read and write")
	pflag.IntVar(&b.window, "window", 0, "socket buffer in bytes; 0 is autotuning")
	pflag.StringVar(&b.zcbench, "zcbench", "bin/zcbench", "the program")
	rps := pflag.Bool("softirq-apart", false, "let the receiver's CPU do the receiver's softirq work")
	pflag.Parse()
	pair, err := netpair.New()
	if err != nil {
		return err
	}
	defer pair.Close()
	b.pair = pair
	if *rps {
		if err := errors.Join(pair.RX.SetRPS([]int{1}), pair.TX.SetRPS([]int{0})); err != nil {
			return err
		}
	}
	tools := []tool{zcbenchTool, iperf3Tool, netperfTool}
	fmt.Printf("one flow, %d bytes a call, %d s a run, sender on CPU 0, receiver on CPU 1, veth\n\n", b.length, b.seconds)
	fmt.Printf("%5s", "round")
	for _, t := range tools {
		fmt.Printf(" | %-8s Gbit/s  CPU %%    ROI", t.name)
	}
	fmt.Println()
	roi := map[string][]float64{}
	for round := range *rounds {
		fmt.Printf("%5d", round+1)
		order := slices.Clone(tools)
		for i := range round % len(tools) { // who goes first changes
			_ = i
			order = append(order[1:], order[0])
		}
		line := map[string]string{}
		for _, t := range order {
			g, cpu, err := b.once(t)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			roi[t.name] = append(roi[t.name], g*g/cpu)
			line[t.name] = fmt.Sprintf(" | %8s %6.2f %6.1f %6.3f", "", g, cpu, g*g/cpu)
		}
		for _, t := range tools {
			fmt.Print(line[t.name])
		}
		fmt.Println()
	}
	fmt.Println("\nthroughput²/CPU of zcbench over that of the peer, round by round:")
	for _, t := range tools[1:] {
		var ratios []float64
		for i, v := range roi[t.name] {
			ratios = append(ratios, roi["zcbench"][i]/v)
		}
		slices.Sort(ratios)
		fmt.Printf("  %-8s median %.3f  (min %.3f, max %.3f, n %d)\n", t.name, ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1],
			len(ratios))
	}
	return nil
}

// once runs a tool and gives its throughput and the host's busy percentage
// from the first second to half a second before the end.
func (b *bench) once(t tool) (gbps, cpu float64, err error) {
	server, err := b.start(&b.pair.RX, 1, t.server(b))
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	time.Sleep(400 * time.Millisecond) // it must listen
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.seconds+15)*time.Second)
	defer cancel()
	args := t.client(b)
	client := exec.CommandContext(ctx, args[0], args[1:]...)
	var out strings.Builder
	client.Stdout, client.Stderr = &out, os.Stderr
	if err := b.launch(&b.pair.TX, 0, client); err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Second)
	busy0, at0, err := busy()
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Duration(b.seconds)*time.Second - 1500*time.Millisecond)
	busy1, at1, err := busy()
	if err != nil {
		return 0, 0, err
	}
	if err := client.Wait(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	gbps, err = t.gbps([]byte(out.String()))
	return gbps, (busy1 - busy0) / at1.Sub(at0).Seconds() * 100, err
}

func (b *bench) start(at *netpair.End, cpu int, args []string) (*exec.Cmd, error) {
	cmd := exec.Command(args[0], args[1:]...)
	return cmd, b.launch(at, cpu, cmd)
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

func busy() (float64, time.Time, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, time.Time{}, err
	}
	s, err := fs.Stat()
	c := s.CPUTotal
	return c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal, time.Now(), err
}

var zcbenchTool = tool{
	name:   "zcbench",
	server: func(b *bench) []string { return []string{b.zcbench, "rx", "-1", "-i", "0", "-A", "1"} },
	client: func(b *bench) []string {
		a := []string{b.zcbench, "tx", b.pair.RX.Addr4.String(), "-J", "-A", "0,1", "-O", "0", "-t", strconv.Itoa(b.seconds), "-l",
			strconv.Itoa(b.length)}
		if b.window > 0 {
			a = append(a, "-w", strconv.Itoa(b.window))
		}
		return a
	},
	gbps: func(out []byte) (float64, error) {
		var r struct{ Gbps float64 }
		err := json.Unmarshal(out, &r)
		return r.Gbps, err
	},
}

var iperf3Tool = tool{
	name:   "iperf3",
	server: func(*bench) []string { return []string{"iperf3", "-s", "-1", "-i", "0"} },
	client: func(b *bench) []string {
		a := []string{"iperf3", "-c", b.pair.RX.Addr4.String(), "-J", "-i", "0", "-t", strconv.Itoa(b.seconds), "-l", strconv.Itoa(b.length)}
		if b.window > 0 {
			a = append(a, "-w", strconv.Itoa(b.window))
		}
		return a
	},
	gbps: func(out []byte) (float64, error) {
		var r struct {
			End struct {
				Received struct {
					Bits float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			}
		}
		err := json.Unmarshal(out, &r)
		return r.End.Received.Bits / 1e9, err
	},
}

var netperfTool = tool{
	name:   "netperf",
	server: func(*bench) []string { return []string{"netserver", "-D", "-4"} },
	client: func(b *bench) []string {
		l := strconv.Itoa(b.length)
		a := []string{"netperf", "-H", b.pair.RX.Addr4.String(), "-4", "-P", "0", "-l", strconv.Itoa(b.seconds), "-t", "TCP_STREAM", "--", "-m",
			l, "-M", l, "-o", "throughput"}
		if b.window > 0 {
			w := strconv.Itoa(b.window)
			a = append(a, "-s", w, "-S", w)
		}
		return a
	},
	gbps: func(out []byte) (float64, error) {
		v, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		return v / 1e3, err
	},
}
