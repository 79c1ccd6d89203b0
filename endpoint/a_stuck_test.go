package endpoint

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestStuckDriverIsGivenUp: a driver that beats and asks for nothing holds no agent.
func TestStuckDriverIsGivenUp(t *testing.T) {
	prepare := Prepare{Role: RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: Pattern{Period: 1000}, Time: time.Minute, Scope: ScopeThread}
	for phase, asks := range map[string][]message{
		"welcome":  nil,
		"clock":    {{Clock: &clock{}}},
		"watched":  {{Watch: &watch{Quiet: time.Second}}},
		"prepared": {{Prepare: &prepare}},
		"flood":    {{Prepare: &prepare}, {Start: &Start{Marks: [][]byte{nil}}}, {Start: &Start{}}, {Start: &Start{}}, {Start: &Start{}}},
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			ours, theirs := pairTCP(t)
			a := &Agent{RX: []Engine{plain{role: RX}}, Version: "test", DataPort: freePorts(t, 1), Limits: Limits{Time: time.Hour, Flows: 1, Memory: 1 << 30}}
			served := make(chan error, 1)
			go func() { served <- a.Serve(context.Background(), theirs) }()
			l := newLink(ours, maxReply)
			_ = l.send(message{Hello: &hello{Magic: magic, Protocol: Protocol}})
			if _, err := l.receiveHello(); err != nil {
				t.Fatal(err)
			}
			_ = l.send(message{Auth: &auth{}})
			if m, err := l.receive(); err != nil || m.Welcome == nil {
				t.Fatalf("%+v, %v", m, err)
			}
			stop, err := l.watch(func(*silence) {})
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			for _, m := range asks {
				_ = l.send(m)
			}
			begun := time.Now()
			go func() { // it takes what comes
				for {
					if _, err := l.receive(); err != nil {
						return
					}
				}
			}()
			select {
			case err := <-served:
				if phase != "flood" && (err == nil || !strings.Contains(err.Error(), "the sender: it is heard of, and asked for nothing in ")) {
					t.Errorf("after %s: %v", time.Since(begun), err)
				}
			case <-time.After(8 * time.Second):
				t.Fatal("the agent still waits")
			}
		})
	}
}
