package driver

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// pipeAgent serves an agent over a pipe and gives a client of it.
func pipeAgent(t *testing.T, name string, a *agent.Agent) *Client {
	t.Helper()
	a.Version, a.Trusted = "test", true
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Serve(context.Background(), theirs) })
	c, err := NewClient(name, ours, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); wg.Wait() })
	return c
}

func trial(t *testing.T, flows int, rx, tx endpoint.Engine) Run {
	t.Helper()
	p := wire.Prepare{
		Engine: "plain", Flows: flows, Length: 10000, Pattern: endpoint.Pattern{Seed: 7, Period: 30000},
		Time: 300 * time.Millisecond, Omit: 50 * time.Millisecond, Interval: 100 * time.Millisecond,
		Scope: wire.ScopeThread, DataPort: endpointtest.FreePorts(t, flows), Host: "127.0.0.1",
	}
	tr := Run{RXWant: p, TXWant: p, Settings: map[string]any{"flows": flows}}
	tr.RXWant.Role, tr.RXWant.Host, tr.RXWant.Bind = endpoint.RX, "", "127.0.0.1"
	tr.TXWant.Role = endpoint.TX
	tr.RX = pipeAgent(t, "receiver", &agent.Agent{RX: []endpoint.Engine{rx}})
	tr.TX = pipeAgent(t, "sender", &agent.Agent{TX: []endpoint.Engine{tx}})
	return tr
}

func TestDrive(t *testing.T) {
	for _, flows := range []int{1, 3} {
		var opened atomic.Int64
		tr := trial(t, flows, endpointtest.Plain{Role: endpoint.RX, Opened: &opened}, endpointtest.Plain{Role: endpoint.TX, Opened: &opened})
		tr.RXWant.Validate, tr.TXWant.Validate = true, true
		var mu sync.Mutex
		live := map[endpoint.Role]int{}
		tr.LiveRX = true
		tr.Settings, tr.Command = map[string]any{"flows": flows}, "zcbench local"
		tr.Live = func(r endpoint.Role, _ wire.Sample) { mu.Lock(); live[r]++; mu.Unlock() }
		for repeat := range 2 { // a link serves one run after the other
			tr.Repeat = repeat
			r, err := Drive(t.Context(), tr)
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != results.OK || r.Schema != results.Schema || r.Repeat != repeat || r.Cell == "" || r.Command != tr.Command ||
				len(r.Settings) != 1 {
				t.Errorf("record: %+v", r)
			}
			for _, e := range []*results.End{r.RX, r.TX} {
				if e.ZeroCopiedBytes+e.CopiedBytes != e.Bytes || e.Bytes == 0 {
					t.Errorf("%d zero-copied + %d copied of %d bytes", e.ZeroCopiedBytes, e.CopiedBytes, e.Bytes)
				}
				if e.CPUPercent == nil || *e.CPUPercent <= 0 {
					t.Errorf("CPU %v", e.CPUPercent)
				}
			}
			if got := r.RX.Counters["validated_bytes"]; got != r.RX.Counters["total_bytes"] || got == 0 {
				t.Errorf("validated %v of %v bytes", got, r.RX.Counters["total_bytes"])
			}
			if got, want := r.Gbps, float64(r.RX.Bytes)*8/1e9/r.Window; math.Abs(got-want) > 1e-9 {
				t.Errorf("gbps %v, want %v", got, want)
			}
			if r.ROI.CPU.Total == nil {
				t.Fatalf("no ROI: %q", r.Warnings)
			}
			if got, want := *r.ROI.CPU.Total, r.Gbps*r.Gbps/(*r.RX.CPUPercent+*r.TX.CPUPercent); math.Abs(got-want) > 1e-9*want {
				t.Errorf("total ROI %v, want %v", got, want)
			}
			if r.Window < 0.25 {
				t.Errorf("window of %v s", r.Window)
			}
			var inSamples uint64
			for _, s := range r.Samples {
				if s.End == "rx" {
					inSamples += s.Bytes
				}
			}
			if inSamples != r.RX.Bytes {
				t.Errorf("samples add up to %d bytes, the window has %d", inSamples, r.RX.Bytes)
			}
		}
		if live[endpoint.RX] == 0 || live[endpoint.TX] != 0 {
			t.Errorf("live samples: %v; only the receiver was asked", live)
		}
		if n := opened.Load(); n != 0 {
			t.Errorf("%d sessions left open", n)
		}
	}
}

