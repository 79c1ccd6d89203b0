package power

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bench power analysers speak SCPI: lines of text over TCP (most makers, port
// 5025) or inside VXI-11 (Yokogawa's WT300 and WT300E).

func scpiKind() kind {
	return kind{
		name: "scpi",
		address: "HOST[:PORT][/CHANNEL][?model=wt300] or " +
			"HOST[:PORT]?power=QUERY[&power-unit=UNIT][&energy=QUERY&energy-unit=UNIT][&init=COMMANDS]",
		about: "bench power analyser: a Yokogawa WT300 by itself, with its integrator's energy where that runs; " +
			"others by their queries, such as power=MEAS:POW? (transport=vxi11 for those without a port of their own; power-item=2 and " +
			"energy-item=2 where the answer is several numbers)",
		open: openSCPI,
	}
}

// scpi is an instrument that answers queries.
type scpi struct {
	target            *target
	about             Info
	dial              func(context.Context, *target) (instrument, error)
	conn              instrument // nil: to be dialled
	init              []string   // sent on every connection
	power, energy     string     // queries; energy may be none
	powerItem         uint64     // which number of an answer, from 1; 0: it has one
	energyItem        uint64
	inWatts, inJoules float64
	wt300             bool
}

// instrument carries messages to an instrument and back.
type instrument interface {
	send(ctx context.Context, command string) error
	ask(ctx context.Context, query string) (string, error)
	close() error
}

func openSCPI(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("scpi", address, "", "model", "transport", "power", "power-unit", "power-item", "energy", "energy-unit",
		"energy-item", "init")
	if err != nil {
		return nil, err
	}
	m, err := scpiOf(t)
	if err != nil {
		return nil, err
	}
	if err := m.connect(ctx); err != nil {
		return nil, err
	}
	if m.wt300 {
		if err := m.meet(ctx); err != nil {
			m.Close()
			return nil, err
		}
		return m, nil
	}
	// Whoever does not know this gets a fresh connection, on which no late answer
	// is taken for one to the next question.
	short, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	id, err := m.conn.ask(short, "*IDN?")
	if err != nil {
		m.Close()
		id = ""
	}
	m.identify(ctx, id, fmt.Sprintf("?%s-%d", escaped(cmp.Or(m.power, m.energy)), max(m.powerItem, m.energyItem)))
	return m, nil
}

// scpiOf is an instrument that an address describes, before anything is asked of it.
func scpiOf(t *target) (m *scpi, err error) {
	m = &scpi{target: t, power: t.options["power"], energy: t.options["energy"], wt300: t.options["power"] == "" && t.options["energy"] == ""}
	if m.inWatts, m.inJoules, err = t.scales(); err != nil {
		return nil, err
	}
	if m.powerItem, err = t.number("power-item", 1, 99, 0); err != nil {
		return nil, err
	}
	if m.energyItem, err = t.number("energy-item", 1, 99, 0); err != nil {
		return nil, err
	}
	transport := t.options["transport"]
	switch {
	case t.options["model"] != "" && t.options["model"] != "wt300":
		return nil, noMeter("option model is wt300, or leave it out and say power=QUERY")
	case t.options["model"] != "" && !m.wt300:
		return nil, noMeter("a wt300 has its own queries: leave out model, or power and energy")
	case m.wt300 && transport == "":
		transport = "vxi11"
	}
	for of, query := range map[string]string{"power": m.power, "energy": m.energy} {
		if query == "" && (t.options[of+"-unit"] != "" && (m.wt300 || of == "energy") || t.options[of+"-item"] != "") {
			return nil, noMeter("a unit or an item of %s without a query of that name", of)
		}
	}
	switch transport {
	case "", "socket":
		if t.port == "" {
			t.port = "5025" // IANA: scpi-raw
		}
		m.dial = dialLines
	case "vxi11":
		m.dial = dialVXI11
	default:
		return nil, noMeter("option transport is socket or vxi11")
	}
	for _, c := range strings.Split(t.options["init"], ";;") {
		if c = strings.TrimSpace(c); c != "" {
			m.init = append(m.init, c)
		}
	}
	if m.wt300 {
		channel := "1"
		if t.path != "" {
			channel = t.path
			if n, err := strconv.Atoi(channel); (err != nil || n < 1 || n > 3) && channel != "SIGMA" {
				return nil, noMeter("a WT300's channel is 1, 2, 3 or SIGMA")
			}
		}
		// Names as in Yokogawa IM WT310-17EN, chapter 6. They choose what this
		// connection is told, and change nothing that is measured.
		m.init = append(m.init, ":COMMUNICATE:HEADER OFF", ":COMMUNICATE:VERBOSE ON", ":NUMERIC:FORMAT ASCII", ":NUMERIC:NORMAL:NUMBER 2",
			":NUMERIC:NORMAL:ITEM1 P,"+channel, ":NUMERIC:NORMAL:ITEM2 WH,"+channel)
	} else if t.path != "" {
		return nil, noMeter("only a WT300 has a channel in its address; say it in the queries")
	}
	m.about, err = t.info(Info{})
	return m, err
}

// identify names the instrument by its answer to *IDN? (IEEE 488.2, 10.14: maker,
// model, serial number, firmware).
func (m *scpi) identify(ctx context.Context, id, part string) {
	usual := []string{"", "5025"}
	wholes := m.target.places(ctx, usual...)
	if f := strings.Split(id, ","); len(f) == 4 {
		wholes = append(named("serial", element(strings.TrimSpace(f[0])+"-"+strings.TrimSpace(f[1])), f[2]), wholes...)
	}
	m.about.Of = wholes
	if part != "" {
		m.about.Of = under(wholes, part)
	}
}

// meet makes sure that this is a WT300 and asks how often it measures.
func (m *scpi) meet(ctx context.Context) error {
	id, err := m.conn.ask(ctx, "*IDN?")
	if err != nil {
		return fmt.Errorf("%s: *IDN?: %w", m.target.address(), err)
	}
	if !strings.Contains(id, "YOKOGAWA,WT3") {
		return noMeter("%s is no WT300 (%.60q): give its queries, as in ?power=MEAS:POW?", m.target.address(), id)
	}
	channel := m.target.path
	// A WT310 has one element; of the others the first would be a part.
	if f := strings.Split(id, ","); channel == "" && len(f) > 1 && !strings.HasPrefix(f[1], "WT310") {
		return noMeter("a %.20s has several elements: append /1, /2, /3 or /SIGMA", f[1])
	}
	part := ""
	if channel != "" && channel != "SIGMA" {
		part = "element-" + channel
	}
	m.identify(ctx, id, part)
	s, err := m.conn.ask(ctx, ":RATE?")
	if err != nil {
		return fmt.Errorf("%s: :RATE?: %w", m.target.address(), err)
	}
	// A WT300E with an update rate of its own choice says AUTO.
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds > 0 && seconds < 3600 && m.target.options["interval"] == "" {
		m.about.Interval = time.Duration(seconds * float64(time.Second))
		m.about.Latency = m.about.Interval / 2 // its values are means over an interval
	}
	return nil
}

func (m *scpi) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := m.dial(ctx, m.target)
	if err != nil {
		return noAnswer("%w", err)
	}
	for _, command := range m.init {
		if strings.Contains(command, "?") {
			_, err = c.ask(ctx, command)
		} else {
			err = c.send(ctx, command)
		}
		if err != nil {
			c.close()
			return fmt.Errorf("%s: %s: %w", m.target.address(), command, err)
		}
	}
	m.conn = c
	return nil
}

