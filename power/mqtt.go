package power

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

func mqttKind() kind {
	return kind{
		name:    "mqtt",
		address: "HOST[:PORT]/TOPIC[?power=PATH][&power-unit=UNIT][&energy=PATH&energy-unit=UNIT][&tls=true][&ca=FILE|pin=SHA256|insecure=true]",
		about: "whatever publishes its power to an MQTT broker; PATH leads to a number in the JSON, as in ENERGY.Power or relays.0.power, or " +
			"is . for a bare number; " +
			"Tasmota (tele/NAME/SENSOR), Shelly (NAME/status/switch:0) and zigbee2mqtt need no PATH",
		open: openMQTT,
	}
}

// published is a topic of a broker.
type published struct {
	client   mqtt.Client
	about    Info
	topic    string
	shapes   []shape
	messages chan message
	ignored  string // why the last message was of no use
}

// message is one that came.
type message struct {
	at      time.Time
	payload []byte
	err     error // the connection's, in place of a message
}

// shape is where a sort of device puts its figures, and what they are worth;
// paths are dotted.
type shape struct {
	power, energy     string
	inWatts, inJoules float64
}

// shapes are known by themselves.
func shapes() []shape {
	return []shape{
		{"ENERGY.Power", "ENERGY.Total", 1, joulesIn["kWh"]}, // Tasmota
		{"apower", "aenergy.total", 1, joulesIn["Wh"]},       // Shelly from the second generation on
		{"power", "energy", 1, joulesIn["kWh"]},              // zigbee2mqtt
		{".", "", 1, 1},                                      // Shelly's first generation, and many a script: the number alone
	}
}

func openMQTT(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("mqtt", address, "", append([]string{"power", "power-unit", "energy", "energy-unit", "tls"}, tlsOptions...)...)
	if err != nil {
		return nil, err
	}
	m, o, err := publishedOf(ctx, t)
	if err != nil {
		return nil, err
	}
	subscribed := m.subscribe(o)
	m.client = mqtt.NewClient(o)
	if err := wait(ctx, m.client.Connect()); err != nil {
		m.client.Disconnect(0)
		if errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) || errors.Is(err, packets.ErrorRefusedNotAuthorised) {
			return nil, fmt.Errorf("broker %s: %w", t.address(), errDenied)
		}
		return nil, noAnswer("broker %s: %w", t.address(), err)
	}
	select {
	case err = <-subscribed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("broker %s: %w", t.address(), err)
	}
	return m, nil
}

// publishedOf is what an address describes, and how to reach its broker.
func publishedOf(ctx context.Context, t *target) (m *published, o *mqtt.ClientOptions, err error) {
	m = &published{topic: t.path, shapes: shapes(), messages: make(chan message, 64)}
	if m.topic == "" || strings.ContainsAny(m.topic, "+#") {
		return nil, nil, noMeter("it needs one topic, without wildcards: mqtt:HOST/TOPIC")
	}
	if t.options["power"]+t.options["energy"] != "" {
		s := shape{power: t.options["power"], energy: t.options["energy"]}
		if s.inWatts, s.inJoules, err = t.scales(); err != nil {
			return nil, nil, err
		}
		m.shapes = []shape{s}
	} else if t.options["power-unit"]+t.options["energy-unit"] != "" {
		return nil, nil, noMeter("a unit needs the path of what it is of: power= or energy=")
	}
	if m.about, err = t.info(Info{Pushed: true}); err != nil {
		return nil, nil, err
	}
	secure, err := t.flag("tls")
	if err != nil {
		return nil, nil, err
	}
	verify, err := t.verification()
	if err != nil {
		return nil, nil, err
	}
	scheme, port := "tcp", "1883"
	if secure {
		scheme, port = "ssl", "8883"
	} else if t.options["ca"]+t.options["pin"]+t.options["insecure"] != "" {
		return nil, nil, noMeter("ca, pin and insecure need tls=true")
	}
	t.port = cmp.Or(t.port, port)
	for _, place := range under(t.places(ctx, "1883", "8883"), m.topic) {
		place = "mqtt:" + place
		if path := cmp.Or(t.options["power"], t.options["energy"]); path != "" && path != "." {
			place += "/?" + element(path)
		}
		m.about.Of = append(m.about.Of, place)
	}
	o = mqtt.NewClientOptions().AddBroker(scheme + "://" + t.address()).SetClientID("zcbench-" + rand.Text()[:14]).
		SetUsername(t.secrets["user"]).SetPassword(t.secrets["password"]).SetTLSConfig(verify).
		SetConnectTimeout(patience).SetWriteTimeout(patience).SetPingTimeout(patience).SetKeepAlive(10 * time.Second).
		SetAutoReconnect(true).SetMaxReconnectInterval(patience).SetOrderMatters(true)
	return m, o, nil
}

