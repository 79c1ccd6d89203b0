package driver

import (
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
)

// crowd keeps idle connections to the ports of an agent, and makes those anew that
// the agent ends. Every third says hello, as a zcbench that stops there.
func crowd(t *testing.T, n int, ports ...string) {
	t.Helper()
	var wg sync.WaitGroup
	var met atomic.Int64
	quit := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			for {
				c, err := net.Dial("tcp4", ports[i%len(ports)])
				if err == nil {
					go func() { <-quit; c.Close() }()
					if i/len(ports)%3 == 0 {
						_ = wire.NewLink(c, wire.MaxRequest).Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol,
							Version: "test"}})
					}
					if met.Add(1); i%len(ports) == 0 {
						for err == nil { // until the agent hangs up
							_, err = c.Read(make([]byte, 4096))
						}
					}
				}
				select {
				case <-quit:
					return
				case <-time.After(time.Second):
				}
			}
		})
	}
	t.Cleanup(func() { close(quit); wg.Wait() })
	for range 1000 {
		if met.Load() >= int64(n/len(ports)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("only %d of %d idle connections were let in at all", met.Load(), n)
}

// Idle links, of which there may be any number, keep no driver out. On a quiet
// machine, with ZCBENCH_CROWD set, there are 500 at both ports and each of 20 runs
// begins within 3 s.
func TestIdleLinksKeepNobodyOut(t *testing.T) {
	n, runs, full := 256, 1, os.Getenv("ZCBENCH_CROWD") != "" // as many as an agent lets stay
	if full {
		n, runs = 500, 20
	}
	for name, token := range map[string][]byte{"with a token": endpointtest.Token, "without one": nil} {
		t.Run(name, func(t *testing.T) {
			tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
			begun := make(chan time.Time, 8)
			a := &agent.Agent{
				Token: token, Limits: wire.Limits{Time: time.Minute, Flows: 4, Memory: 1 << 30},
				Observe: func(e agent.Event) {
					if e.Sample != nil {
						select {
						case begun <- time.Now(): // the window opens
						default:
						}
					}
				},
			}
			addr := server(t, a)
			ports := []string{addr}
			if full {
				ports = append(ports, net.JoinHostPort("127.0.0.1", strconv.Itoa(a.DataPort)))
			}
			crowd(t, n, ports...)
			tr.RXWant.Bind, tr.RXWant.DataPort = "", 0
			tr.TXWant.Window, tr.RXWant.Window = 0, 0
			for i := range runs {
				for len(begun) > 0 {
					<-begun
				}
				came := time.Now()
				var c *Client
				endpointtest.Eventually(t, "let in", func() (ok bool) {
					var err error
					c, err = dialServer(t, addr, token)
					return err == nil
				})
				tr.RX = c
				tr.Repeat = i
				if _, err := Drive(t.Context(), tr); err != nil {
					t.Fatalf("run %d: %v", i+1, err)
				}
				c.Close()
				if took := (<-begun).Sub(came) - tr.RXWant.Omit; full && took > 3*time.Second {
					t.Errorf("run %d began after %s", i+1, took)
				} else if full {
					t.Logf("run %d began after %s", i+1, took)
				}
			}
		})
	}
}

// A sender without a token has one run.
func TestStrangersDoNotStay(t *testing.T) {
	ours, theirs := net.Pipe()
	a := &agent.Agent{Version: "test", RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}},
		DataPort: endpointtest.FreePorts(t, 1), Limits: wire.Limits{Time: time.Hour}}
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Serve(t.Context(), theirs) })
	c, err := NewClient("receiver", ours, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer wg.Wait()
	defer c.Close()
	p := wire.Prepare{Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000,
		Pattern: endpoint.Pattern{Period: 1000}, Time: time.Hour, Scope: wire.ScopeThread}
	if _, err := c.prepare(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	if _, err := c.prepare(t.Context(), &p); fault.Of(err) != fault.Denied {
		t.Errorf("a second run: %v", err)
	}
}

// Strangers that shake hands, say what time it is and ask for no run keep no sender out.
func TestTalkersKeepNobodyOut(t *testing.T) {
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	a := &agent.Agent{Limits: wire.Limits{Time: time.Minute, Flows: 4, Memory: 1 << 30}}
	addr := server(t, a)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(quit)
	for range 2 {
		k, c := endpointtest.Shake(t, addr)
		defer c.Close()
		wg.Go(func() {
			for k.Send(wire.Message{Clock: &wire.Clock{Now: 1}}) == nil {
				if _, err := k.Receive(); err != nil {
					return
				}
				select {
				case <-quit:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	c, err := dialServer(t, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.RXWant.Bind, tr.RXWant.DataPort, tr.RX = "", 0, c
	tr.TXWant.Window, tr.RXWant.Window = 0, 0
	if _, err := Drive(t.Context(), tr); err != nil {
		t.Error(err)
	}
	c.Close()
}
