package labtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netpair"
)

// needLab skips a test outside the lab's VM.
func needLab(t *testing.T) {
	t.Helper()
	if os.Getenv("ZCBENCH_LAB") != "1" {
		t.Skip("needs the lab's VM: make test runs this there")
	}
}

// side is one port of the pair, with sockets to the kernel in its namespace.
type side struct {
	*netpair.End
	ifindex int
	eth     *ethtool.Conn
	dev     *netdev.Conn
}

// rig is the pair: traffic goes from tx (zc0) to rx (zc1).
type rig struct{ tx, rx side }

func newRig(t *testing.T) *rig {
	t.Helper()
	needLab(t)
	return openRig(t, "zcnic")
}

// openRig opens the pair, which has to say that its driver is this one.
func openRig(t *testing.T, driver string) *rig {
	t.Helper()
	pair, err := netpair.Find("zc0", "zc1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pair.Close() })
	r := &rig{tx: side{End: &pair.TX}, rx: side{End: &pair.RX}}
	for _, s := range []*side{&r.tx, &r.rx} {
		err := s.Do(func() error {
			ifi, err := net.InterfaceByName(s.Interface)
			if err != nil {
				return err
			}
			s.ifindex = ifi.Index
			if s.eth, err = ethtool.Dial(); err != nil {
				return err
			}
			s.dev, err = netdev.Dial()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.eth.Close(); s.dev.Close() })
	}
	if d, err := r.rx.eth.Driver("zc1"); err != nil || d.Name != driver {
		t.Fatalf("zc1 has driver %q (%v), not %s", d.Name, err, driver)
	}
	return r
}

// try runs a command in the side's namespace and returns what it prints.
func (s side) try(argv ...string) (string, error) {
	var out []byte
	err := s.Do(func() (err error) {
		out, err = exec.Command(argv[0], argv[1:]...).CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), err
}

// run is try for what has to succeed.
func (s side) run(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := s.try(argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// counter reads one of the driver's own counters.
func (s side) counter(t testing.TB, name string) uint64 {
	t.Helper()
	for line := range strings.Lines(s.run(t, "ethtool", "-S", s.Interface)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if k == name {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				t.Fatalf("ethtool -S: %q: %v", line, err)
			}
			return n
		}
	}
	t.Fatalf("ethtool -S %s has no %s", s.Interface, name)
	return 0
}

// packets reads the packets that each queue received.
func (s side) packets(t testing.TB) []uint64 {
	t.Helper()
	stats, err := s.dev.QueueStats(s.ifindex)
	if err != nil {
		t.Fatal(err)
	}
	var n []uint64
	for _, q := range stats {
		if q.Direction != netdev.RX {
			continue
		}
		for len(n) <= int(q.ID) {
			n = append(n, 0)
		}
		n[q.ID] = q.Counters["rx-packets"]
	}
	return n
}

// total reads a device-wide statistic of the netdev family.
func (s side) total(t testing.TB, name string) uint64 {
	t.Helper()
	stats, err := s.dev.Stats(s.ifindex)
	if err != nil {
		t.Fatal(err)
	}
	n, ok := stats[name]
	if !ok {
		t.Fatalf("no %s among the statistics of %s: %v", name, s.Interface, stats)
	}
	return n
}

// rings writes ring settings and puts the old ones back in the end.
func (s side) rings(t testing.TB, v ethtool.Values) {
	t.Helper()
	old, err := s.eth.Rings(s.Interface)
	if err != nil {
		t.Fatal(err)
	}
	back := ethtool.Values{}
	for name := range v {
		back[name] = old[name]
	}
	if err := s.eth.SetRings(s.Interface, v); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.eth.SetRings(s.Interface, back); err != nil {
			t.Error(err)
		}
	})
}

// feature switches an offload and puts the old state back in the end.
func (s side) feature(t testing.TB, name string, on bool) {
	t.Helper()
	old, err := s.eth.Features(s.Interface)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.eth.SetFeatures(s.Interface, map[string]bool{name: on}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.eth.SetFeatures(s.Interface, map[string]bool{name: old[name].Active}); err != nil {
			t.Error(err)
		}
	})
}

// param writes a parameter of the module, and 0 in the end.
func param(t testing.TB, name string, value int) {
	t.Helper()
	write := func(v int) error {
		return os.WriteFile("/sys/module/zcnic/parameters/"+name, []byte(strconv.Itoa(v)), 0)
	}
	if err := write(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := write(0); err != nil {
			t.Error(err)
		}
	})
}