func TestDriveFailures(t *testing.T) {
	tier.Long(t)
	boom := errors.New("boom")
	unsupported := fault.Errorf(fault.Unsupported, "no such hardware; buy it")
	for name, tc := range map[string]struct {
		rx, tx endpointtest.Plain
		change func(*Run)
		kind   fault.Kind
		text   string
		status results.Status
	}{
		"receiver cannot open": {rx: endpointtest.Plain{OpenErr: unsupported}, kind: fault.Unsupported, text: "buy it", status: results.Skipped},
		"sender cannot open":   {tx: endpointtest.Plain{OpenErr: unsupported}, kind: fault.Unsupported, text: "buy it", status: results.Skipped},
		"receiver's worker cannot": {rx: endpointtest.Plain{WorkerErr: boom}, kind: fault.Failed,
			text: "receiver: rx engine plain, worker 0: boom", status: results.Failed},
		"receiver fails in mid-run": {rx: endpointtest.Plain{RunErr: boom}, kind: fault.Failed, text: "boom", status: results.Failed},
		"sender fails in mid-run":   {tx: endpointtest.Plain{RunErr: boom}, kind: fault.Failed, status: results.Failed},
		"payload is corrupted": {rx: endpointtest.Plain{Corrupt: true}, change: func(t *Run) { t.RXWant.Validate = true },
			kind: fault.Failed, text: "payload differs at byte", status: results.Failed},
		"ends count differently": {tx: endpointtest.Plain{Skew: 1}, kind: fault.Failed, text: "one of them is wrong", status: results.Failed},
		"unknown engine": {change: func(t *Run) { t.RXWant.Engine = "warp" }, kind: fault.Usage,
			text: `unknown rx engine "warp"; there are: plain`, status: results.Failed},
		"length zero": {change: func(t *Run) { t.TXWant.Length = 0 }, kind: fault.Usage, text: "length", status: results.Failed},
		"no such CPU": {change: func(t *Run) { t.RXWant.CPUs = []int{9999} }, kind: fault.Usage, text: "CPU 9999",
			status: results.Failed},
		"nobody listens": {change: func(t *Run) { t.TXWant.Host = "127.0.0.2" }, kind: fault.Unreachable, text: "127.0.0.2",
			status: results.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			tc.rx.Role, tc.tx.Role = endpoint.RX, endpoint.TX
			tr := trial(t, 2, tc.rx, tc.tx)
			if tc.change != nil {
				tc.change(&tr)
			}
			begun := time.Now()
			r, err := Drive(t.Context(), tr)
			if err == nil || fault.Of(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v of kind %s, want %q of kind %s", err, fault.Of(err), tc.text, tc.kind)
			}
			if r.Status != tc.status || r.Reason == "" || r.RX == nil || r.TX == nil {
				t.Errorf("record: %+v", r)
			}
			if d := time.Since(begun); d > 4*time.Second {
				t.Errorf("it took %s to notice", d)
			}
		})
	}
}

// A driver that goes away in mid-run leaves neither threads nor sockets.
func TestDriverVanishes(t *testing.T) {
	before := endpointtest.FDs(t)
	var opened atomic.Int64
	func() {
		tr := trial(t, 2, endpointtest.Plain{Role: endpoint.RX, Opened: &opened}, endpointtest.Plain{Role: endpoint.TX, Opened: &opened})
		tr.RXWant.Time, tr.TXWant.Time = time.Minute, time.Minute
		tr.LiveRX = true
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := fault.Errorf(fault.Interrupted, "enough")
		tr.Live = func(endpoint.Role, wire.Sample) { cancel(interrupted) }
		_, err := Drive(ctx, tr)
		if !errors.Is(err, interrupted) {
			t.Errorf("error %v, want %v", err, interrupted)
		}
	}()
	endpointtest.Eventually(t, "sessions closed", func() bool { return opened.Load() == 0 })
	endpointtest.Eventually(t, "descriptors closed", func() bool { return endpointtest.FDs(t) <= before })
}

