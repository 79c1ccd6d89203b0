package testutil

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netpair"
	"zcbench/ringcfg"
)

// Lab gives the lab's pair of software NICs; elsewhere it skips the test.
func Lab(t testing.TB) *netpair.Pair {
	t.Helper()
	if os.Getenv("ZCBENCH_LAB") == "" {
		t.Skip("runs in the lab VM (make lab): it needs a NIC with header split and a queue API")
	}
	p, err := netpair.Find("zc0", "zc1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// labPort carries flow 0, and those after it the others.
const labPort = 5302

// Tune keeps queues of the receiving NIC for flows, with header split on and
// other settings as given, until the test ends. It gives the queues' numbers,
// which are consecutive.
func Tune(t testing.TB, p *netpair.Pair, queues, flows int, settings map[string]string) []uint32 {
	t.Helper()
	w := ringcfg.Want{Interface: p.RX.Interface, Queues: queues, Settings: map[string]string{"tcp-data-split": "on", "hds-thresh": "0"}}
	for name, v := range settings {
		w.Settings[name] = v
	}
	// Flow i belongs to queue i, over either version.
	for _, a := range []netip.Addr{p.RX.Addr4, p.RX.Addr6} {
		for i := range flows {
			w.Flows = append(w.Flows, ethtool.Match{Dst: a, DstPort: uint16(labPort + i)})
		}
	}
	var g ringcfg.Grant
	var undo ringcfg.Undo
	j := ringcfg.Journal(t.TempDir())
	if err := p.RX.Do(func() (err error) {
		g, undo, err = ringcfg.Apply(context.Background(), w, j)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.RX.Do(func() error {
			drift, err := undo(context.Background())
			for _, d := range drift {
				err = errors.Join(err, errors.New(d.String()))
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	for i, q := range g.Queues {
		if q != g.Queues[0]+uint32(i) {
			t.Fatalf("queues %v are not consecutive", g.Queues)
		}
	}
	return g.Queues
}

// BoundQueues are the receive queues of the receiving NIC that ordinary memory
// does not back.
func BoundQueues(t testing.TB, p *netpair.Pair) []uint32 {
	t.Helper()
	var bound []uint32
	if err := p.RX.Do(func() error {
		i, err := net.InterfaceByName(p.RX.Interface)
		if err != nil {
			return err
		}
		nd, err := netdev.Dial()
		if err != nil {
			return err
		}
		defer nd.Close()
		queues, err := nd.Queues(i.Index)
		for _, q := range queues {
			if q.Direction == netdev.RX && !q.Free() {
				bound = append(bound, q.ID)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return bound
}

// Ends are two open sessions over a pair of interfaces.
type Ends struct {
	pair   *netpair.Pair
	params endpoint.Params
	RX, TX endpoint.Session
}

// OpenEnds opens an engine in each namespace of a pair, with options of its
// own, until Close.
func OpenEnds(t testing.TB, pair *netpair.Pair, tx, rx endpoint.Engine, txOptions, rxOptions map[string]string, p endpoint.Params) *Ends {
	t.Helper()
	e := &Ends{pair: pair, params: p}
	for _, end := range []struct {
		at      *netpair.End
		engine  endpoint.Engine
		options map[string]string
		session *endpoint.Session
	}{{&pair.RX, rx, rxOptions, &e.RX}, {&pair.TX, tx, txOptions, &e.TX}} {
		p.Interface, p.Options = end.at.Interface, end.options
		if err := end.at.Do(func() (err error) {
			*end.session, err = end.engine.Open(p)
			return err
		}); err != nil {
			e.Close(t)
			t.Fatalf("open %s: %v", end.engine.Name(), err)
		}
	}
	return e
}

// Close closes both sessions.
func (e *Ends) Close(t testing.TB) {
	t.Helper()
	for _, s := range []endpoint.Session{e.TX, e.RX} {
		if s != nil {
			if err := s.Close(); err != nil {
				t.Errorf("close a session: %v", err)
			}
		}
	}
}

// Carry moves at least so many bytes over each flow, and fails the test when an
// engine does, when validation does, or when it makes no progress for 20 s.
func (e *Ends) Carry(t testing.TB, v6 bool, bytes uint64) Outcome {
	t.Helper()
	out, err := e.Try(t, v6, bytes)
	if err != nil {
		t.Error(err)
	}
	return out
}

// Try is Carry for engines that may fail: the first to do so ends the transfer,
// as it does with the agent, and others fail for that.
func (e *Ends) Try(t testing.TB, v6 bool, bytes uint64) (Outcome, error) {
	t.Helper()
	addr := e.pair.RX.Addr4
	if v6 {
		addr = e.pair.RX.Addr6
	}
	rxCrew, txCrew := launch(e.RX, e.pair.RX.Do), launch(e.TX, e.pair.TX.Do)
	rxFDs, txFDs := e.connect(t, addr)
	out := Outcome{}
	var checkers []*endpoint.Checker
	rxConns, txConns := make([]endpoint.Conn, e.params.Flows), make([]endpoint.Conn, e.params.Flows)
	for i := range e.params.Flows {
		rc, tc := &endpoint.Counters{}, &endpoint.Counters{}
		out.RX, out.TX = append(out.RX, rc), append(out.TX, tc)
		consume := func([]byte) {}
		if e.params.Validate {
			c := endpoint.NewChecker(e.params.Pattern, i)
			checkers = append(checkers, c)
			consume = c.Consume
		}
		rxConns[i] = endpoint.Conn{FD: rxFDs[i], Index: i, Counters: rc, Consume: consume}
		txConns[i] = endpoint.Conn{FD: txFDs[i], Index: i, Counters: tc, Consume: func([]byte) {}}
	}
	cut := func() {
		for _, fd := range slices.Concat(rxFDs, txFDs) {
			syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
	}
	rxCrew.cut, txCrew.cut = cut, cut
	var stop endpoint.Stop
	rxDone := rxCrew.start(rxConns, &stop, nil)
	txDone := txCrew.start(txConns, &stop, func(c endpoint.Conn) { syscall.Shutdown(c.FD, syscall.SHUT_WR) })
	var failed error
	last, since := uint64(0), time.Now()
	for running := 2; running > 0; {
		var err error
		name := "receiver"
		select {
		case err = <-rxDone:
			running--
		case err = <-txDone:
			running--
			name = "sender"
		case <-time.After(20 * time.Millisecond):
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
		}
		sum, least := uint64(0), ^uint64(0)
		for _, c := range out.RX {
			sum, least = sum+Bytes(c), min(least, Bytes(c))
		}
		if least >= bytes || err != nil {
			stop.Request()
		}
		if sum != last {
			last, since = sum, time.Now()
		}
		if time.Since(since) > 20*time.Second {
			cut()
			t.Fatalf("no progress for 20 s after %d bytes", sum)
		}
	}
	for _, fd := range append(rxFDs, txFDs...) {
		syscall.Close(fd)
	}
	for i, c := range checkers {
		n, err := c.Result()
		if err != nil {
			t.Errorf("flow %d: %v", i, err)
		}
		out.Checked = append(out.Checked, n)
	}
	return out, failed
}

func (e *Ends) connect(t testing.TB, addr netip.Addr) (rx, tx []int) {
	t.Helper()
	for i := range e.params.Flows {
		at := net.JoinHostPort(addr.String(), strconv.Itoa(labPort+i))
		var l net.Listener
		if err := e.pair.RX.Do(func() (err error) {
			l, err = net.Listen("tcp", at)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var c net.Conn
		if err := e.pair.TX.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", at, 5*time.Second)
			return err
		}); err != nil {
			t.Fatal(fmt.Errorf("connect flow %d: %w", i, err))
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		tx, rx = append(tx, blocking(t, c)), append(rx, blocking(t, s))
	}
	return rx, tx
}