func (m *scpi) Info() Info { return m.about }

// Read asks once more on a fresh connection where an old one has broken.
func (m *scpi) Read(ctx context.Context) (Reading, error) {
	fresh := m.conn == nil
	if fresh {
		if err := m.connect(ctx); err != nil {
			return Reading{}, err
		}
	}
	r, err := m.read(ctx)
	if err == nil || errors.Is(err, errNoValue) {
		return r, err
	}
	// The next answer on this connection could be the one that was late.
	m.Close()
	if fresh || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return r, err
	}
	if err := m.connect(ctx); err != nil {
		return Reading{}, err
	}
	return m.read(ctx)
}

func (m *scpi) read(ctx context.Context) (r Reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	if m.wt300 {
		return m.readWT300(ctx)
	}
	if m.power != "" {
		w, err := m.value(ctx, m.power, m.powerItem)
		if err != nil {
			return r, err
		}
		w *= m.inWatts
		r.At, r.Watts = midway(start), &w
	}
	if m.energy != "" {
		start = time.Now()
		j, err := m.value(ctx, m.energy, m.energyItem)
		if err != nil {
			return r, err
		}
		j *= m.inJoules
		r.At, r.Joules = midway(start), &j
	}
	return r, nil
}

// value asks for one number, or for several of which it takes one.
func (m *scpi) value(ctx context.Context, query string, item uint64) (float64, error) {
	s, err := m.conn.ask(ctx, query)
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %w", m.target.address(), query, err)
	}
	all, err := scpiNumbers(s)
	switch {
	case err != nil:
	case item == 0 && len(all) != 1:
		// A decimal comma looks the same: the first part would be a wrong number.
		err = fmt.Errorf("it says %d numbers, %.40q: name the one with power-item= or energy-item=", len(all), s)
	case item > uint64(len(all)):
		err = fmt.Errorf("it says %d numbers, %.40q, and no item %d", len(all), s, item)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %w", m.target.address(), query, err)
	}
	v := all[max(item, 1)-1]
	if math.IsNaN(v) {
		return 0, fmt.Errorf("%s: %s: %w", m.target.address(), query, noValue("it says %.40q", s))
	}
	return v, nil
}

