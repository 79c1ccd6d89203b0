package agent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
)

// Who has most gives way, the oldest first.
func TestVisitors(t *testing.T) {
	const most = 64
	v := visitors{most: most, stay: leastStay}
	from := func(addr string, port int) *peerAt {
		return &peerAt{at: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port)))}
	}
	early := from("192.0.2.1", 1)
	v.enter(early)
	var many []*peerAt
	for i := range most + 10 { // one network of IPv6 is one
		c := from([]string{"2001:db8::1", "2001:db8::2"}[i%2], i+1)
		many = append(many, c)
		v.enter(c)
	}
	if i := slices.IndexFunc(many, func(c *peerAt) bool { return !c.closed }); i != 11 || early.closed {
		t.Errorf("%d of the crowd's own were sent away, and the other %v", i, early.closed)
	}
	for i := range most { // from everywhere
		v.enter(from(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String(), 1))
	}
	if len(v.all) != most {
		t.Errorf("%d visitors", len(v.all))
	}
	left := slices.DeleteFunc(slices.Clone(many), func(c *peerAt) bool { return c.closed })
	if early.closed != (len(left) <= 1) {
		t.Errorf("the one with a single link was sent away (%v) before those with %d", early.closed, len(left))
	}
	for _, o := range v.all {
		o.came = time.Now() // as those of a crowd
	}
	came := time.Now()
	n := v.enter(from("192.0.2.9", 9))
	if took := time.Since(came); took < leastStay/2 {
		t.Errorf("one was sent away %s after it came", took)
	}
	v.leave(n)
	v.leave(n)
	if slices.Contains(v.all, n) {
		t.Error("one that left is still there")
	}
}

type peerAt struct {
	net.Conn
	at     net.Addr
	closed bool
}

func (p *peerAt) RemoteAddr() net.Addr { return p.at }
func (p *peerAt) Close() error         { p.closed = true; return nil }

// A driver that shakes hands and leaves has had no run: a receiver for one run goes on
// waiting.
func TestHandshakeIsNoRun(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&Agent{Limits: wire.Limits{Flows: 1, Memory: 1 << 20}}).Listen(ctx, l, true) }()
	for range 20 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatalf("after a handshake: %v", err)
		}
		k := wire.NewLink(c, wire.MaxRequest)
		err = k.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol, Version: "test", Nonce: make([]byte, 32)}})
		if _, e := k.Receive(); err == nil {
			err = e
		}
		if e := k.Send(wire.Message{Auth: &wire.Auth{}}); err == nil {
			err = e
		}
		if m, e := k.Receive(); err == nil && (e != nil || m.Welcome == nil) {
			t.Fatalf("no welcome: %+v, %v", m, e)
		}
		c.Close()
		if err != nil {
			t.Fatalf("handshake: %v", err)
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	<-ended
}

// A driver without a token has a time to come further, whatever it says meanwhile.
func TestTalkersDoNotStay(t *testing.T) {
	ours, theirs := endpointtest.PairTCP(t)
	ended := make(chan error, 1)
	c := &conversation{agent: &Agent{}, link: wire.NewLink(theirs, wire.MaxRequest), cancel: func(err error) { ended <- err }}
	c.expect("ask for a run", time.Millisecond)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the sender: it is heard of, and did not ask for a run within ") {
		t.Errorf("its end: %v", err)
	}
	if m, err := wire.NewLink(ours, wire.MaxReply).Receive(); err != nil || m.Error == nil || !strings.Contains(m.Error.Text,
		"for the sender to ask for a run") {
		t.Errorf("it was told %+v, %v", m, err)
	}
	c.expect("start the run", time.Hour)
	c.trusted = true
	if c.expect("", 0); c.due.Stop() {
		t.Error("a run that started was still to end")
	}
}

// An idle baseline in which another's run begins is none.
func TestBaselineIsUndisturbed(t *testing.T) {
	a := &Agent{}
	first, second := &conversation{agent: a, quiet: -1}, &conversation{agent: a, quiet: -1}
	if err := a.place.rest(first); err != nil {
		t.Fatal(err)
	}
	if err := a.place.take(second); err != nil {
		t.Fatal(err)
	}
	if err := a.place.rest(&conversation{agent: a, quiet: -1}); fault.Of(err) != fault.Denied {
		t.Errorf("a baseline while a run is on: %v", err)
	}
	a.place.leave(second)
	if err := a.place.take(first); err == nil || !strings.Contains(err.Error(), "during the idle baseline") {
		t.Errorf("a run after it: %v", err)
	}
	if err := a.place.take(second); err != nil {
		t.Errorf("another: %v", err)
	}
}

// Of what strangers cause an agent's user sees some lines, and then one a minute.
func TestStrangersFillNoLog(t *testing.T) {
	var lines atomic.Int64
	a := &Agent{Observe: func(e Event) {
		if e.Err != nil {
			lines.Add(1)
		}
	}}
	a.Version, a.RX, a.DataPort = "test", []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, endpointtest.FreePorts(t, 1)
	addr := endpointtest.Listen(t, a.Listen)
	for range 3 * fewRefusals {
		_, c := endpointtest.Shake(t, addr)
		_, _ = c.Write([]byte(`{"foo":1}` + "\n"))
		for {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				break
			}
		}
		c.Close()
	}
	endpointtest.Eventually(t, "some lines", func() bool { return lines.Load() >= fewRefusals })
	time.Sleep(100 * time.Millisecond)
	if n := lines.Load(); n > fewRefusals {
		t.Errorf("%d lines for %d strangers", n, 3*fewRefusals)
	}
}
