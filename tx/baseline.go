package tx

import (
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/feature"
)

// Baseline sends by send(2) from one buffer: what zero copy is compared with.
func Baseline() endpoint.Engine { return baseline{} }

type baseline struct{}

func (baseline) Name() string { return "baseline" }

func (baseline) Layout() endpoint.Layout {
	return endpoint.Layout{Syscalls: []string{"sendto"}}
}

func (baseline) Options() []endpoint.Option { return nil }

func (baseline) Probe(string) feature.Verdict { return feature.Possible() }

func (baseline) Memory(p endpoint.Params) (int64, error) { return regions(p), nil }

func (e baseline) Open(p endpoint.Params) (endpoint.Session, error) {
	if _, err := endpoint.ParseOptions(e.Options(), p.Options); err != nil {
		return nil, err
	}
	return endpoint.PerFlow(p.Flows, func(i int) (endpoint.Worker, error) {
		r, err := newRegion(p, i)
		if err != nil {
			return nil, err
		}
		return &baselineWorker{r}, nil
	}), nil
}

type baselineWorker struct{ region region }

func (w *baselineWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	var pacer endpoint.Pacer
	for !stop.Requested() {
		n, e := abi.Send(c.FD, w.region.next(), unix.MSG_NOSIGNAL)
		c.Counters.Syscalls[0].Add(1)
		switch e {
		case 0:
			w.region.advance(n)
			c.Counters.Copied.Add(uint64(n))
		case unix.EINTR:
		default:
			return fmt.Errorf("send on flow %d: %w", c.Index+1, e)
		}
		pacer.Tick()
	}
	return nil
}

func (w *baselineWorker) Close() error { return w.region.close() }
