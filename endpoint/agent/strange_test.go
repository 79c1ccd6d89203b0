package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/instrument"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/results"
)

// dice decide what a stranger says: a fuzzer's bytes, which run out, or chance.
type dice struct {
	b      []byte
	chance *rand.Rand
}

func (d *dice) over() bool { return d.chance == nil && len(d.b) == 0 }

func (d *dice) roll(n int) int {
	if d.chance != nil {
		return d.chance.IntN(n)
	}
	if len(d.b) == 0 {
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return int(v) % n
}

func pick[T any](d *dice, of ...T) T { return of[d.roll(len(of))] }

// Values that a stranger puts where something else belongs.
var (
	strangeNumbers = []int64{0, 1, -1, 2, 5, 63, 64, 65, 1023, 1 << 14, 1 << 16, 1 << 20, 1 << 30, 1 << 31, 1e9, 1 << 62, math.MaxInt64,
		math.MinInt64}
	strangeWords = []string{
		"", "x", "rx", "tx", "plain", "host", "cpuset", "thread", "all", "none", "lo", "..", "../../etc/passwd", "127.0.0.1", "::1", "fe80::1%lo",
		"256.1.1.1", "reno", "\x1b[2J", "\x00", "-1", "on", "18446744073709551616", "meter", "rapl:", "exec:false", "hwmon:x", "replay:/dev/zero",
		"sysctl.kernel.core_pattern", "mtu", strings.Repeat("a", 100), strings.Repeat("b", 20<<10),
	}
)

// mutate changes some fields, at any depth, of a value that can be set.
func (d *dice) mutate(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || d.roll(8) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.mutate(v.Elem())
	case reflect.Struct:
		if n := v.NumField(); n > 0 {
			if f := v.Field(d.roll(n)); f.CanSet() {
				d.mutate(f)
			}
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(pick(d, "null", "{}", `{"x":[]}`)))
			return
		}
		s := reflect.MakeSlice(v.Type(), pick(d, 0, 1, 2, 3, 100), 100)
		for i := range min(s.Len(), 3) {
			d.mutate(s.Index(i))
		}
		v.Set(s)
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for range pick(d, 0, 1, 2, 100) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			d.mutate(key)
			d.mutate(value)
			m.SetMapIndex(key, value)
		}
		v.Set(m)
	case reflect.String:
		words := strangeWords
		switch v.Type() {
		case reflect.TypeFor[wire.Scope]():
			words = []string{"host", "cpuset", "thread", ""}
		case reflect.TypeFor[endpoint.Role]():
			words = []string{"rx", "tx", ""}
		}
		v.SetString(pick(d, words...))
	case reflect.Bool:
		v.SetBool(d.roll(2) == 1)
	case reflect.Int, reflect.Int64:
		v.SetInt(pick(d, strangeNumbers...))
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(pick(d, strangeNumbers...)))
	case reflect.Float64:
		v.SetFloat(pick(d, 0, -1, 1e300, 0.5))
	}
}

// stranger talks to an agent, and expects an answer to each thing it says.
type stranger struct {
	d       *dice
	conn    net.Conn
	r       *bufio.Reader
	token   []byte
	port    int // of data
	flows   int // that the agent waits for
	data    []net.Conn
	said    *int64 // messages
	raw     bool   // the agent takes them for a plain TCP program's, and may wait for them in vain
	slow    bool   // what is asked next takes its time
	marks   [][]byte
	longest longest
	states  map[string]int
}

var errHungUp = errors.New("the agent hung up")

// longest is for how long an answer was waited for, and what was said before.
type longest struct {
	time.Duration
	what string
}

func (w *longest) note(d time.Duration, said []byte) {
	if d > w.Duration {
		*w = longest{d, string(said[:min(len(said), 300)])}
	}
}

