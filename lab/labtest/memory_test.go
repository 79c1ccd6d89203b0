package labtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/genl"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/udmabuf"
)

// dmabuf makes a dma-buf for the test.
func dmabuf(t testing.TB, size int) *udmabuf.Buffer {
	t.Helper()
	b, err := udmabuf.New(size, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// hugePages has huge pages for the test.
func hugePages(t testing.TB, n int) {
	t.Helper()
	const file = "/proc/sys/vm/nr_hugepages"
	old, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strconv.Itoa(n)), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, old, 0); err != nil {
			t.Error(err)
		}
	})
}

// tryBind binds a queue of rx until the function it returns is called.
func (r *rig) tryBind(fd int, queue, pageSize uint32) (id uint32, unbind func() error, err error) {
	var c *netdev.Conn
	if err := r.rx.Do(func() (err error) { c, err = netdev.Dial(); return err }); err != nil {
		return 0, nil, err
	}
	id, err = c.BindRX(r.rx.ifindex, fd, []uint32{queue}, pageSize)
	if err != nil {
		return 0, nil, errors.Join(err, c.Close())
	}
	return id, c.Close, nil
}

func (r *rig) bind(t testing.TB, fd int, queue, pageSize uint32) (id uint32, unbind func()) {
	t.Helper()
	id, free, err := r.tryBind(fd, queue, pageSize)
	if err != nil {
		t.Fatal(err)
	}
	return id, func() {
		if err := free(); err != nil {
			t.Error(err)
		}
	}
}

// flushDeferred has every CPU free the skbs that other CPUs left for it to free:
// it does so when it next receives something, of which there may be nothing.
func (s side) flushDeferred(t testing.TB) {
	t.Helper()
	if err := s.Do(func() error {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer c.Close()
		for cpu := range runtime.NumCPU() {
			var set unix.CPUSet
			set.Set(cpu)
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				return err
			}
			if _, err := c.WriteTo(block[:8], c.LocalAddr()); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// settled waits until a port has no page pool that waits for its pages, and
// none at all when it is down.
func (s side) settled(t testing.TB, down bool) {
	t.Helper()
	var left []netdev.PagePool
	for range 500 {
		s.flushDeferred(t)
		pools, err := s.dev.PagePools(s.ifindex)
		if err != nil {
			t.Fatal(err)
		}
		left = nil
		for _, p := range pools {
			if down || p.Detached {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%s: page pools that do not end: %+v; sockets there:\n%s", s.Interface, left, s.run(t, "ss", "-tamn"))
}

func TestBindRefuses(t *testing.T) {
	r := newRig(t)
	b := dmabuf(t, 1<<20)
	r.rx.rings(t, ethtool.Values{"tcp-data-split": splitOff, "hds-thresh": 0})
	refused := func(name string, queue uint32, fd int, pageSize uint32, errno unix.Errno, text string) {
		t.Helper()
		_, unbind, err := r.tryBind(fd, queue, pageSize)
		if err == nil {
			defer unbind()
		}
		var e *genl.Error
		if !errors.As(err, &e) || e.Errno != errno || text != "" && e.Message != text {
			t.Errorf("%s: %v, want %v %q", name, err, errno, text)
		}
	}
	refused("split off", 7, b.FD(), 0, unix.EINVAL, "tcp-data-split is disabled")
	if err := r.rx.eth.SetRings("zc1", ethtool.Values{"tcp-data-split": splitOn, "hds-thresh": 64}); err != nil {
		t.Fatal(err)
	}
	refused("threshold", 7, b.FD(), 0, unix.EINVAL, "hds-thresh is not zero")
	if err := r.rx.eth.SetRings("zc1", ethtool.Values{"hds-thresh": 0}); err != nil {
		t.Fatal(err)
	}
	refused("no such queue", 8, b.FD(), 0, unix.EINVAL, "")
	refused("no dma-buf", 7, -1, 0, unix.EBADF, "")
	refused("odd page size", 7, b.FD(), 128<<10, unix.EINVAL, "")

	_, unbind := r.bind(t, b.FD(), 7, 0)
	refused("twice", 7, b.FD(), 0, unix.EEXIST, "designated queue already memory provider bound")
	if err := r.rx.eth.SetRings("zc1", ethtool.Values{"tcp-data-split": splitOff}); err == nil {
		t.Error("header split went off under a binding")
	}
	if err := r.rx.eth.SetChannels("zc1", ethtool.Values{"combined-count": 4}); err == nil {
		t.Error("queue 7 went away under a binding")
	}
	unbind()
}

func TestBindingIsSeenAndEnds(t *testing.T) {
	r := newRig(t)
	r.split(t)
	hugePages(t, 8) // those of one binding may come back after the next has begun
	sizes := []uint32{0}
	if !strings.Contains(r.rx.run(t, "uname", "-r"), "7.2.") { // bind-rx has rx-page-size since 7.3
		sizes = append(sizes, 16<<10, 64<<10)
	}
	for _, pageSize := range sizes {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			b, err := udmabuf.New(4<<20, true)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			id, unbind := r.bind(t, b.FD(), 7, pageSize)
			q, err := r.rx.dev.Queue(r.rx.ifindex, netdev.RX, 7)
			if err != nil || q.DMABuf != id {
				t.Errorf("queue 7 is %+v (%v), want binding %d", q, err, id)
			}
			pools, err := r.rx.dev.PagePools(r.rx.ifindex)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, p := range pools {
				found = found || p.DMABuf == id && p.Inflight > 0
			}
			if !found {
				t.Errorf("no page pool has taken buffers of binding %d: %+v", id, pools)
			}
			unbind()
			q, err = r.rx.dev.Queue(r.rx.ifindex, netdev.RX, 7)
			if err != nil || !q.Free() {
				t.Errorf("after the socket is closed queue 7 is %+v (%v)", q, err)
			}
			r.rx.settled(t, false)
		})
	}
}

// TestBindingOutlivesTheLink binds while the port is down, and flaps it.
func TestBindingOutlivesTheLink(t *testing.T) {
	r := newRig(t)
	r.split(t)
	b := dmabuf(t, 1<<20)
	r.rx.down(t)
	id, unbind := r.bind(t, b.FD(), 7, 0)
	for range 2 {
		r.rx.up(t)
		q, err := r.rx.dev.Queue(r.rx.ifindex, netdev.RX, 7)
		if err != nil || q.DMABuf != id {
			t.Errorf("queue 7 is %+v (%v), want binding %d", q, err, id)
		}
		r.rx.down(t)
	}
	unbind()
	r.rx.settled(t, true)
	r.rx.up(t)
	r.transfer(t, 1<<20, 0, false)
}

// victim opens one connection after the other to a queue that others bind and
// unbind, until it is stopped. What arrives in a dma-buf it cannot read, and
// what was under way in a restart is lost; neither is its business.
func (r *rig) victim(t testing.TB, port uint16) (stop func()) {
	t.Helper()
	var l net.Listener
	if err := r.rx.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(r.rx.Addr4, port).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(200 * time.Millisecond))
			io.Copy(io.Discard, c)
			// Without a farewell, which may be lost and would keep the
			// namespace.
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			r.tx.Do(func() error {
				d := net.Dialer{Timeout: 200 * time.Millisecond}
				c, err := d.Dial("tcp", l.Addr().String())
				if err != nil {
					return err
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(100 * time.Millisecond))
				for ctx.Err() == nil {
					if _, err := c.Write(block); err != nil {
						return err
					}
				}
				return nil
			})
		}
	})
	return func() {
		cancel()
		l.Close()
		wg.Wait()
	}
}

