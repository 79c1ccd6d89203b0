// Command benchuring compares zcbench's io_uring engines with liburing's
// examples, run by run in turn: senders over a veth pair, or receivers over the
// lab's pair of software NICs, in the lab's VM.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netpair"
	"zcbench/internal/rounds"
	"zcbench/results"
	"zcbench/ringcfg"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchuring:", err)
		os.Exit(1)
	}
}

func run() error {
	n := pflag.Int("rounds", 7, "runs of each")
	seconds := pflag.Int("time", 4, "measured seconds of a run")
	zcbench := pflag.String("zcbench", "zcbench", "path of the program")
	sendZerocopy := pflag.String("send-zerocopy", "", "path of liburing's example: compare senders")
	zcrx := pflag.String("zcrx", "", "path of liburing's example: compare receivers")
	giouring := pflag.String("giouring", "", "path of the zcbench that make giouring builds: compare the libraries for rings")
	length := pflag.Int("length", 65435, "senders: bytes of a request")
	requests := pflag.Int("requests", 8, "senders: requests submitted at once")
	pflag.Parse()
	c := rounds.Contest{Port: 5302, Seconds: *seconds}
	if *sendZerocopy == "" && *zcrx == "" && *giouring == "" {
		return errors.New("nothing to compare with: give --send-zerocopy, --zcrx or --giouring")
	}
	if *sendZerocopy != "" || *giouring != "" {
		pair, err := veth()
		if err != nil {
			return err
		}
		defer pair.Close()
		c.Pair = pair
	}
	if *sendZerocopy != "" {
		if err := senders(c, *n, *zcbench, *sendZerocopy, *length, *requests); err != nil {
			return err
		}
	}
	if *giouring != "" {
		if err := libraries(c, *n, *zcbench, *giouring); err != nil {
			return err
		}
	}
	if *zcrx != "" {
		return receivers(c, *n, *zcbench, *zcrx)
	}
	return nil
}

// veth makes a pair whose ends each do the protocol's work on what arrives on
// the CPU of their program. What is sent by reference the kernel copies on
// delivery, on the sender's.
func veth() (*netpair.Pair, error) {
	pair, err := netpair.New()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(pair.RX.SetRPS([]int{rounds.ReceiverCPU}), pair.TX.SetRPS([]int{rounds.SenderCPU})); err != nil {
		return nil, errors.Join(err, pair.Close())
	}
	return pair, nil
}

// end is the command line of one end of a run over c's pair; opts belong to the
// engine.
func end(c rounds.Contest, program, role, engine string, args []string, opts ...string) []string {
	a := []string{program, role, "--raw", "--" + role, engine, "-p", strconv.Itoa(int(c.Port)), "-i", "0"}
	if addr := c.Pair.RX.Addr4.String(); role == "rx" {
		a = append(a, "-B", addr)
	} else {
		a = append(a, addr, "-t", strconv.Itoa(c.SenderSeconds()))
	}
	for _, o := range opts {
		a = append(a, "--"+role+"-opt", o)
	}
	return append(a, args...)
}

// senders compares them with one receiver.
func senders(c rounds.Contest, n int, zcbench, peer string, length, requests int) error {
	c.CPU = rounds.SenderCPU
	number := strconv.Itoa
	receiver := end(c, zcbench, "rx", "trunc", nil)
	ours := func(opts ...string) []string {
		return end(c, zcbench, "tx", "sendzc", []string{"-l", number(length)}, append(opts, "batch="+number(requests))...)
	}
	theirs := func(requests int, opts ...string) []string {
		a := []string{peer, "-4", "-D", c.Pair.RX.Addr4.String(), "-p", number(int(c.Port)), "-s", number(length), "-n", number(requests), "-t",
			number(c.SenderSeconds())}
		return append(append(a, opts...), "tcp")
	}
	fmt.Printf("one flow over veth, requests of %d bytes, %d at once (liburing's may then arrive in another order), %d s a run\nCPU: of the "+
		"sender, on CPU 0\n\n", length, requests, c.Seconds)
	return c.Compare(os.Stdout, n, []rounds.Entrant{
		{Name: "sendzc", Receiver: receiver, Sender: ours()},
		{Name: "send-zerocopy", Receiver: receiver, Sender: theirs(requests)},
		{Name: "send-zerocopy -d", Receiver: receiver, Sender: theirs(requests, "-d")}, // IORING_SETUP_DEFER_TASKRUN
		{Name: "send-zerocopy -d -n 1", Receiver: receiver, Sender: theirs(1, "-d")},   // keeps the order, as sendzc does
		{Name: "sendzc call=sendmsg", Receiver: receiver, Sender: ours("call=sendmsg")},
	})
}