// line sends one and gives the answer.
func (s *stranger) line(b []byte) (wire.Message, error) {
	*s.said++
	_ = s.conn.SetDeadline(time.Now().Add(20 * time.Second))
	begun := time.Now()
	if _, err := s.conn.Write(append(b, '\n')); err != nil {
		return wire.Message{}, errHungUp
	}
	m, err := s.answer()
	if !s.raw && !s.slow {
		s.longest.note(time.Since(begun), b)
	}
	return m, err
}

func (s *stranger) answer() (wire.Message, error) {
	line, err := s.r.ReadBytes('\n')
	for err == nil && bytes.HasPrefix(line, []byte(`{"beat":`)) {
		line, err = s.r.ReadBytes('\n')
	}
	if wire.TimedOut(err) {
		return wire.Message{}, fmt.Errorf("no answer: %w", err)
	}
	if err != nil {
		return wire.Message{}, errHungUp
	}
	m, err := read(line)
	if err == nil && m.Error != nil && strings.Contains(m.Error.Text, errMistake.Error()) {
		err = errors.New(m.Error.Text)
	}
	return m, err
}

func (s *stranger) say(m wire.Message) (wire.Message, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return wire.Message{}, err
	}
	return s.line(b)
}

// meet shakes hands; nil, and no error, is an agent that turned it away.
func (s *stranger) meet() (*wire.Welcome, error) {
	h := wire.Hello{Magic: wire.Magic, Protocol: wire.Protocol, Version: "test", Nonce: []byte("nonce")}
	if s.d.roll(16) == 1 {
		s.d.mutate(reflect.ValueOf(&h).Elem())
	}
	m, err := s.say(wire.Message{Hello: &h})
	if err != nil || m.Hello == nil {
		return nil, hungUp(err)
	}
	a := wire.Auth{}
	if len(s.token) > 0 {
		a.MAC = wire.MAC(s.token, "driver", h.Nonce, m.Hello.Nonce)
	}
	first := wire.Message{Auth: &a}
	switch s.d.roll(32) {
	case 1:
		s.d.mutate(reflect.ValueOf(&a).Elem())
	case 2:
		s.d.mutate(reflect.ValueOf(&first).Elem())
	}
	m, err = s.say(first)
	if err != nil || m.Welcome == nil {
		return nil, hungUp(err)
	}
	return m.Welcome, nil
}

func hungUp(err error) error {
	if errors.Is(err, errHungUp) {
		return nil
	}
	return err
}

// talk says things until the dice are used up, or the agent has had enough.
func (s *stranger) talk(most int) error {
	defer s.leave()
	w, err := s.meet()
	if err != nil || w == nil {
		return err
	}
	s.states["welcome"]++
	for range most {
		if s.d.over() {
			return nil
		}
		if err := s.once(); err != nil {
			return hungUp(err)
		}
	}
	return nil
}

func (s *stranger) leave() {
	s.conn.Close()
	for _, c := range s.data {
		c.Close()
	}
}

