// Package endpointtest is what tests of both sides of a run share.
package endpointtest

import (
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"zcbench/endpoint/wire"
)

// given is the first port that no test has been given.
var given atomic.Int64

// FreePorts finds n consecutive free ports, others each time; another process may take
// one before they are used, which the test then reports as such.
func FreePorts(t *testing.T, n int) int {
	t.Helper()
	given.CompareAndSwap(0, int64(20000+os.Getpid()%20000))
search:
	for {
		port := int(given.Add(int64(n+1))) - n - 1
		if port+n > 60000 {
			given.Store(20000)
			continue
		}
		for i := range n {
			l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i)))
			if err != nil {
				continue search
			}
			l.Close()
		}
		return port
	}
}

// FDs is how many descriptors this process has.
func FDs(t *testing.T) int {
	t.Helper()
	runtime.GC()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// Eventually fails the test if something is not so within 3 s.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 100 {
		if ok() {
			return
		}
		time.Sleep(30 * time.Millisecond)
	}
	t.Errorf("not within 3 s: %s", what)
}

// PairTCP gives the two ends of a connection.
func PairTCP(t *testing.T) (a, b net.Conn) {
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

// Token is what drivers of a test know.
var Token = []byte("0123456789abcdef")

// Listen has an agent listen as its Listen does, until the test ends.
func Listen(t *testing.T, agent func(context.Context, net.Listener, bool) error) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent(ctx, l, false) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("listen: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server did not end")
		}
	})
	return l.Addr().String()
}

// Shake shakes hands without a token and gives the link.
func Shake(t *testing.T, addr string) (*wire.Link, net.Conn) {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	k := wire.NewLink(c, wire.MaxReply)
	err = k.Send(wire.Message{Hello: &wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol, Version: "test", Nonce: make([]byte, 32)}})
	if _, e := k.ReceiveHello(); err == nil {
		err = e
	}
	if e := k.Send(wire.Message{Auth: &wire.Auth{}}); err == nil {
		err = e
	}
	m, e := k.Receive()
	if err != nil || e != nil || m.Welcome == nil {
		t.Fatalf("shake hands: %v, %v: %+v", err, e, m)
	}
	return k, c
}

//go:embed testdata
var recorded embed.FS

// OtherBuilds are peers of other builds as they speak: older ones as they were
// recorded, when each met a peer of protocol 3, and one that is still to come, whose
// words have more in them than this build knows.
func OtherBuilds(t *testing.T, end string) map[int][]byte {
	t.Helper()
	newer := map[string]string{
		"agent": `{"hello":{"magic":"zcbench","protocol":99,"version":"9.9","nonce":"","token":true,"shape":{"new":[1,2]}},"since":1}` + "\n",
		"driver": `{"hello":{"magic":"zcbench","protocol":99,"version":"9.9","nonce":"AAAA","shape":"new"},"trace":"x"}` + "\n" +
			`{"auth":{"proof":"z"}}` + "\n",
	}
	all := map[int][]byte{99: []byte(newer[end])}
	for n := 1; n < 3; n++ {
		b, err := recorded.ReadFile(fmt.Sprintf("testdata/protocol%d.%s", n, end))
		if err != nil {
			t.Fatal(err)
		}
		all[n] = b
	}
	return all
}

// SaysBoth are what an error must say of the versions and the protocols of the two ends.
func SaysBoth(protocolOfPeer int) []string {
	theirs := `"0.1.0"`
	if protocolOfPeer == 99 {
		theirs = `"9.9"`
	}
	return []string{theirs, fmt.Sprintf("protocol %d,", protocolOfPeer), `"test"`, fmt.Sprintf("with %d:", wire.Protocol),
		"same zcbench on both ends"}
}