// subscribe has messages of the topic kept whenever the broker is reached; what comes of
// the first time is told.
func (m *published) subscribe(o *mqtt.ClientOptions) (first <-chan error) {
	// It reconnects by itself, and the broker has forgotten us by then.
	subscribed := make(chan error, 1)
	var once sync.Once
	o.SetOnConnectHandler(func(c mqtt.Client) {
		token := c.Subscribe(m.topic, 0, m.arrive)
		go func() {
			err := errors.New("the broker does not answer the subscription")
			if token.WaitTimeout(patience) {
				err = token.Error()
			}
			if s, ok := token.(*mqtt.SubscribeToken); ok && s.Result()[m.topic] == 0x80 {
				err = fmt.Errorf("the broker does not let us read topic %s: %w", m.topic, errDenied)
			}
			again := true
			once.Do(func() { again = false; subscribed <- err })
			if again && err != nil {
				m.keep(message{err: err})
			}
		}()
	})
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		m.keep(message{err: noAnswer("the broker's connection broke: %w", err)})
	})
	return subscribed
}

// wait is for a token, with time-outs of the library's own, or for ctx.
func wait(ctx context.Context, token mqtt.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// arrive takes a message. One that the broker kept is of who knows when.
func (m *published) arrive(_ mqtt.Client, in mqtt.Message) {
	if !in.Retained() {
		m.keep(message{at: time.Now(), payload: in.Payload()})
	}
}

// keep queues a message; where nobody reads them, the oldest go.
func (m *published) keep(one message) {
	for {
		select {
		case m.messages <- one:
			return
		default:
		}
		select {
		case <-m.messages:
		default:
		}
	}
}

func (m *published) Info() Info { return m.about }

// Read waits for the next message that has a figure.
func (m *published) Read(ctx context.Context) (Reading, error) {
	for {
		select {
		case one := <-m.messages:
			if one.err != nil {
				return Reading{}, one.err
			}
			r, err := m.read(one.payload)
			if errors.Is(err, errNotThere) {
				m.ignored = err.Error()
				continue // a topic may carry other things too
			}
			r.At = one.at
			return r, err
		case <-ctx.Done():
			if m.ignored != "" {
				return Reading{}, fmt.Errorf("no power on topic %s: %s: %w", m.topic, m.ignored, ctx.Err())
			}
			return Reading{}, fmt.Errorf("nothing came on topic %s: %w", m.topic, ctx.Err())
		}
	}
}

// read takes the figures of the first shape that fits.
func (m *published) read(payload []byte) (r Reading, err error) {
	for _, s := range m.shapes {
		power, energy := pick(payload, s.power), pick(payload, s.energy)
		if !power.there && !energy.there {
			continue
		}
		if s.power != "" {
			if !power.ok {
				return r, noValue("%s of topic %s is no number", s.power, m.topic)
			}
			if r.Watts, err = consumed(power.value * s.inWatts); err != nil {
				return r, err
			}
			r.Joules = total(energy, s.inJoules)
			return r, nil
		}
		if !energy.ok {
			return r, noValue("%s of topic %s is no number", s.energy, m.topic)
		}
		r.Joules, err = runningTotal(energy.value * s.inJoules)
		return r, err
	}
	return r, fmt.Errorf("%w: the message has no such number: %.60q", errNotThere, payload)
}

// pick follows a dotted path through JSON objects and lists. Of the path "."
// the payload itself must be the number.
func pick(payload []byte, path string) reading {
	if path == "" {
		return reading{}
	}
	at := json.RawMessage(payload)
	if path == "." {
		if r := parseReading(string(payload)); r.ok {
			return r
		}
		return reading{}
	}
	for _, step := range strings.Split(path, ".") {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		if json.Unmarshal(at, &list) == nil && list != nil {
			at = nil
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(list) {
				at = list[i]
			}
		} else if json.Unmarshal(at, &object) == nil {
			at = object[step]
		} else {
			at = nil
		}
		if at == nil {
			return reading{}
		}
	}
	var r reading
	if json.Unmarshal(at, &r) != nil {
		return reading{}
	}
	return r
}

func (m *published) Close() error {
	m.client.Disconnect(100) // ms, to say goodbye in
	return nil
}