func TestQueueRestartsUnderTraffic(t *testing.T) {
	r := newRig(t)
	r.split(t)
	r.away(t)
	b := dmabuf(t, 1<<20)
	r.rule(t, ethtool.Rule{Match: ethtool.Match{Dst: r.rx.Addr4, DstPort: 7001}, Queue: 7})
	stop := r.victim(t, 7001)
	l := r.load(t, 4, 0)
	restarts := r.rx.counter(t, "rx_queue_restarts")
	for i := range 20 {
		_, unbind := r.bind(t, b.FD(), uint32(6+i%2), 0)
		l.moves(t)
		unbind()
		l.moves(t)
	}
	if n := r.rx.counter(t, "rx_queue_restarts") - restarts; n != 40 {
		t.Errorf("%d queue restarts, want 40", n)
	}
	stop()
	l.stop(t)
	r.rx.settled(t, false)
}

// TestEmptyPoolDrops sends more to a bound queue than its dma-buf holds, with
// nobody reading: that is counted, and the other queues do not suffer.
func TestEmptyPoolDrops(t *testing.T) {
	r := newRig(t)
	r.split(t)
	r.away(t)
	// Less than the receive window, and than one super-frame.
	b := dmabuf(t, 32<<10)
	_, unbind := r.bind(t, b.FD(), 7, 0)
	defer unbind()
	r.rule(t, ethtool.Rule{Match: ethtool.Match{Dst: r.rx.Addr4, DstPort: 7001}, Queue: 7})
	tx, _ := r.conns(t, 1, 7001, false)
	before := r.rx.counter(t, "rx_drop_no_buffer")
	tx[0].SetWriteDeadline(time.Now().Add(3 * time.Second))
	for sent := 0; sent < 8<<20; {
		n, err := tx[0].Write(block)
		sent += n
		if err != nil {
			break
		}
	}
	r.transfer(t, 8<<20, 0, false)
	if r.rx.counter(t, "rx_drop_no_buffer") == before {
		t.Error("no drop was counted")
	}
	tx[0].SetLinger(0)
}
