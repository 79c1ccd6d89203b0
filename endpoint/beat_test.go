package endpoint

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/results"
)

// pairTCP gives the two ends of a connection.
func pairTCP(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp4", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// A peer that shakes hands and then is stopped: its kernel acknowledges
// everything, and nothing comes.
func TestSilentAgentIsGivenUp(t *testing.T) {
	t.Parallel()
	ours, theirs := pairTCP(t)
	go func() {
		l := newLink(theirs, maxRequest)
		if _, err := l.receiveHello(); err != nil {
			return
		}
		_ = l.send(message{Hello: &hello{Magic: magic, Protocol: Protocol}})
		if _, err := l.receive(); err == nil {
			_ = l.send(message{Welcome: &Welcome{}})
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

// begun drives an agent over a connection into a run, sends it a little, and says no
// more.
func begun(t *testing.T, ours net.Conn, window time.Duration) (*link, int) {
	t.Helper()
	l := newLink(ours, maxReply)
	if err := l.send(message{Hello: &hello{Magic: magic, Protocol: Protocol}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.receiveHello(); err != nil {
		t.Fatal(err)
	}
	p := Prepare{Role: RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: Pattern{Period: 1000}, Time: window, Interval: minInterval, Scope: ScopeThread, DataPort: freePorts(t, 1)}
	for _, m := range []message{{Auth: &auth{}}, {Prepare: &p}} {
		if err := l.send(m); err != nil {
			t.Fatal(err)
		}
		if m, err := l.receive(); err != nil || m.Error != nil {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	q := p
	q.Host = "127.0.0.1"
	fds, marks, err := connect(t.Context(), &q, connectWait)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(fds) })
	if _, err := unix.Write(fds[0], make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := l.send(message{Start: &Start{At: Monotonic(), Marks: marks}}); err != nil {
		t.Fatal(err)
	}
	if m, err := l.receive(); err != nil || m.Started == nil {
		t.Fatalf("%+v, %v", m, err)
	}
	return l, fds[0]
}

// A driver that is stopped once it has the result leaves a run that came to its end.
func TestSilentAfterTheRun(t *testing.T) {
	t.Parallel()
	ours, theirs := pairTCP(t)
	served := make(chan error, 1)
	records := make(chan results.Record, 10)
	a := &Agent{RX: []Engine{plain{role: RX}}, Version: "test", Trusted: true, Observe: func(e Event) {
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
		m, err := l.receive()
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
	t.Parallel()
	ours, theirs := pairTCP(t)
	served := make(chan error, 1)
	events := make(chan Event, 10)
	a := &Agent{RX: []Engine{plain{role: RX}}, Version: "test", Trusted: true, Observe: func(e Event) {
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
	if m, err := l.receive(); err != nil || m.Error == nil || !strings.Contains(m.Error.Text, "this end heard nothing since ") {
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
	if rec.Status != results.Failed || !strings.Contains(rec.Reason, "nothing was heard") || rec.RX.Counters["total_bytes"] != 5000 || len(rec.Samples) < 2 {
		t.Errorf("the record of the end that lived: %s, %q, %v of 5000 bytes", rec.Status, rec.Reason, rec.RX.Counters["total_bytes"])
	}
}

// slow is an engine that takes longer to open than an end that is not busy may.
type slow struct{ plain }

func (s slow) Open(p Params) (Session, error) {
	time.Sleep(owedWait + 2*beatEvery)
	return s.plain.Open(p)
}

// An end that is busy is not one that is silent; and the beats it sends are no
// more than promised, and counted.
func TestBusyEndIsNotSilent(t *testing.T) {
	tr := trial(t, 1, plain{role: RX}, plain{role: TX})
	ours, theirs := pairTCP(t)
	a := &Agent{RX: []Engine{slow{plain{role: RX}}}, Version: "test", Trusted: true}
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
	if n, most := heard.beats, int(time.Since(begun)/beatEvery)+1; n < 2 || n > most {
		t.Errorf("%d beats in %s", n, time.Since(begun))
	}
	for _, e := range []*results.End{r.RX, r.TX} {
		if v, ok := e.Counters["heartbeat_cpu_seconds"]; !ok || v <= 0 {
			t.Errorf("what beating cost the %s: %v, %t", e.Engine, v, ok)
		}
	}
	c.Close()
	if err := <-served; err != nil && !errors.Is(err, errPeerGone) {
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
	if isBeat(p[:n]) {
		c.beats++
	}
	return n, err
}

// Beats come between messages, never within.
func TestBeatsAmongMessages(t *testing.T) {
	ours, theirs := net.Pipe()
	l := newLink(ours, maxReply)
	go func() {
		w := bufio.NewWriter(theirs)
		for range 3 {
			_, _ = w.Write(beatLine)
		}
		_, _ = w.WriteString(`{"started":{}}` + "\n")
		_, _ = w.Write(beatLine)
		_, _ = w.WriteString(`{"clock":{"now":7}}` + "\n")
		_ = w.Flush()
		theirs.Close()
	}()
	if m, err := l.receive(); err != nil || m.Started == nil {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := l.receive(); err != nil || m.Clock == nil || m.Clock.Now != 7 {
		t.Errorf("%+v, %v", m, err)
	}
}

// A user takes a driver for that of a NIC.
func TestWhoDrives(t *testing.T) {
	for want, a := range map[string]*Agent{"the sender": {RX: []Engine{plain{}}}, "the controller": {RX: []Engine{plain{}}, TX: []Engine{plain{}}}} {
		if got := a.driver(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// An end that goes on after it was stopped may read that its peer left before the thread
// that beats wakes: that it was stopped is known all the same.
func TestStoppedIsKnownAtOnce(t *testing.T) {
	ours, _ := pairTCP(t)
	l := newLink(ours, maxReply)
	if text := l.excuse(); text != "" {
		t.Errorf("of a link that does not beat: %s", text)
	}
	l.heart.next.Store(Monotonic() - int64(7*time.Second))
	if text := l.excuse(); !strings.Contains(text, "this process itself did not run for 7.0 s until ") {
		t.Errorf("got %q", text)
	}
}
