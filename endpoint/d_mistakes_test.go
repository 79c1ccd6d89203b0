package endpoint

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A panic while a peer is served is the end of that run alone, and says where.
func TestMistakesAreContained(t *testing.T) {
	for name, where := range map[string]*faulty{
		"as the engine opens":   {open: true},
		"as a worker is made":   {worker: true},
		"as payload is carried": {run: true},
	} {
		where.plain = plain{role: RX}
		addr := server(t, &Agent{RX: []Engine{where}})
		c, err := dialServer(t, addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := Prepare{Role: RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: Pattern{Period: 1000}, Time: time.Second, Scope: ScopeThread}
		pr, err := c.prepare(t.Context(), &p)
		start := Start{At: Monotonic()}
		if where.run {
			if err != nil {
				t.Fatal(err)
			}
			data, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(pr.DataPort)))
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			mark := make([]byte, markLength)
			if _, err := io.ReadFull(data, mark); err != nil {
				t.Fatal(err)
			}
			start.Marks = [][]byte{mark}
		}
		if err == nil {
			_, err = c.measure(t.Context(), start, 20*time.Second, nil)
		}
		if err == nil || !strings.Contains(err.Error(), "a mistake in zcbench: oops (zcbench/endpoint.") {
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
	plain
	open, worker, run bool
}

func (f *faulty) Open(p Params) (Session, error) {
	if f.open {
		panic("oops")
	}
	return PerFlow(p.Flows, func(int) (Worker, error) {
		if f.worker {
			panic("oops")
		}
		return f, nil
	}), nil
}

func (f *faulty) Run([]Conn, *Stop) error { panic("oops") }

func (f *faulty) Close() error { return nil }
