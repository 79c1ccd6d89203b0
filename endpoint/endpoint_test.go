package endpoint

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

	"zcbench/results"
)

// pipeAgent serves an agent over a pipe and gives a client of it.
func pipeAgent(t *testing.T, name string, a *Agent) *Client {
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

func trial(t *testing.T, flows int, rx, tx Engine) Trial {
	t.Helper()
	p := Prepare{
		Engine: "plain", Flows: flows, Length: 10000, Pattern: Pattern{Seed: 7, Period: 30000},
		Time: 300 * time.Millisecond, Omit: 50 * time.Millisecond, Interval: 100 * time.Millisecond,
		Scope: ScopeThread, DataPort: freePorts(t, flows), Host: "127.0.0.1",
	}
	tr := Trial{RXWant: p, TXWant: p, Settings: map[string]any{"flows": flows}}
	tr.RXWant.Role, tr.RXWant.Host, tr.RXWant.Bind = RX, "", "127.0.0.1"
	tr.TXWant.Role = TX
	tr.RX = pipeAgent(t, "receiver", &Agent{RX: []Engine{rx}})
	tr.TX = pipeAgent(t, "sender", &Agent{TX: []Engine{tx}})
	return tr
}

func TestDrive(t *testing.T) {
	for _, flows := range []int{1, 3} {
		var opened atomic.Int64
		tr := trial(t, flows, plain{role: RX, opened: &opened}, plain{role: TX, opened: &opened})
		tr.RXWant.Validate, tr.TXWant.Validate = true, true
		var mu sync.Mutex
		live := map[Role]int{}
		tr.LiveRX = true
		tr.Settings, tr.Command = map[string]any{"flows": flows}, "zcbench local"
		tr.Live = func(r Role, _ Sample) { mu.Lock(); live[r]++; mu.Unlock() }
		for repeat := range 2 { // a link serves one run after the other
			tr.Repeat = repeat
			r, err := Drive(t.Context(), tr)
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != results.OK || r.Schema != results.Schema || r.Repeat != repeat || r.Cell == "" || r.Command != tr.Command || len(r.Settings) != 1 {
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
		if live[RX] == 0 || live[TX] != 0 {
			t.Errorf("live samples: %v; only the receiver was asked", live)
		}
		if n := opened.Load(); n != 0 {
			t.Errorf("%d sessions left open", n)
		}
	}
}

func TestDriveFailures(t *testing.T) {
	boom := errors.New("boom")
	unsupported := Errorf(Unsupported, "no such hardware; buy it")
	for name, tc := range map[string]struct {
		rx, tx plain
		change func(*Trial)
		kind   Kind
		text   string
		status results.Status
	}{
		"receiver cannot open":      {rx: plain{openErr: unsupported}, kind: Unsupported, text: "buy it", status: results.Skipped},
		"sender cannot open":        {tx: plain{openErr: unsupported}, kind: Unsupported, text: "buy it", status: results.Skipped},
		"receiver's worker cannot":  {rx: plain{workerErr: boom}, kind: Failed, text: "receiver: rx engine plain, worker 0: boom", status: results.Failed},
		"receiver fails in mid-run": {rx: plain{runErr: boom}, kind: Failed, text: "boom", status: results.Failed},
		"sender fails in mid-run":   {tx: plain{runErr: boom}, kind: Failed, status: results.Failed},
		"payload is corrupted":      {rx: plain{corrupt: true}, change: func(t *Trial) { t.RXWant.Validate = true }, kind: Failed, text: "payload differs at byte", status: results.Failed},
		"ends count differently":    {tx: plain{skew: 1}, kind: Failed, text: "one of them is wrong", status: results.Failed},
		"unknown engine":            {change: func(t *Trial) { t.RXWant.Engine = "warp" }, kind: Usage, text: `unknown rx engine "warp"; there are: plain`, status: results.Failed},
		"length zero":               {change: func(t *Trial) { t.TXWant.Length = 0 }, kind: Usage, text: "length", status: results.Failed},
		"no such CPU":               {change: func(t *Trial) { t.RXWant.CPUs = []int{9999} }, kind: Usage, text: "CPU 9999", status: results.Failed},
		"nobody listens":            {change: func(t *Trial) { t.TXWant.Host = "127.0.0.2" }, kind: Unreachable, text: "127.0.0.2", status: results.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			tc.rx.role, tc.tx.role = RX, TX
			tr := trial(t, 2, tc.rx, tc.tx)
			if tc.change != nil {
				tc.change(&tr)
			}
			begun := time.Now()
			r, err := Drive(t.Context(), tr)
			if err == nil || KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v of kind %s, want %q of kind %s", err, KindOf(err), tc.text, tc.kind)
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
	before := fds(t)
	var opened atomic.Int64
	func() {
		tr := trial(t, 2, plain{role: RX, opened: &opened}, plain{role: TX, opened: &opened})
		tr.RXWant.Time, tr.TXWant.Time = time.Minute, time.Minute
		tr.LiveRX = true
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := Errorf(Interrupted, "enough")
		tr.Live = func(Role, Sample) { cancel(interrupted) }
		_, err := Drive(ctx, tr)
		if !errors.Is(err, interrupted) {
			t.Errorf("error %v, want %v", err, interrupted)
		}
	}()
	eventually(t, "sessions closed", func() bool { return opened.Load() == 0 })
	eventually(t, "descriptors closed", func() bool { return fds(t) <= before })
}

// server runs an agent on a TCP port as rx does.
func server(t *testing.T, a *Agent) string {
	t.Helper()
	a.Version, a.DataPort = "test", freePorts(t, 4)
	if a.RX == nil {
		a.RX = []Engine{plain{role: RX}}
	}
	return listenOn(t, a.Listen)
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
	open, closed := server(t, &Agent{}), server(t, &Agent{Token: right})
	for _, tc := range []struct {
		name, addr string
		token      []byte
		kind       Kind // "": let in
	}{
		{"no token anywhere", open, nil, ""},
		{"right token", closed, right, ""},
		{"wrong token", closed, wrong, Denied},
		{"token missing", closed, nil, Denied},
		{"receiver cannot prove itself", open, right, Denied},
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
			if err == nil || KindOf(err) != tc.kind {
				t.Errorf("error %v, want one of kind %s", err, tc.kind)
			}
		})
		time.Sleep(20 * time.Millisecond) // let the served one's lock go
	}
}

// Who has the token has the receiver from the handshake on.
func TestOneDriverAtATime(t *testing.T) {
	token := []byte("0123456789abcdef")
	addr := server(t, &Agent{Token: token})
	c, err := dialServer(t, addr, token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialServer(t, addr, token); err == nil || KindOf(err) != Denied || !strings.Contains(err.Error(), "another run") {
		t.Errorf("second driver: %v", err)
	}
	c.Close()
	eventually(t, "the port is free again", func() bool {
		c, err := dialServer(t, addr, token)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func TestStrangersAreBounded(t *testing.T) {
	addr := server(t, &Agent{Limits: Limits{Time: time.Second, Flows: 4, Memory: 1 << 20}})
	base := Prepare{Role: RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: Pattern{Period: 1000}, Time: time.Second / 2, Scope: ScopeHost}
	for name, tc := range map[string]struct {
		change func(*Prepare)
		kind   Kind
	}{
		"sender":        {func(p *Prepare) { p.Role = TX }, Denied},
		"host":          {func(p *Prepare) { p.Host = "192.0.2.1" }, Denied},
		"bind":          {func(p *Prepare) { p.Bind = "127.0.0.1" }, Denied},
		"interface":     {func(p *Prepare) { p.Interface = "eth0" }, Denied},
		"options":       {func(p *Prepare) { p.Options = map[string]string{"a": "b"} }, Denied},
		"congestion":    {func(p *Prepare) { p.Congestion = "bbr" }, Denied},
		"data port":     {func(p *Prepare) { p.DataPort = 22 }, Denied},
		"raw":           {func(p *Prepare) { p.Raw = true }, Denied},
		"verify":        {func(p *Prepare) { p.Verify, p.Omit = true, time.Second/10 }, Denied},
		"counters":      {func(p *Prepare) { p.Counters = []string{"all"} }, Denied},
		"profile":       {func(p *Prepare) { p.Profile = true }, Denied},
		"syscalls":      {func(p *Prepare) { p.Syscalls = true }, Denied},
		"too long":      {func(p *Prepare) { p.Time = 2 * time.Second }, Denied},
		"warm-up":       {func(p *Prepare) { p.Omit = time.Second }, Denied},
		"endless":       {func(p *Prepare) { p.Time = 0 }, Usage},
		"flows":         {func(p *Prepare) { p.Flows = 5 }, Denied},
		"many flows":    {func(p *Prepare) { p.Flows = 10000 }, Usage},
		"memory":        {func(p *Prepare) { p.Length, p.Pattern.Period = 1<<20, 1<<20 }, Denied},
		"negative":      {func(p *Prepare) { p.Length = -1 }, Usage},
		"period":        {func(p *Prepare) { p.Pattern.Period = 1001 }, Usage},
		"huge":          {func(p *Prepare) { p.Length, p.Pattern.Period = math.MaxInt, math.MaxInt }, Usage},
		"overflow time": {func(p *Prepare) { p.Time, p.Omit = math.MaxInt64, math.MaxInt64 }, Usage},
		"scope":         {func(p *Prepare) { p.CPUs = []int{-1} }, Usage},
	} {
		t.Run(name, func(t *testing.T) {
			var c *Client
			eventually(t, "let in", func() bool {
				var err error
				c, err = dialServer(t, addr, nil)
				return err == nil
			})
			defer c.Close()
			p := base
			tc.change(&p)
			_, err := c.prepare(t.Context(), &p)
			if err == nil || KindOf(err) != tc.kind {
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
	addr := server(t, &Agent{})
	for _, words := range []string{"GET / HTTP/1.1\r\n\r\n", "{}\n", "null\n", "\n", "\x00\xff\n", `{"hello":{"magic":"other"}}` + "\n", strings.Repeat("x", 1<<20)} {
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
		if _, err := NewClient("receiver", ours, nil, "test"); err == nil || KindOf(err) != Unreachable || !strings.Contains(err.Error(), "tx --raw") {
			t.Errorf("peer that says %q: %v of kind %s", words, err, KindOf(err))
		}
	}
	// Or that closes the connection with what was sent unread, which resets it.
	ours, theirs := pairTCP(t)
	if err := theirs.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	if _, err := NewClient("receiver", ours, nil, "test"); err == nil || KindOf(err) != Unreachable || !strings.Contains(err.Error(), "it closed the connection during the handshake (no zcbench seems to be there") {
		t.Errorf("peer that resets: %v of kind %s", err, KindOf(err))
	}
}

// A sender whose receiver is stuck is cut off after the window, not waited for.
func TestStuckReceiverIsCut(t *testing.T) {
	tr := trial(t, 1, stuck{plain{role: RX}}, plain{role: TX})
	begun := time.Now()
	r, err := Drive(t.Context(), tr)
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
	if err == nil || !strings.Contains(err.Error(), "took none of the") {
		t.Errorf("error %v, record %+v", err, r)
	}
}

type stuck struct{ plain }

func (s stuck) Open(p Params) (Session, error) {
	session, err := s.plain.Open(p)
	return stuckSession{session}, err
}

type stuckSession struct{ Session }

func (s stuckSession) Worker(int) (Worker, error) { return stuckWorker{}, nil }

type stuckWorker struct{}

func (stuckWorker) Close() error { return nil }

// Run waits for the peer to hang up, and never reads.
func (stuckWorker) Run(conns []Conn, _ *Stop) error {
	pfd := []unix.PollFd{{Fd: int32(conns[0].FD), Events: unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(pfd, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return nil
		}
	}
}