// split turns header split on for the test.
func (r *rig) split(t testing.TB) {
	t.Helper()
	const enabled, disabled = 2, 1 // ETHTOOL_TCP_DATA_SPLIT_*
	r.rx.rings(t, ethtool.Values{"tcp-data-split": enabled, "hds-thresh": 0})
}

// conns makes TCP connections from tx to rx. Port 0 is any.
func (r *rig) conns(t testing.TB, n int, port uint16, v6 bool) (tx, rx []*net.TCPConn) {
	t.Helper()
	from, to := r.tx.Addr4, r.rx.Addr4
	if v6 {
		from, to = r.tx.Addr6, r.rx.Addr6
	}
	var l net.Listener
	if err := r.rx.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(to, port).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range n {
		if err := r.tx.Do(func() error {
			d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
			c, err := d.Dial("tcp", l.Addr().String())
			if err != nil {
				return err
			}
			tx = append(tx, c.(*net.TCPConn))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		rx = append(rx, c.(*net.TCPConn))
	}
	for i := range n {
		t.Cleanup(func() { tx[i].Close(); rx[i].Close() })
	}
	return tx, rx
}

// block is what streams repeat. Every eight bytes of it differ from all others,
// so that nothing lost, doubled or moved goes unseen.
var block = func() []byte {
	b := make([]byte, 0, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for len(b) < cap(b) {
		b = binary.LittleEndian.AppendUint64(b, rnd.Uint64())
	}
	return b
}()

// stream checks that what r reads is block, over and over.
type stream struct{ off int }

func (s *stream) check(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), len(block)-s.off%len(block))
		if want := block[s.off%len(block):][:n]; !bytes.Equal(p[:n], want) {
			return fmt.Errorf("wrong data at byte %d of the stream or within %d after it", s.off, n)
		}
		s.off += n
		p = p[n:]
	}
	return nil
}

// transfer moves size bytes over one new connection and checks them.
func (r *rig) transfer(t testing.TB, size int, port uint16, v6 bool) {
	t.Helper()
	tx, rx := r.conns(t, 1, port, v6)
	deadline := time.Now().Add(60 * time.Second)
	tx[0].SetDeadline(deadline)
	rx[0].SetDeadline(deadline)
	sent := make(chan error, 1)
	go func() {
		for left := size; left > 0; {
			n, err := tx[0].Write(block[(size-left)%len(block):][:min(left, len(block)-(size-left)%len(block))])
			if err != nil {
				sent <- err
				return
			}
			left -= n
		}
		sent <- tx[0].CloseWrite()
	}()
	var s stream
	buf := make([]byte, 256<<10)
	for {
		n, err := rx[0].Read(buf)
		if cerr := s.check(buf[:n]); cerr != nil {
			t.Fatal(cerr)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", s.off, size, err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if s.off != size {
		t.Fatalf("received %d of %d bytes", s.off, size)
	}
}

// load is traffic that goes on until it is stopped, checked as it arrives.
type load struct {
	bytes  atomic.Uint64
	cancel context.CancelFunc
	done   chan error
	n      int
}

// load starts n connections' worth of traffic.
func (r *rig) load(t testing.TB, n int, port uint16) *load {
	t.Helper()
	tx, rx := r.conns(t, n, port, false)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, done: make(chan error, n), n: n}
	for i := range n {
		go func() {
			for off := 0; ctx.Err() == nil; {
				m, err := tx[i].Write(block[off%len(block):][:min(64<<10, len(block)-off%len(block))])
				if err != nil {
					break
				}
				off += m
			}
			tx[i].CloseWrite()
		}()
		go func() {
			var s stream
			buf := make([]byte, 256<<10)
			for {
				m, err := rx[i].Read(buf)
				l.bytes.Add(uint64(m))
				if cerr := s.check(buf[:m]); cerr != nil {
					l.done <- cerr
					return
				}
				if err != nil {
					if errors.Is(err, io.EOF) {
						err = nil
					}
					l.done <- err
					return
				}
			}
		}()
	}
	t.Cleanup(cancel)
	return l
}

// moves waits until more data has arrived than had when it was called.
func (l *load) moves(t testing.TB) {
	t.Helper()
	const some = 1 << 20
	goal := l.bytes.Load() + some
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if l.bytes.Load() >= goal {
			return
		}
		select {
		case err := <-l.done:
			t.Fatalf("traffic ended: %v", err)
		default:
		}
	}
	t.Fatalf("traffic does not move: %d bytes in 60 s, want %d", some-(goal-l.bytes.Load()), some)
}

// stop ends the traffic and checks that all of it arrived.
func (l *load) stop(t testing.TB) {
	t.Helper()
	l.cancel()
	for range l.n {
		select {
		case err := <-l.done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("traffic does not end")
		}
	}
}
