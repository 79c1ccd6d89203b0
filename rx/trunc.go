package rx

import (
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
)

// Trunc receives by recv(2) with MSG_TRUNC: the kernel drops the payload and
// nobody sees it. It bounds what a receiver without any copy could reach.
func Trunc() endpoint.Engine { return trunc{} }

type trunc struct{}

func (trunc) Name() string { return "trunc" }

// truncDiscarded is the element of Counters.Extra.
const truncDiscarded = 0

func (trunc) Layout() endpoint.Layout {
	return endpoint.Layout{Syscalls: []string{"recvfrom"}, Extra: []string{"discarded_bytes"}, Discards: true}
}

func (trunc) Options() []endpoint.Option { return nil }

func (trunc) Probe(string) feature.Verdict { return feature.Possible() }

func (trunc) Memory(endpoint.Params) (int64, error) { return 0, nil }

func (e trunc) Open(p endpoint.Params) (endpoint.Session, error) {
	if _, err := endpoint.ParseOptions(e.Options(), p.Options); err != nil {
		return nil, err
	}
	if p.Validate {
		return nil, fault.Errorf(fault.Usage, "the payload cannot be validated: MSG_TRUNC drops it unseen; use another receive engine or leave "+
			"--validate out")
	}
	return endpoint.PerFlow(p.Flows, func(int) (endpoint.Worker, error) {
		return truncWorker{length: p.Length}, nil
	}), nil
}

type truncWorker struct{ length int }

func (w truncWorker) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	c := conns[0]
	var pacer endpoint.Pacer
	for {
		n, e := abi.Discard(c.FD, w.length, recvFlags)
		c.Counters.Syscalls[0].Add(1)
		switch {
		case e == unix.EINTR:
		case e != 0:
			return fmt.Errorf("discard on flow %d: %w", c.Index+1, e)
		case n == 0:
			return nil
		default:
			// No CPU copied these bytes on this end.
			c.Counters.ZeroCopied.Add(uint64(n))
			c.Counters.Extra[truncDiscarded].Add(uint64(n))
		}
		pacer.Tick()
	}
}

func (truncWorker) Close() error { return nil }
