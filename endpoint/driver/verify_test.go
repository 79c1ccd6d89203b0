package driver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/results"
)

// TestVerify: a look begins with the payload, ends before the window opens, and
// is in the record of its end with what it warns of.
func TestVerify(t *testing.T) {
	seen := &results.Crossing{Interface: "eth9", Received: results.Direction{Frames: 9,
		Flows: []results.Flow{{Flow: "a → b", Frames: 9, Steered: []uint32{4}, Elsewhere: 2}}}}
	var from, until time.Time
	tr := trial(t, 2, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	first := tr.RXWant.DataPort
	tr.RX = pipeAgent(t, "receiver", &agent.Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Verify: true,
		Verifier: func(iface string, a, b int) (func(context.Context) (*results.Crossing, error), error) {
			if iface != "eth9" || a != first || b != first+1 {
				t.Errorf("verify %s, ports %d to %d", iface, a, b)
			}
			return func(ctx context.Context) (*results.Crossing, error) {
				from = time.Now()
				<-ctx.Done()
				until = time.Now()
				return seen, nil
			}, nil
		}})
	tr.RXWant.Interface, tr.RXWant.Omit, tr.TXWant.Omit = "eth9", 400*time.Millisecond, 400*time.Millisecond
	r, err := Drive(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	if r.TX.Verify != nil || r.RX.Verify == nil || r.RX.Verify.Interface != "eth9" {
		t.Errorf("sender %v, receiver %v", r.TX.Verify, r.RX.Verify)
	}
	const want = "rx: verify saw 2 of 9 frames of a → b come on other queues than the [4] of its flow rule"
	if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, want) {
		t.Errorf("no %q in\n%s", want, w)
	}
	opened, err := time.Parse(time.RFC3339Nano, r.Started)
	if err != nil || until.After(opened) || until.Sub(from) < 50*time.Millisecond {
		t.Errorf("looked from %s to %s, the window opened at %s", from, until, opened)
	}
	tr.RXWant.Omit, tr.TXWant.Omit = 0, 0 // as a stranger may
	if r, err = Drive(t.Context(), tr); err != nil || r.RX.Verify != nil || !strings.Contains(strings.Join(r.Warnings, "\n"),
		"rx: nothing was verified") {
		t.Errorf("without a warm-up: %v, %v, %v", err, r.RX.Verify, r.Warnings)
	}
}

func TestVerifyFailures(t *testing.T) {
	boom := errors.New("boom")
	looks := func(f func(context.Context) (*results.Crossing, error), err error) agent.Verifier {
		return func(string, int, int) (func(context.Context) (*results.Crossing, error), error) { return f, err }
	}
	quick := func(context.Context) (*results.Crossing, error) { return nil, boom }
	for name, tc := range map[string]struct {
		v      agent.Verifier
		change func(*wire.Prepare)
		kind   fault.Kind
		text   string
	}{
		"nobody can":       {nil, nil, fault.Unsupported, "cannot capture"},
		"not allowed":      {looks(nil, fault.Errorf(fault.Unsupported, "needs a right")), nil, fault.Unsupported, "rx: verify: needs a right"},
		"which interface":  {looks(quick, nil), func(p *wire.Prepare) { p.Interface = "" }, fault.Usage, "--iface"},
		"no warm-up":       {looks(quick, nil), func(p *wire.Prepare) { p.Omit = 0 }, fault.Usage, "--omit"},
		"fails in the run": {looks(quick, nil), nil, fault.Failed, "rx: verify: boom"},
		"does not end": {looks(func(ctx context.Context) (*results.Crossing, error) {
			time.Sleep(time.Second)
			return nil, nil
		}, nil), nil, fault.Failed, "longer warm-up"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
			tr.RX = pipeAgent(t, "receiver", &agent.Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Verifier: tc.v})
			tr.RXWant.Verify, tr.RXWant.Interface = true, "eth9"
			tr.RXWant.Omit, tr.TXWant.Omit = 300*time.Millisecond, 300*time.Millisecond
			if tc.change != nil {
				tc.change(&tr.RXWant)
			}
			_, err := Drive(t.Context(), tr)
			if err == nil || fault.Of(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v of kind %s, want %q of kind %s", err, fault.Of(err), tc.text, tc.kind)
			}
		})
	}
}