func (s *stranger) once() error {
	garbage := []string{"", "{}", "null", "[]", `{"clock":{"now":1}}{"clock":{"now":1}}`, `{"clock":{"now":1},"survey":{}}`,
		`{"prepare":{"shape":1}}`, strings.Repeat(`{"prepare":`, 2000), "\x00\xff", strings.Repeat("z", wire.MaxRequest+1)}
	prepare := wire.Prepare{
		Role: endpoint.RX, Engine: "plain", Flows: pick(s.d, 1, 2), Length: 1000, Pattern: endpoint.Pattern{Seed: 1, Period: 2000},
		Time: 10 * time.Millisecond, Scope: wire.ScopeThread,
	}
	var m wire.Message
	what := s.d.roll(24)
	switch what {
	case 0:
		m.Clock = &wire.Clock{Now: 1, Count: s.d.roll(2) == 1}
	case 1, 2, 3, 4, 5, 6, 7, 8:
		m.Prepare = &prepare
		for range pick(s.d, 0, 1, 1, 2, 3) {
			s.d.mutate(reflect.ValueOf(&prepare).Elem())
		}
	case 9, 10, 11, 12, 13:
		m.Start = &wire.Start{At: wire.Monotonic() + int64(time.Millisecond)}
	case 14:
		m.Start = &wire.Start{}
		s.d.mutate(reflect.ValueOf(m.Start).Elem())
	case 15:
		m.Watch = &wire.Watch{Quiet: time.Second}
	case 16:
		m.Watch = &wire.Watch{}
		s.d.mutate(reflect.ValueOf(m.Watch).Elem())
	case 17:
		m.Tell = &wire.Tell{Until: wire.Monotonic()}
	case 18:
		m.Tell = &wire.Tell{}
		s.d.mutate(reflect.ValueOf(m.Tell).Elem())
	case 19:
		m.Survey = &wire.Survey{Role: endpoint.RX}
		s.d.mutate(reflect.ValueOf(m.Survey).Elem())
	case 20:
		m.Hold = &wire.Hold{Ticket: "x"}
		s.d.mutate(reflect.ValueOf(m.Hold).Elem())
	case 21, 22: // what only an agent says, or anything
		s.d.mutate(reflect.ValueOf(&m).Elem())
	case 23:
		_, err := s.line([]byte(pick(s.d, garbage...)))
		return err
	}
	if m.Start != nil && s.flows > 0 {
		s.connect()
		if what != 14 { // unless it is to be strange
			m.Start.Marks = s.marks
		}
	}
	// It may have to find out first, for seconds, which clock of CPU time is right.
	s.slow = m.Prepare != nil && m.Prepare.Scope != wire.ScopeThread
	got, err := s.say(m)
	s.slow = false
	if err != nil {
		return err
	}
	switch {
	case got.Prepared != nil:
		s.states["prepared"]++
		s.flows, s.port, s.raw = prepare.Flows, got.Prepared.DataPort, prepare.Raw
		if prepare.Role == endpoint.TX {
			s.flows = 0
		}
	case got.Started != nil:
		s.states["started"]++
		s.flows = 0
		for got.Result == nil && got.Error == nil && err == nil {
			got, err = s.answer() // of the run's own length
		}
		if got.Result != nil {
			s.states["result"]++
		}
		return err
	case got.Error != nil && (m.Prepare != nil || m.Start != nil):
		s.flows = 0
	case got.Watched != nil:
		s.states["watched"]++
	case got.Said != nil:
		s.states["said"]++
	}
	return nil
}

// connect makes the data connections, that send for a little and end.
func (s *stranger) connect() {
	s.marks = nil
	for i := range s.flows {
		c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port+i)))
		if err != nil { // it may be asked to listen elsewhere
			continue
		}
		s.data = append(s.data, c)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if mark := make([]byte, wire.MarkLength); !s.raw {
			_, _ = io.ReadFull(c, mark) // it may be turned away
			s.marks = append(s.marks, mark)
		}
		_, _ = c.Write(make([]byte, 1000)) // likewise
		long := pick(s.d, 0, 10*time.Millisecond, 100*time.Millisecond)
		time.AfterFunc(long, func() { c.Close() })
	}
}

// strangeAgent is one whose engines, meters and instruments do no harm.
func strangeAgent(token []byte, port int, opened *atomic.Int64) *Agent {
	meter := instrument.Counter{Name: "meter", Open: func(instrument.Place) (instrument.Reader, error) { return idleReader{opened}, nil }}
	return &Agent{
		Version: "test", Token: token, DataPort: port, Bind: "127.0.0.1", NoTune: true,
		RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX, Opened: opened, Known: []endpoint.Option{endpoint.Switch("switch", false,
			"")}}},
		TX:     []endpoint.Engine{endpointtest.Plain{Role: endpoint.TX, Opened: opened}},
		Limits: wire.Limits{Time: 100 * time.Millisecond, Flows: 4, Memory: 1 << 20},
		Facts:  func(string) results.Facts { return results.Facts{} },
		Survey: func(context.Context, wire.Survey) (any, error) { return 1, nil },
		Instruments: instrument.Instruments{Counters: []instrument.Counter{meter},
			Profiler: instrument.Recorder{Name: "none", Open: func(instrument.Place) (instrument.Recording, error) {
				return nil, fault.Errorf(fault.Unsupported, "no profiler")
			}}},
	}
}

