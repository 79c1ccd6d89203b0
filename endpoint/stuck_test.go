package endpoint

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"zcbench/results"
)

// stuckWithin is what every end promises its user.
const stuckWithin = 8 * time.Second

// beating shakes hands as an agent of protocol 4, up to a phase, and then does nothing
// but say that it is there. It answers with what a real one would, which reply knows.
func beating(t *testing.T, conn net.Conn, phase string, reply func(message) *message) {
	t.Helper()
	l := newLink(conn, maxRequest)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(quit); conn.Close(); wg.Wait() })
	wg.Go(func() {
		if _, err := l.receiveHello(); err != nil || phase == "hello" {
			return
		}
		_ = l.send(message{Hello: &hello{Magic: magic, Protocol: Protocol}})
		if _, err := l.receive(); err != nil || phase == "auth" {
			return
		}
		_ = l.send(message{Welcome: &Welcome{}})
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
			m, err := l.receive()
			if err != nil {
				return
			}
			if a := reply(m); a != nil {
				_ = l.send(*a)
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
			tr := trial(t, 1, plain{role: RX}, plain{role: TX})
			ours, theirs := pairTCP(t)
			// The payload goes to a real one, so that only the control link is stuck.
			var mu sync.Mutex
			real, asked := tr.RX, ""
			beating(t, theirs, phase, func(m message) *message {
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
				if err := real.link.send(m); err != nil {
					return nil
				}
				a, err := real.next(context.Background(), upTo(time.Minute, "answer"))
				if err != nil {
					return nil
				}
				if phase == "close" && a.Started != nil {
					go func() {
						if r, err := real.next(context.Background(), upTo(time.Minute, "answer")); err == nil {
							_ = newLink(theirs, maxReply).send(r)
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
			if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "receiver: ")) {
				t.Errorf("%v, which is not: %s; asked %q", err, says, asked)
			}
		})
	}
}

// TestStuckOrSilent: an agent that did nothing and is not heard of either is not called
// stuck, and not said to be heard of.
func TestStuckOrSilent(t *testing.T) {
	t.Parallel()
	ours, theirs := pairTCP(t)
	c := &Client{name: "receiver", link: newLink(ours, maxReply)}
	go func() { _, _ = c.link.receive() }() // until the connection closes
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
		if err := c.stuckAt(upTo(time.Second, "prepare the run"), 14*time.Second); !strings.HasPrefix(err.Error(), step.says) || KindOf(err) != Failed {
			t.Errorf("%s later: %v, want %s", step.wait, err, step.says)
		}
	}
}

// TestBusyDriverIsWaitedFor: one that says so may take long between what it asks.
func TestBusyDriverIsWaitedFor(t *testing.T) {
	t.Parallel()
	tr := trial(t, 1, plain{role: RX}, slow{plain{role: TX}})
	ours, theirs := pairTCP(t)
	a := &Agent{RX: []Engine{plain{role: RX}}, Version: "test", Trusted: true}
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
