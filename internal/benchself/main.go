// Command benchself measures what zcbench's own sampling costs: runs over one
// veth pair, in turn with nothing, with the usual and with everything read
// beside the payload each second, and with a profile on top. The yardstick is
// the CPU time of the sampling threads themselves; beside it are the ratios of
// what the runs achieved. It fails when sampling everything on both ends costs
// more than half a percent of one CPU.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"zcbench/results"
)

// way is one manner of running.
type way struct {
	name string
	args []string
}

var ways = []way{
	{"none", []string{"--counters", "none"}},
	{"usual", nil},
	{"all", []string{"--counters", "all"}},
	{"all+profile", []string{"--counters", "all", "--profile"}},
}

// allowed is for both ends together, in percent of one CPU.
const allowed = 0.5

type measured struct {
	sampler   float64 // percent of one CPU, both ends
	gbps, roi float64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchself:", err)
		os.Exit(1)
	}
}

func run() error {
	rounds := pflag.Int("rounds", 5, "runs of each kind")
	seconds := pflag.Int("time", 5, "measured seconds of a run")
	program := pflag.String("zcbench", "bin/zcbench", "the program")
	pflag.Parse()
	fmt.Printf("zcbench local, one flow, %d s a run; sampling: CPU time of the sampling threads of both ends, %% of one CPU\n\n%5s", *seconds,
		"round")
	for _, w := range ways {
		fmt.Printf(" | %-12s sampling  Gbit/s    ROI", w.name)
	}
	fmt.Println()
	all := map[string][]measured{}
	for round := range *rounds {
		first := round % len(ways) // who goes first changes
		for _, w := range append(slices.Clone(ways[first:]), ways[:first]...) {
			m, err := once(*program, *seconds, w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			all[w.name] = append(all[w.name], m)
		}
		fmt.Printf("%5d", round+1)
		for _, w := range ways {
			m := all[w.name][round]
			fmt.Printf(" | %12s %7.3f%% %7.2f %6.3f", "", m.sampler, m.gbps, m.roi)
		}
		fmt.Println()
	}
	fmt.Println("\nmedian cost of sampling, and throughput²/CPU with it over that without any, round by round:")
	for _, w := range ways {
		costs, ratios := figures(all[w.name], func(_ int, m measured) float64 { return m.sampler }),
			figures(all[w.name], func(i int, m measured) float64 { return m.roi / all[ways[0].name][i].roi })
		fmt.Printf("  %-12s %.3f%% (max %.3f%%)   ratio %.3f (min %.3f, max %.3f, n %d)\n", w.name,
			costs[len(costs)/2], costs[len(costs)-1], ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1], len(ratios))
		if w.name == "all" && costs[len(costs)/2] > allowed {
			return fmt.Errorf("sampling everything at 1 Hz costs %.3f%% of a CPU; it must be at most %.1f%%", costs[len(costs)/2], allowed)
		}
	}
	return nil
}

// figures gives a figure of each run in order of size.
func figures(all []measured, f func(int, measured) float64) []float64 {
	var v []float64
	for i, m := range all {
		v = append(v, f(i, m))
	}
	slices.Sort(v)
	return v
}

func once(program string, seconds int, w way) (m measured, err error) {
	args := append([]string{"local", "-t", strconv.Itoa(seconds), "-i", "1", "-J"}, w.args...)
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	var r results.Record
	if err := json.Unmarshal(out, &r); err != nil {
		return m, fmt.Errorf("record: %w", err)
	}
	if r.ROI.CPU.Total == nil {
		return m, fmt.Errorf("the run measured no CPU")
	}
	m = measured{gbps: r.Gbps, roi: *r.ROI.CPU.Total}
	for _, e := range []*results.End{r.RX, r.TX} {
		m.sampler += e.Counters["sampler_cpu_seconds"] / r.Window * 100
	}
	return m, nil
}
