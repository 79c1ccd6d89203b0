package driver

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
)

// A panic while a peer is served is the end of that run alone, and says where.
func TestMistakesAreContained(t *testing.T) {
	for name, where := range map[string]*faulty{
		"as the engine opens":   {open: true},
		"as a worker is made":   {worker: true},
		"as payload is carried": {run: true},
	} {
		where.Plain = endpointtest.Plain{Role: endpoint.RX}
		addr := server(t, &agent.Agent{RX: []endpoint.Engine{where}})
		c, err := dialServer(t, addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := wire.Prepare{Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000,
			Pattern: endpoint.Pattern{Period: 1000}, Time: time.Second, Scope: wire.ScopeThread}
		pr, err := c.prepare(t.Context(), &p)
		start := wire.Start{At: wire.Monotonic()}
		if where.run {
			if err != nil {
				t.Fatal(err)
			}
			data, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(pr.DataPort)))
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			mark := make([]byte, wire.MarkLength)
			if _, err := io.ReadFull(data, mark); err != nil {
				t.Fatal(err)
			}
			start.Marks = [][]byte{mark}
		}
		if err == nil {
			_, err = c.measure(t.Context(), start, 20*time.Second, nil)
		}
		if err == nil || !strings.Contains(err.Error(), "a mistake in zcbench: oops (zcbench/endpoint/driver.") {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := c.clockOffset(t.Context()); err != nil {
			t.Errorf("%s: and then: %v", name, err)
		}
		c.Close()
	}
}

// faulty is an engine with a mistake.
type faulty struct {
	endpointtest.Plain
	open, worker, run bool
}

func (f *faulty) Open(p endpoint.Params) (endpoint.Session, error) {
	if f.open {
		panic("oops")
	}
	return endpoint.PerFlow(p.Flows, func(int) (endpoint.Worker, error) {
		if f.worker {
			panic("oops")
		}
		return f, nil
	}), nil
}

func (f *faulty) Run([]endpoint.Conn, *endpoint.Stop) error { panic("oops") }

func (f *faulty) Close() error { return nil }
