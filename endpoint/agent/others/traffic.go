package others

import (
	"os"

	"zcbench/endpoint/wire"
	"zcbench/internal/procfile"
	"zcbench/results/caveat"
)

// arrivals are the packets that each CPU had taken from the network at a time, for
// whoever in whatever network namespace (softnet_seq_show in net/core/net-procfs.c).
type arrivals struct {
	at int64    // CLOCK_MONOTONIC, ns; 0: not read
	of []uint32 // by CPU, wrapping
}

func readArrivals() (a arrivals) {
	b, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return a
	}
	return arrivals{wire.Monotonic(), parseArrivals(b)}
}

func parseArrivals(b []byte) (of []uint32) {
	for n := uint64(0); len(b) > 0; n++ {
		line := procfile.Line(&b)
		const index = 12 // the column that says which CPU a line is for (5.10); before, all are there
		cpu, packets := n, uint64(0)
		for i := 0; i <= index; i++ {
			v, rest, ok := procfile.Hex(line)
			if !ok {
				break
			}
			if line = rest; i == 0 {
				packets = v
			}
			if i == index {
				cpu = v
			}
		}
		const most = 1 << 14
		if cpu >= most {
			continue
		}
		for uint64(len(of)) <= cpu {
			of = append(of, 0)
		}
		of[cpu] = uint32(packets)
	}
	return of
}

// rate is how many packets a second CPUs took between two readings.
func rate(a, b arrivals, cpus []int) (perSecond float64, known bool) {
	if a.at == 0 || b.at <= a.at {
		return 0, false
	}
	sum := 0.0
	for _, n := range cpus {
		if n < len(a.of) && n < len(b.of) {
			sum += float64(b.of[n] - a.of[n])
		}
	}
	return sum / (float64(b.at-a.at) / 1e9), true
}

const (
	// fewPackets a second are nobody's load, and what a quiet network has.
	fewPackets = 2000
	// layers are how often a packet is handed up at most, where bridges, tunnels
	// and pairs of interfaces lie one above the other.
	layers = 4
	// calm is how long before the payload starts packets are counted at least.
	calm = int64(50e6)
)

// Listen counts what comes while nothing of the run is sent, which is until a time.
func (o *Watch) Listen(until int64) {
	const margin = 5e6 // the other end's clock is another
	if !o.counted() || until-margin-wire.Monotonic() < calm {
		return
	}
	a := readArrivals()
	wire.SleepUntil(until - margin)
	o.still = [2]arrivals{a, readArrivals()}
}

// traffic tells of packets that are not of the run: those that came before it sent
// any, or beyond what its interface had.
func (o *Watch) traffic(warn func(caveat.Code, string, ...any), res *wire.Result, seconds, figure float64) {
	all, known := rate(o.came[0], o.came[1], o.set)
	if !known || all == 0 {
		return
	}
	foreign, _ := rate(o.still[0], o.still[1], o.set)
	when := "before the run sent any"
	in, counted := res.Counters["link_rx_packets"]
	// else the run has another interface
	if beyond := all - layers*(in+res.Counters["link_tx_packets"])/seconds; counted && in > 0 && beyond > foreign {
		foreign, when = beyond, "beyond those of the run's interface"
	}
	if foreign < fewPackets {
		return
	}
	handled := o.ticks(o.set, func(c *procfile.CPU) uint64 { return c.IRQ + c.SoftIRQ }) / seconds
	if v, known := o.tasks.percent(seconds); known {
		handled = max(handled, figure-v)
	}
	if used := handled * min(1, foreign/all); Matters(used, figure, false) {
		warn(caveat.CPUForeign, "about %.1f%% of a CPU in this end's %.1f%% went to packets that are not of the run: %.0f a second came to %s "+
			"%s; steer them to other CPUs (the interrupts of their interface, or receive packet steering), or give --affinity others", used, figure,
			foreign, named(o.set), when)
	}
}
