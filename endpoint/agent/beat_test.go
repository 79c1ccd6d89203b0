package agent

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// begun drives an agent over a connection into a run, sends it a little, and says no
// more.
func begun(t *testing.T, ours net.Conn, window time.Duration) (*wire.Link, int) {
	t.Helper()
	l := wire.NewLink(ours, wire.MaxReply)
	if err := l.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReceiveHello(); err != nil {
		t.Fatal(err)
	}
	p := wire.Prepare{Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: endpoint.Pattern{Period: 1000}, Time: window,
		Interval: wire.MinInterval, Scope: wire.ScopeThread, DataPort: endpointtest.FreePorts(t, 1)}
	for _, m := range []wire.Message{{Auth: &wire.Auth{}}, {Prepare: &p}} {
		if err := l.Send(m); err != nil {
			t.Fatal(err)
		}
		if m, err := l.Receive(); err != nil || m.Error != nil {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	q := p
	q.Host = "127.0.0.1"
	fds, marks, err := connect(t.Context(), &q, wire.ConnectWait)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(fds) })
	if _, err := unix.Write(fds[0], make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := l.Send(wire.Message{Start: &wire.Start{At: wire.Monotonic(), Marks: marks}}); err != nil {
		t.Fatal(err)
	}
	if m, err := l.Receive(); err != nil || m.Started == nil {
		t.Fatalf("%+v, %v", m, err)
	}
	return l, fds[0]
}

// A driver that is stopped once it has the result leaves a run that came to its end.
func TestSilentAfterTheRun(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	ours, theirs := endpointtest.PairTCP(t)
	served := make(chan error, 1)
	records := make(chan results.Record, 10)
	a := &Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Version: "test", Trusted: true, Observe: func(e Event) {
		if e.Record != nil {
			records <- *e.Record
		}
		if e.Err != nil {
			t.Errorf("it says %v", e.Err)
		}
	}}
	go func() { served <- a.Serve(context.Background(), theirs) }()
	l, fd := begun(t, ours, 200*time.Millisecond)
	time.Sleep(250 * time.Millisecond) // the window is over
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := l.Receive()
		if err != nil || m.Error != nil {
			t.Fatalf("%+v, %v", m, err)
		}
		if m.Result != nil {
			break
		}
	}
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the agent is held")
	}
	if r := <-records; r.Status != results.OK {
		t.Errorf("status %s, %s", r.Status, r.Reason)
	}
}

// A driver that is stopped in mid-run holds neither the agent nor its engine, and
// hears why when it runs again.
func TestSilentDriverIsGivenUp(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	ours, theirs := endpointtest.PairTCP(t)
	served := make(chan error, 1)
	events := make(chan Event, 10)
	a := &Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Version: "test", Trusted: true, Observe: func(e Event) {
		if e.Record != nil || e.Err != nil {
			events <- e
		}
	}}
	go func() { served <- a.Serve(context.Background(), theirs) }()
	l, _ := begun(t, ours, time.Minute)
	select {
	case err := <-served:
		if err == nil || !strings.Contains(err.Error(), "the sender: nothing was heard from it since ") {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the agent still waits for its driver")
	}
	if m, err := l.Receive(); err != nil || m.Error == nil || !strings.Contains(m.Error.Text, "this end heard nothing since ") {
		t.Errorf("its last words: %+v, %v", m.Error, err)
	}
	close(events)
	var rec *results.Record
	for e := range events {
		if e.Record != nil {
			rec = e.Record
		}
		if e.Err != nil {
			t.Errorf("%v is told twice: Serve returned it", e.Err)
		}
	}
	if rec == nil {
		t.Fatal("no record of the end that lived")
	}
	if rec.Status != results.Failed || !strings.Contains(rec.Reason, "nothing was heard") || rec.RX.Counters["total_bytes"] != 5000 ||
		len(rec.Samples) < 2 {
		t.Errorf("the record of the end that lived: %s, %q, %v of 5000 bytes", rec.Status, rec.Reason, rec.RX.Counters["total_bytes"])
	}
}

// A user takes a driver for that of a NIC.
func TestWhoDrives(t *testing.T) {
	for want, a := range map[string]*Agent{"the sender": {RX: []endpoint.Engine{endpointtest.Plain{}}},
		"the controller": {RX: []endpoint.Engine{endpointtest.Plain{}}, TX: []endpoint.Engine{endpointtest.Plain{}}}} {
		if got := a.driver(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