// readWT300 reads power and integrated energy of the same update. The
// integrator is the user's: where it is not running, its figure is old.
func (m *scpi) readWT300(ctx context.Context) (r Reading, err error) {
	start := time.Now()
	const query = ":NUMERIC:NORMAL:VALUE?"
	s, err := m.conn.ask(ctx, query)
	if err != nil {
		return r, fmt.Errorf("%s: %s: %w", m.target.address(), query, err)
	}
	r.At = midway(start)
	v, err := scpiNumbers(s)
	if err == nil && len(v) != 2 {
		err = fmt.Errorf("2 numbers expected in %.60q", s)
	}
	if err != nil {
		return r, fmt.Errorf("%s: %s: %w", m.target.address(), query, err)
	}
	if math.IsNaN(v[0]) {
		return r, fmt.Errorf("%s: %s: %w", m.target.address(), query, noValue("it says %.40q", s))
	}
	r.Watts = &v[0]
	state, err := m.conn.ask(ctx, ":INTEGRATE:STATE?")
	if err != nil {
		return r, fmt.Errorf("%s: :INTEGRATE:STATE?: %w", m.target.address(), err)
	}
	if strings.HasPrefix(state, "STAR") && !math.IsNaN(v[1]) {
		j := v[1] * joulesIn["Wh"]
		r.Joules = &j
	}
	return r, nil
}

func (m *scpi) Close() error {
	if m.conn == nil {
		return nil
	}
	err := m.conn.close()
	m.conn = nil
	return err
}

// scpiNumbers reads an answer's comma-separated numbers. NaN
// stands for what the instrument does not know: "NAN" and 9.91E37 by IEEE 488.2
// and SCPI-99 (volume 1, 7.2.1.5), "INF" and 9.9E37 for out of range, "---" on
// some displays.
func scpiNumbers(answer string) ([]float64, error) {
	var all []float64
	for _, f := range strings.Split(answer, ",") {
		f = strings.TrimSpace(f)
		v, err := strconv.ParseFloat(f, 64)
		switch {
		case f != "" && strings.Trim(f, "-") == "":
			v = math.NaN()
		case err != nil && !errors.Is(err, strconv.ErrRange):
			return nil, fmt.Errorf("no number in %.60q", answer)
		case math.Abs(v) >= 9e36:
			v = math.NaN()
		}
		all = append(all, v)
	}
	return all, nil
}

// lines is an instrument on a TCP port of its own, a line a message.
type lines struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialLines(ctx context.Context, t *target) (instrument, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", t.address())
	if err != nil {
		return nil, err
	}
	// An answer is a line of at most this.
	return &lines{c, bufio.NewReaderSize(c, 4096)}, nil
}

func (l *lines) send(ctx context.Context, command string) error {
	defer hurry(ctx, l.conn)()
	_, err := io.WriteString(l.conn, command+"\n")
	return err
}

func (l *lines) ask(ctx context.Context, query string) (string, error) {
	if err := l.send(ctx, query); err != nil {
		return "", err
	}
	defer hurry(ctx, l.conn)()
	line, err := l.r.ReadSlice('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the connection broke, the meter has not come to an end
	}
	return strings.TrimSpace(string(line)), err
}

// hurry ends what waits on a connection when ctx does, until stopped. What it
// has ended is no good any more.
func hurry(ctx context.Context, c net.Conn) (stop func()) {
	unhook := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return func() { unhook() }
}

func (l *lines) close() error { return l.conn.Close() }
