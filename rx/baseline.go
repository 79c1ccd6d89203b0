package rx

import (
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/feature"
)

// Baseline receives by recv(2) into one buffer: what zero copy is compared
// with.
func Baseline() endpoint.Engine { return baseline{} }

type baseline struct{}

func (baseline) Name() string { return "baseline" }

func (baseline) Layout() endpoint.Layout {
	return endpoint.Layout{Syscalls: []string{"recvfrom"}}
}

func (baseline) Options() []endpoint.Option { return nil }

func (baseline) Probe(string) feature.Verdict { return feature.Possible() }

func (baseline) Memory(p endpoint.Params) (int64, error) {
	return endpoint.Bytes(p.Flows, p.Length), nil
}

func (e baseline) Open(p endpoint.Params) (endpoint.Session, error) {
	if _, err := endpoint.ParseOptions(e.Options(), p.Options); err != nil {
		return nil, err
	}
	return endpoint.PerFlow(p.Flows, func(int) (endpoint.Worker, error) {
		buf, err := abi.Map(p.Length, false)
		if err != nil {
			return nil, err
		}
		return &baselineWorker{buf: buf[:p.Length]}, nil
	}), nil
}

// recvFlags make one system call of one read: it returns when all of it is
// there, or at the end of the stream.
const recvFlags = unix.MSG_WAITALL

type baselineWorker struct{ buf []byte }

func (w *baselineWorker) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	c := conns[0]
	var pacer endpoint.Pacer
	for {
		n, e := abi.Recv(c.FD, w.buf, recvFlags)
		c.Counters.Syscalls[0].Add(1)
		switch {
		case e == unix.EINTR:
		case e != 0:
			return fmt.Errorf("recv on flow %d: %w", c.Index+1, e)
		case n == 0:
			return nil
		default:
			c.Counters.Copied.Add(uint64(n))
			c.Consume(w.buf[:n])
		}
		pacer.Tick()
	}
}

func (w *baselineWorker) Close() error { return abi.Unmap(w.buf) }
