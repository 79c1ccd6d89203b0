package counters

import (
	"fmt"
	"math"
	"slices"

	"zcbench/endpoint/instrument"
	"zcbench/internal/procfile"
)

// softnet is what the network stack's receive side did on each CPU:
// /proc/net/softnet_stat (softnet_seq_show in net/core/net-procfs.c).
func softnet(root string) instrument.Counter {
	return instrument.Counter{
		Name: "softnet", About: "packets the receive softirq took, dropped, and left for a next round",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			f, err := procfile.Open(root, "proc/thread-self/net/softnet_stat")
			if err != nil {
				return nil, err
			}
			return &softnetReader{File: f, cpus: s.CPUs}, nil
		},
	}
}

type softnetReader struct {
	*procfile.File
	cpus []int
}

// softnetColumns are those of use, by their place in the line.
var softnetColumns = [...]struct {
	at   int
	name string
}{{0, "softnet_processed"}, {1, "softnet_dropped"}, {2, "softnet_time_squeezed"}, {9, "softnet_received_rps"}, {10, "softnet_flow_limit"}}

// softnetIndex is the column that says which CPU a line is for (5.10). Before
// there was one, a line stood for each online CPU.
const softnetIndex = 12

func (r *softnetReader) Quantities() []instrument.Quantity {
	var q []instrument.Quantity
	for range r.cpus {
		for _, c := range softnetColumns {
			q = append(q, instrument.Quantity{Name: c.name, Wrap: math.MaxUint32, Quiet: c.at == 0})
		}
	}
	return q
}

func (r *softnetReader) Read(to []uint64) error {
	b, err := r.File.Read()
	if err != nil {
		return err
	}
	return r.parse(b, to)
}

func (r *softnetReader) parse(b []byte, to []uint64) error {
	found := 0
	for n := uint64(0); len(b) > 0; n++ {
		line := procfile.Line(&b)
		var cols [softnetIndex + 1]uint64
		cols[softnetIndex] = n
		for i := range cols {
			v, rest, ok := procfile.Hex(line)
			if !ok {
				if i > softnetColumns[len(softnetColumns)-1].at {
					break
				}
				return fmt.Errorf("softnet_stat: line %d has %d numbers", n+1, i)
			}
			cols[i], line = v, rest
		}
		if cols[softnetIndex] > math.MaxInt32 {
			return fmt.Errorf("softnet_stat: line %d is for CPU %d", n+1, cols[softnetIndex])
		}
		if at, ok := slices.BinarySearch(r.cpus, int(cols[softnetIndex])); ok {
			found++
			for i, c := range softnetColumns {
				to[at*len(softnetColumns)+i] = cols[c.at]
			}
		}
	}
	if found < len(r.cpus) {
		return fmt.Errorf("softnet_stat has %d of %d CPUs", found, len(r.cpus))
	}
	return nil
}
