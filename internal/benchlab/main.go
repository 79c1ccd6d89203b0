// Command benchlab compares devmem receivers over the lab's pair of software
// NICs, run by run in turn, with one sender and by one yardstick for all. It
// runs in the lab's VM.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/pflag"

	"zcbench/internal/netpair"
	"zcbench/internal/rounds"
	"zcbench/results"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchlab:", err)
		os.Exit(1)
	}
}

func run() error {
	c := &rounds.Contest{Port: 5302, CPU: rounds.ReceiverCPU, Syscall: "setsockopt"}
	n := pflag.Int("rounds", 5, "runs of each receiver")
	pflag.IntVar(&c.Seconds, "time", 5, "measured seconds of a run")
	ncdevmem := pflag.String("ncdevmem", "", "path of the kernel's own ncdevmem, to compare with it too")
	pflag.Parse()
	var err error
	if c.Pair, err = netpair.Find("zc0", "zc1"); err != nil {
		return err
	}
	defer c.Pair.Close()
	addr, port := c.Pair.RX.Addr4.String(), strconv.Itoa(int(c.Port))
	sender := []string{"zcbench", "tx", addr, "--raw", "--tx", "devmem", "--iface", "zc0", "-p", port, "-i", "0", "-t",
		strconv.Itoa(c.SenderSeconds()), "-J"}
	zcbench := func(name string, opts ...string) rounds.Entrant {
		return rounds.Entrant{
			Name: name,
			Receiver: append([]string{"zcbench", "rx", "--raw", "--rx", "devmem", "--iface", "zc1", "-B", addr, "-p", port, "-i", "0", "-J"},
				opts...),
			Sender: sender,
			Check:  notCopied,
		}
	}
	receivers := []rounds.Entrant{zcbench("zcbench"), zcbench("token-batch=1", "--rx-opt", "token-batch=1")}
	if *ncdevmem != "" {
		receivers = append(receivers, rounds.Entrant{
			Name:     "ncdevmem",
			Receiver: []string{*ncdevmem, "-l", "-f", "zc1", "-s", addr, "-p", port, "-q", "1", "-t", "7"},
			Sender:   sender,
		})
	}
	fmt.Printf("one flow, devmem sender on CPU 0, receiver on CPU 1 and its busy time, %d s a run\n\n", c.Seconds)
	return c.Compare(os.Stdout, *n, receivers)
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
