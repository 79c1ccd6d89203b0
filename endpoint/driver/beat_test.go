package driver

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// A peer that shakes hands and then is stopped: its kernel acknowledges
// everything, and nothing comes.
func TestSilentAgentIsGivenUp(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	ours, theirs := endpointtest.PairTCP(t)
	go func() {
		l := wire.NewLink(theirs, wire.MaxRequest)
		if _, err := l.ReceiveHello(); err != nil {
			return
		}
		_ = l.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol}})
		if _, err := l.Receive(); err == nil {
			_ = l.Send(wire.Message{Welcome: &wire.Welcome{}})
		}
	}()
	c, err := NewClient("receiver", ours, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _, err = c.clockOffset(t.Context())
	if err == nil || !c.Silent() || !strings.Contains(err.Error(), "receiver: nothing was heard from it since ") {
		t.Errorf("silent: %t, error %v", c.Silent(), err)
	}
}

// eachBeat is how often the ends of a link beat.
const eachBeat = time.Second

// slow is an engine that takes longer to open than an end that is not busy may.
type slow struct{ endpointtest.Plain }

func (s slow) Open(p endpoint.Params) (endpoint.Session, error) {
	time.Sleep(wire.OwedWait + 2*eachBeat)
	return s.Plain.Open(p)
}

// An end that is busy is not one that is silent; and the beats it sends are no
// more than promised, and counted.
func TestBusyEndIsNotSilent(t *testing.T) {
	tier.Long(t)
	t.Parallel() // it waits
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	ours, theirs := endpointtest.PairTCP(t)
	a := &agent.Agent{RX: []endpoint.Engine{slow{endpointtest.Plain{Role: endpoint.RX}}}, Version: "test", Trusted: true}
	served := make(chan error, 1)
	go func() { served <- a.Serve(context.Background(), theirs) }()
	heard := &countingConn{Conn: ours}
	c, err := NewClient("receiver", heard, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	tr.RX = c
	begun := time.Now()
	tr.RXWant.Time, tr.TXWant.Time = 2*time.Second, 2*time.Second
	r, err := Drive(t.Context(), tr)
	if err != nil || r.Status != results.OK {
		t.Fatalf("%v: %s", err, r.Reason)
	}
	if n, most := heard.beats, int(time.Since(begun)/eachBeat)+1; n < 2 || n > most {
		t.Errorf("%d beats in %s", n, time.Since(begun))
	}
	for _, e := range []*results.End{r.RX, r.TX} {
		if v, ok := e.Counters["heartbeat_cpu_seconds"]; !ok || v <= 0 {
			t.Errorf("what beating cost the %s: %v, %t", e.Engine, v, ok)
		}
	}
	c.Close()
	if err := <-served; err != nil && !strings.Contains(err.Error(), "closed the control connection") {
		t.Error(err)
	}
}

// countingConn counts the beats that it reads; they come in writes of their own.
type countingConn struct {
	net.Conn
	beats int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.HasPrefix(p[:n], []byte(`{"beat":`)) {
		c.beats++
	}
	return n, err
}
