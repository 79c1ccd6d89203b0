package power

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"zcbench/internal/fault"
)

// bench is an instrument of ours: it answers as the manual of the WT300 says,
// and some queries of other makes.
type bench struct {
	mu      sync.Mutex
	values  string            // the answer to :NUMERIC:NORMAL:VALUE?
	state   string            // of the integrator
	answers map[string]string // to other queries
	heard   []string
}

// say gives the answer to a message, "" where there is none.
func (b *bench) say(message string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = append(b.heard, message)
	switch message {
	case "*IDN?":
		return "YOKOGAWA,WT310E,91K225903,F1.04"
	case ":RATE?":
		return "250.0E-03"
	case ":NUMERIC:NORMAL:VALUE?":
		return b.values
	case ":INTEGRATE:STATE?":
		return b.state
	}
	return b.answers[message]
}

func (b *bench) set(values, state string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values, b.state = values, state
}

// serve runs a server on a port of its own and gives its address and a function
// that breaks all its connections.
func serve(t *testing.T, handle func(net.Conn)) (address string, hangUp func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			running.Go(func() {
				handle(c)
				c.Close()
			})
		}
	})
	hangUp = func() {
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			c.Close()
			delete(open, c)
		}
	}
	t.Cleanup(func() {
		l.Close()
		hangUp()
		running.Wait()
	})
	return l.Addr().String(), hangUp
}

func (b *bench) lines(c net.Conn) {
	for s := bufio.NewScanner(c); s.Scan(); {
		if answer := b.say(s.Text()); answer != "" {
			fmt.Fprintf(c, "%s\r\n", answer)
		}
	}
}

// vxi11 is the core channel, byte for byte as in the standard.
func (b *bench) vxi11(c net.Conn) {
	var answer string
	for {
		call, err := readRecord(c)
		if err != nil {
			return
		}
		x := &xdr{b: call}
		xid := x.word()
		x.word() // a call
		if v := x.word(); v != 2 {
			return
		}
		program, _, procedure := x.word(), x.word(), x.word()
		for range 2 {
			x.word()
			x.opaque()
		}
		var results []byte
		switch {
		case program == portmapperProgram && procedure == pmapprocGetport:
			results = words(uint32(c.LocalAddr().(*net.TCPAddr).Port))
		case program != deviceCore:
			return
		case procedure == createLink:
			results = words(0, 77, 0, 1024)
		case procedure == deviceWrite:
			if x.word() != 77 {
				results = words(4, 0)
				break
			}
			x.word()
			x.word()
			x.word()
			data := x.opaque()
			answer = b.say(strings.TrimSpace(string(data)))
			results = words(0, uint32(len(data)))
		case procedure == deviceRead:
			if answer == "" {
				results = append(words(15, 0), opaque(nil)...)
				break
			}
			// In two parts, as an instrument with a small buffer does.
			part, reason := answer, uint32(reasonEnd)
			if len(answer) > 7 {
				part, reason = answer[:7], 0
			}
			answer = answer[len(part):]
			if reason != 0 {
				part += "\n"
			}
			results = append(words(0, reason), opaque([]byte(part))...)
		case procedure == destroyLink:
			results = words(0)
		}
		reply := append(words(xid, 1, 0, 0, 0, 0), results...)
		// In two fragments: both are legal.
		c.Write(append(append(words(8), reply[:8]...), append(words(1<<31|uint32(len(reply)-8)), reply[8:]...)...))
	}
}

func open(t *testing.T, spec string) Meter {
	t.Helper()
	m, err := Open(t.Context(), spec)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// reads wants exactly these values, where NaN stands for none.
func reads(t *testing.T, m Meter, watts, joules float64) {
	t.Helper()
	before := time.Now()
	r, err := m.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, watts, joules)
	if r.At.Before(before) && !m.Info().Pushed || r.At.After(time.Now()) {
		t.Errorf("the value held at %v, outside of the question from %v to %v", r.At, before, time.Now())
	}
}

func check(t *testing.T, r Reading, watts, joules float64) {
	t.Helper()
	for _, c := range []struct {
		of   string
		got  *float64
		want float64
	}{{"watts", r.Watts, watts}, {"joules", r.Joules, joules}} {
		switch {
		case c.got == nil:
			if !math.IsNaN(c.want) {
				t.Errorf("no %s, want %v", c.of, c.want)
			}
		case *c.got != c.want && math.Abs(*c.got-c.want) > 1e-12*math.Abs(c.want) || math.IsNaN(c.want):
			t.Errorf("%s are %v, want %v", c.of, *c.got, c.want)
		}
	}
}

var none = math.NaN()

