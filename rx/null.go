package rx

import (
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
)

// Null receives nothing: it waits in one system call for the end of a stream
// that carries no payload, so that what remains is the tool itself. Its peer
// is the sender of the same name.
func Null() endpoint.Engine { return null{} }

type null struct{}

func (null) Name() string { return "null" }

// nullIterations is the element of Counters.Extra.
const nullIterations = 0

func (null) Layout() endpoint.Layout {
	return endpoint.Layout{Syscalls: []string{"recvfrom"}, Extra: []string{"iterations"}, NoPayload: true}
}

func (null) Options() []endpoint.Option { return nil }

func (null) Probe(string) feature.Verdict { return feature.Possible() }

func (null) Memory(endpoint.Params) (int64, error) { return 0, nil }

func (e null) Open(p endpoint.Params) (endpoint.Session, error) {
	if _, err := endpoint.ParseOptions(e.Options(), p.Options); err != nil {
		return nil, err
	}
	if p.Validate {
		return nil, fault.Errorf(fault.Usage, "there is no payload to validate: use another receive engine or leave --validate out")
	}
	return endpoint.PerFlow(p.Flows, func(int) (endpoint.Worker, error) { return &nullWorker{}, nil }), nil
}

type nullWorker struct{ buf [1]byte }

func (w *nullWorker) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	c := conns[0]
	var pacer endpoint.Pacer
	for {
		n, e := abi.Recv(c.FD, w.buf[:], 0)
		c.Counters.Syscalls[0].Add(1)
		c.Counters.Extra[nullIterations].Add(1)
		switch {
		case e == unix.EINTR:
		case e != 0:
			return fmt.Errorf("recv on flow %d: %w", c.Index+1, e)
		case n == 0:
			return nil
		default:
			return fault.Errorf(fault.Usage, "flow %d carries payload, which the null receiver does not take: use it with the null sender",
				c.Index+1)
		}
		pacer.Tick()
	}
}

func (*nullWorker) Close() error { return nil }