type idleReader struct{ opened *atomic.Int64 }

func (r idleReader) Quantities() []instrument.Quantity { return []instrument.Quantity{{Name: "idle"}} }
func (r idleReader) Read(to []uint64) error            { r.opened.Add(0); return nil }
func (r idleReader) Close() error                      { return nil }

// FuzzStrangers has strangers drive a real agent through all of its states, with
// and without a token. The agent answers all they say, and ends with the link.
func FuzzStrangers(f *testing.F) {
	seeds := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		b := make([]byte, 8+8*i)
		for k := 0; k < len(b); k += 8 {
			binary.LittleEndian.PutUint64(b[k:], seeds.Uint64())
		}
		f.Add(i%2 == 0, b)
	}
	f.Fuzz(func(t *testing.T, trusted bool, b []byte) {
		var opened atomic.Int64
		var token []byte
		if trusted {
			token = endpointtest.Token
		}
		port := endpointtest.FreePorts(t, 5)
		a := strangeAgent(token, port, &opened)
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() { _ = a.Serve(context.Background(), theirs); close(done) }()
		var said int64
		s := &stranger{d: &dice{b: b}, conn: ours, r: bufio.NewReader(ours), token: token, said: &said, states: map[string]int{}}
		if err := s.talk(len(b)); err != nil {
			t.Error(err)
		}
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the agent did not end")
		}
		if n := opened.Load(); n != 0 {
			t.Errorf("%d sessions left open", n)
		}
	})
}

// TestStrangers is some messages over TCP, or, on a quiet machine, as many as
// ZCBENCH_STRANGERS says, each answered within a second.
func TestStrangers(t *testing.T) {
	total := int64(400)
	if v := os.Getenv("ZCBENCH_STRANGERS"); v != "" {
		if _, err := fmt.Sscan(v, &total); err != nil {
			t.Fatal(err)
		}
	}
	const side = 8 // agents beside each other, half of them with a token
	before := endpointtest.FDs(t)
	var mu sync.Mutex
	var opened atomic.Int64
	all, states, longest := int64(0), map[string]int{}, longest{}
	t.Run("talk", func(t *testing.T) {
		base := endpointtest.FreePorts(t, 8*side)
		for i := range side {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				var token []byte
				if i%2 == 0 {
					token = endpointtest.Token
				}
				a := strangeAgent(token, base+8*i, &opened)
				addr := endpointtest.Listen(t, a.Listen)
				chance := rand.New(rand.NewPCG(uint64(i), uint64(total)))
				var said int64
				for said < total/side {
					c, err := net.Dial("tcp4", addr)
					if err != nil {
						t.Fatal(err)
					}
					s := &stranger{d: &dice{chance: chance}, conn: c, r: bufio.NewReader(c), token: token, said: &said, states: map[string]int{}}
					if err := s.talk(1 + chance.IntN(100)); err != nil {
						t.Fatal(err)
					}
					mu.Lock()
					longest.note(s.longest.Duration, []byte(s.longest.what))
					for k, n := range s.states {
						states[k] += n
					}
					mu.Unlock()
				}
				mu.Lock()
				all += said
				mu.Unlock()
			})
		}
	})
	t.Logf("%d messages, states %v, the longest wait for an answer %s, after %s", all, states, longest.Duration, longest.what)
	if os.Getenv("ZCBENCH_STRANGERS") != "" && longest.Duration > time.Second {
		t.Error("an answer took more than a second")
	}
	for _, state := range []string{"welcome", "prepared", "started", "result", "watched", "said"} {
		if states[state] == 0 {
			t.Errorf("no stranger got as far as %s", state)
		}
	}
	endpointtest.Eventually(t, "sessions closed", func() bool { return opened.Load() == 0 })
	endpointtest.Eventually(t, "descriptors closed", func() bool { return endpointtest.FDs(t) <= before })
}