func TestSCPIWT300(t *testing.T) {
	for _, transport := range []string{"socket", "vxi11"} {
		t.Run(transport, func(t *testing.T) {
			b := &bench{values: "103.27E+00,1.5E+00", state: "START"}
			handle := b.vxi11
			if transport == "socket" {
				handle = b.lines
			}
			address, hangUp := serve(t, handle)
			m := open(t, "scpi:"+address+"/2?model=wt300&transport="+transport)
			if i := m.Info(); i.Interval != 250*time.Millisecond || i.Scope != Wall ||
				i.Name != "scpi:"+address+"/2?model=wt300&transport="+transport {
				t.Errorf("it is %+v", i)
			}
			reads(t, m, 103.27, 5400)
			// The integrator stands: its energy is of another time.
			b.set("103.27E+00,1.5E+00", "STOP")
			reads(t, m, 103.27, none)
			b.set("99.5E+00,NAN", "START")
			reads(t, m, 99.5, none)
			b.set("-0.002E+00,0", "RESET")
			reads(t, m, -0.002, none) // the noise of an open circuit
			for _, nothing := range []string{"NAN,NAN", "INF,0", "9.91E+37,0", "------,0"} {
				b.set(nothing, "START")
				if _, err := m.Read(t.Context()); !errors.Is(err, errNoValue) {
					t.Errorf("%s: %v", nothing, err)
				}
			}
			hangUp()
			b.set("1.0E+00,0", "START")
			reads(t, m, 1, 0)
			b.mu.Lock()
			heard := strings.Join(b.heard, "\n")
			b.mu.Unlock()
			if n := strings.Count(heard, ":NUMERIC:NORMAL:ITEM1 P,2\n"); n != 2 {
				t.Errorf("it was told %d times what to measure, want once for each connection:\n%s", n, heard)
			}
		})
	}
}

func TestSCPIGeneric(t *testing.T) {
	b := &bench{answers: map[string]string{"MEAS:POW? CH1": " +1.25E-1 ", "FETC:ENER?": "2,7,8", "BAD?": "hello", "OVER?": "9.9E37",
		"COMMA?": "340,5"}}
	address, hangUp := serve(t, b.lines)
	m := open(t, "scpi:"+address+"?power=MEAS:POW? "+
		"CH1&power-unit=kW&energy=FETC:ENER?&energy-item=1&energy-unit=0.5Wh&init=CONF:POW;;TRIG:CONT "+
		"ON&interval=100ms&resolution=10mW&scope=package")
	reads(t, m, 125, 3600)
	if i := m.Info(); i.Interval != 100*time.Millisecond || i.Resolution != 0.01 || i.Scope != Package {
		t.Errorf("it is %+v", i)
	}
	if got := strings.Join(b.heard[:2], "|"); got != "CONF:POW|TRIG:CONT ON" {
		t.Errorf("it heard first: %s", got)
	}
	hangUp()
	reads(t, m, 125, 3600)
	if _, err := open(t, "scpi:"+address+"?power=BAD?").Read(t.Context()); err == nil || !strings.Contains(err.Error(), "hello") ||
		errors.Is(err, errNoValue) {
		t.Errorf("not a number: %v", err)
	}
	if _, err := open(t, "scpi:"+address+"?power=OVER?").Read(t.Context()); !errors.Is(err, errNoValue) {
		t.Errorf("out of range: %v", err)
	}
	// A decimal comma, or two numbers of which nobody said which.
	if r, err := open(t, "scpi:"+address+"?power=COMMA?").Read(t.Context()); err == nil || !strings.Contains(err.Error(), "power-item") {
		t.Errorf("340,5 is %v, %v", r, err)
	}
	reads(t, open(t, "scpi:"+address+"?power=FETC:ENER?&power-item=2"), 7, none)
	if _, err := open(t, "scpi:"+address+"?power=FETC:ENER?&power-item=4").Read(t.Context()); err == nil || !strings.Contains(err.Error(),
		"no item 4") {
		t.Errorf("an item that is not there: %v", err)
	}
	// An instrument that says nothing, and a user who does not wait for it.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := open(t, "scpi:"+address+"?power=SILENT?").Read(ctx); err == nil {
		t.Error("silence is no error")
	}
	if _, err := Open(ctx, "scpi:"+address+"?model=wt300&transport=vxi11&interval=1s"); err == nil {
		t.Error("a line server was taken for VXI-11")
	}
}

func TestSCPIUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, spec := range []string{"scpi:" + l.Addr().String() + "?power=P?", "scpi:" + l.Addr().String()} {
		if _, err := Open(t.Context(), spec); fault.Of(err) != fault.Unreachable {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func FuzzVXI11(f *testing.F) {
	f.Add(append(words(1<<31|28, 1, 1, 0, 0, 0, 0), words(0)...))
	f.Add(words(4, 1, 1<<31|0xffffff))
	f.Fuzz(func(t *testing.T, b []byte) {
		record, err := readRecord(bytes.NewReader(b))
		if err != nil {
			return
		}
		if x, err := parseReply(record, 1); err == nil {
			for x.err == nil {
				x.opaque()
			}
		}
	})
}

func FuzzSCPINumbers(f *testing.F) {
	for _, s := range []string{"1.0E+00,NAN", "+9.91E37", "---", ",", "0x1p3,inf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := scpiNumbers(s)
		if err != nil {
			return
		}
		for _, n := range v {
			if len(v) == 0 || math.Abs(n) >= 9e36 {
				t.Errorf("%q is %v", s, v)
			}
		}
	})
}