// libraries compares each engine that can run on either.
func libraries(c rounds.Contest, n int, zcbench, giouring string) error {
	for _, e := range []struct {
		role, engine string
		cpu          int
	}{{"tx", "sendzc", rounds.SenderCPU}, {"tx", "uring", rounds.SenderCPU}, {"rx", "uring", rounds.ReceiverCPU}} {
		c.CPU = e.cpu
		entrant := func(name, program string) rounds.Entrant {
			r := rounds.Entrant{Name: name, Receiver: end(c, zcbench, "rx", "trunc", nil), Sender: end(c, program, "tx", e.engine, nil)}
			if e.role == "rx" {
				r.Receiver, r.Sender = end(c, program, "rx", e.engine, nil), end(c, zcbench, "tx", "baseline", nil)
			}
			return r
		}
		fmt.Printf("\n%s %s, one flow over veth, %d s a run\nCPU: its own, CPU %d\n\n", e.role, e.engine, c.Seconds, c.CPU)
		if err := c.Compare(os.Stdout, n, []rounds.Entrant{entrant("internal/uring", zcbench), entrant("giouring", giouring)}); err != nil {
			return err
		}
	}
	return nil
}

// What both receivers are given.
const (
	area = 64 << 20 // bytes
	cq   = 8192     // entries
	rq   = 8192
)

// receivers compares them with one sender, over a queue that is found, led to
// and left alone for all of them together.
func receivers(c rounds.Contest, n int, zcbench, peer string) (err error) {
	c.CPU, c.Syscall = rounds.ReceiverCPU, "io_uring_enter"
	if c.Pair, err = netpair.Find("zc0", "zc1"); err != nil {
		return err
	}
	defer c.Pair.Close()
	queue, undo, err := tune(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	c.Settle = func() error { return free(c, queue) }
	number := strconv.Itoa
	sender := end(c, zcbench, "tx", "sendzc", nil)
	ours := func(opts ...string) []string {
		return end(c, zcbench, "rx", "zcrx", []string{"--no-tune", "--iface", c.Pair.RX.Interface, "-J"},
			append(opts, "nodev=off", "queue="+number(int(queue)), "mem-size="+number(area), "cq-entries="+number(cq), "rq-entries="+number(rq))...)
	}
	theirs := []string{peer, "-i", c.Pair.RX.Interface, "-q", number(int(queue)), "-p", number(int(c.Port)), "-S", number(area), "-C",
		number(cq), "-R", number(rq)}
	fmt.Printf("one flow from sendzc, area %d MiB, %d completions, refill queue %d, %d s a run\nCPU: of the receiver, on CPU 1\n\n", area>>20,
		cq, rq, c.Seconds)
	return c.Compare(os.Stdout, n, []rounds.Entrant{
		{Name: "zcrx", Receiver: ours(), Sender: sender, Check: notCopied},
		{Name: "liburing's zcrx", Receiver: theirs, Sender: sender, Endless: true},
		{Name: "zcrx wait-nr=1", Receiver: ours("wait-nr=1"), Sender: sender, Check: notCopied},
	})
}

// tune leads the flow, and nothing else, to a queue.
func tune(c rounds.Contest) (queue uint32, undo func() error, err error) {
	want := ringcfg.Want{
		Interface: c.Pair.RX.Interface, Queues: 1,
		Settings: map[string]string{"tcp-data-split": "on", "hds-thresh": "0"},
		Flows:    []ethtool.Match{{Dst: c.Pair.RX.Addr4, DstPort: c.Port}},
	}
	dir, err := os.MkdirTemp("", "benchuring")
	if err != nil {
		return 0, nil, err
	}
	var g ringcfg.Grant
	var back ringcfg.Undo
	if err := c.Pair.RX.Do(func() (err error) {
		g, back, err = ringcfg.Apply(context.Background(), want, ringcfg.Journal(dir))
		return err
	}); err != nil {
		return 0, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return g.Queues[0], func() error {
		err := c.Pair.RX.Do(func() error {
			_, err := back(context.Background())
			return err
		})
		return errors.Join(err, os.RemoveAll(dir))
	}, nil
}

// free waits for the queue: the kernel takes a ring down after its process is
// gone.
func free(c rounds.Contest, queue uint32) error {
	return c.Pair.RX.Do(func() error {
		i, err := net.InterfaceByName(c.Pair.RX.Interface)
		if err != nil {
			return err
		}
		nd, err := netdev.Dial()
		if err != nil {
			return err
		}
		defer nd.Close()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			queues, err := nd.Queues(i.Index)
			if err != nil {
				return err
			}
			for _, q := range queues {
				if q.Direction == netdev.RX && q.ID == queue && q.Free() {
					return nil
				}
			}
		}
		return fmt.Errorf("queue %d of %s stays taken", queue, c.Pair.RX.Interface)
	})
}

// notCopied reads a receiver's record.
func notCopied(out []byte) error {
	var rec results.Record
	if err := json.Unmarshal(out, &rec); err != nil {
		return fmt.Errorf("record: %w\n%s", err, out)
	}
	if rec.RX.CopiedBytes > 0 {
		return fmt.Errorf("%d bytes were copied", rec.RX.CopiedBytes)
	}
	return nil
}
