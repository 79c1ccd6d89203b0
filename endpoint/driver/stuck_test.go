package driver

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// stuckWithin is what every end promises its user.
const stuckWithin = 8 * time.Second

// beating shakes hands as an agent of this protocol, up to a phase, and then does nothing
// but say that it is there. It answers with what a real one would, which reply knows.
func beating(t *testing.T, conn net.Conn, phase string, reply func(wire.Message) *wire.Message) {
	t.Helper()
	l := wire.NewLink(conn, wire.MaxRequest)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(quit); conn.Close(); wg.Wait() })
	wg.Go(func() {
		if _, err := l.ReceiveHello(); err != nil || phase == "hello" {
			return
		}
		_ = l.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol}})
		if _, err := l.Receive(); err != nil || phase == "auth" {
			return
		}
		_ = l.Send(wire.Message{Welcome: &wire.Welcome{}})
		wg.Go(func() {
			for {
				_, err := conn.Write([]byte(`{"beat":{}}` + "\n"))
				if err != nil {
					return
				}
				select {
				case <-quit:
					return
				case <-time.After(eachBeat):
				}
			}
		})
		for {
			m, err := l.Receive()
			if err != nil {
				return
			}
			if a := reply(m); a != nil {
				_ = l.Send(*a)
			}
		}
	})
}

// TestStuckAgentIsGivenUp: an agent that beats and does nothing is given up soon in
// whatever it is asked, by what it was asked last.
func TestStuckAgentIsGivenUp(t *testing.T) {
	const window = 300 * time.Millisecond
	for phase, says := range map[string]string{
		"hello":   "no answer to the zcbench handshake",
		"auth":    "no answer to the zcbench handshake",
		"clock":   "did not say what time it is within 6 s: it is stuck; end zcbench there",
		"prepare": "did not prepare the run within 6 s: it is stuck; end zcbench there",
		"start":   "did not start the run within 6 s: it is stuck; end zcbench there",
		"started": "did not end the run within 7 s: it is stuck; end zcbench there",
		"close":   "",
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
			ours, theirs := endpointtest.PairTCP(t)
			// The payload goes to a real one, so that only the control link is stuck.
			var mu sync.Mutex
			real, asked := tr.RX, ""
			beating(t, theirs, phase, func(m wire.Message) *wire.Message {
				var name string
				switch {
				case m.Clock != nil:
					name = "clock"
				case m.Prepare != nil:
					name = "prepare"
				case m.Start != nil:
					name = "start"
				}
				mu.Lock()
				asked = name
				mu.Unlock()
				if name == phase {
					return nil
				}
				if err := real.link.Send(m); err != nil {
					return nil
				}
				a, err := real.next(context.Background(), upTo(time.Minute, "answer"))
				if err != nil {
					return nil
				}
				if phase == "close" && a.Started != nil {
					go func() {
						if r, err := real.next(context.Background(), upTo(time.Minute, "answer")); err == nil {
							_ = wire.NewLink(theirs, wire.MaxReply).Send(r)
						}
					}()
				}
				return &a
			})
			begun := time.Now()
			c, err := NewClient("receiver", ours, nil, "test")
			var rec results.Record
			if err == nil {
				tr.RX, tr.RXWant.Time, tr.TXWant.Time = c, window, window
				rec, err = Drive(t.Context(), tr)
				if phase != "close" && (!c.Silent() || rec.Status != results.Failed) {
					t.Errorf("given up: %t, record %s", c.Silent(), rec.Status)
				}
				c.Close()
			}
			if took := time.Since(begun); took > stuckWithin {
				t.Errorf("it took %s", took)
			}
			if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(),
				"receiver: ")) {
				t.Errorf("%v, which is not: %s; asked %q", err, says, asked)
			}
		})
	}
}

// TestStuckOrSilent: an agent that did nothing and is not heard of either is not called
// stuck, and not said to be heard of.
func TestStuckOrSilent(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	ours, theirs := endpointtest.PairTCP(t)
	c := &Client{name: "receiver", link: wire.NewLink(ours, wire.MaxReply)}
	go func() { _, _ = c.link.Receive() }() // until the connection closes
	if _, err := theirs.Write([]byte(`{"beat":{}}` + "\n")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		wait time.Duration
		says string
	}{
		{0, "receiver: it is heard of, and did not prepare the run within 14 s: it is stuck"},
		{5 * eachBeat / 2, "receiver: nothing was heard from it since "},
	} {
		time.Sleep(step.wait)
		if err := c.stuckAt(upTo(time.Second, "prepare the run"), 14*time.Second); !strings.HasPrefix(err.Error(), step.says) ||
			fault.Of(err) != fault.Failed {
			t.Errorf("%s later: %v, want %s", step.wait, err, step.says)
		}
	}
}

// TestBusyDriverIsWaitedFor: one that says so may take long between what it asks.
func TestBusyDriverIsWaitedFor(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, slow{endpointtest.Plain{Role: endpoint.TX}})
	ours, theirs := endpointtest.PairTCP(t)
	a := &agent.Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Version: "test", Trusted: true}
	served := make(chan error, 1)
	go func() { served <- a.Serve(context.Background(), theirs) }()
	c, err := NewClient("receiver", ours, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	tr.RX = c
	if r, err := Drive(t.Context(), tr); err != nil || r.Status != results.OK {
		t.Errorf("%v: %s", err, r.Reason)
	}
	c.Close()
	<-served
}