// server runs an agent on a TCP port as rx does.
func server(t *testing.T, a *agent.Agent) string {
	t.Helper()
	a.Version, a.DataPort = "test", endpointtest.FreePorts(t, 4)
	if a.RX == nil {
		a.RX = []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}
	}
	return endpointtest.Listen(t, a.Listen)
}

func dialServer(t *testing.T, addr string, token []byte) (*Client, error) {
	t.Helper()
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient("receiver", conn, token, "test")
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func TestToken(t *testing.T) {
	right, wrong := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	open, closed := server(t, &agent.Agent{}), server(t, &agent.Agent{Token: right})
	for _, tc := range []struct {
		name, addr string
		token      []byte
		kind       fault.Kind // "": let in
	}{
		{"no token anywhere", open, nil, ""},
		{"right token", closed, right, ""},
		{"wrong token", closed, wrong, fault.Denied},
		{"token missing", closed, nil, fault.Denied},
		{"receiver cannot prove itself", open, right, fault.Denied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := dialServer(t, tc.addr, tc.token)
			if tc.kind == "" {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			if err == nil || fault.Of(err) != tc.kind {
				t.Errorf("error %v, want one of kind %s", err, tc.kind)
			}
		})
		time.Sleep(20 * time.Millisecond) // let the served one's lock go
	}
}

// Who has the token has the receiver from the handshake on.
func TestOneDriverAtATime(t *testing.T) {
	tier.Long(t)
	token := []byte("0123456789abcdef")
	addr := server(t, &agent.Agent{Token: token})
	c, err := dialServer(t, addr, token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialServer(t, addr, token); err == nil || fault.Of(err) != fault.Denied || !strings.Contains(err.Error(), "another run") {
		t.Errorf("second driver: %v", err)
	}
	c.Close()
	endpointtest.Eventually(t, "the port is free again", func() bool {
		c, err := dialServer(t, addr, token)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func TestStrangersAreBounded(t *testing.T) {
	addr := server(t, &agent.Agent{Limits: wire.Limits{Time: time.Second, Flows: 4, Memory: 1 << 20}})
	base := wire.Prepare{Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000,
		Pattern: endpoint.Pattern{Period: 1000}, Time: time.Second / 2, Scope: wire.ScopeHost}
	for name, tc := range map[string]struct {
		change func(*wire.Prepare)
		kind   fault.Kind
	}{
		"sender":        {func(p *wire.Prepare) { p.Role = endpoint.TX }, fault.Denied},
		"host":          {func(p *wire.Prepare) { p.Host = "192.0.2.1" }, fault.Denied},
		"bind":          {func(p *wire.Prepare) { p.Bind = "127.0.0.1" }, fault.Denied},
		"interface":     {func(p *wire.Prepare) { p.Interface = "eth0" }, fault.Denied},
		"options":       {func(p *wire.Prepare) { p.Options = map[string]string{"a": "b"} }, fault.Denied},
		"congestion":    {func(p *wire.Prepare) { p.Congestion = "bbr" }, fault.Denied},
		"data port":     {func(p *wire.Prepare) { p.DataPort = 22 }, fault.Denied},
		"raw":           {func(p *wire.Prepare) { p.Raw = true }, fault.Denied},
		"verify":        {func(p *wire.Prepare) { p.Verify, p.Omit = true, time.Second/10 }, fault.Denied},
		"counters":      {func(p *wire.Prepare) { p.Counters = []string{"all"} }, fault.Denied},
		"profile":       {func(p *wire.Prepare) { p.Profile = true }, fault.Denied},
		"syscalls":      {func(p *wire.Prepare) { p.Syscalls = true }, fault.Denied},
		"too long":      {func(p *wire.Prepare) { p.Time = 2 * time.Second }, fault.Denied},
		"warm-up":       {func(p *wire.Prepare) { p.Omit = time.Second }, fault.Denied},
		"endless":       {func(p *wire.Prepare) { p.Time = 0 }, fault.Usage},
		"flows":         {func(p *wire.Prepare) { p.Flows = 5 }, fault.Denied},
		"many flows":    {func(p *wire.Prepare) { p.Flows = 10000 }, fault.Usage},
		"memory":        {func(p *wire.Prepare) { p.Length, p.Pattern.Period = 1<<20, 1<<20 }, fault.Denied},
		"negative":      {func(p *wire.Prepare) { p.Length = -1 }, fault.Usage},
		"period":        {func(p *wire.Prepare) { p.Pattern.Period = 1001 }, fault.Usage},
		"huge":          {func(p *wire.Prepare) { p.Length, p.Pattern.Period = math.MaxInt, math.MaxInt }, fault.Usage},
		"overflow time": {func(p *wire.Prepare) { p.Time, p.Omit = math.MaxInt64, math.MaxInt64 }, fault.Usage},
		"scope":         {func(p *wire.Prepare) { p.CPUs = []int{-1} }, fault.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			var c *Client
			endpointtest.Eventually(t, "let in", func() bool {
				var err error
				c, err = dialServer(t, addr, nil)
				return err == nil
			})
			defer c.Close()
			p := base
			tc.change(&p)
			_, err := c.prepare(t.Context(), &p)
			if err == nil || fault.Of(err) != tc.kind {
				t.Errorf("error %v, want one of kind %s", err, tc.kind)
			}
			// Refusal does not break the link.
			if _, _, err := c.clockOffset(t.Context()); err != nil {
				t.Errorf("after it: %v", err)
			}
		})
	}
}

func TestGarbage(t *testing.T) {
	addr := server(t, &agent.Agent{})
	for _, words := range []string{"GET / HTTP/1.1\r\n\r\n", "{}\n", "null\n", "\n", "\x00\xff\n", `{"hello":{"magic":"other"}}` + "\n",
		strings.Repeat("x", 1<<20)} {
		conn, err := net.Dial("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write([]byte(words)) // the server may hang up before it is all out
		buf := make([]byte, 4096)
		n, _ := conn.Read(buf)
		if n > 0 && !strings.Contains(string(buf[:n]), "error") {
			t.Errorf("%.20q is answered with %q", words, buf[:n])
		}
		conn.Close()
	}
	// And a driver that meets something else.
	for _, words := range []string{"SSH-2.0-OpenSSH_9.2\r\n", "{}\n", ""} {
		ours, theirs := net.Pipe()
		go func() {
			buf := make([]byte, 4096)
			_, _ = theirs.Read(buf)
			_, _ = theirs.Write([]byte(words))
			theirs.Close()
		}()
		if _, err := NewClient("receiver", ours, nil, "test"); err == nil ||
			fault.Of(err) != fault.Unreachable || !strings.Contains(err.Error(), "tx --raw") {
			t.Errorf("peer that says %q: %v of kind %s", words, err, fault.Of(err))
		}
	}
	// Or that closes the connection with what was sent unread, which resets it.
	ours, theirs := endpointtest.PairTCP(t)
	if err := theirs.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	if _, err := NewClient("receiver", ours, nil, "test"); err == nil || fault.Of(err) != fault.Unreachable || !strings.Contains(err.Error(),
		"it closed the connection during the handshake (no zcbench seems to be there") {
		t.Errorf("peer that resets: %v of kind %s", err, fault.Of(err))
	}
}

// A sender whose receiver is stuck is cut off after the window, not waited for.
func TestStuckReceiverIsCut(t *testing.T) {
	tier.Long(t)
	tr := trial(t, 1, stuck{endpointtest.Plain{Role: endpoint.RX}}, endpointtest.Plain{Role: endpoint.TX})
	begun := time.Now()
	r, err := Drive(t.Context(), tr)
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
	if err == nil || !strings.Contains(err.Error(), "took none of the") {
		t.Errorf("error %v, record %+v", err, r)
	}
}

type stuck struct{ endpointtest.Plain }

func (s stuck) Open(p endpoint.Params) (endpoint.Session, error) {
	session, err := s.Plain.Open(p)
	return stuckSession{session}, err
}

type stuckSession struct{ endpoint.Session }

func (s stuckSession) Worker(int) (endpoint.Worker, error) { return stuckWorker{}, nil }

type stuckWorker struct{}

func (stuckWorker) Close() error { return nil }

// Run waits for the peer to hang up, and never reads.
func (stuckWorker) Run(conns []endpoint.Conn, _ *endpoint.Stop) error {
	pfd := []unix.PollFd{{Fd: int32(conns[0].FD), Events: unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(pfd, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return nil
		}
	}
}
