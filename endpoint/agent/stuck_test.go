package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
)

// TestStuckDriverIsGivenUp: a driver that beats and asks for nothing holds no agent.
func TestStuckDriverIsGivenUp(t *testing.T) {
	prepare := wire.Prepare{Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000,
		Pattern: endpoint.Pattern{Period: 1000}, Time: time.Minute, Scope: wire.ScopeThread}
	for phase, asks := range map[string][]wire.Message{
		"welcome":  nil,
		"silent":   nil, // it stops to beat, and is not called stuck
		"clock":    {{Clock: &wire.Clock{}}},
		"watched":  {{Watch: &wire.Watch{Quiet: time.Second}}},
		"prepared": {{Prepare: &prepare}},
		"flood": {{Prepare: &prepare}, {Start: &wire.Start{Marks: [][]byte{nil}}}, {Start: &wire.Start{}}, {Start: &wire.Start{}},
			{Start: &wire.Start{}}},
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			ours, theirs := endpointtest.PairTCP(t)
			a := &Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Version: "test",
				DataPort: endpointtest.FreePorts(t, 1), Limits: wire.Limits{Time: time.Hour, Flows: 1, Memory: 1 << 30}}
			served := make(chan error, 1)
			go func() { served <- a.Serve(context.Background(), theirs) }()
			l := wire.NewLink(ours, wire.MaxReply)
			_ = l.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol}})
			if _, err := l.ReceiveHello(); err != nil {
				t.Fatal(err)
			}
			_ = l.Send(wire.Message{Auth: &wire.Auth{}})
			if m, err := l.Receive(); err != nil || m.Welcome == nil {
				t.Fatalf("%+v, %v", m, err)
			}
			stop, err := l.Watch(func(*wire.Silence) {})
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			for _, m := range asks {
				_ = l.Send(m)
			}
			begun := time.Now()
			says := "the sender: it is heard of, and asked for nothing in "
			if phase == "silent" {
				says = "the sender: nothing was heard from it since "
				time.AfterFunc(wire.OwedWait-2500*time.Millisecond, stop)
			}
			go func() { // it takes what comes
				for {
					if _, err := l.Receive(); err != nil {
						return
					}
				}
			}()
			select {
			case err := <-served:
				if phase != "flood" && (err == nil || !strings.Contains(err.Error(), says)) {
					t.Errorf("after %s: %v", time.Since(begun), err)
				}
			case <-time.After(8 * time.Second):
				t.Fatal("the agent still waits")
			}
		})
	}
}
