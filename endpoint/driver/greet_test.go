package driver

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
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

// Data connections are known by what they know, not by where they come from: a
// sender with an address of its own for them, or behind a translator, is let in.
func TestDataFromAnotherAddress(t *testing.T) {
	addr := server(t, &agent.Agent{})
	c, err := dialServer(t, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := trial(t, 3, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	tr.RX.Close()
	tr.RX = c
	tr.RXWant.Bind, tr.RXWant.DataPort = "", 0 // a stranger may not say them
	tr.TXWant.Bind = "127.0.0.3"
	r, err := Drive(t.Context(), tr)
	if err != nil || r.Status != results.OK {
		t.Errorf("%v: %s", err, r.Reason)
	}
}

// intruder comes to the data ports before the sender does and after, in numbers.
type intruder struct {
	endpointtest.Plain
	come func()
}

func (e intruder) Open(p endpoint.Params) (endpoint.Session, error) {
	e.come() // the receiver listens by now
	return e.Plain.Open(p)
}

func TestStrangersOnDataPorts(t *testing.T) {
	const flows, many = 2, 200
	before := endpointtest.FDs(t)
	tr := trial(t, flows, endpointtest.Plain{Role: endpoint.RX}, nil)
	var strangers []net.Conn
	port := tr.RXWant.DataPort
	come := func() {
		for i := range many {
			c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i%flows)))
			if err != nil {
				t.Error(err)
				return
			}
			if i%3 == 0 {
				_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
			}
			strangers = append(strangers, c)
		}
	}
	tr.TX = pipeAgent(t, "sender", &agent.Agent{TX: []endpoint.Engine{intruder{endpointtest.Plain{Role: endpoint.TX}, come}}})
	r, err := Drive(t.Context(), tr)
	if err != nil || r.Status != results.OK || r.RX.Counters["total_bytes"] != r.TX.Counters["total_bytes"] {
		t.Errorf("%v: %s, %v and %v bytes", err, r.Reason, r.RX.Counters["total_bytes"], r.TX.Counters["total_bytes"])
	}
	for _, c := range strangers {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 2*wire.MarkLength)
		n := 0
		for err = nil; err == nil && n < len(buf); {
			var k int
			k, err = c.Read(buf[n:])
			n += k
		}
		if n > wire.MarkLength || wire.TimedOut(err) {
			t.Fatalf("a stranger was left with %d bytes and %v", n, err)
		}
		c.Close()
	}
	tr.RX.Close()
	tr.TX.Close()
	endpointtest.Eventually(t, "descriptors closed", func() bool { return endpointtest.FDs(t) <= before })
}

// A path that drops large packets without a word, after small ones have passed, is
// told from a peer that is dead.
func TestBlackHole(t *testing.T) {
	const passes = 200
	tr := trial(t, 2, endpointtest.Plain{Role: endpoint.RX, Begin: func(fd int, _ *endpoint.Params) {
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
			{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: passes, Jt: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
			{Code: unix.BPF_RET | unix.BPF_K}, // dropped
		}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)),
			Filter: &filter[0]}); err != nil {
			t.Error(err)
		}
	}}, endpointtest.Plain{Role: endpoint.TX})
	r, err := Drive(t.Context(), tr)
	for _, want := range []string{"sender: tx: the connections were made and greeted, and none of the payload got through", "--set-mss",
		"tcp_mtu_probing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	if r.Status != results.Failed || fault.Of(err) != fault.Failed {
		t.Errorf("status %s, kind %s", r.Status, fault.Of(err))
	}
}

// A sender that was cut off leaves no connection behind that goes on sending.
func TestCutSenderLeavesNothing(t *testing.T) {
	tier.Long(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close() // and never reads
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	tr.RX.Close()
	tr.RX = nil
	tr.TXWant.Raw, tr.TXWant.DataPort = true, port
	r, err := Drive(t.Context(), tr)
	if err != nil || r.TX.Counters["total_bytes"] == 0 {
		t.Fatalf("%v: %q", err, r.Warnings)
	}
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", port)) && !strings.HasPrefix(f[4], "00000000:") {
			t.Errorf("a connection in state %s has %s still to send", f[3], f[4])
		}
	}
}
