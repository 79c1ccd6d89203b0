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
	giouring := pflag.String("giouring", "", "path of the one that make giouring builds, to compare with it too")
	sendZerocopy := pflag.String("send-zerocopy", "", "path of liburing's example: compare senders")
	zcrx := pflag.String("zcrx", "", "path of liburing's example: compare receivers")
	length := pflag.Int("length", 65435, "senders: bytes of a request")
	requests := pflag.Int("requests", 8, "senders: requests submitted at once")
	pflag.Parse()
	c := &rounds.Contest{Port: 5302, Seconds: *seconds}
	var err error
	switch {
	case *sendZerocopy != "" && *zcrx == "":
		err = senders(c, *n, *zcbench, *giouring, *sendZerocopy, *length, *requests)
	case *zcrx != "" && *sendZerocopy == "":
		err = receivers(c, *n, *zcbench, *zcrx)
	default:
		err = errors.New("give one of --send-zerocopy and --zcrx")
	}
	return err
}

// senders compares them with one receiver, over veth. What the veth does not
// take by reference the kernel copies on delivery, on the sender's CPU; the
// protocol's work on what arrives is put on the receiver's.
func senders(c *rounds.Contest, n int, zcbench, giouring, peer string, length, requests int) (err error) {
	c.CPU = rounds.SenderCPU
	if c.Pair, err = netpair.New(); err != nil {
		return err
	}
	defer c.Pair.Close()
	if err := errors.Join(c.Pair.RX.SetRPS([]int{rounds.ReceiverCPU}), c.Pair.TX.SetRPS([]int{rounds.SenderCPU})); err != nil {
		return err
	}
	addr, port := c.Pair.RX.Addr4.String(), strconv.Itoa(int(c.Port))
	size, t := strconv.Itoa(length), strconv.Itoa(c.SenderSeconds())
	receiver := []string{zcbench, "rx", "--raw", "--rx", "trunc", "-B", addr, "-p", port, "-i", "0"}
	ours := func(program string, opts ...string) []string {
		return append([]string{program, "tx", addr, "--raw", "--tx", "sendzc", "-l", size, "-p", port, "-i", "0", "-t", t, "--tx-opt", "batch=" + strconv.Itoa(requests)}, opts...)
	}
	theirs := func(requests int, opts ...string) []string {
		args := append([]string{peer, "-4", "-D", addr, "-p", port, "-s", size, "-n", strconv.Itoa(requests), "-t", t}, opts...)
		return append(args, "tcp")
	}
	entrants := []rounds.Entrant{
		{Name: "sendzc", Receiver: receiver, Sender: ours(zcbench)},
		{Name: "send-zerocopy", Receiver: receiver, Sender: theirs(requests)},
		{Name: "send-zerocopy -d", Receiver: receiver, Sender: theirs(requests, "-d")}, // IORING_SETUP_DEFER_TASKRUN
		{Name: "send-zerocopy -d -n 1", Receiver: receiver, Sender: theirs(1, "-d")},   // keeps the order, as sendzc does
		{Name: "sendzc call=sendmsg", Receiver: receiver, Sender: ours(zcbench, "--tx-opt", "call=sendmsg")},
	}
	if giouring != "" {
		entrants = append(entrants, rounds.Entrant{Name: "sendzc on giouring", Receiver: receiver, Sender: ours(giouring)})
	}
	fmt.Printf("one flow over veth, requests of %d bytes, %d at once (liburing's may then arrive in another order), %d s a run\nCPU: of the sender, on CPU 0\n\n", length, requests, c.Seconds)
	return c.Compare(os.Stdout, n, entrants)
}

// What both receivers are given.
const (
	area = 64 << 20 // bytes
	cq   = 8192     // entries
	rq   = 8192
)

// receivers compares them with one sender, over a queue that is found, led to
// and left alone for all of them together.
func receivers(c *rounds.Contest, n int, zcbench, peer string) (err error) {
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
	number := func(v int) string { return strconv.Itoa(v) }
	addr, port := c.Pair.RX.Addr4.String(), number(int(c.Port))
	sender := []string{zcbench, "tx", addr, "--raw", "--tx", "sendzc", "-p", port, "-i", "0", "-t", number(c.SenderSeconds())}
	ours := func(opts ...string) []string {
		args := []string{zcbench, "rx", "--raw", "--rx", "zcrx", "--no-tune", "--iface", c.Pair.RX.Interface, "-B", addr, "-p", port, "-i", "0", "-J"}
		for _, o := range append(opts, "nodev=off", "queue="+number(int(queue)), "mem-size="+number(area), "cq-entries="+number(cq), "rq-entries="+number(rq)) {
			args = append(args, "--rx-opt", o)
		}
		return args
	}
	fmt.Printf("one flow from sendzc, area %d MiB, %d completions, refill queue %d, %d s a run\nCPU: of the receiver, on CPU 1\n\n", area>>20, cq, rq, c.Seconds)
	return c.Compare(os.Stdout, n, []rounds.Entrant{
		{Name: "zcrx", Receiver: ours(), Sender: sender, Check: notCopied},
		{Name: "liburing's zcrx", Endless: true, Sender: sender, Receiver: []string{
			peer, "-i", c.Pair.RX.Interface, "-q", number(int(queue)), "-p", port, "-S", number(area), "-C", number(cq), "-R", number(rq),
		}},
		{Name: "zcrx wait-nr=1", Receiver: ours("wait-nr=1"), Sender: sender, Check: notCopied},
	})
}

// tune leads the flow, and nothing else, to a queue.
func tune(c *rounds.Contest) (queue uint32, undo func() error, err error) {
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
func free(c *rounds.Contest, queue uint32) error {
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
