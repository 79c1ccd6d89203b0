package agent

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/alarm"
	"zcbench/internal/fault"
)

// More strangers than there is room for do not keep the run's connection out: the
// oldest go. Nor does their number grow.
func TestCrowdIsBounded(t *testing.T) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || lim.Cur < 6*maxGuests {
		t.Skipf("needs %d descriptors, has %d", 6*maxGuests, lim.Cur)
	}
	p := &wire.Prepare{Flows: 1, DataPort: endpointtest.FreePorts(t, 1), Bind: "127.0.0.1"}
	listeners, err := listen(p)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(listeners)
	h, err := welcome(t.Context(), listeners)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	var latest net.Conn
	for range maxGuests + 100 {
		c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.DataPort)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, wire.MarkLength)); err != nil {
			t.Fatalf("stranger %d: %v", sent, err)
		}
		sent++
		latest = c
	}
	h.quit()
	h.over.Wait()
	_ = latest.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := latest.Read(make([]byte, 1)); !wire.TimedOut(err) {
		t.Errorf("the latest of them was sent away: %v", err)
	}
	if n := len(h.guests); n != maxGuests+1 {
		t.Errorf("%d connections are kept of %d, want %d", n, sent, maxGuests+1)
	}
	h.close()
}

// A connection of the run that had to go for others is no sender's mistake.
func TestCrowdIsSaid(t *testing.T) {
	p := &wire.Prepare{Flows: 1, DataPort: endpointtest.FreePorts(t, 1), Bind: "127.0.0.1"}
	listeners, err := listen(p)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(listeners)
	ctx, quit := context.WithCancel(t.Context())
	h := &host{listeners: listeners, most: 1, quit: quit}
	bell, err := alarm.New(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.over.Go(func() {
		defer bell.Close()
		h.err = h.serve(ctx, bell)
	})
	var first []byte
	for range 2 {
		c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.DataPort)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		mark := make([]byte, wire.MarkLength)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(c, mark); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = mark
		}
	}
	if _, err := h.meet([][]byte{first}); err == nil || !strings.Contains(err.Error(),
		"is not among those that are kept: more connections came to the receiver's data ports than the 1 that it keeps") {
		t.Errorf("the first of two: %v", err)
	}
	h.short.Store(true)
	if text := h.crowd(); !strings.Contains(text, "ran out of descriptors") || !strings.Contains(text, "ulimit -n") {
		t.Error(text)
	}
}

// A receiver far away answers late: connections are made side by side, or many of
// them would take many round trips. This one answers nobody before half of those
// that may be on their way at once have come.
func TestConnectSideBySide(t *testing.T) {
	const flows = 2*wire.AtOnce + 5
	p := &wire.Prepare{Flows: flows, DataPort: endpointtest.FreePorts(t, flows), Host: "127.0.0.1", Bind: "127.0.0.1"}
	listeners, err := listen(p)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(listeners)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	want := map[string]bool{}
	go func() {
		defer close(served)
		var waiting []int
		defer func() { closeAll(waiting) }()
		for came := 0; came < flows && ctx.Err() == nil; {
			for _, l := range listeners {
				fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
				if err != nil {
					continue
				}
				came++
				waiting = append(waiting, fd)
			}
			if came%wire.AtOnce == 0 || came == flows {
				for _, fd := range waiting {
					mark := make([]byte, wire.MarkLength)
					_, _ = rand.Read(mark)
					want[string(mark)] = true
					_, _ = unix.Write(fd, mark[:5]) // in pieces
					_, _ = unix.Write(fd, mark[5:])
				}
				closeAll(waiting)
				waiting = nil
			}
			time.Sleep(time.Millisecond)
		}
	}()
	fds, marks, err := connect(t.Context(), p, wire.ConnectWait)
	cancel()
	<-served
	if err != nil {
		t.Fatal(err)
	}
	closeAll(fds)
	for i, m := range marks {
		if !want[string(m)] {
			t.Errorf("flow %d has the mark %x, which nobody gave", i, m)
		}
	}
}

// What is no receiver, or does not run, is told from one that cannot be reached.
func TestConnectToOthers(t *testing.T) {
	p := &wire.Prepare{Flows: 1, DataPort: endpointtest.FreePorts(t, 1), Host: "127.0.0.1", Bind: "127.0.0.1"}
	if _, _, err := connect(t.Context(), p, wire.ConnectWait); fault.Of(err) != fault.Unreachable ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.DataPort)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, err := connect(t.Context(), p, 300*time.Millisecond); fault.Of(err) != fault.Unreachable ||
		!strings.Contains(err.Error(), "no mark came within 300ms") {
		t.Errorf("one that is stopped: %v", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0"))
			c.Close()
		}
	}()
	if _, _, err := connect(t.Context(), p, wire.ConnectWait); fault.Of(err) != fault.Unreachable ||
		!strings.Contains(err.Error(), "it is not the receiver") {
		t.Errorf("another program: %v", err)
	}
}
